"""Atari's games, many at once or one: `ALE/Pong-v5`, on ale-py's own vector environment.

What is observed are stacks of small pictures, each the brighter of the last two of the frames in which the
action was held. A game is seeded anew for every episode, so that any can be played again without the others.
Sources: Mnih et al. 2015 (pictures); Machado et al. 2018, arXiv:1709.06009 (sticky actions).
"""

import importlib
from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from prefloop.env_ids import without_module
from prefloop.envs.emulated import Emulated
from prefloop.envs.settings import EnvSettings
from prefloop.errors import UserError
from prefloop.seeding import MAX_SEED, Stream, generator, integers

FRAMES_PER_SECOND = 60
HEIGHT, WIDTH = 210, 160  # of the games' own pictures, in pixels; some are a few rows taller
MAX_FRAMES = 108_000  # of an episode: half an hour (Machado et al. 2018, table 5)
NEVER = 2**30  # frames; the limit is counted here, in steps
# rows in which a game shows its score, of the 210 of its picture: the first, and the one after the last
SCORE_ROWS = {
    "asterix": (183, 192),
    "beam_rider": (6, 17),
    "boxing": (2, 13),
    "breakout": (0, 16),
    "donkey_kong": (5, 15),
    "enduro": (160, 192),
    "freeway": (3, 14),
    "ms_pacman": (186, 195),
    "pong": (0, 23),
    "qbert": (5, 14),
    "seaquest": (6, 19),
    "space_invaders": (8, 21),
}


def register() -> None:
    """Tells Gymnasium of every game.

    Raises:
        UserError: ale-py is not installed.
    """
    try:
        gym.register_envs(importlib.import_module("ale_py"))
    except ImportError:
        raise UserError(
            "Atari's games need ale-py, which is not installed: pip install 'prefloop[atari]'."
        ) from None


def time_limit(env: EnvSettings) -> int:
    """The most steps that an episode can have, as the policy counts them."""
    return env.horizon or MAX_FRAMES // env.action_repeat


def make_games(env: EnvSettings, num_envs: int) -> "AtariGames":
    """Copies of a game that step together, with their time limit."""
    return AtariGames(env, num_envs, time_limit(env))


class AtariGames(Emulated, gym.vector.VectorEnv):
    """Copies of a game that step together, in one thread; they reset on the step after an episode's end.

    Attributes:
        episode_seeds: what the episodes under way began with, int64; [num_envs].
    """

    def __init__(
        self, env: EnvSettings, num_envs: int, limit: int | None, picture: bool = False
    ) -> None:
        """Loads the games.

        Args:
            env: which, and how it is observed.
            limit: steps after which an episode is cut; None: whoever wraps it does.
            picture: whether `pictures` can be asked for, which takes as long again as the game.

        Raises:
            UserError: ale-py is not installed, there is no such game, or its score's rows aren't known.
        """
        register()
        self.spec, self.num_envs = gym.spec(without_module(env.env)), num_envs
        name = str(self.spec.kwargs["game"])
        self.metadata = {
            "autoreset_mode": AutoresetMode.NEXT_STEP,
            "render_modes": ["rgb_array"],
            "render_fps": FRAMES_PER_SECOND / env.action_repeat,
        }
        assert env.pixels is not None  # of Atari it never is
        self._games: list[Any] = [
            _load(name, num_envs, env, env.pixels, env.pixels, env.colour, env.frame_stack)
        ]
        if picture:  # a twin that is played alike, in colour and full size
            self._games.append(_load(name, num_envs, env, HEIGHT, WIDTH, True, 1))
        self._masked = _masked_rows(env, name)
        own = tuple(self._games[0].single_observation_space.shape or ())
        self.single_observation_space = Box(
            0, 255, own if env.frame_stack > 1 else own[1:], np.uint8
        )
        self.single_action_space = self._games[0].single_action_space
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.frame_stack = env.frame_stack
        self.action_repeat, self.sticky = env.action_repeat, env.sticky or 0
        self._limit, self._restarts = limit, env.termination == "restart"
        self._has_one_life = env.termination == "life"
        self._lives = np.zeros(num_envs, np.int64)
        self.episode_seeds = np.zeros(num_envs, np.int64)
        self._seeds = [generator(i, Stream.ENVIRONMENTS) for i in range(num_envs)]
        self._restart_seeds = list(self._seeds)
        self._steps = np.zeros(num_envs, np.int64)
        self._over = np.zeros(num_envs, bool)
        self._pictures: NDArray = np.zeros(0, np.uint8)

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[NDArray, dict[str, Any]]:
        """Begins the episode of its seed in each; the seeds of those that follow it follow from it."""
        if isinstance(seed, int):
            seed = integers(seed, Stream.ENVIRONMENTS, num=self.num_envs)
        for i, given in enumerate(seed or ()):
            if given is not None:
                self._seeds[i] = generator(given, Stream.ENVIRONMENTS)
        first = [
            self._next_seed(i) if given is None else given
            for i, given in enumerate(seed or [None] * self.num_envs)
        ]
        self._over[:] = False
        return self._begin(np.ones(self.num_envs, bool), np.array(first)), {}

    def step(self, actions: NDArray) -> tuple[NDArray, NDArray, NDArray, NDArray, dict[str, Any]]:
        """Holds each action for so many frames; where an episode was over, begins the next instead."""
        obs, rewards, over = self._play(np.asarray(actions, np.int64))
        self._steps += 1
        begins = self._over
        if begins.any():
            seeds = [self._next_seed(i) for i in np.flatnonzero(begins)]
            obs[begins] = self._begin(begins, np.array(seeds))
            rewards[begins], over[begins] = 0.0, False
        if self._restarts and over.any():
            seeds = [int(self._restart_seeds[i].integers(MAX_SEED)) for i in np.flatnonzero(over)]
            obs[over] = self._reset(over, np.array(seeds))
            over = np.zeros_like(over)
        truncated = (
            np.zeros_like(over) if self._limit is None else (self._steps >= self._limit) & ~over
        )
        self._over = over | truncated
        return obs, rewards, over, truncated, {}

    def pictures(self) -> NDArray:
        """Pictures as a person would see the games now, uint8 RGB; [num_envs, height, width, 3].

        Raises:
            RuntimeError: it was made without.
        """
        if len(self._games) == 1:
            raise RuntimeError("these games are played without pictures for people")
        return self._pictures

    def close_extras(self, **kwargs: Any) -> None:
        """Lets go of the emulators."""
        self._games.clear()

    def _next_seed(self, i: int | np.integer) -> int:
        return int(self._seeds[i].integers(MAX_SEED))

    def _play(self, actions: NDArray) -> tuple[NDArray, NDArray, NDArray]:
        """One step of all emulators: observations, rewards and which games are over."""
        own, *twin = [game.step(actions) for game in self._games]
        for pictured in twin:
            self._pictures = np.array(pictured[0][:, -1])
        obs, rewards, terminated, truncated, info = own
        over = np.array(terminated | truncated)
        if self._has_one_life:
            over |= info["lives"] < self._lives
            # one that was won can be lost, too
            self._lives = np.maximum(self._lives, info["lives"])
        return self._seen(obs), rewards.astype(np.float64), over

    def _begin(self, where: NDArray, seeds: NDArray) -> NDArray:
        """Begins episodes in some."""
        self.episode_seeds[where], self._steps[where] = seeds, 0
        for i, seed in zip(np.flatnonzero(where), seeds, strict=True):
            self._restart_seeds[i] = generator(int(seed), Stream.RESTARTS)
        return self._reset(where, seeds)

    def _reset(self, where: NDArray, seeds: NDArray) -> NDArray:
        """Begins games in some of the emulators; gives what is observed there."""
        (own, info), *twin = [
            game.reset(seed=seeds, options={"reset_mask": where}) for game in self._games
        ]
        for pictured, _ in twin:
            self._pictures = np.array(pictured[:, -1])
        self._lives = np.array(info["lives"], np.int64)  # no game that goes on has lost one
        return self._seen(own)[where]

    def _seen(self, obs: NDArray) -> NDArray:
        """Copies observations out of the emulator's own array, which it will write into again."""
        obs = np.array(obs)
        obs[:, :, slice(*self._masked)] = 0
        return obs if self.frame_stack > 1 else obs[:, 0]


class AtariGame(Emulated, gym.Env[NDArray, np.int64]):
    """One game. With `render_mode` its pictures are those that a person would see."""

    def __init__(self, env: EnvSettings, render_mode: str | None = None) -> None:
        """Loads the game, as `AtariGames` does, without a limit of steps."""
        self._games = AtariGames(env, 1, limit=None, picture=render_mode is not None)
        self.metadata, self.spec = self._games.metadata, self._games.spec
        self.render_mode = render_mode
        self.observation_space = self._games.single_observation_space
        self.action_space = self._games.single_action_space
        self.frame_stack = env.frame_stack
        self.action_repeat, self.sticky = self._games.action_repeat, self._games.sticky

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray, dict[str, Any]]:
        """Begins an episode."""
        super().reset(seed=seed)
        obs, info = self._games.reset(seed=None if seed is None else [seed])
        return obs[0], info

    def step(self, action: Any) -> tuple[NDArray, float, bool, bool, dict[str, Any]]:
        """Holds the action for so many frames."""
        obs, rewards, over, _, _ = self._games.step(np.array([action]))
        return obs[0], float(rewards[0]), bool(over[0]), False, {}

    def render(self) -> NDArray:
        """The game as a person sees it, uint8 RGB; [210, 160, 3]."""
        return self._games.pictures()[0]

    def close(self) -> None:
        """Lets go of the emulator."""
        self._games.close()


def _load(
    name: str,
    num_envs: int,
    env: EnvSettings,
    height: int,
    width: int,
    colour: bool,
    frame_stack: int,
) -> gym.vector.VectorEnv:
    """Emulators that are played alike, however they are seen."""
    from ale_py.vector_env import AtariVectorEnv

    return AtariVectorEnv(
        name,
        num_envs,
        num_threads=1,  # on two cores more threads played no more frames a second of them
        max_num_frames_per_episode=NEVER,
        repeat_action_probability=env.sticky or 0.0,
        frameskip=env.action_repeat,
        noop_max=env.noop_max or 0,
        reward_clipping=False,  # returns are the game's; an agent may clip for itself
        use_fire_reset=True,
        img_height=height,
        img_width=width,
        grayscale=not colour,
        stack_num=frame_stack,
    )


def _masked_rows(env: EnvSettings, name: str) -> tuple[int, int]:
    """Rows of what is observed that are black.

    Raises:
        UserError: nobody has looked where this game's score stands.
    """
    rows = env.mask_rows
    if env.mask_score:
        if name not in SCORE_ROWS:
            raise UserError(
                f"Nobody has looked yet in which rows {env} shows its score; give them by --mask_rows, as in "
                f"--mask_rows 0 20 (the picture has {HEIGHT}). Known are {', '.join(sorted(SCORE_ROWS))}."
            )
        rows = SCORE_ROWS[name]
    if not rows:
        return 0, 0
    assert env.pixels is not None
    scale = env.pixels / HEIGHT
    return int(rows[0] * scale), int(np.ceil(rows[1] * scale))
