"""The people behind a run: they are asked, waited for, and what they said is read as it comes."""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import torch
from numpy.typing import NDArray

from prefloop.bradley_terry import agreement, cross_entropy, probability_second
from prefloop.data import dataset
from prefloop.data.preferences import Preferences, Queries
from prefloop.data.segments import STATES, Segments, concatenate
from prefloop.envs.settings import EnvSettings
from prefloop.labelling.arrays import Segment, pad, replay_kind
from prefloop.labelling.client.asking import ask
from prefloop.labelling.client.calling import RefusedError
from prefloop.labelling.client.client import LabellingClient
from prefloop.labelling.limits import MAX_TRACE
from prefloop.labelling.schemas.runs import CountsOut
from prefloop.labelling.schemas.training import EventOut, QueryOut
from prefloop.labelling.schemas.trainings import MAX_TRACED
from prefloop.rewards.reward_model import RewardModel
from prefloop.startup import raise_swallowed
from prefloop.words import counted

Key = tuple[UUID, tuple[int, int] | None]  # of a segment on the server, or of a part of one
KEPT_AT_ONCE = 200  # segments: of pictures, all at once would take gigabytes
PAUSE = 1.0  # seconds between two looks for new labels
NOT_UNDERSTOOD = 422  # of HTTP
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


class StandingLabels:
    """The labels of a run that stand, read on from where the last look ended.

    Where an annotator narrowed what was compared, a label is about that part. Labels of repeats say
    how consistent somebody is and are no new evidence: they are left out, as are those of annotators whom
    somebody has excluded.

    They stand in the order of the questions, so that nothing that is learned from them depends on who
    was the quickest to answer.

    Attributes:
        preferences: one for each; None while there are none.
        events: what was said, in the same order.
    """

    def __init__(self, client: LabellingClient, run: str) -> None:
        self.preferences: Preferences | None = None
        self.events: list[EventOut] = []
        self._client, self._run = client, run
        self._standing: dict[UUID, EventOut] = {}
        self._asked: dict[UUID, QueryOut] = {}
        self._cursor, self._round, self._forgotten = 0, 0, 0
        self._excluded: set[str] = set()
        self._segments: Segments | None = None  # those of the server, and parts of them
        self._place: dict[Key, int] = {}
        self._replay: dict[int, Mapping[str, NDArray]] = {}  # what shows those again, by place
        self._kept: set[int] = set()  # places of those that stand in the folder
        self._used = np.zeros(0, np.int64)  # places of those that the preferences name

    def read(self) -> bool:
        """Takes in what has happened since the last look; returns whether anything has."""
        before, more = self._state, True
        while more:
            page = self._client.labels(self._run, self._cursor)
            if page.forgotten != self._forgotten and self._cursor:
                # somebody's labels were deleted, and their numbers may be others' now
                self._standing, self._cursor = {}, 0
                page = self._client.labels(self._run, 0)
            self._forgotten = page.forgotten
            if page.round != self._round:
                self._standing = {}  # somebody wants everything labelled again
            self._asked |= {query.id: query for query in page.queries}
            for event in page.events:
                if event.kind == "undo":
                    self._standing.pop(event.undoes, None)  # type: ignore[arg-type]
                elif not event.repeat:
                    self._standing[event.id] = event
            self._cursor, self._round, more = page.next, page.round, page.more
            self._excluded = set(page.excluded)
        if self._state == before:
            return False
        self.events = sorted(
            (event for event in self._standing.values() if event.annotator not in self._excluded),
            key=lambda event: (self._asked[event.query].position, event.number),
        )
        self._fetch()
        self.preferences = self._as_preferences() if self.events else None
        return True

    @property
    def _state(self) -> tuple[int, int, int, set[str]]:
        """Facts of which one changes whenever something has happened."""
        return self._cursor, self._round, self._forgotten, self._excluded

    def _fetch(self) -> None:
        """Brings the segments that are named for the first time, whole and in parts."""
        named = dict.fromkeys(id for event in self.events for id in self._sides(event))
        missing = [id for id in named if (id, None) not in self._place]
        if missing:
            found = self._client.segments(self._run, missing, with_replay=True)
            self._add([(id, None) for id in missing], found)
        trims = [
            ((id, (event.trim.start, event.trim.stop)), event.trim)
            for event in self.events
            if event.trim is not None
            for id in self._sides(event)
        ]
        for key, trim in trims:
            if key not in self._place:
                assert self._segments is not None
                whole = self._place[key[0], None]
                part = trimmed(self._segments, whole, trim.start, trim.stop)
                shows = self._replay.get(whole, {})
                # states are those of its steps; all else is of the episode, in which it begins later
                replay = {
                    name: (array[trim.start : trim.stop] if name == STATES else array)[None]
                    for name, array in shows.items()
                }
                self._add([key], replace(part, replay=replay))

    def _add(self, keys: Sequence[Key], segments: Segments) -> None:
        first = len(self._place)
        if segments.replay:
            for i in range(len(segments)):
                shows = {name: array[i] for name, array in segments.replay.items()}
                self._replay[first + i] = shows
        segments = replace(segments, replay={})
        self._place |= {key: first + i for i, key in enumerate(keys)}
        known = [self._segments] if self._segments is not None else []
        self._segments = concatenate([*known, segments.packed])

    def _as_preferences(self) -> Preferences:
        assert self._segments is not None
        rows = []
        for event in self.events:
            part = (event.trim.start, event.trim.stop) if event.trim is not None else None
            label = np.nan if event.label is None else event.label
            first, second = (self._place[id, part] for id in self._sides(event))
            rows.append((first, second, label))
        columns = np.array(rows, dtype=np.float64).T
        sides = columns[:2].astype(np.int64)
        # as they were asked about, and not as they came here
        named, begins, place = np.unique(sides.T.ravel(), return_index=True, return_inverse=True)
        order = np.argsort(begins)
        self._used = named[order]
        pairs = np.argsort(order)[place].reshape(-1, 2)
        return Preferences(self._segments[self._used], pairs[:, 0], pairs[:, 1], columns[2])

    def shown(self, i: int) -> tuple[Segments, Segments]:
        """The two that an event is about, whole, also where a part of them was compared."""
        assert self._segments is not None
        first, second = (self._place[id, None] for id in self._sides(self.events[i]))
        return self._segments[first : first + 1], self._segments[second : second + 1]

    def _sides(self, event: EventOut) -> tuple[UUID, UUID]:
        asked = self._asked[event.query]
        return asked.first, asked.second

    @property
    def facts(self) -> list[dict[str, Any]]:
        """What is known of each label besides what it says, in the same order."""
        return [
            {
                "annotator": event.annotator,
                "query": str(event.query),
                "iteration": self._asked[event.query].iteration,
                "first_was_left": event.first_was_left,
                "trim": [event.trim.start, event.trim.stop] if event.trim else None,
                "seconds": event.seconds,
                "time": event.created_at.isoformat(),
            }
            for event in self.events
        ]

    def keep(self, folder: Path) -> None:
        """Writes what stands as a preference dataset; what no longer stands goes."""
        if self.preferences is None:
            if dataset.exists(folder):
                with dataset.writing(folder, dataset.read_metadata(folder)) as writer:
                    writer.clear()
            return
        if not dataset.exists(folder):  # somebody may have put it elsewhere
            self._kept.clear()
        run = self._client.run(self._run)
        metadata = {
            "program": "prefloop label",
            **EnvSettings(env=run.env, **run.env_changes).facts,
            "run": run.name,
            "instructions": run.instructions,
        }
        said = self.facts
        columns = {name: [facts[name] for facts in said] for name in said[0]}
        with dataset.writing(folder, metadata) as writer:
            for some in self._with_replay():
                writer.store(some)
            writer.replace(self.preferences, teacher="human", **columns)
        self._kept.update(self._used.tolist())

    def _with_replay(self) -> Iterator[Segments]:
        """Segments of the preferences that are not kept yet, with what shows them again, as far as it is known."""
        assert self._segments is not None
        kinds: dict[tuple[object, ...], list[Segment]] = {}
        for place in self._used.tolist():
            if place not in self._kept and (replay := self._replay.get(place)):
                one = self._segments[place : place + 1]
                steps = int(one.lengths[0])
                segment = Segment(
                    np.asarray(one.obs[0, :steps]),
                    one.actions[0, :steps],
                    one.rewards[0, :steps],
                    int(one.policy[0]),
                    int(one.first_step[0]),
                    replay,
                    one.frame_stack,
                )
                kinds.setdefault(replay_kind(segment), []).append(segment)
        for some in kinds.values():
            for start in range(0, len(some), KEPT_AT_ONCE):
                yield pad(some[start : start + KEPT_AT_ONCE], with_replay=True)


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


def trimmed(segments: Segments, i: int, start: int, stop: int) -> Segments:
    """The steps from `start` up to but without `stop` of one segment."""
    one = segments[i : i + 1]
    steps = slice(start, min(stop, int(one.lengths[0])))
    return Segments(
        one.obs[:, steps],
        one.actions[:, steps],
        one.mask[:, steps],
        one.rewards[:, steps],
        one.policy,
        one.first_step + start,
        frame_stack=one.frame_stack,
    )
