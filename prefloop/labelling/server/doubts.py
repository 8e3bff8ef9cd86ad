"""Who should be looked at: annotators whose labels say that they did not look at the clips."""

import math
import statistics
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from prefloop.evaluation.shares import score_interval
from prefloop.labelling.server.storage.records import Event

# An annotator is doubted where the 95 % interval of a share lies beyond one of these, so that a few
# labels say nothing. Sides are drawn at random: whoever looks at the clips comes to half.
ONE_SIDE = 0.75  # of the answers that prefer the clip of one side: 12 of 12, 38 of 43
HASTY_SECONDS = 0.5  # clips last a second at least, and a look at two takes longer than that
HASTY = 0.5  # of the labels that took less: 4 of 4, 32 of 50
UNSTEADY = 0.75  # of the repeats that agree; fewer than this: 0 of 4, 2 of 10, 9 of 22
# Repeats are few, and of close pairs people do say something else the second time. Of those who agree with
# themselves in 80 %, 95 % would mark up to four of a hundred, and so one or another of every study.
UNSTEADY_CONFIDENCE = 0.999
# Pairs are clear where several others have answered them, most of those alike, or their answer is known.
SEVERAL, ALIKE = 2, 0.75
# Of those pairs, somebody who guesses says in half of the cases what is clear. An annotator is apart where their
# answers are so many times likelier of that than of one who comes to the median of all annotators: 25 of 40
# where that is 0.85. The ratio speaks for itself: of those who are like the median, one in so many at most is
# marked. In a crowd that is divided nobody is: there the median is not far from guessing.
LIKELIER = 100
SUREST = 0.9  # of the median: nobody is asked to be better than that


@dataclass(frozen=True)
class Doubt:
    """Why somebody should look at what an annotator says.

    Attributes:
        kind: `one-side`, `hasty`, `unsteady` or `apart`.
        side: that is preferred; None where it is about no side.
        count, n: how often, of how many.
        low, high: the 95 % interval of that share; of `unsteady` the 99.9 % interval.
        usual: the median share of all annotators; of `apart` alone.
    """

    kind: str
    side: str | None
    count: int
    n: int
    low: float
    high: float
    usual: float | None = None


def doubts(
    labels: Sequence[Event],
    excluded: Collection[str] = (),
    known: Mapping[object, float] = MappingProxyType({}),
) -> dict[str, list[Doubt]]:
    """What is suspicious about each annotator; see `ONE_SIDE` and its kin.

    Args:
        labels: that stand, of one run or of several that the same annotators label.
        excluded: annotators whose answers say nothing about others.
        known: answers that are known, of queries.
    """
    by_annotator: dict[str, list[Event]] = defaultdict(list)
    for event in labels:
        by_annotator[event.annotator].append(event)
    found = {name: _own_doubts(events) for name, events in by_annotator.items()}
    left_out = {*excluded, *(name for name, about in found.items() if about)}
    apart: dict[str, Doubt] = {}
    while True:
        now = _apart(by_annotator, left_out, known)
        apart |= now
        if now.keys() <= left_out:
            break
        # without the answers of those who guess it is clearer what is clear, and who else does
        left_out |= now.keys()
    for name, doubt in apart.items():
        found[name].append(doubt)
    return found


def first_labels(events: Sequence[Event]) -> dict[object, float]:
    """What an annotator said of each query when it was new to them."""
    return {e.query: e.label for e in events if e.label is not None and not e.repeat}


def repeated(events: Sequence[Event], before: dict[object, float]) -> list[tuple[float, float]]:
    """What an annotator said of each query that came again: before, and then."""
    return [
        (before[event.query], event.label)
        for event in events
        if event.repeat and event.label is not None and event.query in before
    ]


def counted_lefts(events: Sequence[Event]) -> tuple[int, int]:
    """How many answers prefer what was shown left, of those of which the side is known."""
    sided = [e for e in events if e.label in (0, 1) and e.first_was_left is not None]
    return sum((event.label == 0) == event.first_was_left for event in sided), len(sided)


def _own_doubts(events: Sequence[Event]) -> list[Doubt]:
    """What is suspicious about an annotator, whatever others say; see `ONE_SIDE` and its kin."""
    lefts, sided = counted_lefts(events)
    most, side = max((lefts, "left"), (sided - lefts, "right"))
    took = [event.seconds for event in events if event.seconds is not None]
    hasty = sum(seconds < HASTY_SECONDS for seconds in took)
    again = repeated(events, first_labels(events))
    alike = sum(one == other for one, other in again)
    found = []
    if sided and (ends := score_interval(most, sided))[0] > ONE_SIDE:
        found.append(Doubt("one-side", side, most, sided, *ends))
    if took and (ends := score_interval(hasty, len(took)))[0] > HASTY:
        found.append(Doubt("hasty", None, hasty, len(took), *ends))
    if again:
        ends = score_interval(alike, len(again), UNSTEADY_CONFIDENCE)
        if ends[1] < UNSTEADY:
            found.append(Doubt("unsteady", None, alike, len(again), *ends))
    return found


def _apart(
    by_annotator: Mapping[str, Sequence[Event]],
    left_out: Collection[str],
    known: Mapping[object, float],
) -> dict[str, Doubt]:
    """Whose answers to clear pairs are those of one who guesses; see `LIKELIER`."""
    clear = _on_clear_pairs(by_annotator, left_out, known)
    shares = [
        sum(alike) / len(alike) for name, alike in clear.items() if alike and name not in left_out
    ]
    usual = statistics.median(shares) if shares else 0.5
    found = {}
    for name, alike in clear.items():
        right, n = sum(alike), len(alike)
        if _guesses(right, n, min(usual, SUREST)):
            found[name] = Doubt("apart", None, right, n, *score_interval(right, n), usual)
    return found


def _guesses(right: int, n: int, usual: float) -> bool:
    """Whether so many of n are much likelier of one who guesses than of one who is usually right."""
    if not 0.5 < usual < 1:
        return False
    ratio = right * math.log(0.5 / usual) + (n - right) * math.log(0.5 / (1 - usual))
    return ratio > math.log(LIKELIER)


def _on_clear_pairs(
    by_annotator: Mapping[str, Sequence[Event]],
    left_out: Collection[str],
    known: Mapping[object, float],
) -> dict[str, list[bool]]:
    """Whether each annotator's answers to clear pairs, without ties, say what is clear; see `SEVERAL`.

    Args:
        left_out: annotators whose answers make nothing clear.
    """
    firsts = {name: first_labels(events) for name, events in by_annotator.items()}
    counts: dict[object, Counter[float]] = defaultdict(Counter)
    for name, labels in firsts.items():
        for query, label in labels.items():
            counts[query][label] += name not in left_out
    found: dict[str, list[bool]] = {}
    for name, labels in firsts.items():
        found[name] = []
        for query, label in labels.items():
            others = counts[query] - Counter({label: name not in left_out})
            answer = known.get(query, _clear(others))
            if label != 0.5 and answer in (0, 1):
                found[name].append(label == answer)
    return found


def _clear(said: Counter[float]) -> float | None:
    """What most say; None where they are few, or differ."""
    if said.total() < SEVERAL:
        return None
    ((label, most),) = said.most_common(1)
    return label if most >= ALIKE * said.total() else None
