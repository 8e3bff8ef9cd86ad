"""Agents on their way to people who compare them, without knowing whom they see."""

import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from uuid import UUID

from prefloop.data.segments import Segments
from prefloop.labelling.client.client import LabellingClient
from prefloop.seeding import Stream, uniform_of

_NAMESPACE = UUID("5a0c2f0e-97c5-4a36-8a0a-0a4b1f3f2d6e")  # of the ids of queries; any will do


@dataclass(frozen=True)
class Contest:
    """Two agents that are compared by what they did from one start."""

    start: int
    first: str
    second: str


def contests(agents: Sequence[str], starts: int, seed: int) -> list[Contest]:
    """Each two agents from each start: all pairs of agents once, then all once more, and so on.

    So wherever annotators stop, no pair of agents is ahead of another by more than one. The order
    within a start, and who of two is the first, follow from the seed, the start and the two names,
    and do not depend on who else is compared.
    """
    found = []
    for start in range(starts):
        pairs = list(combinations(sorted(agents), 2))
        keys = [f"{start}\n{one}\n{other}" for one, other in pairs]
        place = uniform_of((f"place\n{key}".encode() for key in keys), seed, Stream.QUERIES)
        turn = uniform_of((f"turn\n{key}".encode() for key in keys), seed, Stream.QUERIES)
        turned = [pair if u < 0.5 else pair[::-1] for pair, u in zip(pairs, turn, strict=True)]
        found += [Contest(start, *turned[i]) for i in place.argsort()]
    return found


def ask_contests(
    client: LabellingClient, run: str, segments: Mapping[str, Segments], seed: int
) -> Counter[tuple[str, str]]:
    """Queues what agents did from the same starts, for people to compare; does not wait.

    A query's id follows from its segments and its agents, so what is there is not asked again.

    Args:
        run: an arena, which has these agents.
        segments: of each agent, one for each start.

    Returns:
        From how many starts each two agents did the same, to the last bit; nobody is asked about that.
    """
    starts = min(len(some) for some in segments.values())
    # what was sent and is asked about by nobody, after a kill, is met again by what it shows
    sent = {agent: client.add_segments(run, some) for agent, some in segments.items()}
    queries, compared = [], []
    alike: Counter[tuple[str, str]] = Counter()
    for contest in contests(list(segments), starts, seed):
        first, second = (sent[agent][contest.start] for agent in (contest.first, contest.second))
        if first == second:
            one, other = sorted((contest.first, contest.second))
            alike[one, other] += 1
            continue
        id = contest_id(first, second, (contest.first, contest.second))
        queries.append((id, first, second))
        compared.append((contest.first, contest.second))
    client.add_queries(run, queries, agents=compared)
    return alike


def contest_id(first: UUID, second: UUID, agents: tuple[str, str]) -> UUID:
    """The id of a query about two of the server's segments, and whose they are."""
    return uuid.uuid5(_NAMESPACE, f"{first} {agents[0]}\n{second} {agents[1]}")
