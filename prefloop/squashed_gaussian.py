"""A policy whose actions are drawn from a normal distribution and squashed into the bounds by tanh.

Source: Haarnoja et al. 2018, arXiv:1812.05905, appendix C.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from prefloop.checkpoints import require_readable
from prefloop.envs.spaces import Spaces
from prefloop.errors import UserError
from prefloop.networks import NETWORKS, Normalisation, as_numpy_function
from prefloop.seeding import Rng

LOG_STD = (-5.0, 2.0)  # its bounds: narrower, the density has no use for more; wider, tanh has none
# atanh of a float32 nearer to 1 is infinite
EDGE = 1 - 1e-6


class SquashedGaussianPolicy(nn.Module):
    """Continuous actions inside their bounds: tanh of a normal variable, then scaled.

    Mean and spread both depend on the observation. Densities are in units of the bounds, where -1 is
    the lower and 1 the upper one. Actions that go in or out are the environment's.

    Attributes:
        normalise: what is done to observations first; nothing as long as nobody sets its statistics.
        network: from normalised observations to the mean of the normal variable and its spread,
            [..., 2 * action_dim].
        shift, scale: centre and half the width of the bounds; [action_dim].
    """

    kind = "squashed"
    evaluates_greedily = True  # what it draws is for learning

    shift: torch.Tensor
    scale: torch.Tensor

    def __init__(self, spaces: Spaces, hidden_sizes: Sequence[int], network: str = "mlp") -> None:
        """Draws the weights; call `torch.manual_seed` before.

        Args:
            hidden_sizes: width of each hidden layer, or of each block of a residual network.
            network: one of `prefloop.networks.NETWORKS`.

        Raises:
            UserError: observations are no vectors, actions are discrete or have no bounds, or it is too large for a
                checkpoint.
        """
        super().__init__()
        if len(spaces.obs_shape) != 1:
            raise UserError(
                f"SAC's policy observes vectors; here are {spaces}. prefloop ppo and pref-ppo learn from pictures, too."
            )
        if spaces.discrete:
            raise UserError(f"This policy has continuous actions; here are {spaces}.")
        self._bounds = spaces.finite_bounds
        low, high = (torch.from_numpy(bound).double() for bound in self._bounds)
        self._said = {"network": network, "hidden_sizes": list(hidden_sizes)}
        self.normalise = Normalisation(torch.zeros(spaces.obs_size), torch.ones(spaces.obs_size))
        self.network = NETWORKS[network]([spaces.obs_size, *hidden_sizes, 2 * spaces.action_dim])
        self.register_buffer("shift", ((low + high) / 2).float())
        half = (high - low) / 2
        # what can't be chosen is not to be divided by
        self.register_buffer("scale", torch.where(half > 0, half, 1).float())
        require_readable(self)

    def in_units(self, actions: torch.Tensor) -> torch.Tensor:
        """The environment's actions in units of the bounds; [..., action_dim]."""
        return (actions - self.shift) / self.scale

    def normal(self, normalised_obs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean, and logarithm of the deviation, of what is squashed; [..., action_dim] both."""
        mean, log_std = self.network(normalised_obs).chunk(2, dim=-1)
        low, high = LOG_STD
        # held by tanh and not cut off: at a cut there is no gradient back
        return mean, low + (high - low) / 2 * (torch.tanh(log_std) + 1)

    def sample(
        self, normalised_obs: torch.Tensor, noise: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Actions as a differentiable function of noise, and how dense they lie.

        Args:
            noise: standard normal; [..., action_dim].

        Returns:
            Actions in units of the bounds, [..., action_dim], and their log-density, [...].
        """
        mean, log_std = self.normal(normalised_obs)
        before = mean + log_std.exp() * noise
        log_prob = -0.5 * noise.square() - log_std - 0.5 * math.log(2 * math.pi)
        return torch.tanh(before), (log_prob - _log_slope(before)).sum(-1)

    def log_prob(self, obs: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
        """Log-density of actions [..., action_dim] in observations [..., obs_dim]; [...].

        What lies on a bound has none; it is taken to lie just inside.
        """
        mean, log_std = self.normal(self.normalise(obs.float()))
        before = torch.atanh(self.in_units(actions).clamp(-EDGE, EDGE))
        noise = (before - mean) * torch.exp(-log_std)
        log_prob = -0.5 * noise.square() - log_std - 0.5 * math.log(2 * math.pi)
        return (log_prob - _log_slope(before)).sum(-1)

    def actor(self) -> Callable[[NDArray, Rng, bool], NDArray]:
        """How it acts with the weights of now."""
        network = as_numpy_function(nn.Sequential(self.normalise, *self.network))
        shift, scale = (x.cpu().numpy() for x in (self.shift, self.scale))
        lowest, highest = self._bounds
        low, high = LOG_STD

        def act(obs: NDArray, rng: Rng, greedy: bool) -> NDArray:
            mean, log_std = np.split(network(obs.astype(np.float32, copy=False)), 2, axis=-1)
            if not greedy:
                std = np.exp(low + (high - low) / 2 * (np.tanh(log_std) + 1))
                mean = mean + std * rng.standard_normal(mean.shape, dtype=np.float32)
            # the sum may round to what is just outside
            return np.clip(shift + scale * np.tanh(mean), lowest, highest)

        return act

    def act(self, obs: NDArray, rng: Rng, greedy: bool = False) -> NDArray:
        """Draws actions [batch, action_dim], float32, for observations [batch, obs_dim].

        The greedy one is that of the mean: what is most probable before it is squashed.
        """
        return self.actor()(obs, rng, greedy)

    def description(self) -> dict[str, Any]:
        """Kind, and the network's."""
        return {"kind": self.kind, **self._said}

    @classmethod
    def rebuilt(
        cls,
        weights: dict[str, torch.Tensor],
        path: Path,
        spaces: Spaces,
        described: Mapping[str, Any],
    ) -> "SquashedGaussianPolicy":
        """Rebuilds a policy of weights that were read from `path` and of what run.json says of it.

        Raises:
            UserError: they do not belong together, or to this environment.
        """
        if spaces.discrete:
            raise UserError(
                f"{path} is a policy with continuous actions; this environment has discrete ones."
            )
        try:
            policy = cls(spaces, tuple(described["hidden_sizes"]), described["network"])
        except (KeyError, TypeError, ValueError):
            raise UserError(
                f"{path.with_name('run.json')} does not say how {path} is built."
            ) from None
        first, size = weights.get("network.0.weight"), weights.get("shift")
        if first is not None and size is not None:
            found = (first.shape[-1], size.numel())
            if found != (spaces.obs_size, spaces.action_dim):
                raise UserError(
                    f"{path} is a policy for {found[0]} observations and {found[1]} actions; this "
                    f"environment has {spaces.obs_size} and {spaces.action_dim}."
                )
        try:
            policy.load_state_dict(weights)
        except RuntimeError:
            raise UserError(f"{path} and its run.json do not belong together.") from None
        return policy


def _log_slope(before: torch.Tensor) -> torch.Tensor:
    """log(1 - tanh(x)^2), also where tanh(x) is 1 to the last digit."""
    return 2 * (math.log(2) - before - functional.softplus(-2 * before))
