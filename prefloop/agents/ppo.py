"""Proximal policy optimisation: chooses actions, and improves on what they were worth.

Source: Schulman et al. 2017, arXiv:1707.06347. What it adds and leaves out: docs/ppo.md.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from prefloop import policies
from prefloop.agents.settings import PPOSettings
from prefloop.data.frames import Observations
from prefloop.data.stepping import Rollout
from prefloop.devices import to_tensor
from prefloop.envs.spaces import Spaces
from prefloop.errors import UserError
from prefloop.networks import mlp
from prefloop.optimizers import Adam
from prefloop.policies import MlpPolicy
from prefloop.returns import generalized_advantages
from prefloop.running_moments import RunningMoments
from prefloop.seeding import Stream, generator

CHUNK_NUMBERS = 2**23  # in the observations that are evaluated at once: 32 MiB in float32


class PPO:
    """A policy and its value function, which see pictures by one encoder.

    Attributes:
        metrics: what `docs/ppo.md` explains under "Metrics".
        policy: for observations as `obs_mean` and `obs_std` normalise them.
    """

    metrics = (
        "policy_loss", "value_loss", "entropy", "approx_kl", "kl_from_init", "explained_variance",
    )  # fmt: skip

    def __init__(
        self,
        settings: PPOSettings,
        spaces: Spaces,
        device: torch.device,
        init: MlpPolicy | None = None,
    ) -> None:
        """Builds the networks; draw their weights with `torch.manual_seed` before.

        Args:
            spaces: what the environment observes and does.
            init: a policy to start from, and with `settings.kl_coef` the reference.

        Raises:
            UserError: the environment's observations or actions are of a kind PPO can't handle, or
                the settings and `init` do not go together.
        """
        if settings.kl_coef and init is None:
            raise UserError("--kl_coef needs --init, the policy that it is not to leave.")
        if settings.normalise_obs and init is not None:
            raise UserError("--normalise_obs is for policies from scratch; leave out --init.")
        if settings.encoder and init is not None:
            raise UserError("--encoder is for policies from scratch; --init has its own.")
        if settings.normalise_obs and len(spaces.obs_shape) > 1:
            raise UserError(f"--normalise_obs is for vectors; here are {spaces}.")
        self._pictures = len(spaces.obs_shape) > 1
        self.settings = settings = settings.filled(self._pictures)
        self.device, self.spaces, sizes = device, spaces, settings.hidden_sizes
        if init is None:
            policy = policies.make_policy(spaces, sizes, encoder=settings.encoder)
            self.policy = policy.to(device)
        else:
            self.policy = policies.copy_of(init).to(device)
        self.reference = policies.copy_of(self.policy) if init is not None else None
        self.value = mlp([self.policy.num_features, *sizes, 1]).to(device)
        policies.initialise(self.value, output_gain=1.0)
        self.parameters = [*self.policy.parameters(), *self.value.parameters()]
        self.optimizer = Adam(
            self.parameters,
            lr=settings.learning_rate,
            eps=1e-5,
            fused=True,  # one call, not 80
        )
        # of observations, for as long as --normalise_obs asks for it, and of rewards
        inputs = 0 if self._pictures else spaces.obs_size
        self.obs_mean, self.obs_std = np.zeros(inputs, np.float32), np.ones(inputs, np.float32)
        self._obs_scales = [RunningMoments() for _ in range(inputs)]
        # the discounted return's deviation: dividing by it keeps the values that are to be learned near
        # 1, whatever the reward's unit. The mean is left alone: subtracting it would change which
        # behaviour is best wherever episodes can end early. Huang et al. 2022, continuous detail 7
        self._reward_scale = RunningMoments()

    def begin(self, seed: int, iteration: int = 0) -> None:
        """Draws anew from a run's streams, when the environments were reset and before anything is done in them.

        What follows depends on the weights, the run's seed and the iteration's number alone.
        """
        self._discounted: NDArray | float = 0.0  # return so far, of every environment
        self._actions_rng = generator(seed, Stream.POLICY, iteration)
        self._minibatches_rng = generator(seed, Stream.MINIBATCHES, iteration)
        self._draw = self.acting_policy.sampler()

    def act(self, obs: NDArray) -> NDArray:
        """Draws actions for observations [num_envs, *obs_shape]; they are to be clipped to the bounds."""
        return self._draw(obs, self._actions_rng, False)

    @property
    def acting_policy(self) -> MlpPolicy:
        """The policy for observations as they are: what a checkpoint holds."""
        if not self.settings.normalise_obs:
            return policies.copy_of(self.policy)
        return policies.with_normalised_input(self.policy, self.obs_mean, self.obs_std)

    def update(self, rollout: Rollout, rewards: NDArray, progress: float = 0.0) -> dict[str, float]:
        """Improves policy and value on the steps of one rollout.

        Args:
            rewards: what to maximise; [steps, num_envs].
            progress: share of the run that is over, in [0, 1]; the learning rate falls with it.

        Returns:
            A number for each of `metrics`.

        Raises:
            UserError: a reward is NaN or infinite; nothing has changed.
        """
        settings = self.settings
        valid = rollout.valid
        rewards = np.where(valid, np.asarray(rewards, dtype=np.float64), 0.0)
        if not np.isfinite(rewards).all():
            raise UserError(
                f"{np.count_nonzero(~np.isfinite(rewards))} of {np.count_nonzero(valid)} rewards are "
                "NaN or infinite, so nothing can be learned from them."
            )
        if settings.clip_rewards:
            rewards = rewards.clip(-1, 1)
        for group in self.optimizer.param_groups:
            group["lr"] = settings.learning_rate * (1 - progress)
        obs_all, actions_all = self._observed(rollout.obs), self._tensor(rollout.actions)
        old_log_probs_all, values, log_ratio = self._evaluate(rollout, obs_all, actions_all)
        # of the policy from its start, estimated on the actions taken; a penalty if asked for
        kl = float(log_ratio[valid].mean()) if self.reference is not None else 0.0
        self._watch_scale(rollout, rewards)
        rewards = rewards / self._reward_scale.std
        if settings.kl_coef:
            rewards = rewards - settings.kl_coef * log_ratio
        advantages = generalized_advantages(
            rewards,
            values,
            rollout.terminated,
            rollout.truncated,
            settings.gamma,
            settings.gae_lambda,
        )
        obs, actions, old_log_probs = (
            x[self._tensor(valid)] for x in (obs_all[:-1], actions_all, old_log_probs_all)
        )
        targets = self._tensor((advantages + values[:-1])[valid].astype(np.float32))
        flat = advantages[valid]
        flat = (flat - flat.mean()) / (flat.std() + 1e-8)
        metrics = self._optimise(
            obs, actions, old_log_probs, self._tensor(flat.astype(np.float32)), targets
        )
        if settings.normalise_obs:
            self._watch_obs(rollout)
        self._draw = self.acting_policy.sampler()
        explained = 1 - np.var(targets.cpu().numpy() - values[:-1][valid]) / (
            np.var(targets.cpu().numpy()) + 1e-8
        )
        return {**metrics, "kl_from_init": kl, "explained_variance": float(explained)}

    def _observed(self, obs: Observations) -> torch.Tensor:
        """Observations as the policy sees them; pictures stay as they came, a quarter of the memory."""
        if self._pictures:
            return self._tensor(np.asarray(obs))
        # whole numbers become float32 first, as where it acts: less a mean, those of 32 bits were float64
        vectors = np.asarray(obs).astype(np.float32, copy=False)
        return self._tensor((vectors - self.obs_mean) / self.obs_std)

    @torch.no_grad()
    def _evaluate(
        self, rollout: Rollout, obs: torch.Tensor, actions: torch.Tensor
    ) -> tuple[torch.Tensor, NDArray, NDArray]:
        """Evaluates a rollout by the networks before they change.

        Returns:
            Log-probabilities of its actions, [steps, num_envs]; values, [steps + 1, num_envs]; logarithms
            of the ratio to the probabilities of the policy that training began with, or zeros.
        """
        # as many steps at a time as fit into memory where they are pictures
        at_once = max(1, CHUNK_NUMBERS // (obs.shape[1] * self.spaces.obs_size))
        log_probs, values, ratios = [], [], []
        for start in range(0, len(obs), at_once):
            features = self.policy.features(obs[start : start + at_once])
            values.append(self.value(features)[..., 0])
            acted = actions[start : start + at_once]
            log_prob, _ = self.policy.evaluate_actions(features[: len(acted)], acted)
            log_probs.append(log_prob)
            if self.reference is not None:
                raw = self._tensor(rollout.obs[start : start + len(acted)])
                ratios.append(log_prob - self.reference.log_prob(raw, acted))
        log_ratio = torch.cat(ratios) if ratios else torch.zeros_like(torch.cat(log_probs))
        return torch.cat(log_probs), torch.cat(values).cpu().numpy(), log_ratio.cpu().numpy()

    def _optimise(
        self,
        obs: torch.Tensor,
        actions: torch.Tensor,
        old_log_probs: torch.Tensor,
        advantages: torch.Tensor,
        targets: torch.Tensor,
    ) -> dict[str, float]:
        """Several passes over the steps in random minibatches."""
        settings = self.settings
        sums = torch.zeros(4)
        num_batches = 0
        for _ in range(settings.update_epochs):
            order = torch.from_numpy(self._minibatches_rng.permutation(len(obs))).to(self.device)
            for batch in order.split(settings.minibatch_size):
                features = self.policy.features(obs[batch])
                log_prob, entropy = self.policy.evaluate_actions(features, actions[batch])
                log_ratio = log_prob - old_log_probs[batch]
                ratio = log_ratio.exp()
                advantage = advantages[batch]
                clipped = ratio.clamp(1 - settings.clip, 1 + settings.clip)
                policy_loss = -torch.min(ratio * advantage, clipped * advantage).mean()
                value_loss = 0.5 * (self.value(features)[:, 0] - targets[batch]).square().mean()
                mean_entropy = entropy.mean()
                loss = (
                    policy_loss
                    + settings.value_coef * value_loss
                    - settings.entropy_coef * mean_entropy
                )
                for parameter in self.parameters:
                    parameter.grad = None
                loss.backward()
                nn.utils.clip_grad_norm_(self.parameters, settings.max_grad_norm)
                self.optimizer.step()
                with torch.no_grad():
                    # Schulman 2020, "Approximating KL divergence": never negative
                    approx_kl = (ratio - 1 - log_ratio).mean()
                    sums += torch.stack([policy_loss, value_loss, mean_entropy, approx_kl]).cpu()
                num_batches += 1
        names = ("policy_loss", "value_loss", "entropy", "approx_kl")
        return dict(zip(names, (sums / num_batches).tolist(), strict=True))

    def _watch_scale(self, rollout: Rollout, rewards: NDArray) -> None:
        """Follows the discounted return of every environment through the rollout."""
        seen = np.zeros_like(rewards)
        for t in range(len(rewards)):
            so_far = self._discounted * self.settings.gamma + rewards[t]
            seen[t] = so_far
            self._discounted = np.where(rollout.ended[t] | ~rollout.valid[t], 0.0, so_far)
        self._reward_scale.update(seen[rollout.valid])

    def _watch_obs(self, rollout: Rollout) -> None:
        for i, scale in enumerate(self._obs_scales):
            scale.update(rollout.obs[:-1, :, i][rollout.valid].astype(np.float64))
            self.obs_mean[i], self.obs_std[i] = scale.mean, scale.std

    def _tensor(self, array: NDArray) -> torch.Tensor:
        return to_tensor(array, self.device)

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next `begin` and what follows depend on."""
        scales = [self._reward_scale, *self._obs_scales]
        return {
            "policy": self.policy.state_dict(),
            "value": self.value.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scales": [scale.state() for scale in scales],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes over what `state_dict` gave."""
        self.policy.load_state_dict(state["policy"])
        self.value.load_state_dict(state["value"])
        self.optimizer.load_state_dict(state["optimizer"])
        scales = [self._reward_scale, *self._obs_scales]
        for scale, moments in zip(scales, state["scales"], strict=True):
            scale.load_state(moments)
        for i, scale in enumerate(self._obs_scales):
            if self.settings.normalise_obs:
                self.obs_mean[i], self.obs_std[i] = scale.mean, scale.std
