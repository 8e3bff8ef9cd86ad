"""Multi-layer perceptrons, and a quick way to compute with them."""

import functools
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from prefloop.seeding import RowGenerator


def mlp(
    sizes: Sequence[int],
    activation: Callable[[], nn.Module] = nn.ReLU,
    output_activation: Callable[[], nn.Module] = nn.Identity,
) -> nn.Sequential:
    """Builds a multi-layer perceptron.

    Args:
        sizes: width of every layer, input and output included; `[4, 32, 2]` has one hidden layer.
        activation: between hidden layers.
        output_activation: after the last layer.

    Returns:
        A network that maps `[..., sizes[0]]` to `[..., sizes[-1]]`.
    """
    layers: list[nn.Module] = []
    for i in range(len(sizes) - 1):
        is_last = i == len(sizes) - 2
        layers += [
            nn.Linear(sizes[i], sizes[i + 1]),
            (output_activation if is_last else activation)(),
        ]
    return nn.Sequential(*layers)


def layer_sizes(weights: dict[str, torch.Tensor]) -> list[int] | None:
    """Sizes of the `mlp` these weights belong to, input first; None if they belong to another."""
    num_layers = len(weights) // 2
    names = mlp_names(num_layers)
    if weights.keys() != set(names) or not names:
        return None
    matrices = [weights[f"{2 * i}.weight"] for i in range(num_layers)]
    biases = [weights[f"{2 * i}.bias"] for i in range(num_layers)]
    if any(matrix.ndim != 2 for matrix in matrices):
        return None
    sizes = [matrices[0].shape[1], *(matrix.shape[0] for matrix in matrices)]
    fits = all(
        tuple(matrix.shape) == (sizes[i + 1], sizes[i]) and tuple(bias.shape) == (sizes[i + 1],)
        for i, (matrix, bias) in enumerate(zip(matrices, biases, strict=True))
    )
    return sizes if fits else None


def mlp_names(num_layers: int) -> list[str]:
    """Names of the weights of an `mlp`, in order."""
    return [f"{2 * i}.{part}" for i in range(num_layers) for part in ("weight", "bias")]


def deviation_or_one(std: torch.Tensor) -> torch.Tensor:
    """What inputs are divided by: their standard deviation, and 1 where they do not vary.

    What never varies says nothing: it must not be blown up where it does vary later.

    Args:
        std: of each input; any shape, which the result has, too.
    """
    return torch.where(std > 1e-6, std, torch.ones_like(std))


class Normalisation(nn.Module):
    """A first layer that brings inputs to mean 0 and standard deviation 1.

    It could be folded into the weights after it, but not in their precision: with a mean of 1e6
    and a deviation of 0.01 nothing would be left of the inputs.

    Attributes:
        mean, std: of the inputs, float32; [input_dim] each.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, mean: torch.Tensor, std: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Inputs [..., input_dim], and what is made of them."""
        return (x - self.mean) / self.std


NORMALISATION = "normalise"  # its name in a network, and so in a checkpoint
NORMALISATION_WEIGHTS = (f"{NORMALISATION}.mean", f"{NORMALISATION}.std")


def with_normalisation(
    network: nn.Sequential, mean: torch.Tensor, std: torch.Tensor
) -> OrderedDict[str, nn.Module]:
    """The layers of a network and a `Normalisation` before them, as `nn.Sequential` takes them.

    The others keep their names, and with them the weights their place in a checkpoint.
    """
    return OrderedDict([(NORMALISATION, Normalisation(mean, std)), *network.named_children()])


class Residual(nn.Module):
    """What comes in, and what its layers make of it, added."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[..., width], and as much comes out."""
        return x + self.layers(x)


def residual_mlp(sizes: Sequence[int], expansion: int = 4) -> nn.Sequential:
    """Builds a residual network: each block adds to what the one before it gave.

    A block normalises its input, so that what it learns does not depend on how large the sum has
    grown; what goes out is normalised once more.

    Args:
        sizes: input, the width of each block, output; the blocks are equally wide.
        expansion: how many times wider than the block its hidden layer is.

    Returns:
        A network that maps `[..., sizes[0]]` to `[..., sizes[-1]]`.

    Raises:
        ValueError: blocks differ in width.

    Source: Lee et al. 2024, SimBa, arXiv:2410.09754, section 4.
    """
    first, *widths, last = sizes
    if len(set(widths)) != 1:
        raise ValueError(f"the blocks of a residual network are equally wide, not {widths}")
    width = widths[0]
    blocks = [
        Residual(
            nn.LayerNorm(width),
            nn.Linear(width, expansion * width),
            nn.ReLU(inplace=True),
            nn.Linear(expansion * width, width),
        )
        for _ in widths
    ]
    return nn.Sequential(
        nn.Linear(first, width), *blocks, nn.LayerNorm(width), nn.Linear(width, last)
    )


class StackedLinear(nn.Module):
    """The linear layers of several networks, each on its own inputs, as one product."""

    def __init__(self, layers: Sequence[nn.Linear]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.stack([layer.weight.detach().T for layer in layers]))
        self.bias = nn.Parameter(torch.stack([layer.bias.detach()[None] for layer in layers]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[networks, batch, inputs], and as many outputs."""
        return torch.baddbmm(self.bias, x, self.weight)


class StackedLayerNorm(nn.Module):
    """The normalisations of several networks, each with its own gain and shift."""

    def __init__(self, layers: Sequence[nn.LayerNorm]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.stack([layer.weight.detach()[None] for layer in layers]))
        self.bias = nn.Parameter(torch.stack([layer.bias.detach()[None] for layer in layers]))
        self.eps = layers[0].eps

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[networks, batch, width], and as much comes out."""
        normalised = functional.layer_norm(x, x.shape[-1:], eps=self.eps)
        return torch.addcmul(self.bias, normalised, self.weight)


def stacked(networks: Sequence[nn.Sequential]) -> nn.Sequential:
    """Networks of one shape as one, with the weights that they have now.

    Around products of a few hundred numbers PyTorch spends as much time as in them; this goes
    around them once for all networks.

    Args:
        networks: what `mlp` or `residual_mlp` returns.

    Returns:
        A network that maps `[networks, batch, sizes[0]]` to `[networks, batch, sizes[-1]]`.
    """
    return nn.Sequential(*(_stacked(layers) for layers in zip(*networks, strict=True)))


def _stacked(layers: Sequence[Any]) -> nn.Module:
    first = layers[0]
    if isinstance(first, nn.Linear):
        return StackedLinear(layers)
    if isinstance(first, nn.LayerNorm):
        return StackedLayerNorm(layers)
    if isinstance(first, Residual):
        return Residual(*stacked([layer.layers for layer in layers]))
    return first  # it has no weights


# memory is what takes the time of an activation, so it takes no more of it
InPlaceReLU = functools.partial(nn.ReLU, inplace=True)

NETWORKS: dict[str, Callable[[Sequence[int]], nn.Sequential]] = {
    "mlp": functools.partial(mlp, activation=InPlaceReLU),
    "residual": residual_mlp,
}
ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh}

NUMPY_ACTIVATIONS: dict[type[nn.Module], Callable[[NDArray], NDArray]] = {
    nn.Identity: lambda x: x,
    nn.ReLU: lambda x: np.maximum(x, 0),
    nn.Tanh: np.tanh,
}


def as_numpy_function(network: nn.Sequential) -> Callable[[NDArray], NDArray]:
    """Translates a network into a NumPy function, for acting.

    On a few dozen observations and a small network, PyTorch spends most of its time around the
    arithmetic rather than in it; NumPy is several times faster. No gradients are kept.

    Args:
        network: what `mlp` or `residual_mlp` returns, or one of `with_normalisation`. The function
            sees the weights as they are now: build it again after an update.

    Returns:
        A function from `[..., sizes[0]]` to `[..., sizes[-1]]`, float32.
    """
    layers = [_as_numpy(layer) for layer in network]

    def forward(x: NDArray) -> NDArray:
        for layer in layers:
            x = layer(x)
        return x

    return forward


def _as_numpy(layer: nn.Module) -> Callable[[NDArray], NDArray]:
    if isinstance(layer, nn.Linear):
        weight, bias = _arrays(layer.weight.T, layer.bias)
        return lambda x: x @ weight + bias
    if isinstance(layer, Normalisation):
        mean, std = _arrays(layer.mean, layer.std)
        return lambda x: (x - mean) / std
    if isinstance(layer, Residual):
        inner = as_numpy_function(layer.layers)
        return lambda x: x + inner(x)
    if isinstance(layer, nn.LayerNorm):
        gain, shift = _arrays(layer.weight, layer.bias)
        eps = np.float32(layer.eps)

        def normalise(x: NDArray) -> NDArray:
            centred = x - x.mean(axis=-1, keepdims=True)
            variance = np.square(centred).mean(axis=-1, keepdims=True)
            return centred / np.sqrt(variance + eps) * gain + shift

        return normalise
    return NUMPY_ACTIVATIONS[type(layer)]


def _arrays(*tensors: torch.Tensor) -> list[NDArray]:
    return [tensor.detach().cpu().numpy() for tensor in tensors]


def sample_categorical(logits: NDArray, rng: np.random.Generator | RowGenerator) -> NDArray:
    """Draws one action per row with probabilities softmax(logits), by the Gumbel-max trick.

    Args:
        logits: unnormalised log-probabilities; [batch, num_actions].
        rng: source of the randomness.

    Returns:
        Actions, int64; [batch].

    Source: Gumbel 1954; Maddison et al. 2014, arXiv:1411.0030.
    """
    return (logits + rng.gumbel(size=logits.shape)).argmax(axis=-1)
