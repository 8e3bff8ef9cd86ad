"""PPO on a reward of any origin: the environment's, a learned one, or a control."""

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray

from prefloop import policies
from prefloop.agents.ppo import PPO
from prefloop.agents.rollout import RewardFunction, Rollout, finished_returns
from prefloop.agents.settings import PPOSettings
from prefloop.data.rollouts import Record
from prefloop.envs import make_vector_env
from prefloop.evaluation.evaluate import evaluate
from prefloop.rewards.reward_model import RewardModel
from prefloop.seeding import Stream, integer
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
    torch.manual_seed(integer(seed, Stream.WEIGHTS))
    return PPO(settings, envs, device, policies.load(init, envs) if init else None, record)


def from_model(model: RewardModel) -> RewardFunction:
    """A reward model as PPO asks for it."""
    return lambda rollout: model.reward(rollout.obs[:-1], rollout.applied)


EPISODES_PLAYED = 10  # for a row of metrics.csv, where an iteration is shorter than an episode


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
    judged: bool = True,
) -> tuple[list[Rollout], dict[str, float]]:
    """One iteration of acting and updating; the last is cut short where `steps` are met.

    Args:
        reward_function: what to improve on, asked once for every rollout; None only acts.
        judged: whether episodes are played for the row where those of the iteration can't tell.

    Returns:
        The rollouts, and the row of metrics.csv.
    """
    every = num_rollouts(settings.iteration_steps, ppo.settings)
    total = num_rollouts(settings.steps, ppo.settings)
    done = iteration * every
    updates = min(every, total - done)
    ppo.begin(seed, iteration)
    rollouts, metrics, rewards_seen = [], [], []
    for i in range(updates):
        rollout = ppo.collect()
        rollouts.append(rollout)
        if reward_function is None:
            continue
        rewards = np.asarray(reward_function(rollout))
        rewards_seen.append(rewards[rollout.valid].mean())
        metrics.append(ppo.update(rollout, rewards, progress=(done + i) / total))
    returns = _true_returns(ppo, rollouts, seed, iteration) if judged else np.zeros(0)
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


def _true_returns(ppo: PPO, rollouts: list[Rollout], seed: int, iteration: int) -> NDArray:
    """Of the episodes of an iteration; of some that are played for it where it is too short.

    Where a full episode outlasts the iteration, only short ones would be counted.
    """
    spec = ppo.envs.spec
    limit = spec.max_episode_steps if spec else None
    steps = sum(len(rollout.rewards) for rollout in rollouts)
    if spec is None or limit is None or limit <= steps:
        return finished_returns(rollouts, limit)
    evaluation_seed = integer(seed, Stream.EVALUATION_ENVIRONMENTS, iteration)
    return evaluate(ppo.acting_policy, spec.id, EPISODES_PLAYED, evaluation_seed)
