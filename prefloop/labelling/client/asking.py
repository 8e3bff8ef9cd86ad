"""Queries on their way to people."""

import uuid
from uuid import UUID

import numpy as np

from prefloop.data.preferences import Queries
from prefloop.data.segments import Segments
from prefloop.labelling.client.client import LabellingClient

_NAMESPACE = UUID("b0f2f9a8-8f0e-4b0e-9d0c-6a1e5d1c7a55")  # of the ids of queries; any will do


def ask(
    client: LabellingClient,
    run: str,
    queries: Queries,
    iteration: int = 0,
    next_up: bool = False,
) -> dict[UUID, Segments]:
    """Queues queries for people to answer, and does not wait.

    Two segments that are the same to the last bit are not asked about: nobody could say which is
    better. A query's id follows from its segments. So the same query gets the answer it has, whoever asks
    again: a trainer that was killed and goes on meets the labels that were given meanwhile.

    Args:
        run: its name; it must exist.
        next_up: before all that wait, for somebody who wants to see what was done up to now.

    Returns:
        The segments that they are about, one each, by their ids.
    """
    shown = np.unique(np.concatenate([queries.first, queries.second]))
    of = dict(zip(shown.tolist(), client.add_segments(run, queries.segments[shown]), strict=True))
    pairs = [
        (of[first], of[second])
        for first, second in zip(queries.first.tolist(), queries.second.tolist(), strict=True)
    ]
    new = [(query_id(*pair), *pair) for pair in pairs if pair[0] != pair[1]]
    client.add_queries(run, new, iteration, next_up=next_up)
    return {id: queries.segments[i : i + 1] for i, id in of.items()}


def query_id(first: UUID, second: UUID, nth: int = 0) -> UUID:
    """The id of a query about two of the server's segments.

    Args:
        nth: where the same is asked more than once, which of them, from 0.
    """
    return uuid.uuid5(_NAMESPACE, f"{first} {second}" + (f" {nth}" if nth else ""))
