"""Direct preference optimisation: improves a policy on preferences without a reward model.

Source: Rafailov et al. 2023, arXiv:2305.18290. Details: docs/dpo.md.
"""

import math
from typing import Any

import numpy as np
import torch

from prefloop.agents.settings import DPOSettings
from prefloop.bradley_terry import agreement, bradley_terry_loss
from prefloop.data.preferences import Preferences
from prefloop.devices import to_tensor
from prefloop.optimizers import Adam
from prefloop.policies import Policy, copy_of
from prefloop.seeding import Stream, generator


class DPO:
    """A policy on its way from its reference: one pass over the preferences at a time.

    Attributes:
        policy: starts as the reference.
    """

    finished = False  # there is no sign but the number of passes; beta holds the policy back

    def __init__(
        self,
        reference: Policy,
        preferences: Preferences,
        settings: DPOSettings,
        seed: int,
        device: torch.device,
    ) -> None:
        """Computes what the reference thinks of every segment, once.

        Raises:
            UserError: the preferences say nothing about what is better.
        """
        preferences.require_something_to_learn()
        self.settings, self.seed, self.device = settings, seed, device
        self.policy = copy_of(reference).to(device)
        self.optimizer = Adam(self.policy.parameters(), lr=settings.learning_rate)
        answered = preferences.answered.compact
        segments = answered.segments
        self._first, self._second = map(torch.as_tensor, (answered.first, answered.second))
        self._mask, self._segments = torch.as_tensor(segments.mask), segments
        # the conservative variant believes that a share of the labels is turned round
        flip = settings.conservative
        labels = (1 - flip) * answered.labels + flip * (1 - answered.labels)
        self._labels = torch.as_tensor(labels.astype(np.float32), device=device)
        with torch.no_grad():
            frozen = copy_of(reference).to(device)
            # as many at a time as are learned from: all pictures at once would not fit into memory
            parts = torch.arange(len(segments)).split(2 * settings.batch_size)
            self._reference_log_probs = torch.cat([self._log_probs(frozen, x) for x in parts])

    @property
    def num_epochs(self) -> int:
        """Number of passes that make up the updates."""
        batches = math.ceil(len(self._labels) / self.settings.batch_size)
        return math.ceil(self.settings.updates / batches)

    def iterate(self, epoch: int) -> dict[str, float]:
        """One pass over the preferences in random minibatches."""
        rng = generator(self.seed, Stream.MINIBATCHES, epoch)
        losses, margins, right = [], [], []
        for batch in torch.from_numpy(rng.permutation(len(self._labels))).split(
            self.settings.batch_size
        ):
            chosen, place = torch.unique(
                torch.cat([self._first[batch], self._second[batch]]), return_inverse=True
            )
            # the implicit reward of a segment: beta log(policy / reference)
            log_ratio = self._log_probs(self.policy, chosen) - self._reference_log_probs[chosen]
            first, second = (self.settings.beta * log_ratio[place]).chunk(2)
            labels = self._labels[batch]
            loss = bradley_terry_loss(first, second, labels)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            losses.append(loss.item())
            gap = (second - first).detach()
            # a tie has no right side
            margins += (gap * torch.sign(labels - 0.5))[labels != 0.5].tolist()
            right += agreement(gap, labels).tolist()
        return {
            "epoch": epoch,
            "loss": float(np.mean(losses)),
            "accuracy": float(np.mean(right)),
            "margin": float(np.mean(margins)),
        }

    def finish(self) -> Policy:
        """The policy after the last pass."""
        return self.policy

    def _log_probs(self, policy: Policy, chosen: torch.Tensor) -> torch.Tensor:
        """Log-probability of all actions of some segments, summed over valid steps; [segments]."""
        mask, some = self._mask[chosen], chosen.numpy()
        segment = torch.arange(len(chosen)).repeat_interleave(mask.sum(1)).to(self.device)
        obs, actions = (x[some][mask.numpy()] for x in (self._segments.obs, self._segments.actions))
        log_prob = policy.log_prob(to_tensor(obs, self.device), to_tensor(actions, self.device))
        return log_prob.new_zeros(len(chosen)).index_add(0, segment, log_prob)

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next pass depends on."""
        return {"policy": self.policy.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes over what `state_dict` gave."""
        self.policy.load_state_dict(state["policy"])
        self.optimizer.load_state_dict(state["optimizer"])
