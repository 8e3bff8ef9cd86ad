"""A reward that answers teach: asked for, fitted, judged and saved alike in every loop that learns one."""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prefloop.data.preferences import Preferences, Queries
from prefloop.data.segments import Segments, cut
from prefloop.data.stepping import Rollout
from prefloop.data.trajectories import Trajectories
from prefloop.errors import UserError
from prefloop.evaluation.plots import plot_schedule
from prefloop.queries.selection import number_of_pairs, select_queries, worth_showing
from prefloop.rewards import reward_model
from prefloop.rewards.reed import Reed
from prefloop.rewards.reward_model import RewardModel
from prefloop.rewards.settings import AuxiliarySettings, RewardSettings
from prefloop.rewards.training import fit
from prefloop.seeding import Stream, generator
from prefloop.training.answers import Answers
from prefloop.training.on_policy import from_model, true_reward
from prefloop.training.settings import QuerySettings

UNLABELLED_SEGMENTS = 1000  # that pairs without an answer are made of
PAIRS_ON_A_WISH = 10  # where no queue says how many
MOVING_TO_STILL = 4  # among segments that are asked about: so many that move to one that does not
# is told of every fit: the reward, and the answers that it was fitted to
OnFit = Callable[[RewardModel, Preferences], None]


def moving(segments: Segments) -> NDArray:
    """Tells segments in which observations change from those in which nothing does; bool, [segments]."""
    moves = np.zeros(len(segments), bool)
    for i, steps in enumerate(segments.mask):  # of pictures, all at once would take gigabytes
        obs = segments.obs[i][steps]
        moves[i] = (obs != obs[0]).any()
    return moves


def _fingerprint(preferences: Preferences) -> str:
    """Digest of what was compared and how it was answered; another one where anything was added or taken back.

    Positions say nothing: where one answer goes and another one comes, the segments are numbered anew.
    """
    digest = hashlib.sha256()
    prints = preferences.segments.fingerprints
    for column in (prints[preferences.first], prints[preferences.second], preferences.labels):
        digest.update(np.ascontiguousarray(column).tobytes())
    return digest.hexdigest()


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
        auxiliary: AuxiliarySettings | None = None,
    ) -> None:
        """Asks nothing yet.

        Args:
            model: not yet fitted.
            wait: for all answers before each fit; otherwise before the first one only, and later
                with those there are.
            auxiliary: what it learns from besides answers; nothing if not given.
        """
        self.model, self.answers, self.questions, self.wait = model, answers, questions, wait
        self._settings, self._seed, self._on_fit = settings, seed, on_fit
        self.fitted = False
        self._fitted_to = ""  # the fingerprint of those answers
        # pairs of that fit, where later ones are to be about what is new
        self._learned_before: frozenset[bytes] = frozenset()
        auxiliary = auxiliary or AuxiliarySettings()
        self._surf = auxiliary.surf if auxiliary.surf.surf else None
        self._reed: Reed | None = None
        if auxiliary.reed.reed:
            learning_rate = settings.filled(model.encoder_learns).learning_rate
            self._reed = Reed(auxiliary.reed, model, learning_rate, seed)

    def ask(
        self,
        episodes: Callable[[], Trajectories],
        labels: int,
        iteration: int,
        again: int = 0,
        wished: bool = False,
    ) -> None:
        """Brings the number of answers up to so many, with pairs of segments of some episodes.

        Args:
            episodes: gives them; it is called only if there is anything to ask.
            labels: how many there are to be; with a queue, as many as it takes to keep it full.
            again: how often there was something to ask in this iteration before; above 0 it does not
                wait for answers, and where too little was done it asks about what there is.
            wished: somebody wants to see what was done up to now: these pairs come before those that
                wait already, however many they are, as long as there are labels to come.
        """
        if self.questions.queue is None:
            wanted = self.answers.missing(labels)
        else:
            ahead = self.questions.queue - self.answers.open
            wanted = min(ahead, self.labels_left)
        if wished:
            session = self.questions.queue or PAIRS_ON_A_WISH
            wanted = min(session, self.labels_left)
        if wanted > 0:
            rng = generator(self._seed, Stream.QUERIES, iteration, *([again] if again else []))
            self._put(episodes(), wanted, iteration, rng, again > 0, wished)
        # without any label there is nothing to go on with
        if (self.wait or not self.fitted) and not again:
            self.answers.wait()

    @property
    def labels_left(self) -> int:
        """Labels that may still be asked for; 0 where those that were asked for make up all."""
        return max(0, self.answers.missing(self.questions.labels))

    def _put(
        self,
        episodes: Trajectories,
        wanted: int,
        iteration: int,
        rng: np.random.Generator,
        as_far_as_possible: bool,
        next_up: bool,
    ) -> None:
        candidates = self.questions.candidates * wanted
        # two segments for each candidate pair, as far as there are any
        pool = self._segments(episodes, 2 * candidates, wanted, rng)
        if self.answers.are_watched:
            pool = worth_showing(pool, wanted)
        possible = number_of_pairs(len(pool))
        if as_far_as_possible:
            wanted = min(wanted, possible)
        if not wanted:
            return
        if wanted > possible:
            raise UserError(
                f"{wanted} pairs are to be asked about now, and what was done so far gives only {possible}, of "
                f"{len(pool)} segments; give fewer --labels, a shorter --segment_length, or more to ask about "
                f"(--iteration_steps){', in another --out' if iteration else ''}."  # what is kept goes on as it began
            )
        queries = select_queries(
            self.questions.selection if self.fitted else "uniform",
            pool,
            wanted,
            rng,
            num_candidates=candidates,
            predict=self.model.probabilities if self.fitted else None,
        )
        self.answers.ask(queries, iteration, next_up)

    def _segments(
        self, episodes: Trajectories, number: int, pairs: int, rng: np.random.Generator
    ) -> Segments:
        # a policy that was taught to fall sooner is shown in shorter segments
        length = min(self.questions.segment_length, int(episodes.lengths.max()))
        segments = cut(episodes, length, number, rng)
        # where an episode stays after its end nothing happens: a few such segments say what that is worth
        # beside others, two of them say nothing; if nearly all are of that kind, so are some questions
        moves = moving(segments)
        if number_of_pairs(int(moves.sum())) < pairs:
            return segments
        few = int(moves.sum()) // MOVING_TO_STILL
        kept = np.concatenate([np.flatnonzero(moves), np.flatnonzero(~moves)[:few]])
        return segments[np.sort(kept)]

    def fit(
        self, episodes: Callable[[], Trajectories] | None = None, iteration: int = 0
    ) -> dict[str, float]:
        """Fits the model to all answers so far, going on from its last weights.

        Args:
            episodes: gives what else is learned from, where there is anything; called if needed.

        Returns:
            What the row of metrics.csv says of it; empty where there is nothing to learn from yet (later sessions may
            tell), and, with a queue or where fits learn from what is new, where all is as at the last fit.
        """
        preferences = self.answers.current()
        if preferences is None or (preferences.answered.labels == 0.5).all():
            return {}
        # sessions that follow each other quickly often bring no answer
        by_new = self.questions.refit == "new"
        # all that is new may have been skipped
        fingerprint = _fingerprint(preferences.answered if by_new else preferences)
        if (by_new or self.questions.queue is not None) and fingerprint == self._fitted_to:
            return {}
        device, unlabelled = self.model.input_mean.device, None
        if episodes is not None and self._reed is not None:
            self._reed.learn(self.model, episodes(), iteration)
        if episodes is not None and self._surf is not None:
            ratio, how = self._surf.unlabelled_ratio, self._surf.unlabelled_selection
            wanted = max(1, round(ratio * len(preferences.answered)))
            unlabelled = self._unlabelled(episodes(), wanted, how, iteration)
        answered = preferences.answered.compact
        self.model, rows = fit(
            self.model,
            answered,
            self._settings,
            self._seed,
            device,
            self._surf,
            unlabelled,
            self._learned_before,
        )
        if by_new:
            self._learned_before = frozenset(answered.pairs)
        self.fitted, self._fitted_to = True, fingerprint
        if self._on_fit is not None:
            self._on_fit(self.model, preferences)
        best = min(rows, key=lambda row: row["held_out_loss"])
        return {"held_out_accuracy": best["held_out_accuracy"], "reward_epochs": len(rows)}

    def _unlabelled(
        self, episodes: Trajectories, wanted: int, selection: str, iteration: int
    ) -> Queries:
        """Pairs that nobody is asked about."""
        rng = generator(self._seed, Stream.UNLABELLED, iteration)
        pool = self._segments(episodes, UNLABELLED_SEGMENTS, wanted, rng)
        return select_queries(
            selection if self.fitted else "uniform",
            pool,
            min(wanted, number_of_pairs(len(pool))),
            rng,
            predict=self.model.probabilities,
        )

    def rescale(self, obs: NDArray, actions: NDArray) -> None:
        """Brings the agent's reward to a scale of 1 over some steps, in place of those that were asked about.

        Args:
            obs, actions: of the steps; [steps, ...].
        """
        preferences = self.answers.current()
        # of what was answered, as the fit has them
        lengths = (
            preferences.answered.compact.segments.lengths
            if preferences is not None
            else np.zeros(1)
        )
        self.model.rescale(self.model.reward(obs, actions), centre=not np.ptp(lengths))

    def require_fitted(self) -> None:
        """Refuses to go on without a reward when all has been asked.

        Raises:
            UserError: no answer said what is better.
        """
        if self.fitted:
            return
        preferences = self.answers.current()
        ties, shown = preferences.num_ties if preferences is not None else 0, self.answers.shown
        raise UserError(
            f"No reward could be learned: of {shown} queries {ties} were answered with a tie "
            f"and {shown - ties} skipped. Longer segments (--segment_length, now "
            f"{self.questions.segment_length}) or another --teacher may tell them apart."
        )

    def facts(self) -> dict[str, Any]:
        """Facts for run.json: of the reward model, and of its fit what the settings leave open."""
        fit = self._settings.filled(self.model.encoder_learns).fit_facts
        return {"reward_model": self.model.facts(), "reward_fit": fit}

    def counts(self) -> dict[str, float]:
        """Columns of metrics.csv: how many queries were shown, and how many have a label."""
        preferences = self.answers.current()
        labels = len(preferences.answered) if preferences is not None else 0
        return {"labels": labels, "shown": self.answers.shown}

    def correlation(self, rollouts: Sequence[Rollout]) -> float:
        """Correlation of learned and true reward over the steps of some rollouts; a check, never used.

        Returns:
            Pearson's; NaN before there is a reward, and where one of the two is the same in all steps.
        """
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
        if self.questions.queue is None:  # otherwise it was as quick as whoever answered
            plot_schedule(directory / "schedule.png", labels_per_session, self.questions.schedule)

    def state_dict(self) -> dict[str, Any]:
        """The reward and how much was asked; the answers are in their own folder."""
        return {
            "model": self.model.state_dict(),
            "shown": self.answers.shown,
            "answers": self.answers.digest,
            "fitted": self.fitted,
            "fitted_to": self._fitted_to,
            "known": sorted(pair.hex() for pair in self._learned_before),
            "reed": self._reed.state_dict() if self._reed is not None else None,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes over what `state_dict` gave."""
        self.model.load_state_dict(state["model"])
        self.answers.resume(state["shown"], state.get("answers", ""))  # earlier versions kept none
        self.fitted, self._fitted_to = state["fitted"], state.get("fitted_to", "")
        self._learned_before = frozenset(bytes.fromhex(pair) for pair in state.get("known", ()))
        if self._reed is not None:
            self._reed.load_state_dict(state["reed"])
