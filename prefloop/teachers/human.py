"""People as a teacher: their queries go to the labelling server, their labels come from it."""

import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from prefloop.data.preferences import Preferences, Queries
from prefloop.data.segments import Segments, concatenate

_NAMESPACE = UUID("b0f2f9a8-8f0e-4b0e-9d0c-6a1e5d1c7a55")  # of the ids of queries; any will do


class LabelServer(Protocol):
    """What a human teacher needs of `prefloop.labelling.client.LabellingClient`."""

    def add_segments(
        self, name: str, segments: Segments, replay: Mapping[str, NDArray] | None = None
    ) -> list[UUID]:
        """Stores segments, each once, and returns their ids."""
        ...

    def add_queries(
        self, name: str, queries: Sequence[tuple[UUID, UUID, UUID]], iteration: int = 0
    ) -> None:
        """Queues queries (id, first, second), each once."""
        ...

    def labels(self, name: str, after: int = 0) -> Any:
        """Events since a cursor: `events`, `next`, `more`, `round`, `annotators_per_query`."""
        ...


class HumanTeacher:
    """Asks people, and waits for them.

    A query's id follows from its segments. So the same query gets the answer it has, whoever asks
    again: a trainer that was killed and goes on meets the labels that were given meanwhile. Where
    several people label a query, its label is the mean of theirs, without those who skipped it.

    Args:
        server: where the queries go.
        run: the run's name there; it must exist.
        pause: seconds between two looks for new labels.
        on_progress: called with the number of finished queries and of all, whenever it changes.
    """

    def __init__(
        self,
        server: LabelServer,
        run: str,
        pause: float = 1.0,
        on_progress: Callable[[int, int], None] | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.run = run
        self.iteration = 0  # that queries are said to belong to; a loop may count it up
        self._server = server
        self._pause = pause
        self._on_progress = on_progress
        self._sleep = sleep
        self._standing: dict[UUID, dict[UUID, Any]] = {}  # query, event
        self._cursor = 0
        self._round: int | None = None
        self._wanted = 1

    def label(self, queries: Queries, replay: Mapping[str, NDArray] | None = None) -> NDArray:
        """Answers queries as `prefloop.teachers.teacher.Teacher` asks; returns when all are done.

        Args:
            replay: as in `ask`.
        """
        ids = self.ask(queries, replay)
        self.wait(ids)
        return self.labels(ids)

    def preferences(
        self, queries: Queries, replay: Mapping[str, NDArray] | None = None
    ) -> Preferences:
        """Asks, waits, and returns each person's label of the part that they compared.

        Args:
            replay: as in `ask`.

        Returns:
            One preference for every label; a person who skipped gives NaN. Where the compared part
            was narrowed, the segments are that part.
        """
        ids = self.ask(queries, replay)
        self.wait(ids)
        return self.preferences_so_far(queries, ids)

    def preferences_so_far(self, queries: Queries, ids: Sequence[UUID]) -> Preferences:
        """The same for the labels that are there; `ids` are those that `ask` returned."""
        parts, size = [queries.segments], len(queries.segments)
        rows: list[tuple[int, int, float]] = []
        for id, first, second in zip(ids, queries.first, queries.second, strict=True):
            for event in self._labels_of(id):
                sides = int(first), int(second)
                if event.trim is not None:
                    part = [
                        _trimmed(queries.segments, i, event.trim.start, event.trim.stop)
                        for i in sides
                    ]
                    parts += part
                    sides, size = (size, size + 1), size + 2
                rows.append((*sides, np.nan if event.label is None else event.label))
        columns = np.array(rows, dtype=np.float64).reshape(-1, 3).T
        return Preferences(
            concatenate(parts), columns[0].astype(np.int64), columns[1].astype(np.int64), columns[2]
        )

    def ask(self, queries: Queries, replay: Mapping[str, NDArray] | None = None) -> list[UUID]:
        """Queues queries for people to answer, and does not wait.

        Args:
            replay: what it takes to show the segments again: arrays named `replay_...`, one row for
                each of `queries.segments`; only those of segments that are asked about are sent.

        Returns:
            The queries' ids, in order.
        """
        shown = np.unique(np.concatenate([queries.first, queries.second]))
        rows = {name: array[shown] for name, array in (replay or {}).items()}
        sent = self._server.add_segments(self.run, queries.segments[shown], rows)
        of = dict(zip(shown.tolist(), sent, strict=True))
        pairs = [
            (of[first], of[second])
            for first, second in zip(queries.first.tolist(), queries.second.tolist(), strict=True)
        ]
        ids = [uuid.uuid5(_NAMESPACE, f"{first} {second}") for first, second in pairs]
        new = [(id, first, second) for id, (first, second) in zip(ids, pairs, strict=True)]
        self._server.add_queries(self.run, new, self.iteration)
        return ids

    def wait(self, ids: Sequence[UUID]) -> None:
        """Waits until people are done with all of these queries."""
        before = -1
        while True:
            done = int(self.finished(ids).sum())
            if done != before and self._on_progress is not None:
                self._on_progress(done, len(ids))
            if done == len(ids):
                return
            before = done
            self._sleep(self._pause)

    def finished(self, ids: Sequence[UUID]) -> NDArray:
        """Which of these queries have all the labels that are wanted, skips included; [queries]."""
        self._read()
        counts = [len(self._labels_of(id)) for id in ids]
        return np.array(counts, dtype=np.int64) >= self._wanted

    def labels(self, ids: Sequence[UUID]) -> NDArray:
        """What people have said of these queries so far; NaN where nobody answered; [queries]."""
        labels = np.full(len(ids), np.nan)
        for i, id in enumerate(ids):
            given = [event.label for event in self._labels_of(id) if event.label is not None]
            if given:
                labels[i] = np.mean(given)
        return labels

    def _labels_of(self, id: UUID) -> list[Any]:
        """Labels of a query that stand. Repeats measure consistency, they are not more evidence."""
        return [event for event in self._standing.get(id, {}).values() if not event.repeat]

    def _read(self) -> None:
        """Takes in what has happened since the last look."""
        more = True
        while more:
            page = self._server.labels(self.run, self._cursor)
            if page.round != self._round:
                self._standing = {}  # somebody wants everything labelled again
            for event in page.events:
                of_query = self._standing.setdefault(event.query, {})
                if event.kind == "undo":
                    of_query.pop(event.undoes, None)
                else:
                    of_query[event.id] = event
            self._round, self._wanted = page.round, page.annotators_per_query
            self._cursor, more = page.next, page.more


def _trimmed(segments: Segments, i: int, start: int, stop: int) -> Segments:
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
    )
