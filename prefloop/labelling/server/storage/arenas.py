"""What makes a run an arena: the agents that it compares, and which two a query is about."""

import uuid
from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, insert, select

from prefloop.labelling.limits import MAX_AGENTS
from prefloop.labelling.server.storage.database import AnyRow
from prefloop.labelling.server.storage.errors import ConflictError
from prefloop.labelling.server.storage.records import NewQuery
from prefloop.labelling.server.storage.tables import agents, contests, queries


def agents_of(connection: Connection, run: UUID) -> dict[str, AnyRow]:
    """The rows of a run's agents by their names, in their order; none of an ordinary run."""
    rows = connection.execute(select(agents).where(agents.c.run == run).order_by(agents.c.name))
    return {row.name: row for row in rows}


def add_agents(
    connection: Connection, run: UUID, name: str, new: Mapping[str, str], now: datetime
) -> None:
    """Adds agents to an arena; those that it has stay.

    Args:
        new: digests by name.

    Raises:
        ConflictError: a name stands for another agent already, or there are too many.
    """
    known = agents_of(connection, run)
    for agent, digest in new.items():
        if agent in known and known[agent].digest != digest:
            raise ConflictError(
                f"{agent} stands for another policy in the arena {name} already; give this one "
                "another name."
            )
    fresh = [
        {"id": uuid.uuid4(), "run": run, "name": agent, "digest": digest, "created_at": now}
        for agent, digest in new.items()
        if agent not in known
    ]
    if len(known) + len(fresh) > MAX_AGENTS:
        raise ConflictError(f"An arena compares at most {MAX_AGENTS} agents.")
    if fresh:
        connection.execute(insert(agents), fresh)


def contests_for(
    connection: Connection, run: UUID, name: str, new: list[NewQuery]
) -> list[dict[str, UUID]]:
    """Rows that say which agents queries are about; none for an ordinary run.

    Raises:
        ConflictError: the run is an arena and a query names no agents, or the same twice, or one
            that the arena does not have; or it is none and a query names some.
    """
    known = agents_of(connection, run)
    rows = []
    for query in new:
        if query.agents is None and known:
            raise ConflictError(
                f"The run {name} is an arena, in which each query names two agents; `prefloop arena` "
                "fills it."
            )
        if query.agents is None:
            continue
        if not known:
            raise ConflictError(f"A query names agents, and the run {name} is no arena.")
        if not set(query.agents) <= known.keys():
            raise ConflictError(f"A query names an agent that the arena {name} does not have.")
        if query.agents[0] == query.agents[1]:
            raise ConflictError("A query compares an agent with itself.")
        first, second = (known[agent].id for agent in query.agents)
        rows.append({"query": query.id, "first": first, "second": second})
    return rows


def contests_of(connection: Connection, run: UUID) -> dict[UUID, tuple[str, str]]:
    """The agents of a run's queries, by the query's id; none of an ordinary run."""
    first, second = agents.alias("first_agent"), agents.alias("second_agent")
    named = (
        select(contests.c.query, first.c.name.label("first"), second.c.name.label("second"))
        .join(queries, queries.c.id == contests.c.query)
        .join(first, first.c.id == contests.c.first)
        .join(second, second.c.id == contests.c.second)
        .where(queries.c.run == run)
    )
    return {row.query: (row.first, row.second) for row in connection.execute(named)}
