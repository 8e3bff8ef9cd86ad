"""An agent that learns at every step from all that it has done, on a reward of any origin."""

import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from prefloop import policy_files, run_files
from prefloop.agents.sac import SAC
from prefloop.agents.settings import SACSettings
from prefloop.data.replay_buffer import (
    COLUMNS,
    STATES,
    TRUE_REWARDS,
    Kind,
    NothingToDrawError,
    ReplayBuffer,
    Transitions,
)
from prefloop.data.stepping import Rollout, Stepping, finished_returns
from prefloop.envs.settings import Env
from prefloop.errors import UserError
from prefloop.evaluation.evaluate import evaluation_seed, play
from prefloop.running_moments import RunningMoments
from prefloop.seeding import Stream, generator, integer
from prefloop.squashed_gaussian import SquashedGaussianPolicy
from prefloop.training.on_policy import RewardOfRollout
from prefloop.training.plans import Plan
from prefloop.training.settings import ReplaySettings

# steps that were drawn, from where, and by which numbers -> the same, with another reward
WhenDrawn = Callable[[Transitions, ReplayBuffer, np.random.Generator], Transitions]


def make_sac(
    stepping: Stepping,
    settings: SACSettings,
    seed: int,
    device: torch.device,
    init: Path | None = None,
) -> SAC:
    """An agent with weights drawn from a seed.

    Args:
        stepping: what it is to act in.
        init: a policy checkpoint to start from.

    Raises:
        UserError: the environment or the checkpoint can't be used.
    """
    torch.manual_seed(integer(seed, Stream.WEIGHTS))
    start = policy_files.load(init, stepping.envs) if init else None
    if start is not None and not isinstance(start, SquashedGaussianPolicy):
        raise UserError(f"{init} is no policy that SAC trains; give one that `prefloop sac` wrote.")
    return SAC(settings, stepping.spaces, device, start)


def make_replay(
    directory: Path,
    stepping: Stepping,
    settings: ReplaySettings,
    plan: Plan,
) -> ReplayBuffer:
    """A replay buffer in a run's directory; what a run left that was stopped before it had a state goes.

    Raises:
        UserError: there is one of another run, or something else; or it can't be written.
    """
    if not (directory / run_files.STATE).exists():
        ours = {f"{name}.{end}" for name in COLUMNS for end in ("npy", "tmp")}
        for path in sorted((directory / run_files.REPLAY).glob("*")):
            if path.name not in ours:
                raise UserError(f"{path} is of no run; choose another --out.")
        shutil.rmtree(directory / run_files.REPLAY, ignore_errors=True)
    extras: dict[str, Kind] = {TRUE_REWARDS: ("float32", ())}
    if (states := stepping.state_kind) is not None:
        extras[STATES] = states
    # an episode that is cut at an iteration's end takes a row more, for what its last step led to
    between = (plan.iteration_steps_per_env + 1) * plan.num_envs
    return ReplayBuffer(
        directory / run_files.REPLAY,
        stepping.spaces,
        plan.num_envs,
        min(settings.capacity, plan.total_steps + plan.iterations * plan.num_envs),
        between,
        extras,
    )


class OffPolicyTraining:
    """An agent and the reward it learns from, as the loop turns it.

    Every iteration begins with a reset of all environments, whose seed follows from its number: so
    a run that is taken up again is the run that was never stopped.
    """

    finished = False

    def __init__(
        self,
        agent: SAC,
        stepping: Stepping,
        env: Env,
        reward: RewardOfRollout,
        replay: ReplayBuffer,
        plan: Plan,
        settings: ReplaySettings,
        seed: int,
        limit: int | None,
    ) -> None:
        """Does nothing yet.

        Args:
            env: what it is judged in; `stepping` may step another one.
            limit: the most steps that an episode can have in what `stepping` steps; None where there is no limit.
        """
        self.agent, self.stepping, self.env, self.reward = agent, stepping, env, reward
        self.replay, self.plan, self.settings, self.seed = replay, plan, settings, seed
        self._limit = limit

    def iterate(self, iteration: int) -> dict[str, float]:
        """Acts and learns for an iteration of the plan, then plays some episodes."""
        rollout, row = act_and_improve(
            self.agent, self.stepping, self.reward, self.replay, self.plan,
            self.settings.updates_per_step, self.seed, iteration,
        )  # fmt: skip
        return row | evaluation_row(
            self.agent, rollout, self._limit, self.env, self.settings, self.seed, iteration
        )

    def state_dict(self) -> dict[str, Any]:
        """The agent's, and how far the replay buffer is, which stands in its own files."""
        return {"sac": self.agent.state_dict(), "replay": self.replay.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes over what `state_dict` gave."""
        self.agent.load_state_dict(state["sac"])
        self.replay.load_state_dict(state["replay"])


def act_and_improve(
    agent: SAC,
    stepping: Stepping,
    reward: RewardOfRollout,
    replay: ReplayBuffer,
    plan: Plan,
    updates_per_step: float,
    seed: int,
    iteration: int,
    when_drawn: WhenDrawn | None = None,
) -> tuple[Rollout, dict[str, float]]:
    """One iteration of steps, each followed by its updates.

    Args:
        reward: what each step is worth when it is made.
        when_drawn: what steps are worth when they are learned from, in place of that.

    Returns:
        What was done, with true rewards, and the row of metrics.csv.

    Raises:
        UserError: learning diverged, or a reward is NaN or infinite.
    """
    stepping.begin(seed, iteration)
    agent.begin(seed, iteration)
    rng = generator(seed, Stream.REPLAY, iteration)
    sums, updates, rewards_seen, diverged = None, 0, RunningMoments(), 0
    numbers = plan.rollouts_of(iteration)
    for number in numbers:
        # kept in the replay buffer alone: small arrays that stay, among large ones that come and go with
        # each update, would leave the memory in pieces, a gigabyte in 5,000 steps
        step = stepping.act(agent.act, plan.rollout_steps)
        rewards = np.asarray(reward(step))[0]
        if not np.isfinite(step.actions).all():
            raise UserError(
                "Learning diverged: the policy's actions are NaN or infinite. Start anew with a smaller "
                "learning rate."
            )
        if not np.isfinite(rewards[step.valid[0]]).all():
            raise UserError("A reward is NaN or infinite, so nothing can be learned from it.")
        rewards_seen.update(rewards[step.valid[0]].astype(np.float64))
        replay.add(
            step.obs[0], step.applied[0], rewards, step.terminated[0], step.truncated[0],
            ~step.valid[0], **_extras(step),
        )  # fmt: skip
        if step.diverged.any():  # nobody knows when it began to go wrong
            replay.drop_episodes(step.diverged[0])
            diverged += int(step.diverged.sum())
        if not agent.is_ready or replay.size < 2:  # what a step led to is the next row's
            continue
        # so many in all by now: what one step has too little for, the next one makes up
        due, before = (
            math.floor(n * updates_per_step * plan.num_envs) for n in (number + 1, number)
        )
        for _ in range(due - before):
            try:
                batch = replay.sample(agent.settings.batch_size, rng)
            except NothingToDrawError:  # all that was done so far went wrong
                break
            metrics = agent.update(when_drawn(batch, replay, rng) if when_drawn else batch)
            values = torch.stack(list(metrics.values()))
            if sums is None:
                sums = torch.zeros_like(values)
            sums += values  # in place, as above
            updates += 1
    _close(replay, step)
    row = {
        "iteration": iteration,
        "steps": plan.steps(numbers.stop),
        "updates": updates,
        "reward": float(rewards_seen.mean),
        "diverged": diverged,
    }
    means = (sums / updates).tolist() if sums is not None else [float("nan")] * len(agent.metrics)
    return replay.newest(len(numbers)), row | dict(zip(agent.metrics, means, strict=True))


def _close(replay: ReplayBuffer, last: Rollout) -> None:
    """Adds what the last step led to, as a row that belongs to no episode: the next begins with a reset."""
    nothing, no = np.zeros_like(last.rewards[0]), np.zeros_like(last.terminated[0])
    extras = {name: np.zeros_like(values) for name, values in _extras(last).items()}
    replay.add(last.obs[1], np.zeros_like(last.applied[0]), nothing, no, no, ~no, **extras)


def _extras(step: Rollout) -> dict[str, NDArray]:
    """Columns of the replay buffer besides those that the agent learns from."""
    if step.states is None:
        return {TRUE_REWARDS: step.rewards[0]}
    return {TRUE_REWARDS: step.rewards[0], STATES: step.states[0]}


def evaluation_row(
    agent: SAC,
    rollout: Rollout,
    limit: int | None,
    env: Env,
    settings: ReplaySettings,
    seed: int,
    iteration: int,
) -> dict[str, float]:
    """The part of a row of metrics.csv that evaluates the policy.

    Args:
        rollout: what was done, in episodes of at most `limit` steps; None: there is no limit.
        env: what it is judged in.

    Returns:
        `true_return`, `lowest_return` and `episode_length` of episodes that are played by the policy's mean
        action; `training_return`, a mean, and how many `episodes` that it learned from it is of.
    """
    judged_by = evaluation_seed(seed, iteration)
    episodes = play(agent.policy, env, settings.evaluation_episodes, judged_by, greedy=True)
    finished = finished_returns([rollout], limit)
    return {
        "true_return": float(episodes.returns.mean()),
        "lowest_return": float(episodes.returns.min()),
        "episode_length": float(episodes.lengths.mean()),
        "training_return": float(finished.mean()) if len(finished) else float("nan"),
        "episodes": len(finished),
    }
