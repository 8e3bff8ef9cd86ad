"""Stochastic policies: what an action's probability is, and how one is drawn.

The weights of those here are an `mlp`'s, under the same names, so that checkpoints of scripts and of
this library are interchangeable. A Gaussian policy adds its spread and its environment's bounds.
"""

import copy
import math
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from prefloop.checkpoints import require_readable
from prefloop.devices import to_tensor
from prefloop.encoders import make_encoder
from prefloop.envs.spaces import Spaces
from prefloop.errors import UserError
from prefloop.networks import (
    ACTIVATIONS,
    NORMALISATION,
    as_numpy_function,
    mlp,
    sample_categorical,
    with_normalisation,
)
from prefloop.seeding import Rng

# observations [batch, *obs_shape], source of randomness, whether to be greedy -> actions
Draw = Callable[[NDArray, Rng, bool], NDArray]
P = TypeVar("P", bound="Policy")


class Policy(Protocol):
    """What a policy does; a PyTorch module with three methods and a fact more.

    Attributes:
        evaluates_greedily: whether its greedy actions are what it is judged by, since what it draws is for learning.
    """

    evaluates_greedily: bool

    def log_prob(self, obs: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
        """Log-probability, or log-density, of actions in observations [..., *obs_shape]; [...]."""
        ...

    def act(self, obs: NDArray, rng: Rng, greedy: bool = False) -> NDArray:
        """Actions as the environment receives them.

        Args:
            obs: [batch, *obs_shape].
            rng: source of the randomness.
            greedy: take the most probable action instead of sampling one.

        Returns:
            int64 [batch] where they are discrete, otherwise float32 [batch, action_dim].
        """
        ...

    def description(self) -> dict[str, Any]:
        """Facts that its weights can't say, as run.json holds them: its `kind` (`KINDS`) and sizes."""
        ...

    # of nn.Module
    def parameters(self) -> Iterator[nn.Parameter]:
        """Tensors that are learned."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Its weights by name."""
        ...

    def load_state_dict(self, state_dict: Mapping[str, Any], /) -> Any:
        """Takes over what `state_dict` gave."""
        ...

    def to(self: P, device: torch.device | str, /) -> P:
        """Moves the weights."""
        ...


ENCODER = "encoder"  # its name in a network, and so in a checkpoint
BEFORE_FEATURES = (ENCODER, NORMALISATION)


class _Network(nn.Sequential):
    """The layers of an `mlp`, and before them an encoder of pictures, or a normalisation of vectors."""

    def forward(self, obs: torch.Tensor) -> torch.Tensor:
        """Observations [..., *obs_shape] to what the last layer gives, [..., num_outputs]."""
        return self.outputs(self.features(obs))

    def features(self, obs: torch.Tensor) -> torch.Tensor:
        """Inputs of the `mlp`, and of a value function beside it; float32, [..., num_features]."""
        encoder, normalise = (self._modules.get(name) for name in BEFORE_FEATURES)
        features = obs.float() if encoder is None else encoder(obs)
        return features if normalise is None else normalise(features)

    def outputs(self, features: torch.Tensor) -> torch.Tensor:
        """Outputs of the `mlp` for its inputs `features`; [..., num_outputs]."""
        for name, layer in self._modules.items():
            if name not in BEFORE_FEATURES and layer is not None:
                features = layer(features)
        return features

    @property
    def num_features(self) -> int:
        """Size of `features`."""
        layers = (layer for name, layer in self._modules.items() if name != ENCODER)
        return next(layer.in_features for layer in layers if isinstance(layer, nn.Linear))

    def _described(self) -> dict[str, Any]:
        """Sizes and activation, and the encoder if there is one."""
        encoder: Any = self._modules.get(ENCODER)
        layers = [layer for name, layer in self._modules.items() if name != ENCODER]
        linear = [layer for layer in layers if isinstance(layer, nn.Linear)]
        kinds = {kind: name for name, kind in ACTIVATIONS.items()}
        activation = next((kinds[type(layer)] for layer in layers if type(layer) in kinds), "relu")
        return {
            "hidden_sizes": [layer.out_features for layer in linear[:-1]],
            "activation": activation,
            **({} if encoder is None else {ENCODER: encoder.kind}),
        }


class CategoricalPolicy(_Network):
    """Discrete actions with probabilities softmax(logits); built of the layers of an `mlp`."""

    kind = "categorical"
    evaluates_greedily = False

    def log_prob(self, obs: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
        """Log-probability of actions [...] in observations [..., *obs_shape]; [...]."""
        log_probs = functional.log_softmax(self(obs), dim=-1)
        return log_probs.gather(-1, actions[..., None])[..., 0]

    def evaluate_actions(
        self, features: torch.Tensor, actions: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Log-probability of actions [...], and the policy's entropy in nats; [...] both.

        Args:
            features: of the observations, as `features` gives them, so that a value function can share them.
        """
        log_probs = functional.log_softmax(self.outputs(features), dim=-1)
        entropy = -(log_probs.exp() * log_probs).sum(-1)
        return log_probs.gather(-1, actions[..., None])[..., 0], entropy

    def sampler(self) -> Draw:
        """A function that draws actions with the weights of now."""
        logits = _float32_function(self)

        def draw(obs: NDArray, rng: Rng, greedy: bool) -> NDArray:
            return logits(obs).argmax(axis=-1) if greedy else sample_categorical(logits(obs), rng)

        return draw

    actor = sampler  # nothing is clipped

    def act(self, obs: NDArray, rng: Rng, greedy: bool = False) -> NDArray:
        """Draws actions [batch], int64, for observations [batch, *obs_shape]."""
        return self.actor()(obs, rng, greedy)

    def description(self) -> dict[str, Any]:
        """Kind, hidden sizes, activation, and the encoder if there is one."""
        return {"kind": self.kind, **self._described()}


class GaussianPolicy(_Network):
    """Continuous actions, normal around the output of an `mlp`, with a spread of their own.

    Output and spread are in units of the bounds, where -1 is the lower and 1 the upper one, so that
    the same network can begin with any environment. Actions that go in or out are the
    environment's. It receives them clipped to its bounds; probabilities are those before clipping,
    densities those in units of the bounds.

    Attributes:
        log_std: logarithm of the standard deviation, the same in every observation; [action_dim].
        low, high: the environment's bounds; [action_dim].
        shift, scale: an action is shift + scale * (what is drawn): centre and half the width of the
            bounds; 0 and 1 in checkpoints that come from before there were units; [action_dim].
    """

    kind = "gaussian"
    evaluates_greedily = False

    low: torch.Tensor
    high: torch.Tensor
    shift: torch.Tensor
    scale: torch.Tensor

    def __init__(
        self,
        layers: nn.Sequential | OrderedDict[str, nn.Module],
        low: torch.Tensor,
        high: torch.Tensor,
        shift: torch.Tensor | None = None,
        scale: torch.Tensor | None = None,
    ) -> None:
        """Takes the layers over; centre and half the width follow from the bounds if not given."""
        super().__init__(_named(layers))
        self.log_std = nn.Parameter(torch.zeros_like(low))
        self.register_buffer("low", low)
        self.register_buffer("high", high)
        half = (high.cpu().double() - low.cpu().double()) / 2  # not every device has float64
        centre = (low.cpu() + half).float().to(low.device)
        # what can't be chosen is not to be divided by
        width = torch.where(half > 0, half, 1).float().to(low.device)
        self.register_buffer("shift", centre if shift is None else shift)
        self.register_buffer("scale", width if scale is None else scale)

    def log_prob(self, obs: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
        """Log-density of actions [..., action_dim] in observations [..., *obs_shape]; [...]."""
        return self.evaluate_actions(self.features(obs), actions)[0]

    def evaluate_actions(
        self, features: torch.Tensor, actions: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Log-density of actions [..., action_dim], and the differential entropy in nats; [...] both.

        Args:
            features: of the observations, as `features` gives them, so that a value function can share them.
        """
        z = (actions - self.shift) / self.scale - self.outputs(features)
        z = z * torch.exp(-self.log_std)
        constant = self.log_std.sum() + 0.5 * math.log(2 * math.pi) * len(self.log_std)
        log_prob = -0.5 * (z * z).sum(-1) - constant
        entropy = self.log_std.sum() + 0.5 * math.log(2 * math.pi * math.e) * len(self.log_std)
        return log_prob, entropy.expand_as(log_prob)

    def sampler(self) -> Draw:
        """A function that draws actions with the weights of now, before clipping: those that `log_prob` is about."""
        network = _float32_function(self)
        shift, scale = self.shift.cpu().numpy(), self.scale.cpu().numpy()
        std = (self.log_std.detach().exp() * self.scale).cpu().numpy()

        def draw(obs: NDArray, rng: Rng, greedy: bool) -> NDArray:
            mean = shift + scale * network(obs)
            if greedy:
                return mean
            return mean + std * rng.standard_normal(mean.shape, dtype=np.float32)

        return draw

    def actor(self) -> Draw:
        """A function that draws actions with the weights of now, and clips them to the bounds."""
        draw = self.sampler()
        low, high = self.low.cpu().numpy(), self.high.cpu().numpy()
        return lambda obs, rng, greedy: np.clip(draw(obs, rng, greedy), low, high)

    def act(self, obs: NDArray, rng: Rng, greedy: bool = False) -> NDArray:
        """Draws actions [batch, action_dim], float32, for observations [batch, *obs_shape]."""
        return self.actor()(obs, rng, greedy)

    def description(self) -> dict[str, Any]:
        """Kind, hidden sizes, activation, and the encoder if there is one."""
        return {"kind": self.kind, **self._described()}


MlpPolicy = CategoricalPolicy | GaussianPolicy


class FunctionPolicy:
    """An agent of another library, as a function from observations to actions.

    Args:
        function: takes observations [batch, *obs_shape], returns actions [batch, ...].
        name: what it is called by.
    """

    evaluates_greedily = False

    def __init__(self, function: Callable[[NDArray], Any], name: str) -> None:
        self._function, self.name = function, name

    def act(self, obs: NDArray, rng: Rng, greedy: bool = False) -> NDArray:
        """Asks the function; whether it is random is its own affair.

        Raises:
            UserError: it does not give an action for each observation.
        """
        actions = np.asarray(self._function(obs))
        if len(actions.shape) == 0 or len(actions) != len(obs):
            raise UserError(
                f"{self.name} gave {list(actions.shape)} for {len(obs)} observations; one action for "
                "each is needed."
            )
        return actions


def acting(
    policy: Policy | FunctionPolicy, rng: Rng, greedy: bool = False
) -> Callable[[NDArray], NDArray]:
    """A function that acts as a policy does with the weights it has now.

    One that can is translated into NumPy once, and not at every step.

    Returns:
        A function from observations to actions, as `Policy.act`.
    """
    act = policy.actor() if hasattr(policy, "actor") else policy.act
    return lambda obs: act(obs, rng, greedy)


def make_policy(
    spaces: Spaces, hidden_sizes: tuple[int, ...], activation: str = "relu", encoder: str = ""
) -> MlpPolicy:
    """Builds a policy for an environment, nearly indifferent between actions at first.

    Args:
        hidden_sizes: width of each hidden layer after what is observed, or after its encoder.
        encoder: of pictures, a kind of `prefloop.encoders.ENCODERS`; the usual one if not given.

    Raises:
        UserError: observations are neither vectors nor pictures, actions have no bounds, or it is too large for
            a checkpoint.

    Source: Andrychowicz et al. 2020, arXiv:2006.05990, section 3.2 (small last layer).
    """
    seen = make_encoder(spaces, encoder)
    layers = mlp([seen.features, *hidden_sizes, spaces.action_dim], ACTIVATIONS[activation])
    initialise(layers, output_gain=0.01)
    named = _named(layers)
    if isinstance(seen, nn.Module):
        named = OrderedDict([(ENCODER, seen), *named.items()])
    policy: MlpPolicy
    if spaces.discrete:
        policy = CategoricalPolicy(named)
    else:
        low, high = spaces.finite_bounds
        policy = GaussianPolicy(named, torch.from_numpy(low), torch.from_numpy(high))
    require_readable(policy)
    return policy


def initialise(network: nn.Sequential, output_gain: float) -> None:
    """Orthogonal weights and no biases, as PPO's implementations have it.

    Args:
        output_gain: of the last layer.

    Source: Huang et al. 2022, "The 37 Implementation Details of PPO", detail 2.
    """
    layers = [layer for layer in network if isinstance(layer, nn.Linear)]
    for layer in layers:
        gain = output_gain if layer is layers[-1] else math.sqrt(2)
        nn.init.orthogonal_(layer.weight, gain)
        nn.init.zeros_(layer.bias)


def with_normalised_input(policy: MlpPolicy, mean: NDArray, std: NDArray) -> MlpPolicy:
    """A policy for observations as they are, from one for (obs - mean) / std.

    Args:
        mean, std: of the observations, float32; [obs_dim].
    """
    device = next(policy.parameters()).device
    layers = with_normalisation(
        policy, *(torch.tensor(x, dtype=torch.float32, device=device) for x in (mean, std))
    )
    if isinstance(policy, CategoricalPolicy):
        return copy.deepcopy(CategoricalPolicy(layers))
    bounds = (policy.low, policy.high, policy.shift, policy.scale)
    twin = GaussianPolicy(layers, *bounds).to(device)
    twin.log_std.data.copy_(policy.log_std.data)
    return copy.deepcopy(twin)


def copy_of(policy: P) -> P:
    """A policy of its own with the same weights, on the same device."""
    return copy.deepcopy(policy)


def _float32_function(network: _Network) -> Callable[[NDArray], NDArray]:
    layers = OrderedDict(network.named_children())
    encoder: Any = layers.pop(ENCODER, None)
    function = as_numpy_function(nn.Sequential(layers))
    if encoder is None:
        # some environments observe in float64, in which no policy learns
        return lambda obs: function(obs.astype(np.float32, copy=False))
    device = next(encoder.parameters()).device

    @torch.no_grad()
    def of_pictures(obs: NDArray) -> NDArray:
        return function(encoder(to_tensor(obs, device)).cpu().numpy())

    return of_pictures


def _named(layers: nn.Sequential | OrderedDict[str, nn.Module]) -> OrderedDict[str, nn.Module]:
    if isinstance(layers, nn.Sequential):
        return OrderedDict(layers.named_children())
    return layers
