"""SURF: pairs that nobody answered teach too, where the reward model is sure of the answer.

Source: Park et al. 2022, arXiv:2203.10050. Details: docs/surf.md.
"""

import numpy as np
import torch
from torch import nn

from prefloop.bradley_terry import bradley_terry_loss
from prefloop.data.preferences import Queries
from prefloop.rewards.pair_returns import PairReturns
from prefloop.rewards.reward_model import RewardModel
from prefloop.rewards.settings import SurfSettings


class Surf:
    """Pairs without answers that a fit learns from, and the crops that it sees of all pairs."""

    def __init__(
        self,
        settings: SurfSettings,
        model: RewardModel,
        unlabelled: Queries,
        device: torch.device,
    ) -> None:
        """Computes what is the same in every pass.

        Args:
            model: its inputs are standardised already.
        """
        self._settings, self._device = settings, device
        self._returns = PairReturns(model, unlabelled, device)

    def crops(
        self, returns: PairReturns, pairs: torch.Tensor, rng: np.random.Generator
    ) -> torch.Tensor:
        """Draws the steps that are kept of pairs' segments: one stretch of each, in a pair of equal shares.

        Returns:
            As `PairReturns` takes it; bool, [2 * pairs, length].
        """
        low, high = self._settings.smallest_crop, self._settings.largest_crop
        share = np.tile(rng.uniform(low, high, len(pairs)), 2)
        whole = returns.lengths(pairs).cpu().numpy()
        kept = np.clip(np.rint(share * whole), 1, whole)
        start = np.floor(rng.uniform(size=len(whole)) * (whole - kept + 1))
        step = np.arange(returns.longest)
        keep = (step >= start[:, None]) & (step < (start + kept)[:, None])
        return torch.as_tensor(keep, device=self._device)

    def loss(self, network: nn.Module, answers: int, rng: np.random.Generator) -> torch.Tensor:
        """Loss of a member on crops of pairs that it answers itself, where it is sure; a scalar.

        Args:
            answers: pairs of the batch that this is added to.
        """
        number = max(1, round(self._settings.unlabelled_ratio * answers))
        drawn = rng.integers(len(self._returns), size=number)
        pairs = torch.as_tensor(drawn, device=self._device)
        with torch.no_grad():
            first, second = self._returns([network], pairs)
            probability = torch.sigmoid(second - first)
        sure = torch.maximum(probability, 1 - probability) > self._settings.confidence
        keep = self.crops(self._returns, pairs, rng)
        first, second = self._returns([network], pairs, keep)
        answered = (probability > 0.5).float()
        cost = bradley_terry_loss(first, second, answered, weight=sure.float())
        # of all that were drawn: few that are sure count as few
        return self._settings.surf_weight * sure.float().mean() * cost
