"""Stopping by what was held out."""

from collections.abc import Mapping
from typing import Any, Protocol


class HasWeights(Protocol):
    """A PyTorch module, as far as it is needed here."""

    def state_dict(self) -> dict[str, Any]:
        """Its weights by name."""
        ...

    def load_state_dict(self, state_dict: Mapping[str, Any], /) -> Any:
        """Takes over what `state_dict` gave."""
        ...


class EarlyStopping:
    """Keeps the weights of the pass with the lowest held-out loss, and says when to stop.

    Attributes:
        best_epoch: the pass whose weights are kept; -1 before the first.
    """

    def __init__(self, network: HasWeights, patience: int, has_held_out: bool) -> None:
        """Begins with the weights as they are.

        Args:
            patience: passes without a lower loss after which it is time to stop.
            has_held_out: without it there is nothing to stop by, and the last pass counts.
        """
        self._network, self._patience, self._has_held_out = network, patience, has_held_out
        self.best_epoch, self._best_loss, self._epoch = -1, float("inf"), -1
        self._best = self._copy()

    def watch(self, epoch: int, held_out_loss: float) -> None:
        """Looks at the weights after a pass."""
        self._epoch = epoch
        if not self._has_held_out or held_out_loss < self._best_loss:
            self.best_epoch, self._best_loss = epoch, held_out_loss
            self._best = self._copy()

    @property
    def finished(self) -> bool:
        """Whether the held-out loss has not fallen for `patience` passes."""
        passes = self._epoch - self.best_epoch
        return self._has_held_out and self.best_epoch >= 0 and passes >= self._patience

    def restore_best(self) -> None:
        """Puts the best weights back into the network."""
        self._network.load_state_dict(self._best)

    def _copy(self) -> dict[str, Any]:
        return {name: tensor.clone() for name, tensor in self._network.state_dict().items()}

    def state_dict(self) -> dict[str, Any]:
        """Everything it knows, to go on with."""
        return {
            "best": self._best,
            "best_epoch": self.best_epoch,
            "best_loss": self._best_loss,
            "epoch": self._epoch,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes over what `state_dict` gave."""
        self._best, self._epoch = state["best"], state["epoch"]
        self.best_epoch, self._best_loss = state["best_epoch"], state["best_loss"]
