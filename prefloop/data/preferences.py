"""Queries, and what was answered to them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prefloop.data.segments import Segments
from prefloop.errors import UserError
from prefloop.words import counted


@dataclass(frozen=True)
class Queries:
    """Pairs of segments that somebody is to compare.

    Attributes:
        segments: what the pairs are made of; each stands here once.
        first, second: positions in `segments`; int64; [queries].

    Raises:
        ValueError: a position is outside of `segments`, or the two are not of one length.
    """

    segments: Segments
    first: NDArray
    second: NDArray

    def __post_init__(self) -> None:
        if self.first.shape != self.second.shape or self.first.ndim != 1:
            raise ValueError(f"{self.first.shape} first but {self.second.shape} second segments")
        for side in (self.first, self.second):
            if len(side) and not (side.min() >= 0 and side.max() < len(self.segments)):
                raise ValueError(
                    f"a query names a segment outside of 0 to {len(self.segments) - 1}"
                )

    def __len__(self) -> int:
        """Number of queries."""
        return len(self.first)

    @property
    def pairs(self) -> list[bytes]:
        """A key of what each query compares; [queries].

        Queries about the same behaviour have one key, whichever way round they were asked and
        under whatever numbers the segments stand.
        """
        prints = self.segments.fingerprints
        both = np.sort(np.stack([prints[self.first], prints[self.second]], axis=1), axis=1)
        return [row.tobytes() for row in both.astype("<u8")]


@dataclass(frozen=True)
class Preferences(Queries):
    """Queries and their labels.

    Attributes:
        labels: probability that the second segment is preferred, in [0, 1], 0.5 for a tie; NaN
            where the query was skipped; float64; [queries].

    Raises:
        ValueError: as `Queries`; or a label is outside [0, 1].
    """

    labels: NDArray

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.labels.shape != self.first.shape:
            raise ValueError(f"{len(self.labels)} labels for {len(self)} queries")
        wrong = self.labels[~np.isnan(self.labels) & ~((self.labels >= 0) & (self.labels <= 1))]
        if len(wrong):
            raise ValueError(
                f"a label must be in [0, 1] or NaN for a skipped query, not {wrong[0]}"
            )

    def __getitem__(self, index: NDArray | slice) -> "Preferences":
        """Some of the queries, with all the segments."""
        return Preferences(self.segments, self.first[index], self.second[index], self.labels[index])

    def say_as(self, other: "Preferences") -> bool:
        """Whether they are the same labels of the same queries, one after the other."""
        mine, others = (
            p.segments.fingerprints[np.stack([p.first, p.second])] for p in (self, other)
        )
        return np.array_equal(mine, others) and np.array_equal(
            self.labels, other.labels, equal_nan=True
        )

    @property
    def answered(self) -> "Preferences":
        """Those that were not skipped."""
        return self[~np.isnan(self.labels)]

    @property
    def compact(self) -> "Preferences":
        """These preferences, with only those segments that a query names."""
        used, place = np.unique(np.concatenate([self.first, self.second]), return_inverse=True)
        if len(used) == len(self.segments):
            return self
        first, second = np.split(place, 2)
        return Preferences(self.segments[used], first, second, self.labels)

    @property
    def num_ties(self) -> int:
        """How many answers say that neither is better."""
        return int((self.labels == 0.5).sum())

    @property
    def flipped(self) -> "Preferences":
        """These queries, each answered the other way round."""
        return Preferences(self.segments, self.first, self.second, 1 - self.labels)

    @property
    def preferred(self) -> NDArray:
        """Positions of the segments that were preferred, once per answer; ties name both."""
        first, second = self.first[self.labels <= 0.5], self.second[self.labels >= 0.5]
        return np.concatenate([first, second])

    def require_something_to_learn(self) -> None:
        """Refuses preferences that say nothing about what is better.

        Raises:
            UserError: there is no answer, or every answer is a tie.
        """
        if len(self.segments) < 2:
            raise UserError(
                f"Nothing can be learned from {counted(len(self.segments), 'segment')}: a preference needs two."
            )
        answered = self.answered
        if not len(answered):
            what = f"all {len(self)} queries were skipped" if len(self) else "there is no query"
            raise UserError(f"Nothing can be learned from these preferences: {what}.")
        if answered.num_ties == len(answered):
            raise UserError(
                f"Nothing can be learned from these preferences: all {len(answered)} answers are ties."
            )
