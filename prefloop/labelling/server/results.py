"""What a run's labels say of its annotators: how much, how fast, and how alike."""

import math
import statistics
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import combinations
from types import MappingProxyType

import numpy as np

from prefloop.evaluation.shares import score_interval
from prefloop.labelling.server.storage.records import Event

MAX_POINTS = 200  # of a curve over time
MAX_CURVES = 6  # annotators that have one of their own: more can't be told apart

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
class Share:
    """How often two labels agree.

    Attributes:
        n: pairs of labels.
        share: of them, those that agree; None where there are none.
    """

    n: int
    share: float | None


@dataclass(frozen=True)
class Pair(Share):
    """How often two annotators agree.

    Attributes:
        kappa: Cohen's, over first, second and tie; None where it is not defined.
    """

    annotators: tuple[str, str]
    kappa: float | None


@dataclass(frozen=True)
class Alpha:
    """Agreement of all annotators beyond what chance would give.

    Attributes:
        n: answers to queries that several have answered.
        value: Krippendorff's alpha; None where there are none, or where all of them say the same.
    """

    n: int
    value: float | None


@dataclass(frozen=True)
class Seconds:
    """How long labels took; the quantiles at 10, 50 and 90 percent.

    Attributes:
        n: labels whose time is known.
        low, median, high: None where n is 0.
    """

    n: int
    low: float | None
    median: float | None
    high: float | None


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


@dataclass(frozen=True)
class Annotator:
    """What one annotator did.

    Attributes:
        doubts: what is suspicious about it.
        chose_left: share of the answers that are no ties; about 0.5 if sides do not matter.
        seconds: that a label took.
        consistency: agreement with themselves on repeats.
        excluded: whether their labels are left out of training and agreement.
    """

    annotator: str
    answers: int
    ties: int
    skips: int
    chose_left: float | None
    seconds: Seconds
    consistency: Share
    doubts: list[Doubt]
    excluded: bool


@dataclass(frozen=True)
class Point:
    """How many labels there were at a time."""

    time: datetime
    labels: int


@dataclass(frozen=True)
class Curve:
    """How many labels of one annotator there were at a time."""

    annotator: str
    points: list[Point]


@dataclass(frozen=True)
class Results:
    """What can be said of a run's labels; see `Annotator`, `Share`, `Alpha` and `Pair`.

    Attributes:
        curves: of those who labelled most, if they are several.
    """

    over_time: list[Point]
    curves: list[Curve]
    annotators: list[Annotator]
    agreement: Share
    alpha: Alpha
    consistency: Share
    pairs: list[Pair]
    seconds: Seconds


def results(labels: Sequence[Event], excluded: Collection[str] = ()) -> Results:
    """Results of the labels that stand.

    Two labels agree if both prefer the first, both the second, or both are ties. Skips are counted,
    but agree with nothing and disagree with nothing.

    Args:
        labels: of one run, in order.
        excluded: annotators who are counted for themselves alone.
    """
    by_annotator: dict[str, list[Event]] = defaultdict(list)
    for event in labels:
        by_annotator[event.annotator].append(event)
    first_labels = {name: _first_labels(events) for name, events in by_annotator.items()}
    repeats = {name: _repeated(events, first_labels[name]) for name, events in by_annotator.items()}
    found = doubts(labels, excluded)
    who = sorted(by_annotator.keys() - set(excluded))
    pairs = [
        _pair(one, other, first_labels[one], first_labels[other])
        for one, other in combinations(who, 2)
    ]
    compared = sum(pair.n for pair in pairs)
    agreed = sum(pair.n * pair.share for pair in pairs if pair.share is not None)
    return Results(
        over_time=_over_time(labels),
        curves=_curves(by_annotator),
        annotators=[
            _annotator(name, events, repeats[name], found[name], name in excluded)
            for name, events in sorted(by_annotator.items())
        ],
        agreement=Share(compared, agreed / compared if compared else None),
        alpha=krippendorffs_alpha([first_labels[name] for name in who]),
        consistency=_share([pair for name in who for pair in repeats[name]]),
        pairs=[pair for pair in pairs if pair.n],
        seconds=_seconds([event for event in labels if event.annotator not in excluded]),
    )


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


def cohens_kappa(pairs: Sequence[tuple[float, float]]) -> float | None:
    """Agreement beyond what chance would give; None where chance alone agrees always.

    Args:
        pairs: what two annotators said of each query.

    Source: Cohen 1960, "A coefficient of agreement for nominal scales".
    """
    n = len(pairs)
    if not n:
        return None
    observed = sum(one == other for one, other in pairs) / n
    expected = sum(
        sum(one == answer for one, _ in pairs) * sum(other == answer for _, other in pairs)
        for answer in {answer for pair in pairs for answer in pair}
    ) / (n * n)
    return None if expected == 1 else (observed - expected) / (1 - expected)


def krippendorffs_alpha(said: Sequence[Mapping[object, float]]) -> Alpha:
    """Agreement beyond what chance would give, of as many annotators as there are.

    Answers are ordinal: a tie lies between the first and the second, so who says "equal" contradicts
    somebody less than who prefers the other one. Only queries that several have answered count.

    Args:
        said: by each annotator, of each query.

    Source: Krippendorff 2011, "Computing Krippendorff's Alpha-Reliability".
    """
    # how many said first, tie and second of each query; [queries, 3]
    counts: dict[object, list[int]] = defaultdict(lambda: [0, 0, 0])
    for labels in said:
        for query, label in labels.items():
            counts[query][1 + (label > 0.5) - (label < 0.5)] += 1
    several = np.array([row for row in counts.values() if sum(row) > 1], dtype=np.int64)
    several = several.reshape(-1, 3)
    n = int(several.sum())
    if (several.sum(axis=0) > 0).sum() < 2:
        return Alpha(n, None)
    each = several.sum(axis=0)
    rank = np.cumsum(each) - each / 2  # of a kind of answer: the middle of those that say so
    distance = np.square(rank[:, None] - rank)  # between two kinds; [3, 3]
    within = np.einsum("ui,ij,uj->u", several, distance, several) / (several.sum(axis=1) - 1)
    observed = within.sum() / n
    expected = each @ distance @ each / (n * (n - 1))
    return Alpha(n, float(1 - observed / expected))


def _pair(one: str, other: str, ones: dict[object, float], others: dict[object, float]) -> Pair:
    said = [(ones[query], others[query]) for query in ones.keys() & others.keys()]
    share = _share(said)
    return Pair(share.n, share.share, (one, other), cohens_kappa(said))


def _first_labels(events: Sequence[Event]) -> dict[object, float]:
    """What an annotator said of each query when it was new to them."""
    return {e.query: e.label for e in events if e.label is not None and not e.repeat}


def _repeated(events: Sequence[Event], before: dict[object, float]) -> list[tuple[float, float]]:
    return [
        (before[event.query], event.label)
        for event in events
        if event.repeat and event.label is not None and event.query in before
    ]


def _share(pairs: Sequence[tuple[float, float]]) -> Share:
    if not pairs:
        return Share(0, None)
    return Share(len(pairs), sum(one == other for one, other in pairs) / len(pairs))


def _annotator(
    name: str,
    events: Sequence[Event],
    repeated: list[tuple[float, float]],
    found: list[Doubt],
    excluded: bool,
) -> Annotator:
    answers = [event for event in events if event.label is not None]
    lefts, sided = _lefts(answers)
    return Annotator(
        annotator=name,
        answers=len(answers),
        ties=sum(event.label == 0.5 for event in answers),
        skips=len(events) - len(answers),
        chose_left=lefts / sided if sided else None,
        seconds=_seconds(events),
        consistency=_share(repeated),
        doubts=found,
        excluded=excluded,
    )


def _lefts(events: Sequence[Event]) -> tuple[int, int]:
    """How many answers prefer what was shown left, of those of which the side is known."""
    sided = [e for e in events if e.label in (0, 1) and e.first_was_left is not None]
    return sum((event.label == 0) == event.first_was_left for event in sided), len(sided)


def _own_doubts(events: Sequence[Event]) -> list[Doubt]:
    """What is suspicious about an annotator, whatever others say; see `ONE_SIDE` and its kin."""
    lefts, sided = _lefts(events)
    most, side = max((lefts, "left"), (sided - lefts, "right"))
    took = [event.seconds for event in events if event.seconds is not None]
    hasty = sum(seconds < HASTY_SECONDS for seconds in took)
    repeated = _repeated(events, _first_labels(events))
    alike = sum(one == other for one, other in repeated)
    found = []
    if sided and (ends := score_interval(most, sided))[0] > ONE_SIDE:
        found.append(Doubt("one-side", side, most, sided, *ends))
    if took and (ends := score_interval(hasty, len(took)))[0] > HASTY:
        found.append(Doubt("hasty", None, hasty, len(took), *ends))
    if repeated:
        ends = score_interval(alike, len(repeated), UNSTEADY_CONFIDENCE)
        if ends[1] < UNSTEADY:
            found.append(Doubt("unsteady", None, alike, len(repeated), *ends))
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
    firsts = {name: _first_labels(events) for name, events in by_annotator.items()}
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


def _seconds(events: Sequence[Event]) -> Seconds:
    known = [event.seconds for event in events if event.seconds is not None]
    if not known:
        return Seconds(0, None, None, None)
    if len(known) == 1:
        return Seconds(1, *known, *known, *known)
    # the shortest and the longest are the ends: no quantile lies beyond what was measured
    tenths = statistics.quantiles(known, n=10, method="inclusive")
    return Seconds(len(known), tenths[0], tenths[4], tenths[8])


def _curves(by_annotator: Mapping[str, Sequence[Event]]) -> list[Curve]:
    """Of those who labelled most; of one annotator alone, the curve of all says the same."""
    if len(by_annotator) < 2:
        return []
    most = sorted(by_annotator.items(), key=lambda item: (-len(item[1]), item[0]))
    return [Curve(name, _over_time(events)) for name, events in most[:MAX_CURVES]]


def _over_time(labels: Sequence[Event]) -> list[Point]:
    """A point for each label, or for every so many of them where there are more."""
    step = max(-(-len(labels) // MAX_POINTS), 1)
    shown = {*range(step - 1, len(labels), step), len(labels) - 1} - {-1}
    # those of an import, and of a clock that was set back, stand in another order
    times = sorted(event.created_at for event in labels)
    return [Point(times[i], i + 1) for i in sorted(shown)]
