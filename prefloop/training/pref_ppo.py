"""PrefPPO: act, ask, learn the reward, improve on it, round after round.

Source: Christiano et al. 2017, arXiv:1706.03741. Details: docs/pref_ppo.md.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from prefloop.data.preferences import Preferences
from prefloop.data.segments import cut
from prefloop.data.stepping import Rollout, Stepping, as_trajectories
from prefloop.envs.registered import time_limit
from prefloop.envs.settings import Env
from prefloop.errors import UserError
from prefloop.evaluation.plots import plot_schedule
from prefloop.queries.selection import select_queries
from prefloop.rewards import reward_model
from prefloop.rewards.reward_model import RewardModel
from prefloop.rewards.settings import RewardSettings
from prefloop.rewards.training import fit
from prefloop.seeding import Stream, generator
from prefloop.training.answers import Answers
from prefloop.training.on_policy import (
    Agent,
    act_and_improve,
    from_model,
    true_returns,
    true_reward,
    with_returns,
)
from prefloop.training.plans import Plan, plan_labels
from prefloop.training.settings import QuerySettings

# is told of every fit: the reward, and the answers that it was fitted to
OnFit = Callable[[RewardModel, Preferences], None]


class PrefPPO:
    """An agent on a reward that is learned from answers about what it has just done.

    Iteration 0 only acts, so that there is something to ask about. After every iteration but the
    last, the schedule's labels are asked for and the reward is fitted again, on all answers so
    far and going on from its last weights.

    Attributes:
        model: the reward as it stands.
        fitted: whether there was anything to fit it on.
    """

    finished = False

    def __init__(
        self,
        agent: Agent,
        stepping: Stepping,
        env: Env,
        model: RewardModel,
        answers: Answers,
        plan: Plan,
        questions: QuerySettings,
        reward: RewardSettings,
        seed: int,
        wait: bool = True,
        on_fit: OnFit | None = None,
    ) -> None:
        """Plans when the labels are spent.

        Args:
            env: what `stepping` steps.
            model: not yet fitted.
            wait: for all answers before each fit; otherwise before the first one only, and later
                with those there are.

        Raises:
            UserError: as `plan_labels`.
        """
        self.agent, self.stepping, self.env, self.model = agent, stepping, env, model
        self.answers, self.plan, self.questions, self.seed = answers, plan, questions, seed
        self._reward_settings, self._wait, self._on_fit = reward, wait, on_fit
        self.labels_per_session = plan_labels(questions, plan, time_limit(env))
        self._labels_by = np.cumsum(self.labels_per_session)  # the end of each session
        self.fitted = False

    def iterate(self, iteration: int) -> dict[str, float]:
        """Acts and improves, then asks and fits.

        Raises:
            UserError: all has been asked and no answer said what is better.
        """
        fit_row = {"held_out_accuracy": float("nan"), "reward_epochs": 0.0}
        if not self.fitted:
            self._fit()  # to what was labelled before this run began
        is_asking = iteration < len(self._labels_by)
        if not is_asking and not self.fitted:
            raise UserError(self._nothing_learned())
        # act, and improve on the reward as it stands
        reward = from_model(self.model) if self.fitted else None
        rollouts, row = act_and_improve(
            self.agent, self.stepping, reward, self.plan, self.seed, iteration
        )
        row = with_returns(row, true_returns(self.agent, rollouts, self.env, self.seed, iteration))
        # ask, and learn the reward from all answers
        if is_asking:
            self._ask(rollouts, iteration)
            if self._wait or not self.fitted:  # without any label there is nothing to go on with
                self.answers.wait()
            fit_row |= self._fit()
        elif not self._wait:
            self._fit()  # labels that came after the last question
        said = self.answers.current()
        row["labels"] = len(said.answered) if said is not None else 0
        row["shown"] = self.answers.shown
        return {**row, **fit_row, "reward_correlation": self._correlation(rollouts)}

    def _ask(self, rollouts: list[Rollout], iteration: int) -> None:
        """Brings the number of answers up to the plan, with pairs from the last iteration."""
        wanted = self.answers.missing(int(self._labels_by[iteration]))
        if wanted <= 0:
            return
        rng = generator(self.seed, Stream.QUERIES, iteration)
        episodes = as_trajectories(rollouts)
        # a policy that was taught to fall sooner is shown in shorter segments
        length = min(self.questions.segment_length, int(episodes.lengths.max()))
        candidates = self.questions.candidates * wanted
        # two segments for each candidate pair, as far as there are any
        pool = cut(episodes, length, 2 * candidates, rng)
        queries = select_queries(
            self.questions.selection if self.fitted else "uniform",
            pool,
            wanted,
            rng,
            num_candidates=candidates,
            predict=self.model.probabilities if self.fitted else None,
        )
        self.answers.ask(queries, iteration)

    def _fit(self) -> dict[str, float]:
        said = self.answers.current()
        # nothing to learn from yet: go on as before, later sessions may tell
        if said is None or (said.answered.labels == 0.5).all():
            return {}
        device = self.model.input_mean.device
        self.model, rows = fit(self.model, said, self._reward_settings, self.seed, device)
        self.fitted = True
        if self._on_fit is not None:
            self._on_fit(self.model, said)
        best = min(rows, key=lambda row: row["held_out_loss"])
        return {"held_out_accuracy": best["held_out_accuracy"], "reward_epochs": len(rows)}

    def _nothing_learned(self) -> str:
        said = self.answers.current()
        ties, shown = said.num_ties if said is not None else 0, self.answers.shown
        return (
            f"No reward could be learned: of {shown} queries {ties} were answered with a tie "
            f"and {shown - ties} skipped. Longer segments (--segment_length, now "
            f"{self.questions.segment_length}) or another --teacher may tell them apart."
        )

    def _correlation(self, rollouts: list[Rollout]) -> float:
        """Of learned and true reward, step by step, on what was done last; a check, never used."""
        if not self.fitted:
            return float("nan")
        valid = np.concatenate([r.valid for r in rollouts]).ravel()
        true, learned = (
            np.concatenate([reward(r) for r in rollouts]).ravel()[valid]
            for reward in (true_reward, from_model(self.model))
        )
        if np.ptp(true) == 0 or np.ptp(learned) == 0:
            return float("nan")
        return float(np.corrcoef(true, learned)[0, 1])

    def save(self, directory: Path) -> None:
        """Writes the reward model and a picture of when it was taught."""
        reward_model.save(directory, self.model)
        plot_schedule(directory / "schedule.png", self.labels_per_session, self.questions.schedule)

    def state_dict(self) -> dict[str, Any]:
        """Agent, reward and how far the plan is; the answers are in their own folder."""
        return {
            "ppo": self.agent.state_dict(),
            "model": self.model.state_dict(),
            "shown": self.answers.shown,
            "fitted": self.fitted,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes over what `state_dict` gave."""
        self.agent.load_state_dict(state["ppo"])
        self.model.load_state_dict(state["model"])
        self.answers.resume(state["shown"])
        self.fitted = state["fitted"]
