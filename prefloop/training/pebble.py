"""PEBBLE: explore, ask, learn the reward, relabel all that was ever done, improve at every step.

Source: Lee et al. 2021, arXiv:2106.05091, algorithm 2, whose lines are named here. Details: docs/pebble.md.
"""

import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prefloop.agents.sac import SAC
from prefloop.data.replay_buffer import ReplayBuffer
from prefloop.data.stepping import Stepping
from prefloop.envs.settings import Env
from prefloop.rewards.rune import Rune
from prefloop.seeding import Stream, generator, integer
from prefloop.training.exploration import StateEntropy
from prefloop.training.off_policy import act_and_improve, evaluation_row
from prefloop.training.on_policy import from_model, true_reward
from prefloop.training.plans import Plan, plan_labels
from prefloop.training.settings import PebbleSettings
from prefloop.training.taught_reward import TaughtReward

SCALE_STEPS = 10_000  # of the replay buffer, that the reward's scale is taken from


class Pebble:
    """An off-policy agent on a reward that is learned from answers about what it has done.

    The first iterations explore. Every later one begins with a session: questions about what was done so
    far, a fit to all answers, and the new reward for every step in the replay buffer. It stands at the
    beginning, so that an iteration that is done again writes every reward anew before one is read.

    Attributes:
        taught: the reward, and whoever answers.
        exploration_iterations: before the first questions.
        seconds, reward_seconds: that its iterations have taken in this process, and that asking, fitting
            and relabelling have taken of them.
    """

    finished = False

    def __init__(
        self,
        agent: SAC,
        stepping: Stepping,
        env: Env,
        taught: TaughtReward,
        replay: ReplayBuffer,
        plan: Plan,
        settings: PebbleSettings,
        seed: int,
        limit: int | None,
        is_given: bool = False,
    ) -> None:
        """Plans when the labels are spent.

        Args:
            env: what it is judged in; `stepping` may step another one.
            replay: keeps true rewards besides.
            limit: the most steps that an episode can have in what `stepping` steps; None where there is no limit.
            is_given: whether the agent's policy has learned before.

        Raises:
            UserError: as `plan_labels`.
        """
        self.agent, self.stepping, self.env, self.taught = agent, stepping, env, taught
        self.replay, self.plan, self.settings, self.seed = replay, plan, settings, seed
        self.seconds = self.reward_seconds = 0.0
        self.exploration_iterations = settings.exploration_iterations
        self._iteration = self._asked_again = 0
        self._limit, before = limit, self.exploration_iterations
        labels = plan_labels(settings.questions, plan, limit, before)
        self.labels_per_session = labels
        # the end of each session; there is none while it explores
        self._labels_by = np.concatenate([np.zeros(before, np.int64), np.cumsum(labels)])
        self._exploration = StateEntropy(settings.exploration, agent.device)
        self._rune = (
            Rune(settings.rune, lambda: taught.model, lambda: agent.acted)
            if settings.rune.rune_beta
            else None
        )
        self._only_acts = not settings.exploration.explores  # until the first questions
        if self._only_acts and not is_given:  # and at random, as it has learned nothing
            agent.random_steps = max(agent.random_steps, before * plan.iteration_steps)

    def iterate(self, iteration: int) -> dict[str, float]:
        """Asks, fits and relabels; then acts and improves.

        Raises:
            UserError: all has been asked and no answer said what is better.
        """
        begin = time.monotonic()
        self._iteration, self._asked_again = iteration, 0
        taught, fit_row = self.taught, {"held_out_accuracy": float("nan"), "reward_epochs": 0.0}
        if iteration >= self.settings.exploration_iterations:
            fit_row |= self._learn_reward(iteration)
            self.reward_seconds += time.monotonic() - begin
        # lines 2 to 4 and 14 to 19: act, and improve at every step
        reward = from_model(taught.model) if taught.fitted else true_reward
        only_acts = self._only_acts and iteration < self.exploration_iterations
        rollout, row = act_and_improve(
            self.agent, self.stepping, reward, self.replay, self.plan,
            0 if only_acts else self.settings.experience.updates_per_step, self.seed, iteration,
            self._rune if taught.fitted else self._exploration,
        )  # fmt: skip
        if not taught.fitted:
            row["reward"] = float("nan")  # nothing is paid for but what is new
        row |= evaluation_row(
            self.agent, rollout, self._limit, self.env, self.settings.experience, self.seed, iteration,
        )  # fmt: skip
        correlation = {"reward_correlation": taught.correlation([rollout])}
        self.seconds += time.monotonic() - begin
        return {**row, **taught.counts(), **fit_row, **correlation}

    @property
    def labels_left(self) -> int:
        """As of `TaughtReward`."""
        return self.taught.labels_left

    def ask_now(self, wished: bool = False) -> None:
        """Asks in the middle of an iteration, as long as there are labels to come; `wished` is as in `TaughtReward.ask`."""
        if self.replay.size < 2:  # what the only step led to is not known yet
            return
        self._asked_again += 1
        recent, labels = self.settings.recent_episodes, int(self._labels_by[self._iteration])
        self.taught.ask(
            lambda: self.replay.trajectories(recent), labels, self._iteration, self._asked_again, wished
        )  # fmt: skip

    def mean_predicted_rewards(self, iterations: int) -> NDArray | None:
        """Mean reward of the steps of each iteration, as the learned reward predicts it now.

        Args:
            iterations: that are over.

        Returns:
            [iterations]; NaN where the replay buffer has pushed the steps out. None before there is a
            reward.
        """
        if not self.taught.fitted:
            return None
        # a row more for each, for what its last step led to; the last one may be shorter
        rows = [len(self.plan.rollouts_of(i)) + 1 for i in range(iterations)]
        return self.replay.mean_rewards(rows)

    def _learn_reward(self, iteration: int) -> dict[str, float]:
        """Lines 6 to 13; what the row says of the fit."""
        taught, was_fitted, recent = self.taught, self.taught.fitted, self.settings.recent_episodes
        # lines 6 to 12: ask, and learn the reward from all answers
        labels = int(self._labels_by[iteration])
        taught.ask(lambda: self.replay.trajectories(recent), labels, iteration)
        row = taught.fit(self.replay.trajectories, iteration)
        if iteration == self.plan.iterations - 1:
            taught.require_fitted()
        if not taught.fitted:
            return row
        if self.settings.scale == "replay":
            rng = generator(self.seed, Stream.REPLAY, iteration, 2)
            steps = self.replay.sample(min(SCALE_STEPS, len(self.replay)), rng)
            taught.rescale(steps.obs, steps.actions)
        # line 13: what was done is worth what the new reward says
        if self.settings.relabel or not was_fitted:
            self.replay.relabel(taught.model.reward)
        if not was_fitted:
            self._forget_exploration(iteration)
            # so that nobody waits for the next session
            if self.settings.questions.queue is not None:
                self.ask_now()
        return row

    def _forget_exploration(self, iteration: int) -> None:
        """Gives the agent critics that know the first reward, and nothing of what was paid for being new.

        They begin anew; policy and temperature, which go on from where they are, are updated along with them.
        """
        self.agent.reset_critic(self.seed)
        self.agent.begin(integer(self.seed, Stream.CRITIC), iteration)
        rng = generator(self.seed, Stream.REPLAY, iteration, 1)
        for _ in range(self.settings.critic_updates):
            self.agent.update(self.replay.sample(self.agent.settings.batch_size, rng))

    def save(self, directory: Path) -> None:
        """Writes the reward model and a picture of when it was taught."""
        self.taught.save(directory, self.labels_per_session)

    def state_dict(self) -> dict[str, Any]:
        """Agent, reward and how far replay and plan are; answers and steps are in their own folders."""
        return {
            "sac": self.agent.state_dict(),
            "replay": self.replay.state_dict(),
            "exploration": self._exploration.state(),
            **self.taught.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes over what `state_dict` gave."""
        self.agent.load_state_dict(state["sac"])
        self.replay.load_state_dict(state["replay"])
        self._exploration.load_state(state["exploration"])
        self.taught.load_state_dict(state)
