"""PPO on a reward of any origin: the environment's, a learned one, or a control."""

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch

from prefloop import policies
from prefloop.agents.ppo import PPO
from prefloop.agents.rollout import RewardFunction, Rollout, finished_returns
from prefloop.agents.settings import PPOSettings
from prefloop.data.rollouts import Record
from prefloop.envs import make_vector_env
from prefloop.rewards.reward_model import RewardModel
from prefloop.training.plans import num_rollouts
from prefloop.training.settings import ExperienceSettings


def make_ppo(
    env_id: str,
    settings: PPOSettings,
    seed: int,
    device: torch.device,
    init: Path | None = None,
    envs: gym.vector.VectorEnv | None = None,
    record: Record | None = None,
) -> PPO:
    """An agent with weights drawn from a seed.

    Args:
        init: a policy checkpoint to start from, and with `settings.kl_coef` the reference.
        envs: to act in; if not given, `settings.num_envs` of its own.
        record: what is to stand in `Rollout.states`, if anything is.

    Raises:
        UserError: the environment or the checkpoint can't be used.
    """
    if envs is None:
        envs = make_vector_env(env_id, settings.num_envs)
    torch.manual_seed(seed)
    return PPO(settings, envs, device, policies.load(init, envs) if init else None, record)


def from_model(model: RewardModel) -> RewardFunction:
    """A reward model as PPO asks for it."""
    return lambda rollout: model.reward(rollout.obs[:-1], rollout.applied)


class OnPolicyTraining:
    """PPO and the reward it improves on, as the loop turns it.

    Every iteration begins with a reset of all environments, whose seed follows from its number: so
    a run that is taken up again is the run that was never stopped.
    """

    finished = False

    def __init__(
        self, ppo: PPO, reward_function: RewardFunction, settings: ExperienceSettings, seed: int
    ) -> None:
        self.ppo, self.reward_function, self.settings, self.seed = (
            ppo,
            reward_function,
            settings,
            seed,
        )

    def iterate(self, iteration: int) -> dict[str, float]:
        """Acts and updates until `iteration_steps` steps are taken."""
        _, row = improve(self.ppo, self.reward_function, self.settings, self.seed, iteration)
        return row

    def state_dict(self) -> dict[str, Any]:
        """The agent's."""
        return {"ppo": self.ppo.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes over what `state_dict` gave."""
        self.ppo.load_state_dict(state["ppo"])


def improve(
    ppo: PPO,
    reward_function: RewardFunction | None,
    settings: ExperienceSettings,
    seed: int,
    iteration: int,
) -> tuple[list[Rollout], dict[str, float]]:
    """One iteration of acting and updating; the last is cut short where `steps` are met.

    Args:
        reward_function: what to improve on, asked once for every rollout; None only acts.

    Returns:
        The rollouts, and the row of metrics.csv.
    """
    every = num_rollouts(settings.iteration_steps, ppo.settings)
    total = num_rollouts(settings.steps, ppo.settings)
    done = iteration * every
    updates = min(every, total - done)
    ppo.begin(seed=int(np.random.SeedSequence((seed, iteration)).generate_state(1)[0]))
    rollouts, metrics, rewards_seen = [], [], []
    for i in range(updates):
        rollout = ppo.collect()
        rollouts.append(rollout)
        if reward_function is None:
            continue
        rewards = np.asarray(reward_function(rollout))
        rewards_seen.append(rewards[rollout.valid].mean())
        metrics.append(ppo.update(rollout, rewards, progress=(done + i) / total))
    spec = ppo.envs.spec
    returns = finished_returns(rollouts, spec.max_episode_steps if spec else None)
    row = {
        "iteration": iteration,
        "steps": (done + updates) * ppo.settings.rollout_steps * ppo.envs.num_envs,
        "true_return": float(returns.mean()) if len(returns) else float("nan"),
        "episodes": len(returns),
        "reward": float(np.mean(rewards_seen)) if rewards_seen else float("nan"),
    }
    names = (
        "policy_loss", "value_loss", "entropy", "approx_kl", "kl_from_init", "explained_variance",
    )  # fmt: skip
    for name in names:
        row[name] = float(np.mean([m[name] for m in metrics])) if metrics else float("nan")
    return rollouts, row
