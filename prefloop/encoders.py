"""From observations to features: what stands between an environment and the head of a network."""

from collections.abc import Callable, Iterator
from typing import Protocol

import torch
from torch import nn

from prefloop.envs.spaces import Spaces


class Encoder(Protocol):
    """From observations as they are stored to features; a PyTorch module where it has weights."""

    @property
    def kind(self) -> str:
        """Its name, as run.json holds it (`ENCODERS`)."""
        ...

    @property
    def features(self) -> int:
        """How many it gives."""
        ...

    def parameters(self) -> Iterator[nn.Parameter]:
        """What is learned, if anything is."""
        ...

    def __call__(self, obs: torch.Tensor) -> torch.Tensor:
        """Observations [..., *obs_shape] to features, float32; [..., features]."""
        ...


class Vectors:
    """Takes vectors as they are; has no weights, and leaves no trace in a file of weights."""

    kind = "vectors"

    def __init__(self, size: int) -> None:
        self.features = size

    def parameters(self) -> Iterator[nn.Parameter]:
        """None."""
        return iter(())

    def __call__(self, obs: torch.Tensor) -> torch.Tensor:
        """Observations [..., size] in float32."""
        return obs.float()


# how each kind is made for an environment
ENCODERS: dict[str, Callable[[Spaces], Encoder]] = {
    Vectors.kind: lambda spaces: Vectors(spaces.obs_size),
}
