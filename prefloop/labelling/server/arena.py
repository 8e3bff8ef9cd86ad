"""An arena's ranking: computed when somebody looks, and kept for those who look again."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from prefloop.evaluation.agent_ranking import as_facts, rank
from prefloop.labelling.server.storage.records import Vote

REMEMBERED = 32  # rankings


def ranking(agents: Sequence[str], votes: Sequence[Vote]) -> dict[str, Any]:
    """The facts of `agent_ranking.as_facts`; votes about one pair of clips are resampled together."""
    place = {agent: i for i, agent in enumerate(agents)}
    number = {query: i for i, query in enumerate(dict.fromkeys(vote.query for vote in votes))}
    said = tuple(
        (place[vote.first], place[vote.second], vote.label, number[vote.query])
        for vote in votes
        if vote.label is not None
    )
    return {**_ranked(tuple(agents), said), "skips": len(votes) - len(said)}


# a page asks every few seconds, and votes come more slowly
@lru_cache(maxsize=REMEMBERED)
def _ranked(
    agents: tuple[str, ...], said: tuple[tuple[int, int, float, int], ...]
) -> dict[str, Any]:
    first, second, labels, clusters = zip(*said, strict=True) if said else ((), (), (), ())
    return as_facts(agents, rank(len(agents), first, second, labels, clusters), len(said))
