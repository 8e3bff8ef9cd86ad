"""PyTorch's Adam without the wait before its first step, and many weights as one for it."""

import inspect
from collections.abc import Iterable
from typing import Any

import torch


class Adam(torch.optim.Adam):
    """`torch.optim.Adam` in arithmetic and in saved state.

    PyTorch wraps an optimizer's methods so that `torch.compile` leaves them alone, and the first
    call of a wrapped method imports the whole compiler: over a second and some 70 MB, which a
    program that never compiles gets nothing for. Here the methods are taken out of their wrappers.

    Numbers below 1e-38 count as 0. That is where averages end of what no gradient reaches any more,
    too small to move a weight; on many processors a step over them takes four times as long.
    """

    add_param_group = inspect.unwrap(torch.optim.Adam.add_param_group)
    state_dict = inspect.unwrap(torch.optim.Adam.state_dict)
    load_state_dict = inspect.unwrap(torch.optim.Adam.load_state_dict)
    zero_grad = inspect.unwrap(torch.optim.Adam.zero_grad)
    # the wrapper of `step` also switches gradients off
    _unwrapped_step = torch.no_grad()(inspect.unwrap(torch.optim.Adam.step))

    def step(self, closure: Any = None) -> Any:
        """Moves the weights once; see `torch.optim.Adam.step`."""
        # no longer than here: simulators are to compute alike in every process
        torch.set_flush_denormal(True)
        try:
            return self._unwrapped_step(closure)
        finally:
            torch.set_flush_denormal(False)


class FlatWeights:
    """Weights one after another in one tensor: what is done to all takes one call, not one each.

    The weights themselves stay what and where they are, as views of it; so do their gradients.

    Attributes:
        weights: as they were given.
        flat: all their numbers, and in `flat.grad` those of the gradients; [numbers].
    """

    def __init__(self, weights: Iterable[torch.Tensor]) -> None:
        """Moves the weights; a module that has them must not be moved to a device after it."""
        self.weights = list(weights)
        self.flat = torch.cat([weight.detach().reshape(-1) for weight in self.weights])
        self.flat.grad = torch.zeros_like(self.flat)
        sizes = [weight.numel() for weight in self.weights]
        parts = zip(self.weights, self.flat.split(sizes), self.flat.grad.split(sizes), strict=True)
        for weight, numbers, gradient in parts:
            weight.data = numbers.view_as(weight)
            if weight.requires_grad:
                weight.grad = gradient.view_as(weight)

    def backward(self, loss: torch.Tensor) -> None:
        """Fills `flat.grad` with the loss's gradients, and leaves those of other weights alone."""
        assert self.flat.grad is not None
        self.flat.grad.zero_()
        loss.backward(inputs=self.weights)
