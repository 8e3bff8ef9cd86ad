"""Stochastic policies: what an action's probability is, and how one is drawn.

A policy's weights are those of an `mlp`, under the same names, so that checkpoints of scripts and
of this library are interchangeable. A Gaussian policy adds its spread and its environment's bounds.
"""

import copy
import math
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import gymnasium as gym
import numpy as np
import torch
from gymnasium.spaces import Box, Discrete
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from prefloop import checkpoints
from prefloop.env_ids import is_version_of
from prefloop.envs import flat_obs_dim, single_spaces, step_sizes
from prefloop.errors import UserError
from prefloop.networks import (
    ACTIVATIONS,
    as_numpy_function,
    mlp,
    sample_categorical,
    with_normalisation,
)
from prefloop.seeding import RowGenerator


class CategoricalPolicy(nn.Sequential):
    """Discrete actions with probabilities softmax(logits); built of the layers of an `mlp`."""

    def log_prob(self, obs: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
        """Log-probability of actions [...] in observations [..., obs_dim]; [...]."""
        log_probs = functional.log_softmax(self(obs), dim=-1)
        return log_probs.gather(-1, actions[..., None])[..., 0]

    def log_prob_and_entropy(
        self, obs: torch.Tensor, actions: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """As `log_prob`, and the entropy in each observation in nats; [...] both."""
        log_probs = functional.log_softmax(self(obs), dim=-1)
        entropy = -(log_probs.exp() * log_probs).sum(-1)
        return log_probs.gather(-1, actions[..., None])[..., 0], entropy


class GaussianPolicy(nn.Sequential):
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
        half = (high.double() - low.double()) / 2
        self.register_buffer("shift", (low + half).float() if shift is None else shift)
        # what can't be chosen is not to be divided by
        self.register_buffer(
            "scale", torch.where(half > 0, half, 1).float() if scale is None else scale
        )

    def log_prob(self, obs: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
        """Log-density of actions [..., action_dim] in observations [..., obs_dim]; [...]."""
        z = ((actions - self.shift) / self.scale - self(obs)) * torch.exp(-self.log_std)
        constant = self.log_std.sum() + 0.5 * math.log(2 * math.pi) * len(self.log_std)
        return -0.5 * (z * z).sum(-1) - constant

    def log_prob_and_entropy(
        self, obs: torch.Tensor, actions: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """As `log_prob`, and the differential entropy in nats; [...] both."""
        log_prob = self.log_prob(obs, actions)
        entropy = self.log_std.sum() + 0.5 * math.log(2 * math.pi * math.e) * len(self.log_std)
        return log_prob, entropy.expand_as(log_prob)


Policy = CategoricalPolicy | GaussianPolicy


def make_policy(
    envs: gym.Env | gym.vector.VectorEnv, hidden_sizes: tuple[int, ...], activation: str = "relu"
) -> Policy:
    """Builds a policy for an environment, nearly indifferent between actions at first.

    Raises:
        UserError: observations are no flat Box, or actions neither Discrete from 0 nor a bounded
            flat Box.

    Source: Andrychowicz et al. 2020, arXiv:2006.05990, section 3.2 (small last layer).
    """
    obs_dim = flat_obs_dim(envs)
    action_space = single_spaces(envs)[1]
    name = envs.spec.id if envs.spec else "This environment"
    if isinstance(action_space, Discrete) and action_space.start == 0:
        layers = mlp([obs_dim, *hidden_sizes, int(action_space.n)], ACTIVATIONS[activation])
        policy: Policy = CategoricalPolicy(*layers)
    elif isinstance(action_space, Box) and len(action_space.shape) == 1:
        if not (np.isfinite(action_space.low).all() and np.isfinite(action_space.high).all()):
            raise UserError(f"{name} has actions without bounds: {action_space}.")
        layers = mlp([obs_dim, *hidden_sizes, action_space.shape[0]], ACTIVATIONS[activation])
        low, high = (
            torch.tensor(x, dtype=torch.float32) for x in (action_space.low, action_space.high)
        )
        policy = GaussianPolicy(layers, low, high)
    else:
        raise UserError(
            f"{name} has actions in {action_space}; a policy needs Discrete actions from 0 or a "
            "Box with one dimension."
        )
    initialise(policy, output_gain=0.01)
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


def activation_of(policy: nn.Sequential) -> str:
    """The name of the activation between its layers, which `run.json` says."""
    kinds = {kind: name for name, kind in ACTIVATIONS.items()}
    return next((kinds[type(layer)] for layer in policy if type(layer) in kinds), "relu")


def load(path: Path, envs: gym.Env | gym.vector.VectorEnv) -> Policy:
    """Reads a policy that `vpg.py` or this library wrote, for the environment it was trained in.

    Raises:
        UserError: as `checkpoints.load_policy`; or `run.json` beside it names another environment.
    """
    obs_dim, action_dim, discrete = step_sizes(envs)
    known, env_id = checkpoints.run_facts(path).get("env"), envs.spec.id if envs.spec else ""
    if known and env_id and not is_version_of(known, env_id):
        raise UserError(f"{path} was trained in {known}, not in {env_id}.")
    env_id = env_id or "this environment"
    weights = checkpoints.unwrapped(checkpoints.load_weights(path))
    if discrete:
        if "log_std" in weights:
            raise UserError(
                f"{path} is a policy with continuous actions; {env_id} has discrete ones."
            )
        layers = checkpoints.rebuild_policy(weights, path, obs_dim, action_dim)
        return CategoricalPolicy(_named(layers))
    # earlier versions drew actions in the environment's own unit
    weights = {"shift": torch.zeros(action_dim), "scale": torch.ones(action_dim), **weights}
    names = ("log_std", "low", "high", "shift", "scale")
    if not weights.keys() >= set(names):
        raise UserError(f"{path} is a policy with discrete actions; {env_id} has continuous ones.")
    log_std, *bounds = extras = [weights.pop(name).float() for name in names]
    for extra in extras:
        if extra.shape != (action_dim,):
            raise UserError(
                f"{path} is a policy for {extra.numel()} actions; {env_id} has {action_dim}."
            )
    policy = GaussianPolicy(checkpoints.rebuild_policy(weights, path, obs_dim, action_dim), *bounds)
    policy.log_std.data.copy_(log_std)
    return policy


def acting(
    policy: nn.Sequential, rng: np.random.Generator | RowGenerator, greedy: bool = False
) -> Callable[[NDArray], NDArray]:
    """How a policy acts with the weights it has now, as the environment receives it.

    Args:
        policy: a GaussianPolicy, or any network from observations to action logits.
        rng: source of the randomness.
        greedy: take the most probable action instead of sampling one.

    Returns:
        A function from observations [batch, obs_dim] to actions, int64 [batch] or float32
        [batch, action_dim].
    """
    if not isinstance(policy, GaussianPolicy):
        logits = _logits(policy)
        return (lambda obs: logits(obs).argmax(axis=-1)) if greedy else sampling(policy, rng)
    draw = _mean(policy) if greedy else sampling(policy, rng)
    low, high = policy.low.cpu().numpy(), policy.high.cpu().numpy()
    return lambda obs: np.clip(draw(obs), low, high)


def sampling(
    policy: nn.Sequential, rng: np.random.Generator | RowGenerator
) -> Callable[[NDArray], NDArray]:
    """As `acting`, but before the actions are clipped: what probabilities are to be asked of."""
    if not isinstance(policy, GaussianPolicy):
        logits = _logits(policy)
        return lambda obs: sample_categorical(logits(obs), rng)
    mean = _mean(policy)
    std = (policy.log_std.detach().exp() * policy.scale).cpu().numpy()

    def draw(obs: NDArray) -> NDArray:
        centre = mean(obs)
        return centre + std * rng.standard_normal(centre.shape, dtype=np.float32)

    return draw


def _logits(policy: nn.Sequential) -> Callable[[NDArray], NDArray]:
    network = as_numpy_function(policy)
    # some environments observe in float64, in which no policy learns
    return lambda obs: network(obs.astype(np.float32, copy=False))


def _mean(policy: GaussianPolicy) -> Callable[[NDArray], NDArray]:
    network = _logits(policy)
    shift, scale = policy.shift.cpu().numpy(), policy.scale.cpu().numpy()
    return lambda obs: shift + scale * network(obs)


def with_normalised_input(policy: Policy, mean: NDArray, std: NDArray) -> Policy:
    """A policy for observations as they are, from one for (obs - mean) / std.

    Args:
        mean, std: of the observations, float32; [obs_dim].
    """
    device = next(policy.parameters()).device
    layers = with_normalisation(
        policy, *(torch.tensor(x, dtype=torch.float32, device=device) for x in (mean, std))
    )
    return copy.deepcopy(_with_layers(policy, layers))


def _with_layers(policy: Policy, layers: OrderedDict[str, nn.Module]) -> Policy:
    if not isinstance(policy, GaussianPolicy):
        return CategoricalPolicy(layers)
    bounds = (policy.low, policy.high, policy.shift, policy.scale)
    twin = GaussianPolicy(layers, *bounds).to(policy.low.device)
    twin.log_std.data.copy_(policy.log_std.data)
    return twin


def copy_of(policy: Policy) -> Policy:
    """A policy of its own with the same weights, on the same device."""
    return copy.deepcopy(policy)


def _named(layers: nn.Sequential | OrderedDict[str, nn.Module]) -> OrderedDict[str, nn.Module]:
    if isinstance(layers, nn.Sequential):
        return OrderedDict(layers.named_children())
    return layers
