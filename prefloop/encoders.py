"""From observations to features: what stands between an environment and the head of a network."""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import torch
from torch import nn

from prefloop.envs.spaces import Spaces
from prefloop.errors import UserError


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


class Convolutions(nn.Module):
    """Convolutions over a stack of pictures, and one layer over all that they give.

    Attributes:
        kind, features: as in `Encoder`.
    """

    def __init__(
        self, kind: str, spaces: Spaces, layers: Sequence[nn.Module], features: int
    ) -> None:
        """Draws the weights as PPO's implementations do: orthogonal, without biases.

        Args:
            spaces: of pictures.
            layers: from [batch, channels, height, width] to maps of features.
            features: how many are made of these.

        Raises:
            UserError: observations are no pictures, or too small for these layers.
        """
        super().__init__()
        self.kind, self.features = kind, features
        self._axes, self._channels, self._shape = _layout(spaces)
        maps = nn.Sequential(*layers, nn.Flatten())
        try:
            with torch.no_grad():
                flat = maps(torch.zeros(1, self._channels, *self._shape)).shape[1]
        except RuntimeError:
            side = " x ".join(map(str, self._shape))
            raise UserError(
                f"Pictures of {side} are too small for --encoder {kind}; take small, or larger ones."
            ) from None
        self.layers = nn.Sequential(*maps, nn.Linear(flat, features), nn.ReLU())
        for layer in self.layers.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                nn.init.orthogonal_(layer.weight, math.sqrt(2))
                nn.init.zeros_(layer.bias)  # type: ignore[arg-type] # all have one
        # processors and GPUs convolve quicker where the channels of a pixel lie side by side
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, obs: torch.Tensor, shifts: torch.Tensor | None = None) -> torch.Tensor:
        """Pictures as they are stored, [..., *obs_shape], to features, [..., features].

        Args:
            shifts: pixels by which each observation is moved before it is looked at, down and right; int64,
                [..., 2]; None: it is not.
        """
        leading = obs.shape[: obs.ndim - len(self._axes)]
        pictures = obs.reshape(-1, *obs.shape[len(leading) :])
        if self._axes == "fhwc":  # the colours of each picture, one after the other
            pictures = pictures.movedim(-1, 2).flatten(1, 2)
        elif self._axes == "hwc":
            pictures = pictures.movedim(-1, 1)
        elif self._axes == "hw":
            pictures = pictures[:, None]
        if shifts is not None:
            pictures = _moved(pictures, shifts.reshape(-1, 2))
        x = pictures.to(torch.float32, memory_format=torch.channels_last) / 255
        return self.layers(x).reshape(*leading, self.features)


class Apart(nn.Module):
    """Several encoders of the same pictures, whose features stand one after the other: one for each member of an ensemble.

    Attributes:
        kind: of each of them.
        features: of all of them.
    """

    def __init__(self, encoders: Sequence[Convolutions]) -> None:
        super().__init__()
        self.encoders = nn.ModuleList(encoders)
        self.kind = encoders[0].kind
        self.features = sum(encoder.features for encoder in encoders)

    def of(self, member: int) -> Convolutions:
        """A member's own."""
        encoder = self.encoders[member]
        assert isinstance(encoder, Convolutions)
        return encoder

    def forward(self, obs: torch.Tensor, shifts: torch.Tensor | None = None) -> torch.Tensor:
        """As `Convolutions`."""
        return torch.cat([encoder(obs, shifts) for encoder in self.encoders], dim=-1)


class OwnFeatures(nn.Module):
    """Takes what one of `Apart`'s encoders saw, and all that follows what they saw."""

    def __init__(self, encoder: int, apart: Apart) -> None:
        super().__init__()
        self._own = apart.features // len(apart.encoders)
        self._start, self._end = encoder * self._own, apart.features

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[..., features and more] to [..., own features and more]."""
        return torch.cat(
            [x[..., self._start : self._start + self._own], x[..., self._end :]], dim=-1
        )


def _moved(pictures: torch.Tensor, shifts: torch.Tensor) -> torch.Tensor:
    """Pictures [batch, channels, height, width], each moved by its shift [batch, 2]; edges are repeated."""
    batch, channels, height, width = pictures.shape
    device = pictures.device
    rows = torch.arange(height, device=device) - shifts[:, :1]
    columns = torch.arange(width, device=device) - shifts[:, 1:]
    return pictures[
        torch.arange(batch, device=device)[:, None, None, None],
        torch.arange(channels, device=device)[:, None, None],
        rows.clamp(0, height - 1)[:, None, :, None],
        columns.clamp(0, width - 1)[:, None, None, :],
    ]


def _layout(spaces: Spaces) -> tuple[str, int, tuple[int, ...]]:
    """Which axis of an observation is which, how many channels it has in all, and its height and width.

    Raises:
        UserError: observations are no pictures.
    """
    shape, stack = spaces.obs_shape, spaces.frame_stack
    if not is_pictures(spaces):
        raise UserError(f"An encoder of pictures can't see {spaces}.")
    if stack > 1:
        return (
            ("fhwc", stack * shape[3], shape[1:3])
            if len(shape) == 4
            else ("fhw", stack, shape[1:3])
        )
    if len(shape) == 2:
        return "hw", 1, shape
    return ("chw", shape[0], shape[1:3]) if shape[0] < shape[2] else ("hwc", shape[2], shape[:2])


def is_pictures(spaces: Spaces) -> bool:
    """Whether observations are pictures, or stacks of them: whole numbers from 0 to 255."""
    axes = len(spaces.obs_shape) - (spaces.frame_stack > 1)
    return spaces.obs_dtype == "uint8" and axes in (2, 3)


def nature(spaces: Spaces) -> Convolutions:
    """The convolutions of DQN, for 84 pixels. Source: Mnih et al. 2015, doi:10.1038/nature14236."""
    channels = _layout(spaces)[1]
    return Convolutions(
        "nature",
        spaces,
        [
            nn.Conv2d(channels, 32, 8, stride=4), nn.ReLU(),
            nn.Conv2d(32, 64, 4, stride=2), nn.ReLU(),
            nn.Conv2d(64, 64, 3), nn.ReLU(),
        ],
        features=512,
    )  # fmt: skip


def small(spaces: Spaces) -> Convolutions:
    """Convolutions that a laptop trains, for 42 pixels, and finer ones below 32, where each counts.

    Strides are of two where DQN's first is of four, by which a ball of a pixel or two is lost: docs/pictures.md.
    """
    _, channels, shape = _layout(spaces)
    if min(shape) < 32:
        fine = [
            nn.Conv2d(channels, 16, 3, padding=1), nn.ReLU(),
            nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.ReLU(),
            nn.Conv2d(32, 32, 3, stride=2, padding=1), nn.ReLU(),
        ]  # fmt: skip
        return Convolutions("small", spaces, fine, features=128)
    coarse = [
        nn.Conv2d(channels, 16, 4, stride=2), nn.ReLU(),
        nn.Conv2d(16, 32, 4, stride=2), nn.ReLU(),
        nn.Conv2d(32, 32, 3, stride=2), nn.ReLU(),
    ]  # fmt: skip
    return Convolutions("small", spaces, coarse, features=256)


class SpatialSoftmax(nn.Module):
    """Where each map is brightest: the expected place under a softmax over its pixels.

    Source: Levine et al. 2016, arXiv:1504.00702, section 5.1.
    """

    def __init__(self, maps: int) -> None:
        super().__init__()
        self.sharpness = nn.Parameter(torch.full((maps, 1), 10.0))  # 1 / temperature

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps [batch, maps, height, width] to column and row of each, from -1 to 1; [batch, 2 * maps]."""
        height, width = x.shape[2:]
        places = torch.softmax(x.flatten(2) * self.sharpness, dim=-1).reshape(x.shape)
        columns = torch.linspace(-1, 1, width, device=x.device)
        rows = torch.linspace(-1, 1, height, device=x.device)
        return torch.cat([places.sum(2) @ columns, places.sum(3) @ rows], dim=1)


def keypoints(spaces: Spaces) -> Convolutions:
    """Where things are, and nothing else: a few places, for rewards that few answers teach.

    Source: Finn et al. 2016, arXiv:1509.06113, section 4.2, without the reconstruction.
    """
    _, channels, shape = _layout(spaces)
    stride = 1 if min(shape) < 32 else 2
    return Convolutions(
        "keypoints",
        spaces,
        [
            nn.Conv2d(channels, 16, 3, stride=stride, padding=1), nn.ReLU(),
            nn.Conv2d(16, 16, 3, padding=1), SpatialSoftmax(16),
        ],
        features=64,
    )  # fmt: skip


class _ResidualBlock(nn.Module):
    """Two convolutions whose result is added to what came in."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.ReLU(), nn.Conv2d(channels, channels, 3, padding=1),
            nn.ReLU(), nn.Conv2d(channels, channels, 3, padding=1),
        )  # fmt: skip

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps [batch, channels, height, width], and as many come out."""
        return x + self.layers(x)


def impala(spaces: Spaces) -> Convolutions:
    """Fifteen convolutions in residual blocks, for GPUs. Source: Espeholt et al. 2018, arXiv:1802.01561, figure 3."""
    channels = _layout(spaces)[1]
    layers: list[nn.Module] = []
    for width in (16, 32, 32):
        layers += [
            nn.Conv2d(channels, width, 3, padding=1), nn.MaxPool2d(3, stride=2, padding=1),
            _ResidualBlock(width), _ResidualBlock(width),
        ]  # fmt: skip
        channels = width
    return Convolutions("impala", spaces, [*layers, nn.ReLU()], features=256)


# how each kind is made for an environment
ENCODERS: dict[str, Callable[[Spaces], Encoder]] = {
    Vectors.kind: lambda spaces: Vectors(spaces.obs_size),
    "small": small,
    "nature": nature,
    "impala": impala,
    "keypoints": keypoints,
}
LARGE = 64  # pixels a side from which on DQN's convolutions are the usual ones


def make_encoder(spaces: Spaces, kind: str = "") -> Encoder:
    """An encoder for what is observed.

    Args:
        kind: of `ENCODERS`; if not given, none for vectors, and of pictures by their size.

    Raises:
        UserError: it is not for what is observed.
    """
    if not kind:
        kind = Vectors.kind
        if is_pictures(spaces):
            kind = "nature" if min(_layout(spaces)[2]) >= LARGE else "small"
    if kind == Vectors.kind and len(spaces.obs_shape) != 1:
        shape = " x ".join(map(str, spaces.obs_shape))
        raise UserError(
            f"Nothing here learns from observations of {shape} in {spaces.obs_dtype}: they are to be vectors, or "
            "pictures of whole numbers from 0 to 255 (uint8); --pixels 84 makes such pictures."
        )
    return ENCODERS[kind](spaces)


def make_encoders(
    spaces: Spaces, kind: str, members: int, make: Callable[[Spaces], Encoder] | None = None
) -> Apart:
    """An encoder of pictures for each member of an ensemble.

    Args:
        kind: as of `make_encoder`.
        make: makes one; if not given, it follows from the kind.

    Raises:
        UserError: observations are no pictures.
    """
    encoders = [make(spaces) if make else make_encoder(spaces, kind) for _ in range(members)]
    pictures = [encoder for encoder in encoders if isinstance(encoder, Convolutions)]
    if len(pictures) < members:
        raise UserError(
            "--reward_encoders apart is for rewards of pictures; vectors have no encoder."
        )
    return Apart(pictures)
