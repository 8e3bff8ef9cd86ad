"""PrefPPO: act, ask, learn the reward, improve on it, round after round.

Source: Christiano et al. 2017, arXiv:1706.03741. Details: docs/pref_ppo.md.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prefloop.data.stepping import Rollout, Stepping, as_trajectories
from prefloop.envs.registered import time_limit
from prefloop.envs.settings import Env
from prefloop.training.on_policy import (
    Agent,
    act_and_improve,
    evaluation_row,
    from_model,
)
from prefloop.training.plans import Plan, plan_labels
from prefloop.training.settings import QuerySettings
from prefloop.training.taught_reward import TaughtReward


class PrefPPO:
    """An agent on a reward that is learned from answers about what it has just done.

    Iteration 0 only acts, so that there is something to ask about. After every iteration but the
    last, the schedule's labels are asked for and the reward is fitted again, on all answers so
    far and going on from its last weights.

    Attributes:
        taught: the reward, and whoever answers.
        exploration_iterations: before the first questions.
    """

    finished = False
    exploration_iterations = 1  # the first questions are about what it did

    def __init__(
        self,
        agent: Agent,
        stepping: Stepping,
        env: Env,
        taught: TaughtReward,
        plan: Plan,
        questions: QuerySettings,
        seed: int,
    ) -> None:
        """Plans when the labels are spent.

        Args:
            env: what `stepping` steps.

        Raises:
            UserError: as `plan_labels`.
        """
        self.agent, self.stepping, self.env, self.taught = agent, stepping, env, taught
        self.plan, self.seed = plan, seed
        self.labels_per_session = plan_labels(questions, plan, time_limit(env))
        self._labels_by = np.cumsum(self.labels_per_session)  # the end of each session
        self._has_queue = questions.queue is not None
        self._rollouts: list[Rollout] = []  # of the last iteration
        self._iteration = self._asked_again = 0

    def iterate(self, iteration: int) -> dict[str, float]:
        """Acts and improves, then asks and fits.

        Raises:
            UserError: all has been asked and no answer said what is better.
        """
        taught, fit_row = self.taught, {"held_out_accuracy": float("nan"), "reward_epochs": 0.0}
        if not taught.fitted:
            taught.fit()  # to what was labelled before this run began
        is_asking = iteration < len(self._labels_by)
        if not is_asking:
            taught.require_fitted()
        # act, and improve on the reward as it stands
        reward = from_model(taught.model) if taught.fitted else None
        self._iteration, self._asked_again = iteration, 0
        rollouts, row = act_and_improve(
            self.agent, self.stepping, reward, self.plan, self.seed, iteration
        )
        self._rollouts = rollouts
        row |= evaluation_row(self.agent, rollouts, self.env, self.seed, iteration)
        # ask, with pairs from this iteration, and learn the reward from all answers
        if is_asking:
            labels = int(self._labels_by[iteration])
            taught.ask(lambda: as_trajectories(rollouts), labels, iteration)
            was_fitted = taught.fitted
            fit_row |= taught.fit(lambda: as_trajectories(rollouts), iteration)
            if self._has_queue and taught.fitted and not was_fitted:
                self.ask_now()  # so that nobody waits for the next session
        elif not taught.wait:
            taught.fit()  # labels that came after the last question
        correlation = {"reward_correlation": taught.correlation(rollouts)}
        return {**row, **taught.counts(), **fit_row, **correlation}

    @property
    def labels_left(self) -> int:
        """As of `TaughtReward`."""
        return self.taught.labels_left

    def ask_now(self, wished: bool = False) -> None:
        """Asks in the middle of an iteration about the one before, as long as there are labels to come.

        Args:
            wished: as in `TaughtReward.ask`.
        """
        if not self._rollouts:
            return
        self._asked_again += 1
        session = min(self._iteration, len(self._labels_by) - 1)
        self.taught.ask(
            lambda: as_trajectories(self._rollouts), int(self._labels_by[session]),
            self._iteration, self._asked_again, wished,
        )  # fmt: skip

    def mean_predicted_rewards(self, iterations: int) -> NDArray | None:
        """None: the steps are not kept, so a later reward can't predict for them."""
        return None

    def save(self, directory: Path) -> None:
        """Writes the reward model and a picture of when it was taught."""
        self.taught.save(directory, self.labels_per_session)

    def state_dict(self) -> dict[str, Any]:
        """Agent, reward and how far the plan is; the answers are in their own folder."""
        return {"ppo": self.agent.state_dict(), **self.taught.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes over what `state_dict` gave."""
        self.agent.load_state_dict(state["ppo"])
        self.taught.load_state_dict(state)
