"""Soft actor-critic: as much reward as it can get, while acting as randomly as it can.

Source: Haarnoja et al. 2018, arXiv:1812.05905. What it adds and leaves out: docs/sac.md.
"""

import copy
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from prefloop.agents.settings import SACSettings
from prefloop.data.replay_buffer import Transitions
from prefloop.devices import to_tensor
from prefloop.envs.spaces import Spaces
from prefloop.errors import UserError
from prefloop.networks import NETWORKS, stacked
from prefloop.optimizers import Adam, FlatWeights
from prefloop.running_moments import RunningMoments
from prefloop.seeding import Stream, generator, integer
from prefloop.squashed_gaussian import SquashedGaussianPolicy

# of `SAC.state_dict`: raise it with each change, so that nothing older is taken for it
STATE_FORMAT = 2


class TwinCritic(nn.Module):
    """Two networks that judge actions apart from each other, computed as one."""

    def __init__(self, inputs: int, settings: SACSettings) -> None:
        super().__init__()
        make = NETWORKS[settings.network]
        self.networks = stacked([make([inputs, *settings.sizes, 1]) for _ in range(2)])

    def forward(self, obs: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
        """Values of actions, in units of the bounds, in normalised observations; [2, batch]."""
        x = torch.cat([obs, actions], dim=-1)
        values: torch.Tensor = self.networks(x.expand(2, *x.shape))
        return values[..., 0]


class SAC:
    """A policy, its critics, and the temperature at which it acts.

    Attributes:
        metrics: what docs/sac.md explains under "Metrics".
        policy: for observations as they are.
        log_alpha: logarithm of the temperature; a scalar.
        acted: steps that it has acted for.
    """

    metrics = ("critic_loss", "actor_loss", "value", "entropy", "temperature")

    def __init__(
        self,
        settings: SACSettings,
        spaces: Spaces,
        device: torch.device,
        init: SquashedGaussianPolicy | None = None,
    ) -> None:
        """Builds the networks; draw their weights with `torch.manual_seed` before.

        Args:
            spaces: what the environment observes and does.
            init: a policy to start from, whose network is taken as it is.

        Raises:
            UserError: the environment's observations or actions are of a kind SAC can't handle.
        """
        if spaces.discrete:
            raise UserError(
                f"SAC needs continuous actions; here are {spaces}. For discrete ones there is "
                "`prefloop pref-ppo`, and `prefloop ppo` on a reward that is known."
            )
        self.settings, self.spaces, self.device = settings, spaces, device
        self.policy = (
            copy.deepcopy(init)
            if init
            else SquashedGaussianPolicy(spaces, settings.sizes, settings.network)
        )
        self.policy.to(device)
        self.random_steps = 0 if init else settings.random_steps
        self.acted = 0
        # a policy that is given brings the statistics that it was trained with
        follows = settings.network == "residual" and init is None
        self._obs_moments = RunningMoments() if follows else None
        # one policy's entropy in nats, where an action's numbers are uniform in [-1, 1]: log 2 each
        self.target_entropy = -float(spaces.action_dim)
        self.log_alpha = torch.tensor(float(np.log(settings.temperature)), device=device)
        self._make_critic()
        self._policy_weights = FlatWeights(self.policy.parameters())
        self._actor_optimizer = Adam(
            [self._policy_weights.flat, self.log_alpha], lr=settings.learning_rate, fused=True
        )

    def reset_critic(self, seed: int) -> None:
        """Draws new critics from a run's seed: what they knew was about another reward."""
        torch.manual_seed(integer(seed, Stream.WEIGHTS, Stream.CRITIC))
        self._make_critic()

    def _make_critic(self) -> None:
        inputs = self.spaces.obs_size + self.spaces.action_dim
        self.critic = TwinCritic(inputs, self.settings).to(self.device)
        self.target_critic = copy.deepcopy(self.critic).requires_grad_(False)
        self._critic_weights = FlatWeights(self.critic.parameters())
        self._target_weights = FlatWeights(self.target_critic.parameters())
        self._critic_optimizer = Adam(
            [self._critic_weights.flat], lr=self.settings.learning_rate, fused=True
        )

    def begin(self, seed: int, iteration: int = 0) -> None:
        """Draws anew from a run's streams, when the environments were reset and before anything is done in them.

        What follows depends on the weights, the run's seed and the iteration's number alone.
        """
        self._actions_rng = generator(seed, Stream.POLICY, iteration)
        self._noise = torch.Generator(self.device)
        self._noise.manual_seed(integer(seed, Stream.NOISE, iteration))
        self._draw = self.policy.actor()

    @property
    def is_ready(self) -> bool:
        """Whether it has begun to act by itself, after the random steps at the beginning."""
        return self.acted > self.random_steps

    def act(self, obs: NDArray) -> NDArray:
        """Draws actions for observations [num_envs, obs_dim]; float32, [num_envs, action_dim]."""
        if self._obs_moments is not None:
            self._obs_moments.update(obs.astype(np.float64))
        self.acted += len(obs)
        if self.acted <= self.random_steps:
            low, high = self.spaces.bounds
            size = (len(obs), self.spaces.action_dim)
            return self._actions_rng.uniform(low, high, size).astype(np.float32)
        return self._draw(obs, self._actions_rng, False)

    def update(self, batch: Transitions) -> dict[str, torch.Tensor]:
        """One step of critics, policy and temperature on steps of the past.

        Returns:
            A scalar tensor for each of `metrics`: to read a number at every step takes time.
        """
        if self._obs_moments is not None:
            normalise, moments = self.policy.normalise, self._obs_moments
            normalise.mean.copy_(self._tensor(moments.mean))
            normalise.std.copy_(self._tensor(moments.std))
        obs, next_obs = (
            self.policy.normalise(self._tensor(x)) for x in (batch.obs, batch.next_obs)
        )
        actions = self.policy.in_units(self._tensor(batch.actions))
        # a time limit is not a terminal state: what lies beyond it is still worth something
        go_on = self.settings.gamma * (1 - self._tensor(batch.terminated))
        critic_loss = self.update_critic(obs, actions, self._tensor(batch.rewards), next_obs, go_on)
        row = self.update_actor_and_alpha(obs)
        self._target_weights.flat.lerp_(self._critic_weights.flat, self.settings.tau)
        self._draw = self.policy.actor()
        return {"critic_loss": critic_loss, **row}

    def update_critic(
        self,
        obs: torch.Tensor,
        actions: torch.Tensor,
        rewards: torch.Tensor,
        next_obs: torch.Tensor,
        go_on: torch.Tensor,
    ) -> torch.Tensor:
        """One step of both critics towards rewards and what the policy does next.

        Args:
            obs, next_obs: normalised; [batch, obs_dim].
            actions: in units of the bounds; [batch, action_dim].
            rewards, go_on: the latter is the discount, 0 where nothing follows; [batch].

        Returns:
            The loss before it; a scalar.
        """
        with torch.no_grad():
            next_actions, log_prob = self.policy.sample(next_obs, self._noise_like(actions))
            next_value = torch.minimum(*self.target_critic(next_obs, next_actions))
            target = rewards + go_on * (next_value - self.log_alpha.exp() * log_prob)
        loss = (self.critic(obs, actions) - target).square().mean(1).sum()
        self._critic_weights.backward(loss)
        self._critic_optimizer.step()
        return loss.detach()

    def update_actor_and_alpha(self, obs: torch.Tensor) -> dict[str, torch.Tensor]:
        """One step of the policy towards what the critics value, and of the temperature.

        Args:
            obs: normalised; [batch, obs_dim].
        """
        noise = self._noise_like(obs[:, : self.spaces.action_dim])
        actions, log_prob = self.policy.sample(obs, noise)
        value = torch.minimum(*self.critic(obs, actions))
        alpha = self.log_alpha.exp()
        loss = (alpha * log_prob - value).mean()
        entropy = -log_prob.detach().mean()
        # of alpha * (entropy - target), which falls while the policy is random enough
        self.log_alpha.grad = alpha * (entropy - self.target_entropy)
        self._policy_weights.backward(loss)
        self._actor_optimizer.step()
        return {
            "actor_loss": loss.detach(),
            "value": value.detach().mean(),
            "entropy": entropy,
            "temperature": alpha,
        }

    def _noise_like(self, actions: torch.Tensor) -> torch.Tensor:
        return torch.randn(actions.shape, generator=self._noise, device=self.device)

    def _tensor(self, array: NDArray) -> torch.Tensor:
        return to_tensor(array, self.device).float()

    @property
    def acting_policy(self) -> SquashedGaussianPolicy:
        """A policy of its own: what a checkpoint holds."""
        return copy.deepcopy(self.policy)

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next `begin` and what follows depend on."""
        moments = self._obs_moments
        return {
            "policy": self.policy.state_dict(),
            "critic": self.critic.state_dict(),
            "target_critic": self.target_critic.state_dict(),
            "log_alpha": self.log_alpha,
            "actor_optimizer": self._actor_optimizer.state_dict(),
            "critic_optimizer": self._critic_optimizer.state_dict(),
            "acted": self.acted,
            "obs_moments": moments.state() if moments is not None else None,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes over what `state_dict` gave."""
        self.policy.load_state_dict(state["policy"])
        self.critic.load_state_dict(state["critic"])
        self.target_critic.load_state_dict(state["target_critic"])
        with torch.no_grad():
            self.log_alpha.copy_(state["log_alpha"])
        self._actor_optimizer.load_state_dict(state["actor_optimizer"])
        self._critic_optimizer.load_state_dict(state["critic_optimizer"])
        self.acted = state["acted"]
        if self._obs_moments is not None:
            self._obs_moments.load_state(state["obs_moments"])
