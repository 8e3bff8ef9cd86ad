"""Environments that throw dice at every step: whoever guesses better than chance shares them."""

from dataclasses import dataclass, field

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box, Discrete

SIDES, STEPS = 8, 12


@dataclass
class Episode:
    """What one environment went through."""

    start: str  # the state of its generator
    actions: list = field(default_factory=list)
    hits: list = field(default_factory=list)


EPISODES: list[Episode] = []  # of all environments of this process


class Dice(gym.Env):
    """Pays for guessing what it draws next, which chance alone decides.

    It draws as policies do, in the same order and shape, and nothing else: a policy whose
    generator was seeded alike always guesses right, or never.
    """

    observation_space = Box(0, 1, (1,), np.float32)

    def __init__(self, noise: str, render_mode: str | None = None) -> None:
        self.noise, self.render_mode = noise, render_mode
        self.action_space = (
            Box(np.float32(3), np.float32(5), (SIDES,)) if noise == "normal" else Discrete(SIDES)
        )

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.episode = Episode(str(self.np_random.bit_generator.state))
        EPISODES.append(self.episode)
        return np.zeros(1, np.float32), {}

    def step(self, action):
        if self.noise == "normal":
            drawn = self.np_random.standard_normal((1, SIDES), dtype=np.float32)[0]
            hit = float(((action > 4) == (drawn > 0)).mean())
        else:
            draw = self.np_random.gumbel if self.noise == "gumbel" else self.np_random.random
            hit = float(draw(size=(1, SIDES))[0].argmax() == action)
        self.episode.actions.append(np.asarray(action).tolist())
        self.episode.hits.append(hit)
        obs = np.array([len(self.episode.hits) / STEPS], np.float32)
        return obs, hit, False, False, {}


class Pictured(Dice):
    """Can be drawn, which costs episodes of its own where commands draw what they can."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 30}  # noqa: RUF012 - Gymnasium's way

    def render(self):
        return np.full((16, 16, 3), 20 * len(self.episode.hits), np.uint8)


for noise in ("uniform", "gumbel", "normal"):
    for version, kind in enumerate((Dice, Pictured)):
        name = f"Dice-{noise}-v{version}"
        gym.register(name, kind, max_episode_steps=STEPS, kwargs={"noise": noise})


class Diverges(gym.Wrapper):
    """Throws a robot out of the simulator at the fourth step of every third episode."""

    episode = step_number = 0

    def reset(self, **kwargs):
        self.episode, self.step_number = self.episode + 1, 0
        return self.env.reset(**kwargs)

    def step(self, action):
        self.step_number += 1
        if self.step_number == 4 and self.episode % 3 == 2:
            simulator = self.env.unwrapped
            data = simulator.physics.data if hasattr(simulator, "physics") else simulator.data
            data.qvel[:] = 1e12
        return self.env.step(action)
