"""A reward that answers teach: asked for, fitted, judged and saved alike in every loop that learns one."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prefloop.data.preferences import Preferences
from prefloop.data.segments import cut
from prefloop.data.stepping import Rollout
from prefloop.data.trajectories import Trajectories
from prefloop.errors import UserError
from prefloop.evaluation.plots import plot_schedule
from prefloop.queries.selection import select_queries
from prefloop.rewards import reward_model
from prefloop.rewards.reward_model import RewardModel
from prefloop.rewards.settings import RewardSettings
from prefloop.rewards.training import fit
from prefloop.seeding import Stream, generator
from prefloop.training.answers import Answers
from prefloop.training.on_policy import from_model, true_reward
from prefloop.training.settings import QuerySettings

# is told of every fit: the reward, and the answers that it was fitted to
OnFit = Callable[[RewardModel, Preferences], None]


class TaughtReward:
    """A reward model, and whoever answers the questions that it is fitted to.

    Attributes:
        model: the reward as it stands.
        fitted: whether there was anything to fit it on.
    """

    def __init__(
        self,
        model: RewardModel,
        answers: Answers,
        questions: QuerySettings,
        settings: RewardSettings,
        seed: int,
        wait: bool = True,
        on_fit: OnFit | None = None,
    ) -> None:
        """Asks nothing yet.

        Args:
            model: not yet fitted.
            wait: for all answers before each fit; otherwise before the first one only, and later
                with those there are.
        """
        self.model, self.answers, self.questions, self.wait = model, answers, questions, wait
        self._settings, self._seed, self._on_fit = settings, seed, on_fit
        self.fitted = False

    def ask(self, episodes: Callable[[], Trajectories], labels: int, iteration: int) -> None:
        """Brings the number of answers up to so many, with pairs of segments of some episodes.

        Args:
            episodes: gives them; it is called only if there is anything to ask.
        """
        wanted = self.answers.missing(labels)
        if wanted > 0:
            self._put(episodes(), wanted, iteration)
        # without any label there is nothing to go on with
        if self.wait or not self.fitted:
            self.answers.wait()

    def _put(self, episodes: Trajectories, wanted: int, iteration: int) -> None:
        rng = generator(self._seed, Stream.QUERIES, iteration)
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

    def fit(self) -> dict[str, float]:
        """Fits the model to all answers so far, going on from its last weights.

        Returns:
            What the row of metrics.csv says of it; empty where there is nothing to learn from yet:
            later sessions may tell.
        """
        said = self.answers.current()
        if said is None or (said.answered.labels == 0.5).all():
            return {}
        device = self.model.input_mean.device
        self.model, rows = fit(self.model, said, self._settings, self._seed, device)
        self.fitted = True
        if self._on_fit is not None:
            self._on_fit(self.model, said)
        best = min(rows, key=lambda row: row["held_out_loss"])
        return {"held_out_accuracy": best["held_out_accuracy"], "reward_epochs": len(rows)}

    def require_fitted(self) -> None:
        """To be called when all has been asked.

        Raises:
            UserError: no answer said what is better.
        """
        if self.fitted:
            return
        said = self.answers.current()
        ties, shown = said.num_ties if said is not None else 0, self.answers.shown
        raise UserError(
            f"No reward could be learned: of {shown} queries {ties} were answered with a tie "
            f"and {shown - ties} skipped. Longer segments (--segment_length, now "
            f"{self.questions.segment_length}) or another --teacher may tell them apart."
        )

    def counts(self) -> dict[str, float]:
        """What the row of metrics.csv says of questions and answers."""
        said = self.answers.current()
        labels = len(said.answered) if said is not None else 0
        return {"labels": labels, "shown": self.answers.shown}

    def correlation(self, rollouts: Sequence[Rollout]) -> float:
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

    def save(self, directory: Path, labels_per_session: NDArray) -> None:
        """Writes the reward model and a picture of when it was taught."""
        reward_model.save(directory, self.model)
        plot_schedule(directory / "schedule.png", labels_per_session, self.questions.schedule)

    def state_dict(self) -> dict[str, Any]:
        """The reward and how much was asked; the answers are in their own folder."""
        return {
            "model": self.model.state_dict(),
            "shown": self.answers.shown,
            "fitted": self.fitted,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes over what `state_dict` gave."""
        self.model.load_state_dict(state["model"])
        self.answers.resume(state["shown"])
        self.fitted = state["fitted"]
