"""The labels of a run that stand, as preferences, and as a dataset on this machine."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from prefloop.data import dataset
from prefloop.data.preferences import Preferences
from prefloop.data.segments import STATES, Segments, concatenate
from prefloop.envs.settings import EnvSettings
from prefloop.labelling.arrays import Segment, one_of, pad, replay_kind
from prefloop.labelling.client.client import LabellingClient
from prefloop.labelling.schemas.training import EventOut, QueryOut

Key = tuple[UUID, tuple[int, int] | None]  # of a segment on the server, or of a part of one
KEPT_AT_ONCE = 200  # segments: of pictures, all at once would take gigabytes


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
                segment = replace(one_of(self._segments, place), replay=replay)
                kinds.setdefault(replay_kind(segment), []).append(segment)
        for some in kinds.values():
            for start in range(0, len(some), KEPT_AT_ONCE):
                yield pad(some[start : start + KEPT_AT_ONCE], with_replay=True)


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
