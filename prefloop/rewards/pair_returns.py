"""Returns that a reward model's members predict of both segments of pairs, with gradients."""

from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from prefloop.data.preferences import Queries
from prefloop.devices import to_tensor
from prefloop.rewards.reward_model import RewardModel


class PairReturns:
    """Predicted returns of the segments of some pairs, which stay where a fit needs them."""

    def __init__(self, model: RewardModel, queries: Queries, device: torch.device) -> None:
        """Computes what is the same in every pass.

        Args:
            model: its inputs are standardised already.
        """
        self._model, self._device, self._segments = model, device, queries.segments
        self._first, self._second = self._tensor(queries.first), self._tensor(queries.second)
        self._mask = self._tensor(self._segments.mask)
        self._full = bool(self._segments.mask.all())
        self._inputs: torch.Tensor | None = None
        if not model.encoder_learns:
            with torch.no_grad():
                self._inputs = model.inputs(
                    self._tensor(np.asarray(self._segments.obs)),
                    self._tensor(self._segments.actions),
                )

    def __call__(
        self,
        networks: Iterable[nn.Module],
        pairs: torch.Tensor,
        keep: torch.Tensor | None = None,
        moves: tuple[int, np.random.Generator] | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns that members predict of first and second segments; [members, pairs] each.

        Args:
            networks: the members.
            pairs: positions of pairs; [pairs].
            keep: which steps count of the first segments and then of the second ones, as
                `lengths` has them; bool, [2 * pairs, longest]. All that there are if not given.
            moves: by how many pixels pictures are moved at most, and what draws it; None: they are not.
        """
        # a segment that stands in several pairs is computed once
        chosen, place = torch.unique(self._both(pairs), return_inverse=True)
        steps = self._inputs_of(chosen, moves)
        rewards = torch.stack([network(steps)[:, 0] for network in networks])
        if self._full:
            dense = rewards.reshape(len(rewards), len(chosen), -1)
        elif keep is None:  # without the padding in between
            lengths = self._mask[chosen].sum(1)
            segment = torch.arange(len(chosen), device=lengths.device).repeat_interleave(lengths)
            returns = rewards.new_zeros(len(rewards), len(chosen)).index_add(1, segment, rewards)
            return self._apart(returns[:, place])
        else:
            dense = rewards.new_zeros(len(rewards), *self._mask[chosen].shape)
            dense = dense.masked_scatter(self._mask[chosen], rewards)
        if keep is None:
            return self._apart(dense.sum(-1)[:, place])
        return self._apart((dense[:, place] * keep).sum(-1))

    def lengths(self, pairs: torch.Tensor) -> torch.Tensor:
        """Steps of the first segments of pairs and then of the second ones; [2 * pairs]."""
        return self._mask[self._both(pairs)].sum(1)

    @property
    def longest(self) -> int:
        """Steps of the longest segment."""
        return self._mask.shape[1]

    def __len__(self) -> int:
        """Number of pairs."""
        return len(self._first)

    def _both(self, pairs: torch.Tensor) -> torch.Tensor:
        return torch.cat([self._first[pairs], self._second[pairs]])

    @staticmethod
    def _apart(returns: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        first, second = returns.chunk(2, dim=1)
        return first, second

    def _inputs_of(
        self, chosen: torch.Tensor, moves: tuple[int, np.random.Generator] | None
    ) -> torch.Tensor:
        """Computes the inputs of the heads for the steps of some segments, one after the other."""
        if self._inputs is None:  # they stay as they came, and are converted a batch at a time
            some, segments = chosen.cpu().numpy(), self._segments
            mask = segments.mask[some]
            obs, actions = segments.obs[some][mask], segments.actions[some][mask]
            shifts = None
            if moves is not None:
                most, rng = moves
                shifts = self._tensor(rng.integers(-most, most + 1, (len(obs), 2)))
            return self._model.inputs(self._tensor(obs), self._tensor(actions), shifts)
        steps = self._inputs[chosen]
        return steps.reshape(-1, steps.shape[-1]) if self._full else steps[self._mask[chosen]]

    def _tensor(self, array: NDArray) -> torch.Tensor:
        return to_tensor(array, self._device)
