"""PrefPPO: act, ask, learn the reward, improve on it, round after round.

Source: Christiano et al. 2017, arXiv:1706.03741. Details: docs/pref_ppo.md.
"""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prefloop.agents.ppo import PPO
from prefloop.agents.rollout import Rollout, as_trajectories
from prefloop.data import dataset
from prefloop.data.preferences import Preferences, Queries
from prefloop.data.segments import Segments, cut
from prefloop.data.trajectories import Trajectories
from prefloop.envs import step_sizes
from prefloop.errors import UserError
from prefloop.evaluation.plots import plot_schedule
from prefloop.queries.selection import select_queries
from prefloop.rewards import reward_model
from prefloop.rewards.reward_model import RewardModel
from prefloop.rewards.training import fit, make_model
from prefloop.seeding import Stream, generator
from prefloop.teachers.simulated import RELATIVE
from prefloop.teachers.teacher import Teacher
from prefloop.training.demonstrations import act, as_segments, make_teacher
from prefloop.training.on_policy import from_model, improve
from prefloop.training.plans import plan_labels
from prefloop.training.settings import PrefPPOSettings

PREFERENCES = "preferences"  # the dataset's folder in a run's
# what the untrained policy shows teachers whose thresholds depend on what returns there are: episodes
# of each environment, and segments of them
FIRST_EPISODES, FIRST_SEGMENTS = 4, 1000


@contextlib.contextmanager
def opened(
    ppo: PPO, settings: PrefPPOSettings, seed: int, directory: Path, resume: bool = False
) -> Iterator["PrefPPO"]:
    """PrefPPO with a simulated teacher, an unfitted reward, and its answers in a run's directory.

    Raises:
        UserError: as `plan_labels` and `dataset.writing`; or there are answers of another run. The
            directory is as it was.
    """
    envs = ppo.envs
    plan_labels(settings, ppo.settings, envs.spec.max_episode_steps if envs.spec else None)
    if not resume and not dataset.is_empty(directory / PREFERENCES):
        raise UserError(
            f"{directory / PREFERENCES} holds the answers of another run; keep them elsewhere."
        )
    model = make_model(step_sizes(envs), settings, seed).to(ppo.device)
    pool = None
    if settings.teacher in RELATIVE:
        episodes = act(envs, [ppo.acting_policy], FIRST_EPISODES * envs.num_envs, seed)
        pool = as_segments(episodes, settings.segment_length, FIRST_SEGMENTS, seed)
    teacher = make_teacher(settings.teacher, pool, seed, settings.teacher_overrides())
    facts = {"program": "prefloop pref-ppo", "env": settings.env, "teacher": teacher.facts()}
    with dataset.writing(directory / PREFERENCES, facts) as preferences:
        yield PrefPPO(ppo, model, teacher, preferences, settings, seed)


class PrefPPO:
    """PPO on a reward that is learned from answers about what it has just done.

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
        ppo: PPO,
        model: RewardModel,
        teacher: Teacher,
        preferences: dataset.Writer,
        settings: PrefPPOSettings,
        seed: int,
    ) -> None:
        """Plans when the labels are spent.

        Args:
            model: not yet fitted.
            preferences: where answers are kept; what an iteration that was stopped had asked
                already is found there, and not asked again.

        Raises:
            UserError: as `plan_labels`.
        """
        self.ppo, self.model, self.teacher, self.preferences = ppo, model, teacher, preferences
        self.settings, self.seed = settings, seed
        self.labels_per_session = plan_labels(settings, ppo.settings)
        self.plan = np.cumsum(self.labels_per_session)
        self.shown = 0  # queries of the iterations that are over
        self.fitted = False

    def iterate(self, iteration: int) -> dict[str, float]:
        """Acts and improves, then asks and fits.

        Raises:
            UserError: all has been asked and no answer said what is better.
        """
        if iteration == len(self.plan) and not self.fitted:
            raise UserError(self._nothing_learned())
        reward_function = from_model(self.model) if self.fitted else None
        rollouts, row = improve(self.ppo, reward_function, self.settings, self.seed, iteration)
        fit_row = {
            "held_out_accuracy": float("nan"),
            "reward_epochs": 0.0,
            "reward_correlation": float("nan"),
        }
        if iteration < len(self.plan):
            self._ask(rollouts, iteration)
            fit_row |= self._fit()
        answers = self.preferences.preferences
        fit_row["reward_correlation"] = self._correlation(rollouts)
        row["labels"] = len(answers.answered) if answers is not None else 0
        row["shown"] = self.shown
        return {**row, **fit_row}

    def _ask(self, rollouts: list[Rollout], iteration: int) -> None:
        """Brings the number of answers up to the plan, with pairs from the last iteration."""
        known = self.preferences.preferences
        # what an iteration that was cut short had asked is there already
        earlier = known[: self.shown] if known is not None else None
        answered = len(earlier.answered) if earlier is not None else 0
        wanted = int(self.plan[iteration]) - answered
        if wanted > 0:
            queries, _ = self._choose(rollouts, wanted, iteration)
            asked_already = (len(known) if known is not None else 0) - self.shown
            if asked_already < wanted:
                first, second = queries.first[asked_already:], queries.second[asked_already:]
                rest = Queries(queries.segments, first, second)
                labels = self.teacher.label(rest)
                new = Preferences(rest.segments, rest.first, rest.second, labels)
                self.preferences.append(new, iteration=iteration)
            self.shown += wanted

    def _choose(
        self, rollouts: list[Rollout], wanted: int, iteration: int
    ) -> tuple[Queries, Mapping[str, NDArray]]:
        """Pairs of segments of what was done last, and what shows the segments."""
        settings = self.settings
        rng = generator(self.seed, Stream.QUERIES, iteration)
        # two segments for each candidate pair, as far as there are any
        num_segments = 2 * settings.candidates * wanted
        pool, replay = self._cut(as_trajectories(rollouts), num_segments, rng)
        queries = select_queries(
            settings.queries if self.fitted else "uniform",
            pool,
            wanted,
            rng,
            num_candidates=settings.candidates * wanted,
            predict=self.model.probabilities if self.fitted else None,
        )
        return queries, replay

    def _cut(
        self, trajectories: Trajectories, num_segments: int, rng: np.random.Generator
    ) -> tuple[Segments, Mapping[str, NDArray]]:
        """Segments to choose from, and what shows them: nothing to a teacher who sees numbers."""
        return cut(trajectories, self.settings.segment_length, num_segments, rng), {}

    def _fit(self) -> dict[str, float]:
        answers = self.preferences.preferences
        # nothing to learn from yet: go on as before, later sessions may tell
        if answers is None or (answers.answered.labels == 0.5).all():
            return {}
        device = self.model.input_mean.device
        self.model, rows = fit(self.model, answers, self.settings, self.seed, device)
        self.fitted = True
        best = min(rows, key=lambda row: row["held_out_loss"])
        return {"held_out_accuracy": best["held_out_accuracy"], "reward_epochs": len(rows)}

    def _nothing_learned(self) -> str:
        answers = self.preferences.preferences
        ties = answers.num_ties if answers is not None else 0
        return (
            f"No reward could be learned: of {self.shown} queries {ties} were answered with a tie "
            f"and {self.shown - ties} skipped. Longer segments (--segment_length, now "
            f"{self.settings.segment_length}) or another --teacher may tell them apart."
        )

    def _correlation(self, rollouts: list[Rollout]) -> float:
        """Of learned and true reward, step by step, on what was done last; a check, never used."""
        if not self.fitted:
            return float("nan")
        valid = np.concatenate([r.valid for r in rollouts]).ravel()
        true = np.concatenate([r.rewards for r in rollouts]).ravel()[valid]
        learned = np.concatenate([from_model(self.model)(r) for r in rollouts]).ravel()[valid]
        if np.ptp(true) == 0 or np.ptp(learned) == 0:
            return float("nan")
        return float(np.corrcoef(true, learned)[0, 1])

    def save(self, directory: Path) -> None:
        """Writes the reward model and a picture of when it was taught."""
        reward_model.save(directory, self.model)
        plot_schedule(directory / "schedule.png", self.labels_per_session, self.settings.schedule)

    def state_dict(self) -> dict[str, Any]:
        """Agent, reward and how far the plan is; the answers are in their own folder."""
        return {
            "ppo": self.ppo.state_dict(),
            "model": self.model.state_dict(),
            "shown": self.shown,
            "fitted": self.fitted,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes over what `state_dict` gave."""
        self.ppo.load_state_dict(state["ppo"])
        self.model.load_state_dict(state["model"])
        self.shown, self.fitted = state["shown"], state["fitted"]
