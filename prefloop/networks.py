"""Multi-layer perceptrons, and a quick way to compute with them."""

from collections import OrderedDict
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

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
    """What the weights of an `mlp` are called, in order."""
    return [f"{2 * i}.{part}" for i in range(num_layers) for part in ("weight", "bias")]


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


ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh}

NUMPY_ACTIVATIONS: dict[type[nn.Module], Callable[[NDArray], NDArray]] = {
    nn.Identity: lambda x: x,
    nn.ReLU: lambda x: np.maximum(x, 0),
    nn.Tanh: np.tanh,
}


def as_numpy_function(network: nn.Sequential) -> Callable[[NDArray], NDArray]:
    """The same network as a NumPy function, for acting.

    On a few dozen observations and a small network, PyTorch spends most of its time around the
    arithmetic rather than in it; NumPy is several times faster. No gradients are kept.

    Args:
        network: what `mlp` returns, or one of `with_normalisation`. The function sees the weights as
            they are now: build it again after an update.

    Returns:
        A function from `[..., sizes[0]]` to `[..., sizes[-1]]`, float32.
    """
    layers: list[Callable[[NDArray], NDArray]] = []
    for layer in network:
        if isinstance(layer, nn.Linear):
            weight, bias = (p.detach().cpu().numpy() for p in (layer.weight, layer.bias))
            layers.append(lambda x, weight=weight, bias=bias: x @ weight.T + bias)  # type: ignore[misc]
        elif isinstance(layer, Normalisation):
            mean, std = layer.mean.cpu().numpy(), layer.std.cpu().numpy()
            layers.append(lambda x, mean=mean, std=std: (x - mean) / std)  # type: ignore[misc]
        else:
            layers.append(NUMPY_ACTIVATIONS[type(layer)])

    def forward(x: NDArray) -> NDArray:
        for layer in layers:
            x = layer(x)
        return x

    return forward


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
