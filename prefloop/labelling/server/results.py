"""What a run's labels say of its annotators: how much, how fast, and how alike."""

import statistics
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import combinations

import numpy as np

from prefloop.labelling.server.doubts import Doubt, counted_lefts, doubts, first_labels, repeated
from prefloop.labelling.server.storage.records import Event

MAX_POINTS = 200  # of a curve over time
MAX_CURVES = 6  # annotators that have one of their own: more can't be told apart


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
    first_said = {name: first_labels(events) for name, events in by_annotator.items()}
    repeats = {name: repeated(events, first_said[name]) for name, events in by_annotator.items()}
    found = doubts(labels, excluded)
    who = sorted(by_annotator.keys() - set(excluded))
    pairs = [
        _pair(one, other, first_said[one], first_said[other]) for one, other in combinations(who, 2)
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
        alpha=krippendorffs_alpha([first_said[name] for name in who]),
        consistency=_share([pair for name in who for pair in repeats[name]]),
        pairs=[pair for pair in pairs if pair.n],
        seconds=_seconds([event for event in labels if event.annotator not in excluded]),
    )


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


def krippendorffs_alpha(by_annotator: Sequence[Mapping[object, float]]) -> Alpha:
    """Agreement beyond what chance would give, of as many annotators as there are.

    Answers are ordinal: a tie lies between the first and the second, so who says "equal" contradicts
    somebody less than who prefers the other one. Only queries that several have answered count.

    Args:
        by_annotator: labels of each query, by each annotator.

    Source: Krippendorff 2011, "Computing Krippendorff's Alpha-Reliability".
    """
    # how many said first, tie and second of each query; [queries, 3]
    counts: dict[object, list[int]] = defaultdict(lambda: [0, 0, 0])
    for labels in by_annotator:
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
    both = [(ones[query], others[query]) for query in ones.keys() & others.keys()]
    share = _share(both)
    return Pair(share.n, share.share, (one, other), cohens_kappa(both))


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
    lefts, sided = counted_lefts(answers)
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
    """Learning curves of those who labelled most; none of one annotator alone, of whom the curve of all says the same."""
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
