"""Behaviour cloning: does what was shown, step by step.

Source: Pomerleau 1988, "ALVINN". Details: docs/bc.md.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from prefloop.agents.settings import BCSettings
from prefloop.data.frames import StackedFrames
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
        self._held_out = _Steps(segments, shown[is_held_out], device)
        self._train = _Steps(segments, shown[~is_held_out], device)
        self._stopping = EarlyStopping(
            self.policy, settings.patience, has_held_out=bool(len(self._held_out))
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
        rng = generator(self.seed, Stream.MINIBATCHES, epoch)
        losses = []
        order = torch.from_numpy(rng.permutation(len(self._train))).to(self.device)
        for batch in order.split(self.settings.batch_size):
            loss = -self.policy.log_prob(*self._train[batch]).mean()
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            losses.append(loss.item())
        held_out_loss = self._held_out_loss()
        self._stopping.watch(epoch, held_out_loss)
        return {"epoch": epoch, "loss": float(np.mean(losses)), "held_out_loss": held_out_loss}

    def finish(self) -> Policy:
        """The policy with the lowest held-out loss."""
        self._stopping.restore_best()
        return self.policy

    @torch.no_grad()
    def _held_out_loss(self) -> float:
        """The loss of held-out steps; NaN where there are none."""
        number = len(self._held_out)
        if not number:
            return float("nan")
        at_once = self.settings.batch_size if self._held_out.are_pictures else number
        parts = torch.arange(number, device=self.device).split(at_once)
        log_probs = [self.policy.log_prob(*self._held_out[part]) for part in parts]
        return -torch.cat(log_probs).mean().item()

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


class _Steps:
    """Steps that were shown, on a device; stacks of frames are made when they are asked for."""

    def __init__(self, segments: Segments, shown: NDArray, device: torch.device) -> None:
        obs, actions = segments.steps(shown)
        self._obs = obs if isinstance(obs, StackedFrames) else to_tensor(obs, device)
        self._actions, self._device = to_tensor(actions, device), device

    def __len__(self) -> int:
        return len(self._actions)

    @property
    def are_pictures(self) -> bool:
        """Whether what is made of all of them at once would not fit into memory."""
        return self._obs.ndim > 2

    def __getitem__(self, steps: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Observations and actions of some."""
        obs = self._obs
        if isinstance(obs, StackedFrames):
            return to_tensor(obs[steps.cpu().numpy()], self._device), self._actions[steps]
        return obs[steps], self._actions[steps]
