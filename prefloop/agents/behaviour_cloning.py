"""Behaviour cloning: does what was shown, step by step.

Source: Pomerleau 1988, "ALVINN". Details: docs/bc.md.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from prefloop.agents.settings import BCSettings
from prefloop.data.segments import Segments
from prefloop.devices import to_tensor
from prefloop.early_stopping import EarlyStopping
from prefloop.optimizers import Adam
from prefloop.policies import Policy, copy_of
from prefloop.seeding import Stream, generator


class BehaviourCloning:
    """A policy on its way to the demonstrators': one pass over the demonstrations at a time.

    Attributes:
        policy: as it stands; `finish` puts the best one in its place.
    """

    def __init__(
        self,
        policy: Policy,
        segments: Segments,
        shown: NDArray,
        settings: BCSettings,
        seed: int,
        device: torch.device,
    ) -> None:
        """Splits the demonstrations into those that are learned from and those that are judged by.

        Args:
            policy: what to start from; it is left as it is.
            segments: only valid steps count.
            shown: positions of the demonstrations in `segments`; one that stands there twice counts
                twice.
        """
        self.settings, self.seed, self.device = settings, seed, device
        self.policy = copy_of(policy).to(device)
        self.optimizer = Adam(self.policy.parameters(), lr=settings.learning_rate)
        # whole segments are held out, however often they are shown and under whatever numbers:
        # neighbouring steps, and all the more the same ones, are too alike to judge by
        content = segments[shown].fingerprints
        order = generator(seed, Stream.HELD_OUT).permutation(np.unique(content))
        num_held_out = min(round(settings.held_out * len(order)), len(order) - 1)
        is_held_out = np.isin(content, order[:num_held_out])
        self._held_out = self._steps(segments[shown[is_held_out]])
        self._train = self._steps(segments[shown[~is_held_out]])
        self._stopping = EarlyStopping(
            self.policy, settings.patience, has_held_out=bool(len(self._held_out[0]))
        )

    @property
    def finished(self) -> bool:
        """Whether the held-out loss has not fallen for `patience` passes."""
        return self._stopping.finished

    @property
    def best_epoch(self) -> int:
        """The pass whose weights are kept."""
        return self._stopping.best_epoch

    def iterate(self, epoch: int) -> dict[str, float]:
        """One pass: raises the log-probability of the actions that were taken."""
        obs, actions = self._train
        rng = generator(self.seed, Stream.MINIBATCHES, epoch)
        losses = []
        order = torch.from_numpy(rng.permutation(len(obs))).to(self.device)
        for batch in order.split(self.settings.batch_size):
            loss = -self.policy.log_prob(obs[batch], actions[batch]).mean()
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            losses.append(loss.item())
        held_out_loss = float("nan")
        if len(self._held_out[0]):
            with torch.no_grad():
                held_out_loss = -self.policy.log_prob(*self._held_out).mean().item()
        self._stopping.watch(epoch, held_out_loss)
        return {"epoch": epoch, "loss": float(np.mean(losses)), "held_out_loss": held_out_loss}

    def finish(self) -> Policy:
        """The policy with the lowest held-out loss."""
        self._stopping.restore_best()
        return self.policy

    def _steps(self, segments: Segments) -> tuple[torch.Tensor, torch.Tensor]:
        obs, actions = segments.obs[segments.mask], segments.actions[segments.mask]
        return (
            to_tensor(obs, self.device),
            to_tensor(actions, self.device),
        )

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next pass depends on."""
        return {
            "policy": self.policy.state_dict(),
            "stopping": self._stopping.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes over what `state_dict` gave."""
        self.policy.load_state_dict(state["policy"])
        self.optimizer.load_state_dict(state["optimizer"])
        self._stopping.load_state_dict(state["stopping"])
