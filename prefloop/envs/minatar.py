"""MinAtar's five games, in ten by ten cells: `MinAtar/Breakout-v1`, with the actions that a game has a use for.

The package is under the GPL and is not among the dependencies: `pip install MinAtar`. Source: Young and Tian 2019,
arXiv:1903.03176. Episodes are cut after 1,000 steps, which its makers leave open, as in Lange 2022 (gymnax).
"""

import colorsys
import logging
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box, Discrete
from numpy.typing import NDArray

from prefloop.errors import UserError

NAMESPACE = "MinAtar/"
GAMES = ("asterix", "breakout", "freeway", "seaquest", "space_invaders")
STEPS = 1000  # of an episode, at most
LARGER = 20  # how many times, as people see it


def register() -> None:
    """Tells Gymnasium of the games, under the names that the package gives them."""
    for game in GAMES:
        env_id = f"{NAMESPACE}{game.title().replace('_', '')}-v1"
        if env_id not in gym.registry:
            entry = f"{__name__}:SmallGame"
            gym.register(env_id, entry_point=entry, max_episode_steps=STEPS, kwargs={"game": game})


class SmallGame(gym.Env[NDArray, np.int64]):
    """A game whose kinds of things are observed in a picture each: 255 where there is one, uint8 [10, 10, kinds]."""

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012 - Gymnasium's way

    def __init__(self, game: str, render_mode: str | None = None) -> None:
        """Loads a game.

        Raises:
            UserError: the package is not installed.
        """
        # it warns that it can't draw without Seaborn, which is not asked of it
        logging.disable(logging.WARNING)
        try:
            from minatar import Environment  # type: ignore[import-not-found, unused-ignore]
        except ImportError:
            raise UserError(
                "MinAtar's games need MinAtar, which is not installed: pip install MinAtar."
            ) from None
        finally:
            logging.disable(logging.NOTSET)
        self._game = Environment(game)
        self._actions = list(self._game.minimal_action_set())
        self.render_mode = render_mode
        self.observation_space = Box(0, 255, tuple(self._game.state_shape()), np.uint8)
        self.action_space = Discrete(len(self._actions))

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray, dict[str, Any]]:
        """Begins an episode."""
        super().reset(seed=seed)
        self._game.seed(int(self.np_random.integers(2**31)))
        self._game.reset()
        self._game.last_action = 0  # or the first action might be one of the episode before
        return self._observed(), {}

    def step(self, action: Any) -> tuple[NDArray, float, bool, bool, dict[str, Any]]:
        """Takes an action, or with a probability of 0.1 the one before."""
        reward, over = self._game.act(self._actions[int(action)])
        return self._observed(), float(reward), bool(over), False, {}

    def render(self) -> NDArray:
        """The cells, each kind of thing in a colour of its own; uint8 RGB, [200, 200, 3]."""
        seen = self._game.state()
        kinds = seen.shape[2]
        colours = [colorsys.hsv_to_rgb(kind / kinds, 0.7, 1.0) for kind in range(kinds)]
        palette = (255 * np.array([(0.0, 0.0, 0.0), *colours])).astype(np.uint8)
        top = (seen * (np.arange(kinds) + 1)).max(axis=2)
        return palette[top].repeat(LARGER, axis=0).repeat(LARGER, axis=1)

    def _observed(self) -> NDArray:
        return np.asarray(self._game.state(), np.uint8) * np.uint8(255)
