"""A dot that is to stay on a moving target, in pictures of 16 pixels: what learns from pictures learns it in a minute or two.

prefloop/Dot-v0
"""

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box, Discrete
from numpy.typing import NDArray

SIDE = 16  # pixels, of which the dot and the middle of the target are one each
NAMESPACE = "prefloop/"
ENV_ID = f"{NAMESPACE}Dot-v0"
STEPS = 100  # of an episode
MOVES = np.array([(0, 0), (0, -1), (0, 1), (-1, 0), (1, 0)])  # x, y: none, up, down, left, right
PACE = 2  # steps for each of the target's
TURNS = 0.1  # how likely it then turns
WORTH_NOTHING = 8  # pixels away
DOT, TARGET = 255, 120  # grey
LARGER = 10  # how many times, as people see it


def register() -> None:
    """Tells Gymnasium of it."""
    if ENV_ID not in gym.registry:
        gym.register(ENV_ID, entry_point=f"{__name__}:Dot", max_episode_steps=STEPS)


class Dot(gym.Env[NDArray, np.int64]):
    """The dot moves by a pixel a step, the target, of three by three pixels, by one in two steps.

    A step pays 1 on the middle of the target, less the further from it, and 0 from eight pixels on.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012 - Gymnasium's way

    def __init__(self, render_mode: str | None = None) -> None:
        self.render_mode = render_mode
        self.observation_space = Box(0, 255, (SIDE, SIDE), np.uint8)
        self.action_space = Discrete(len(MOVES))

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray, dict[str, Any]]:
        """Begins an episode: the two are anywhere."""
        super().reset(seed=seed)
        self._dot, self._target = self.np_random.integers(1, SIDE - 1, (2, 2))
        self._heads, self._steps = MOVES[self.np_random.integers(1, len(MOVES))], 0
        return self._picture(), {}

    def step(self, action: Any) -> tuple[NDArray, float, bool, bool, dict[str, Any]]:
        """Moves both."""
        self._dot = np.clip(self._dot + MOVES[int(action)], 0, SIDE - 1)
        self._steps += 1
        if self._steps % PACE == 0:
            ahead = self._target + self._heads
            if self.np_random.random() < TURNS or not (ahead.min() >= 1 and ahead.max() < SIDE - 1):
                self._heads = MOVES[self.np_random.integers(1, len(MOVES))]
            self._target = np.clip(self._target + self._heads, 1, SIDE - 2)
        distance = int(np.abs(self._dot - self._target).max())
        return self._picture(), max(0.0, 1 - distance / WORTH_NOTHING), False, False, {}

    def render(self) -> NDArray:
        """As people see it: the dot red; uint8 RGB, [160, 160, 3]."""
        picture = np.repeat(self._picture()[..., None], 3, axis=2)
        picture[self._dot[1], self._dot[0]] = (230, 60, 50)
        return picture.repeat(LARGER, axis=0).repeat(LARGER, axis=1)

    def _picture(self) -> NDArray:
        picture = np.zeros((SIDE, SIDE), np.uint8)
        x, y = self._target
        picture[y - 1 : y + 2, x - 1 : x + 2] = TARGET
        picture[self._dot[1], self._dot[0]] = DOT
        return picture
