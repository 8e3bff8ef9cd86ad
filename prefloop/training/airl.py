"""Adversarial inverse RL: a reward that tells demonstrations from the policy, and a policy on it.

Source: Fu et al. 2018, arXiv:1710.11248. Details: docs/airl.md.
"""

from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from prefloop.agents.ppo import PPO
from prefloop.agents.settings import AIRLSettings
from prefloop.bradley_terry import agreement
from prefloop.data.segments import Segments
from prefloop.data.stepping import Rollout, Stepping
from prefloop.devices import to_tensor
from prefloop.envs.settings import Env
from prefloop.errors import UserError
from prefloop.networks import deviation_or_one, mlp
from prefloop.optimizers import Adam
from prefloop.seeding import Stream, generator, integer
from prefloop.training.on_policy import act_and_improve, evaluation_row
from prefloop.training.plans import Plan

Transitions = tuple[torch.Tensor, torch.Tensor, torch.Tensor]  # obs, actions, next_obs


class Discriminator(nn.Module):
    """f(s, s') = g(s) + gamma h(s') - h(s): a reward of the state, and a shaping potential.

    D = exp(f) / (exp(f) + policy(a | s)) is the probability that a step was demonstrated.
    """

    def __init__(self, obs_dim: int, hidden_sizes: tuple[int, ...], gamma: float) -> None:
        super().__init__()
        self.reward = mlp([obs_dim, *hidden_sizes, 1])
        self.shaping = mlp([obs_dim, *hidden_sizes, 1])
        for network in (self.reward, self.shaping):
            # f begins at 0: below it, ending episodes pays before anything was learned
            last = cast(nn.Linear, network[-2])
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
        self.gamma = gamma
        # of the demonstrations: without it, one large coordinate drowns the others
        self.register_buffer("obs_mean", torch.zeros(obs_dim))
        self.register_buffer("obs_std", torch.ones(obs_dim))

    obs_mean: torch.Tensor
    obs_std: torch.Tensor

    def forward(self, obs: torch.Tensor, next_obs: torch.Tensor) -> torch.Tensor:
        """f(s, s') of steps, [n, obs_dim] both; [n]."""
        obs, next_obs = ((x.float() - self.obs_mean) / self.obs_std for x in (obs, next_obs))
        f = self.reward(obs) + self.gamma * self.shaping(next_obs) - self.shaping(obs)
        return f[:, 0]


class AIRL:
    """PPO on a discriminator's reward, and the discriminator on PPO's steps, in turns."""

    finished = False

    def __init__(
        self,
        ppo: PPO,
        stepping: Stepping,
        env: Env,
        demonstrations: Segments,
        settings: AIRLSettings,
        plan: Plan,
        seed: int,
        device: torch.device,
    ) -> None:
        """Builds the discriminator, with weights drawn from the seed.

        Args:
            env: what `stepping` steps, to be judged in.
            demonstrations: what the expert did; a segment's last step is left out, since what it
                led to is not known.

        Raises:
            UserError: no demonstration has two steps, or they show pictures.
        """
        if len(stepping.spaces.obs_shape) > 1:
            raise UserError(f"AIRL's reward is of vectors; here are {stepping.spaces}.")
        self.ppo, self.stepping, self.env = ppo, stepping, env
        self.settings, self.plan, self.seed, self.device = settings, plan, seed, device
        follows = demonstrations.mask[:, 1:]
        if not follows.any():
            raise UserError("AIRL needs demonstrations of at least two steps.")
        obs, next_obs = demonstrations.obs[:, :-1][follows], demonstrations.obs[:, 1:][follows]
        self._expert = (
            self._tensor(obs),
            self._tensor(demonstrations.actions[:, :-1][follows]),
            self._tensor(next_obs),
        )
        torch.manual_seed(integer(seed, Stream.WEIGHTS, Stream.DISCRIMINATOR))
        self.discriminator = Discriminator(
            obs.shape[1], settings.hidden_sizes, ppo.settings.gamma
        ).to(device)
        self.discriminator.obs_mean.copy_(self._tensor(obs.mean(axis=0)))
        self.discriminator.obs_std.copy_(deviation_or_one(self._tensor(obs.std(axis=0))))
        self.optimizer = Adam(self.discriminator.parameters(), lr=settings.learning_rate)
        self._acting = ppo.acting_policy  # that of the rollout that is looked at
        self._losses: list[tuple[float, float]] = []
        self._rng = generator(seed, Stream.DISCRIMINATOR)

    def iterate(self, iteration: int) -> dict[str, float]:
        """Acts, learns to tell and improves in turns, for an iteration of the plan."""
        self._rng = generator(self.seed, Stream.DISCRIMINATOR, iteration)
        self._losses = []
        rollouts, row = act_and_improve(
            self.ppo, self.stepping, self._learn_and_reward, self.plan, self.seed, iteration
        )
        loss, accuracy = np.mean(self._losses, axis=0)
        return {
            **row,
            **evaluation_row(self.ppo, rollouts, self.env, self.seed, iteration),
            "discriminator_loss": float(loss),
            "discriminator_accuracy": float(accuracy),
        }

    def _learn_and_reward(self, rollout: Rollout) -> NDArray:
        """Trains the discriminator on a rollout, then rewards it with log D - log(1 - D)."""
        self._acting = self.ppo.acting_policy
        valid = self._tensor(rollout.valid)
        obs, next_obs = self._tensor(rollout.obs[:-1])[valid], self._tensor(rollout.obs[1:])[valid]
        steps = (obs, self._tensor(rollout.actions)[valid], next_obs)
        for _ in range(self.settings.updates):
            self._losses.append(self._update(self._sample(self._expert), self._sample(steps)))
        rewards = np.zeros(rollout.valid.shape)
        with torch.no_grad():
            # log D - log(1 - D) = f - log policy(a | s)
            rewards[rollout.valid] = self._logits(steps).cpu().double().numpy()
        return rewards

    def _update(self, expert: Transitions, policy: Transitions) -> tuple[float, float]:
        """One step of logistic regression: demonstrated or not; loss and accuracy."""
        logits = torch.cat([self._logits(expert), self._logits(policy)])
        demonstrated = torch.zeros_like(logits)
        demonstrated[: len(expert[0])] = 1
        loss = functional.binary_cross_entropy_with_logits(logits, demonstrated)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.item(), agreement(logits.detach(), demonstrated).mean().item()

    def _logits(self, steps: Transitions) -> torch.Tensor:
        obs, actions, next_obs = steps
        with torch.no_grad():
            log_prob = self._acting.log_prob(obs, actions)
        return self.discriminator(obs, next_obs) - log_prob

    def _sample(self, steps: Transitions) -> Transitions:
        chosen = self._tensor(self._rng.integers(len(steps[0]), size=self.settings.batch_size))
        obs, actions, next_obs = (x[chosen] for x in steps)
        return obs, actions, next_obs

    def _tensor(self, array: NDArray) -> torch.Tensor:
        return to_tensor(array, self.device)

    def state_dict(self) -> dict[str, Any]:
        """Agent and discriminator."""
        return {
            "ppo": self.ppo.state_dict(),
            "discriminator": self.discriminator.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes over what `state_dict` gave."""
        self.ppo.load_state_dict(state["ppo"])
        self.discriminator.load_state_dict(state["discriminator"])
        self.optimizer.load_state_dict(state["optimizer"])
