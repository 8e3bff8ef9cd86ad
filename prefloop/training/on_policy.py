"""An agent that acts and improves in turns, on a reward of any origin.

An agent is asked for four things: to choose actions, to improve on rewards, for the policy that acts,
and for its state. Stepping environments, recording and counting belong to the loop.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from prefloop import policies, policy_files
from prefloop.agents.ppo import PPO
from prefloop.agents.settings import PPOSettings
from prefloop.data.stepping import (
    NO_EPISODE,
    Rollout,
    Stepping,
    finished_returns,
    without_diverged,
)
from prefloop.envs.make import make_vector_env
from prefloop.envs.registered import time_limit
from prefloop.envs.settings import Env
from prefloop.errors import UserError
from prefloop.evaluation.evaluate import evaluation_seed, play
from prefloop.policies import Policy
from prefloop.rewards import reward_model
from prefloop.rewards.reward_model import RewardModel
from prefloop.seeding import Stream, integer
from prefloop.training.plans import Plan

# obs [..., *obs_shape], actions as the environment received them, next_obs -> [...]
Reward = Callable[[NDArray, NDArray, NDArray], NDArray]
# what each step of a rollout is worth, [steps, num_envs]; steps that are not valid are ignored
RewardOfRollout = Callable[[Rollout], NDArray]


class Agent(Protocol):
    """Somebody who acts and improves, as the loop needs it."""

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of what `update` returns."""
        ...

    def begin(self, seed: int, iteration: int = 0) -> None:
        """Is told that the environments were reset; all that follows is drawn from these numbers."""
        ...

    def act(self, obs: NDArray) -> NDArray:
        """Chooses actions [num_envs, ...] for observations [num_envs, *obs_shape]."""
        ...

    def update(self, rollout: Rollout, rewards: NDArray, progress: float = 0.0) -> dict[str, float]:
        """Improves on what was done.

        Args:
            rewards: of each step; [steps, num_envs].
            progress: share of the run that is over, in [0, 1].

        Returns:
            A number for each of `metrics`.
        """
        ...

    @property
    def acting_policy(self) -> Policy:
        """A policy for observations as they are, of its own: what a checkpoint holds."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next `begin` and what follows depend on."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes over what `state_dict` gave."""
        ...


def make_ppo(
    stepping: Stepping,
    settings: PPOSettings,
    seed: int,
    device: torch.device,
    init: Path | None = None,
) -> PPO:
    """An agent with weights drawn from a seed.

    Args:
        stepping: what it is to act in.
        init: a policy checkpoint to start from, and with `settings.kl_coef` the reference.

    Raises:
        UserError: the environment or the checkpoint can't be used.
    """
    torch.manual_seed(integer(seed, Stream.WEIGHTS))
    start = policy_files.load(init, stepping.envs) if init else None
    if start is not None and not isinstance(start, policies.MlpPolicy):
        raise UserError(
            f"{init} is a policy of prefloop sac or pebble, which PPO can't go on from; their --init can."
        )
    return PPO(settings, stepping.spaces, device, start)


def stepping_in(env: Env, num_envs: int) -> Stepping:
    """Environments for an agent to act in.

    Raises:
        UserError: they can't be made, or nothing here can act in them.
    """
    return Stepping(make_vector_env(env, num_envs))


def true_reward(rollout: Rollout) -> NDArray:
    """The environment's own; [steps, num_envs]."""
    return rollout.rewards


def of_rollout(reward: Reward) -> RewardOfRollout:
    """A reward of steps, asked about a rollout."""
    return lambda rollout: reward(rollout.obs[:-1], rollout.applied, rollout.next_obs)


def from_model(model: RewardModel) -> RewardOfRollout:
    """A reward model, asked about a rollout."""
    return of_rollout(model.reward)


def read_reward(stepping: Stepping, folder: Path | None, device: torch.device) -> RewardOfRollout:
    """The reward that a command is told to learn from.

    Args:
        stepping: what is acted in.
        folder: of a reward model, or its file; None: the environment's own reward.

    Raises:
        UserError: the model can't be read, or is of another environment.
    """
    if folder is None:
        return true_reward
    return from_model(reward_model.load(folder, stepping.envs).to(device))


EPISODES_PLAYED = 10  # for a row of metrics.csv, where an iteration is shorter than an episode


class OnPolicyTraining:
    """An agent and the reward it improves on, as the loop turns it.

    Every iteration begins with a reset of all environments, whose seed follows from its number: so
    a run that is taken up again is the run that was never stopped.
    """

    finished = False

    def __init__(
        self,
        agent: Agent,
        stepping: Stepping,
        env: Env,
        reward: RewardOfRollout,
        plan: Plan,
        seed: int,
    ) -> None:
        """Does nothing yet.

        Args:
            env: what `stepping` steps, to be judged in.
        """
        self.agent, self.stepping, self.env = agent, stepping, env
        self.reward, self.plan, self.seed = reward, plan, seed

    def iterate(self, iteration: int) -> dict[str, float]:
        """Acts and updates for an iteration of the plan."""
        rollouts, row = act_and_improve(
            self.agent, self.stepping, self.reward, self.plan, self.seed, iteration
        )
        return row | evaluation_row(self.agent, rollouts, self.env, self.seed, iteration)

    def state_dict(self) -> dict[str, Any]:
        """The agent's."""
        return {"ppo": self.agent.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes over what `state_dict` gave."""
        self.agent.load_state_dict(state["ppo"])


def act_and_improve(
    agent: Agent,
    stepping: Stepping,
    reward: RewardOfRollout | None,
    plan: Plan,
    seed: int,
    iteration: int,
) -> tuple[list[Rollout], dict[str, float]]:
    """One iteration of acting and updating in turns.

    Args:
        reward: what to improve on, asked once for every rollout; None only acts.

    Returns:
        The rollouts, in which episodes that the simulator could not go on with are not valid, and the
        row of metrics.csv.

    Raises:
        UserError: it could go on in none.
    """
    stepping.begin(seed, iteration)
    agent.begin(seed, iteration)
    rollouts, metrics, rewards_seen = [], [], []
    numbers = plan.rollouts_of(iteration)
    for number in numbers:
        rollout = stepping.act(agent.act, plan.rollout_steps)
        rollouts.append(rollout)
        [rollout] = without_diverged([rollout])
        if reward is None or not rollout.valid.any():
            continue
        rewards = np.asarray(reward(rollout))
        rewards_seen.append(rewards[rollout.valid].mean())
        metrics.append(agent.update(rollout, rewards, progress=number / plan.total_rollouts))
    diverged = sum(int(rollout.diverged.sum()) for rollout in rollouts)
    rollouts = without_diverged(rollouts)
    if not any(rollout.valid.any() for rollout in rollouts):
        raise UserError(NO_EPISODE)
    row = {
        "iteration": iteration,
        "steps": plan.steps(numbers.stop),
        "true_return": float("nan"),
        "episodes": 0,
        "episode_length": float("nan"),
        "diverged": diverged,
        "reward": float(np.mean(rewards_seen)) if rewards_seen else float("nan"),
    }
    for name in agent.metrics:
        row[name] = float(np.mean([m[name] for m in metrics])) if metrics else float("nan")
    return rollouts, row


def evaluation_row(
    agent: Agent, rollouts: list[Rollout], env: Env, seed: int, iteration: int
) -> dict[str, float]:
    """The part of a row of metrics.csv that evaluates the policy.

    By the episodes of the iteration; or by some that are played for it where it is too short.

    Where a full episode outlasts the iteration, only short ones would be counted.

    Returns:
        `true_return` and `episode_length`, means, and how many `episodes` the first is of.
    """
    limit = time_limit(env)
    steps = sum(len(rollout.rewards) for rollout in rollouts)
    if limit is None or limit <= steps:
        returns, length = finished_returns(rollouts, limit), _steps_an_end(rollouts)
        # environments are reset before most of the long ones are over
        length = float(np.fmin(length, limit or np.nan))
    else:
        episodes = play(agent.acting_policy, env, EPISODES_PLAYED, evaluation_seed(seed, iteration))
        returns, length = episodes.returns, float(episodes.lengths.mean())
    mean = float(returns.mean()) if len(returns) else float("nan")
    return {"true_return": mean, "episodes": len(returns), "episode_length": length}


def _steps_an_end(rollouts: list[Rollout]) -> float:
    """Mean length of an episode: cut ones are not left out, whose like would be the long ones."""
    ends = sum(int((rollout.ended & rollout.valid).sum()) for rollout in rollouts)
    return sum(int(rollout.valid.sum()) for rollout in rollouts) / ends if ends else float("nan")
