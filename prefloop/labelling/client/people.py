"""The people behind a run: they are asked, waited for, and what they said is read as it comes."""

import contextlib
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import torch

from prefloop.bradley_terry import agreement, cross_entropy, probability_second
from prefloop.data import dataset
from prefloop.data.preferences import Preferences, Queries
from prefloop.data.segments import Segments
from prefloop.labelling.client.asking import ask
from prefloop.labelling.client.calling import NOT_UNDERSTOOD, RefusedError
from prefloop.labelling.client.client import LabellingClient
from prefloop.labelling.client.standing import StandingLabels
from prefloop.labelling.limits import MAX_TRACE
from prefloop.labelling.schemas.runs import CountsOut
from prefloop.labelling.schemas.trainings import MAX_TRACED
from prefloop.rewards.reward_model import RewardModel
from prefloop.startup import raise_swallowed
from prefloop.words import counted

PAUSE = 1.0  # seconds between two looks for new labels
HARDEST = 10  # queries that the results page shows


class People:
    """Annotators of one run, as a loop asks whoever answers (`prefloop.training.answers`).

    All that they have said stands on the server, also what was asked by others or before a trainer
    was killed; so whoever goes on meets it there.
    """

    def __init__(
        self,
        client: LabellingClient,
        run: str,
        folder: Path,
        say: Callable[[str], None] = print,
        pause: float = PAUSE,
        is_over: Callable[[], bool] = lambda: False,
    ) -> None:
        """Asks nothing yet.

        Args:
            folder: where their labels are kept as a preference dataset, each time they are read.
            say: told, in a sentence, that people are waited for.
            is_over: asked while they are, whether it is no use any more.
        """
        self.client, self.run, self.folder = client, run, folder
        self._say, self._pause, self._is_over = say, pause, is_over
        self._labels = StandingLabels(client, run)
        self._open: dict[UUID, Segments] = {}  # what was asked about last, to be looked into
        self._model: RewardModel | None = None

    def counts(self) -> CountsOut:
        """How far they are."""
        return self.client.run(self.run).counts

    @property
    def shown(self) -> int:
        """Queries of the run, whoever asked them."""
        return self.counts().queries

    @property
    def open(self) -> int:
        """Queries that want more annotators than have labelled them."""
        return self.counts().left

    @property
    def are_watched(self) -> bool:
        """Yes."""
        return True

    @property
    def digest(self) -> str:
        """None: people take labels back, and give others."""
        return ""

    def resume(self, shown: int, digest: str = "") -> None:
        """Does nothing: what was asked stands on the server."""

    def missing(self, labels: int) -> int:
        """How many queries more it takes, counting those that are asked and not answered yet."""
        counts = self.counts()
        # not answered + left: what one of several annotators has answered is in both
        return labels - (counts.queries - counts.skipped)

    def ask(self, queries: Queries, iteration: int, next_up: bool = False) -> None:
        """Queues queries; does not wait."""
        try:
            about = ask(self.client, self.run, queries, iteration, next_up)
        except RefusedError as error:
            if not next_up or error.status != NOT_UNDERSTOOD:
                raise
            about = ask(self.client, self.run, queries, iteration)  # a server of an earlier version
        newest = {**self._open, **about}
        self._open = dict(list(newest.items())[-MAX_TRACED:])
        self._tell_traces()

    def wait(self) -> None:
        """Waits until nothing is left to label, or it is over."""
        told = 0
        while (left := self.counts().left) > 0 and not self._is_over():
            # more than was said: it is to be labelled again, say; or much less
            if left > told or 2 * left <= told:
                self._say(
                    f"Waiting for {counted(left, 'label')} at {self.client.page(self.run)} (Ctrl-C stops, "
                    "the same command goes on)."
                )
                told = left
            raise_swallowed()
            time.sleep(self._pause)

    def current(self) -> Preferences | None:
        """Every label that stands, one preference each; None while there are none."""
        if self._labels.read() or not dataset.exists(self.folder):
            self._labels.keep(self.folder)
        return self._labels.preferences

    def standing(self) -> Preferences | None:
        """As `current`, and the folder stays as it is."""
        self._labels.read()
        return self._labels.preferences

    @property
    def facts(self) -> list[dict[str, Any]]:
        """What is known of each label that `current` or `standing` gave last: who gave it, and when that was asked."""
        return self._labels.facts

    def report(
        self,
        model: RewardModel,
        preferences: Preferences,
        trust: Mapping[str, Any] | None = None,
    ) -> None:
        """Tells the results page how well a reward model agrees with the labels.

        Args:
            preferences: those that stand, as `current` or `standing` gave them.
            trust: how far it can be trusted, as `schemas.trust.TrustIn` has it.
        """
        self._model = model
        self._tell_traces()
        labels = preferences.labels
        decided = ~np.isnan(labels) & (labels != 0.5)
        if not decided.any():
            return
        gap = model.gap(preferences)
        agrees = agreement(torch.as_tensor(gap[decided]), torch.as_tensor(labels[decided]))
        probability = probability_second(gap)
        loss = cross_entropy(probability, labels)
        of_query: dict[str, dict[str, Any]] = {}
        for i in np.argsort(-np.where(decided, loss, -np.inf), kind="stable"):
            query = str(self._labels.events[i].query)
            if not decided[i] or len(of_query) == HARDEST or query in of_query:
                continue
            first, second = self._labels.shown(i)
            has_true = _has_true(preferences.segments)
            of_query[query] = {
                "query": query,
                "label": float(labels[i]),
                "probability": float(probability[i]),
                "first_reward": trace(model, first, has_true),
                "second_reward": trace(model, second, has_true),
            }
        accuracy, judged, hardest = (
            float(agrees.mean()),
            int(decided.sum()),
            list(of_query.values()),
        )
        known = ("query", "label", "probability")
        plain = [{name: hard[name] for name in known} for hard in hardest]
        # servers of earlier versions know nothing of trust, or of the rewards of steps either
        tellings: list[tuple[list[dict[str, Any]], Mapping[str, Any] | None]] = [
            (hardest, trust),
            *([(hardest, None)] if trust is not None else []),
            (plain, None),
        ]
        for i, (pairs, said) in enumerate(tellings):
            try:
                self.client.put_reward_report(self.run, accuracy, judged, pairs, said)
                return
            except RefusedError:
                if i == len(tellings) - 1:
                    raise

    def _tell_traces(self) -> None:
        """What the reward says of what is asked about: for the page, where somebody may want to see it."""
        if self._model is None or not self._open:
            return
        traces = {
            str(id): trace(self._model, one, _has_true(one)) for id, one in self._open.items()
        }
        # nobody trains by a server of an earlier version, or under an earlier trainer's name
        with contextlib.suppress(RefusedError):
            short = {id: steps for id, steps in traces.items() if steps is not None}
            self.client.put_traces(self.run, short)


def _has_true(segments: Segments) -> bool:
    """Whether rewards are the environment's: whoever collects without rewards sends zeros."""
    return bool(segments.rewards.any())


def trace(model: RewardModel, segment: Segments, has_true: bool) -> dict[str, Any] | None:
    """What a reward model says of each step of a segment; None of one that is too long to be told.

    Args:
        segment: a single one.
        has_true: whether its rewards are the environment's.
    """
    steps = int(segment.lengths[0])
    if steps > MAX_TRACE:
        return None
    rewards = model.step_by_step(segment.obs[0, :steps], segment.actions[0, :steps])
    if has_true:
        rewards["true"] = segment.rewards[0, :steps]
    return {name: [float(f"{x:.4g}") for x in values] for name, values in rewards.items()}
