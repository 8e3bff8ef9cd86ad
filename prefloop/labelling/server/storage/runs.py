"""Runs: labelling jobs, each for one environment, and how far they are."""

import json
import uuid
from collections.abc import Mapping
from dataclasses import fields
from typing import Any
from uuid import UUID

from sqlalchemy import (
    Connection,
    and_,
    bindparam,
    case,
    delete,
    distinct,
    exists,
    func,
    insert,
    select,
    update,
)

from prefloop.env_ids import without_module
from prefloop.envs.settings import CHANGES, EnvSettings, from_facts
from prefloop.envs.spaces import Spaces
from prefloop.labelling.server.storage.arenas import add_agents, agents_of
from prefloop.labelling.server.storage.counting import give_back, take_in
from prefloop.labelling.server.storage.database import AnyRow, Clock, Database
from prefloop.labelling.server.storage.errors import ConflictError, NotFoundError, no_run
from prefloop.labelling.server.storage.records import Counts, Run, RunFacts
from prefloop.labelling.server.storage.statements import parts
from prefloop.labelling.server.storage.tables import (
    ANSWER,
    SKIP,
    agents,
    contests,
    current_labels,
    events,
    exclusions,
    leases,
    queries,
    runs,
    segments,
    trainings,
)

RATE = "frames_per_second"  # the setting that clips are drawn by


_NAMED = select(runs).where(runs.c.name == bindparam("name"))


class Runs:
    """The runs of a database."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database, self._now = database, clock

    def put(
        self, name: str, facts: RunFacts, annotators_per_query: int = 1, repeats: float = 0.0
    ) -> Run:
        """Makes a run, or goes on with the one of this name.

        Args:
            annotators_per_query, repeats: for a new run whose facts leave them open.

        Raises:
            ConflictError: the name is taken by a run of another environment or of other sizes, or by
                an arena where none is meant, and the other way round; or as `add_agents`.
        """
        given = {f.name: getattr(facts, f.name) for f in fields(RunFacts) if f.name != "agents"}
        given |= {
            "env": facts.env.env,
            "env_changes": json.dumps(facts.env.changes),
            "spaces": json.dumps(facts.spaces.facts),
        }

        def job(connection: Connection) -> None:
            found = connection.execute(_NAMED, {"name": name}).one_or_none()
            if found is None:
                defaults = {
                    "instructions": "",
                    "annotators_per_query": annotators_per_query,
                    "repeats": repeats,
                }
                values = {k: defaults.get(k) if v is None else v for k, v in given.items()}
                id = uuid.uuid4()
                connection.execute(
                    insert(runs).values(id=id, name=name, created_at=self._now(), round=1, **values)
                )
                add_agents(connection, id, name, facts.agents or {}, self._now())
                return
            _require_kind(connection, found, facts)
            before = env_of(found), spaces_of_run(found)
            for what, known, new, is_same in (
                (
                    "env",
                    before[0].described,
                    facts.env.described,
                    _is_same_env(before[0], facts.env),
                ),
                ("spaces", before[1], facts.spaces, before[1].agrees(facts.spaces)),
            ):
                if not is_same:
                    raise ConflictError(
                        f"The run {name} exists and its {what} is {known}, not {new}; choose another "
                        "name."
                    )
            add_agents(connection, found.id, name, facts.agents or {}, self._now())
            given["spaces"] = found.spaces  # with bounds or without
            if ":" not in given["env"]:  # which module draws its clips is not forgotten
                given["env"] = found.env
            changed = {k: v for k, v in given.items() if v is not None and v != getattr(found, k)}
            if found.archived_at is not None:  # whoever goes on with it wants it labelled
                changed["archived_at"] = None
            if changed:
                connection.execute(update(runs).where(runs.c.id == found.id).values(**changed))

        self._database.write(job)
        return self.get(name)

    def all(self) -> list[Run]:
        """All runs, the newest first."""
        with self._database.reading() as connection:
            rows = connection.execute(select(runs).order_by(runs.c.created_at.desc(), runs.c.name))
            return [with_counts(connection, row) for row in rows.all()]

    def get(self, name: str) -> Run:
        """One run.

        Raises:
            NotFoundError: there is none of this name.
        """
        with self._database.reading() as connection:
            return with_counts(connection, find_run(connection, name))

    def rename(self, name: str, new_name: str) -> Run:
        """Gives a run another name.

        Raises:
            NotFoundError: there is no such run.
            ConflictError: the new name is taken.
        """

        def job(connection: Connection) -> None:
            run = find_run(connection, name)
            taken = connection.execute(_NAMED, {"name": new_name}).one_or_none()
            if taken is not None and taken.id != run.id:
                raise ConflictError(f"There is a run {new_name} already.")
            connection.execute(update(runs).where(runs.c.id == run.id).values(name=new_name))

        self._database.write(job)
        return self.get(new_name)

    def archive(self, name: str, archived: bool = True) -> Run:
        """Puts a run away, with everything in it, or brings it back.

        Raises:
            NotFoundError: there is no such run.
        """

        def job(connection: Connection) -> None:
            run = find_run(connection, name)
            if (run.archived_at is not None) == archived:
                return
            since = self._now() if archived else None
            connection.execute(update(runs).where(runs.c.id == run.id).values(archived_at=since))

        self._database.write(job)
        return self.get(name)

    def own_settings(self, name: str) -> dict[str, float]:
        """Keys of labelling.yaml that say something else for one run.

        Raises:
            NotFoundError: there is no such run.
        """
        with self._database.reading() as connection:
            return own_settings_of(find_run(connection, name))

    def set_own(self, name: str, changes: Mapping[str, float | None]) -> Run:
        """Sets keys of labelling.yaml for one run.

        Args:
            changes: values by key; None: as labelling.yaml says.

        Raises:
            NotFoundError: there is no such run.
        """

        def job(connection: Connection) -> None:
            run = find_run(connection, name)
            before = own_settings_of(run)
            after = {k: v for k, v in {**before, **changes}.items() if v is not None}
            values = update(runs).where(runs.c.id == run.id).values(own_settings=json.dumps(after))
            connection.execute(values)
            if before.get(RATE) != after.get(RATE):
                # clips that were drawn at another rate are drawn again when somebody looks
                drawn = and_(segments.c.run == run.id, ~segments.c.clip_was_sent)
                connection.execute(update(segments).where(drawn).values(clip=None))

        self._database.write(job)
        return self.get(name)

    def delete(self, name: str) -> list[str]:
        """Removes a run with all its segments, queries and labels.

        Returns:
            Digests of videos that were sent to it and that no other run shows.

        Raises:
            NotFoundError: there is no such run.
        """

        def job(connection: Connection) -> list[str]:
            run = find_run(connection, name)
            others = segments.alias()
            sent = (
                select(segments.c.clip)
                .distinct()
                .where(
                    segments.c.run == run.id,
                    segments.c.clip_was_sent,
                    segments.c.clip.is_not(None),
                    ~exists().where(others.c.clip == segments.c.clip, others.c.run != run.id),
                )
            )
            digests = list(connection.execute(sent).scalars())
            # in this order no row has to be looked for that refers to a removed one
            asked = select(queries.c.id).where(queries.c.run == run.id)
            connection.execute(delete(contests).where(contests.c.query.in_(asked)))
            connection.execute(delete(agents).where(agents.c.run == run.id))
            for table in (events, leases, queries, segments, trainings):
                connection.execute(delete(table).where(table.c.run == run.id))
            connection.execute(delete(runs).where(runs.c.id == run.id))
            return digests

        return self._database.write(job)

    def label_again(self, name: str) -> Run:
        """Begins a new round: every query is asked again. The labels so far stay stored.

        Raises:
            NotFoundError: there is no such run.
        """

        def job(connection: Connection) -> None:
            run = find_run(connection, name)
            asked = queries.c.run == run.id
            connection.execute(update(queries).where(asked).values(done=0))
            connection.execute(
                update(runs).where(runs.c.id == run.id).values(round=runs.c.round + 1)
            )
            live = and_(leases.c.run == run.id, leases.c.open)
            connection.execute(update(leases).where(live).values(open=False))

        self._database.write(job)
        return self.get(name)

    def exclude(self, name: str, annotator: str, excluded: bool = True) -> list[str]:
        """Leaves somebody's labels of a run out of training and agreement, or takes them in again.

        What is left out is asked again, of others. Whatever they answer stays when it is taken in again.

        Returns:
            All whose labels are left out.

        Raises:
            NotFoundError: there is no such run, or nobody of that name has labelled in it.
        """

        def job(connection: Connection) -> list[str]:
            run = find_run(connection, name)
            theirs = exclusions.c.run == run.id, exclusions.c.annotator == annotator
            known = exists().where(events.c.run == run.id, events.c.annotator == annotator)
            if not connection.execute(select(known)).scalar_one():
                raise NotFoundError(f"Nobody called {annotator} has labelled in the run {name}.")
            is_out = connection.execute(select(exists().where(*theirs))).scalar_one()
            if is_out and not excluded:
                connection.execute(delete(exclusions).where(*theirs))
                take_in(connection, run.id, annotator, parts.at(self._now()))
            if excluded and not is_out:
                labels = current_labels.c.run == run.id, current_labels.c.annotator == annotator
                give_back(connection, and_(*labels))
                values = {"run": run.id, "annotator": annotator, "created_at": self._now()}
                connection.execute(insert(exclusions).values(**values))
            return excluded_from(connection, run.id)

        return self._database.write(job)

    def excluded(self, name: str) -> list[str]:
        """Whose labels of a run are left out.

        Raises:
            NotFoundError: there is no such run.
        """
        with self._database.reading() as connection:
            return excluded_from(connection, find_run(connection, name).id)

    def put_reward_report(self, name: str, report: Mapping[str, Any]) -> None:
        """Keeps what the trainer says of its reward model.

        Of annotators whose labels are not there nothing is kept: they may have been forgotten since the trainer
        read them.

        Raises:
            NotFoundError: there is no such run.
        """

        def job(connection: Connection) -> None:
            run = find_run(connection, name)
            content = json.dumps(_of_who_is_there(connection, run.id, report))
            values = update(runs).where(runs.c.id == run.id).values(reward_report=content)
            connection.execute(values)

        self._database.write(job)


def _of_who_is_there(
    connection: Connection, run: UUID, report: Mapping[str, Any]
) -> Mapping[str, Any]:
    """A reward report without those annotators of whom the run has no event."""
    trust = report.get("trust")
    if not trust or not trust["by_annotator"]:
        return report
    names = select(events.c.annotator).where(events.c.run == run).distinct()
    there = set(connection.execute(names).scalars())
    rows = [row for row in trust["by_annotator"] if row["name"] in there]
    return {**report, "trust": {**trust, "by_annotator": rows}}


def excluded_from(connection: Connection, run: UUID) -> list[str]:
    """Whose labels of a run are left out, by name."""
    theirs = select(exclusions.c.annotator).where(exclusions.c.run == run)
    return sorted(connection.execute(theirs).scalars())


def find_run(connection: Connection, name: str) -> AnyRow:
    """The row of a run.

    Raises:
        NotFoundError: there is none of this name.
    """
    row = connection.execute(_NAMED, {"name": name}).one_or_none()
    if row is None:
        raise no_run(name)
    return row


def with_counts(connection: Connection, row: AnyRow) -> Run:
    """A run's row, and how far its labelling is."""
    not_columns = ("counts", "arena")
    own = {f.name: getattr(row, f.name) for f in fields(Run) if f.name not in not_columns}
    own["env"], own["spaces"] = env_of(row), spaces_of_run(row)
    own["own_settings"] = own_settings_of(row)
    own["reward_report"] = json.loads(row.reward_report) if row.reward_report else None
    is_arena = exists().where(agents.c.run == row.id)
    arena = bool(connection.execute(select(is_arena)).scalar_one())
    return Run(**own, counts=_counts(connection, row.id), arena=arena)


def _require_kind(connection: Connection, known: AnyRow, facts: RunFacts) -> None:
    """Refuses an ordinary run of an arena's name, and the other way round."""
    is_arena = bool(agents_of(connection, known.id))
    if is_arena and facts.agents is None:
        raise ConflictError(
            f"The run {known.name} is an arena, which `prefloop arena` fills; choose another name."
        )
    if facts.agents is not None and not is_arena:
        raise ConflictError(f"The run {known.name} exists and is no arena; choose another name.")


def _is_same_env(known: EnvSettings, new: EnvSettings) -> bool:
    same_id = without_module(known.env) == without_module(new.env)
    return same_id and known.changes == new.changes


def env_of(row: AnyRow) -> EnvSettings:
    """The environment of a run's row."""
    found = from_facts({"env": row.env, CHANGES: json.loads(row.env_changes)})
    assert found is not None
    return found


def spaces_of_run(row: AnyRow) -> Spaces:
    """Observations and actions of a run's row."""
    return Spaces.from_facts(json.loads(row.spaces))


def own_settings_of(row: AnyRow) -> dict[str, float]:
    """The settings of its own of a run's row."""
    found: dict[str, float] = json.loads(row.own_settings or "{}")
    return found


def _counts(connection: Connection, run: UUID) -> Counts:
    """The page asks after every label, so what the queries know is not counted from the labels."""
    asked = select(
        func.count(),
        func.coalesce(func.sum(case((queries.c.done < queries.c.wanted, 1), else_=0)), 0),
        func.coalesce(func.sum(case((queries.c.done > 0, 1), else_=0)), 0),
        func.coalesce(func.sum(queries.c.done), 0),
    ).where(queries.c.run == run, queries.c.repeat_of.is_(None))
    total, left, labelled, counted = connection.execute(asked).one()
    people = select(func.count(distinct(current_labels.c.annotator))).where(
        current_labels.c.run == run
    )
    answers = current_labels.alias("answers")
    is_answered = exists().where(
        answers.c.query == queries.c.id, answers.c.kind == ANSWER, parts.counts(answers)
    )
    only_skipped = (
        select(func.count(distinct(queries.c.id)))
        .join(current_labels, current_labels.c.query == queries.c.id)
        .where(
            current_labels.c.run == run,
            current_labels.c.kind == SKIP,
            queries.c.repeat_of.is_(None),
            parts.counts(current_labels),
            ~is_answered,
        )
    )
    skipped = connection.execute(only_skipped).scalar_one()
    return Counts(
        queries=total,
        answered=int(labelled) - skipped,
        skipped=skipped,
        left=int(left),
        labels=int(counted) + _left_out(connection, run),
        annotators=connection.execute(people).scalar_one(),
    )


def _left_out(connection: Connection, run: UUID) -> int:
    """How many labels are of those who are excluded, without repeats."""
    annotators = excluded_from(connection, run)
    if not annotators:
        return 0
    theirs = (
        select(func.count())
        .select_from(current_labels)
        .join(queries, queries.c.id == current_labels.c.query)
        .where(
            current_labels.c.run == run,
            current_labels.c.annotator.in_(annotators),
            queries.c.repeat_of.is_(None),
        )
    )
    return int(connection.execute(theirs).scalar_one())
