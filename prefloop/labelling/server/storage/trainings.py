"""Who trains on a run now: what they last said of it, and what people wish of them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, insert, select, update

from prefloop.labelling.server.storage.database import AnyRow, Clock, Database
from prefloop.labelling.server.storage.errors import ConflictError, NotFoundError
from prefloop.labelling.server.storage.runs import find_run
from prefloop.labelling.server.storage.tables import trainings

ALIVE = timedelta(seconds=15)  # a trainer that was not heard of for so long is taken for gone
ENDED = "ended"  # the last phase
_BRIEF = [c for c in trainings.c if c is not trainings.c.traces]  # which are long
NOTHING_WISHED = {"paused": False, "stop": False, "asks": 0}


@dataclass(frozen=True)
class Training:
    """What is known of a run's trainer.

    Attributes:
        trainer: which one it is.
        state: what it last said, as JSON holds it.
        wishes: what people wish of it.
        heard: how long ago it said so.
        video: digest of the policy's latest clip.
    """

    trainer: UUID
    state: Mapping[str, Any]
    wishes: Mapping[str, Any]
    heard: timedelta
    video: str | None

    @property
    def is_there(self) -> bool:
        """Whether it was heard of lately, and has not ended."""
        return self.heard < ALIVE and self.state["phase"] != ENDED


class Trainings:
    """The trainers of a database's runs, one each."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database, self._now = database, clock

    def tell(
        self, name: str, trainer: UUID, state: Mapping[str, Any], begins: bool = False
    ) -> Training:
        """Keeps what a trainer says of itself; wishes to one that is gone are none to the next.

        Args:
            trainer: which one it is; one that was killed and starts again is the same.
            begins: whether it was just started.

        Raises:
            NotFoundError: there is no such run.
            ConflictError: another trainer is at work on it.
        """
        said = {"trainer": trainer, "state": json.dumps(state), "heard_at": self._now()}

        def job(connection: Connection) -> Training:
            run = find_run(connection, name)
            row = self._row(connection, run.id)
            if row is None:
                wishes = json.dumps(NOTHING_WISHED)
                connection.execute(insert(trainings).values(run=run.id, wishes=wishes, **said))
            else:
                is_other = row.trainer != trainer
                if is_other and self._of(row).is_there:
                    raise ConflictError(
                        f"Another program trains on the run {name}; stop it, or choose another name."
                    )
                if is_other or begins:
                    said["wishes"] = json.dumps(NOTHING_WISHED)
                connection.execute(
                    update(trainings).where(trainings.c.run == run.id).values(**said)
                )
            return self._found(connection, run.id)

        return self._database.write(job)

    def get(self, name: str) -> Training | None:
        """What is known of a run's trainer; None where there never was one.

        Raises:
            NotFoundError: there is no such run.
        """
        with self._database.reading() as connection:
            of_run = trainings.c.run == find_run(connection, name).id
            row = connection.execute(select(*_BRIEF).where(of_run)).one_or_none()
            return None if row is None else self._of(row)

    def at_work(self) -> dict[UUID, Training]:
        """The trainers that are there, by the ids of their runs."""
        with self._database.reading() as connection:
            rows = connection.execute(select(*_BRIEF)).all()
        return {row.run: found for row in rows if (found := self._of(row)).is_there}

    def wish(self, name: str, wish: str) -> Training:
        """Notes what somebody wishes: `pause`, `go-on`, `ask` or `stop`.

        Raises:
            NotFoundError: there is no such run, or no trainer at work on it.
        """

        def job(connection: Connection) -> Training:
            run = find_run(connection, name)
            row = self._row(connection, run.id)
            if row is None or not (there := self._of(row)).is_there:
                raise NotFoundError(f"No program trains on the run {name} now.")
            new = {
                "pause": {"paused": True},
                "go-on": {"paused": False},
                "ask": {"asks": there.wishes["asks"] + 1},
                "stop": {"stop": True, "paused": False},
            }[wish]
            values = {"wishes": json.dumps({**there.wishes, **new})}
            connection.execute(update(trainings).where(trainings.c.run == run.id).values(**values))
            return self._found(connection, run.id)

        return self._database.write(job)

    def put_video(self, name: str, digest: str) -> str | None:
        """Keeps which clip shows the policy.

        Returns:
            The digest of the one before it, if another one.

        Raises:
            NotFoundError: there is no such run, or nobody ever trained on it.
        """
        before: str | None = self._change(name, video=digest).video
        return before if before != digest else None

    def put_traces(self, name: str, traces: Mapping[str, Any]) -> None:
        """Keeps what the reward says of segments, by their ids, in place of what it said before.

        Raises:
            NotFoundError: there is no such run, or nobody ever trained on it.
        """
        self._change(name, traces=json.dumps(traces))

    def traces(self, name: str) -> dict[str, Any]:
        """What was last kept by `put_traces`; empty where nothing was.

        Raises:
            NotFoundError: there is no such run.
        """
        with self._database.reading() as connection:
            row = self._row(connection, find_run(connection, name).id)
            return json.loads(row.traces) if row is not None and row.traces else {}

    def _change(self, name: str, **values: Any) -> AnyRow:
        """Changes what is known of a run's trainer; returns what was known before."""

        def job(connection: Connection) -> AnyRow:
            row = self._row(connection, find_run(connection, name).id)
            if row is None:
                raise NotFoundError(f"No program trains on the run {name}.")
            connection.execute(update(trainings).where(trainings.c.run == row.run).values(**values))
            return row

        return self._database.write(job)

    def videos(self) -> set[str]:
        """Digests of the clips that show policies."""
        with self._database.reading() as connection:
            shown = select(trainings.c.video).where(trainings.c.video.is_not(None))
            return set(connection.execute(shown).scalars())

    @staticmethod
    def _row(connection: Connection, run: UUID) -> AnyRow | None:
        return connection.execute(select(trainings).where(trainings.c.run == run)).one_or_none()

    def _found(self, connection: Connection, run: UUID) -> Training:
        row = self._row(connection, run)
        assert row is not None
        return self._of(row)

    def _of(self, row: AnyRow) -> Training:
        heard: datetime = row.heard_at
        return Training(
            row.trainer,
            json.loads(row.state),
            json.loads(row.wishes),
            # what is heard from later than now was heard before the clock was set back
            abs(self._now() - heard),
            row.video,
        )
