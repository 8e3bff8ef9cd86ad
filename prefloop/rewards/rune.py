"""RUNE: pay for what the members of a reward disagree about, less and less.

Source: Liang et al. 2022, arXiv:2205.12401. Details: docs/rune.md.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from prefloop.data.replay_buffer import ReplayBuffer, Transitions
from prefloop.rewards.reward_model import RewardModel
from prefloop.rewards.settings import RuneSettings


class Rune:
    """Adds the members' deviation to a learned reward, when steps are drawn to learn from.

    So it always is that of the reward as it stands, and of the share that is left by now.
    """

    def __init__(
        self, settings: RuneSettings, model: Callable[[], RewardModel], steps: Callable[[], int]
    ) -> None:
        """Pays nothing yet.

        Args:
            model: gives the reward as it stands.
            steps: gives how much experience there is.
        """
        self._settings, self._model, self._steps = settings, model, steps

    def __call__(
        self, batch: Transitions, replay: ReplayBuffer, rng: np.random.Generator
    ) -> Transitions:
        """Adds to the rewards of steps what the members' disagreement about them is worth."""
        left = self._settings.rune_beta * (1 - self._settings.rune_decay) ** self._steps()
        paid = left * self._model().disagreement(batch.obs, batch.actions)
        return replace(batch, rewards=(batch.rewards + paid).astype(np.float32))
