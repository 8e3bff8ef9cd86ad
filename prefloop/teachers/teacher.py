"""The protocol of a teacher, be it a program or a person."""

from typing import Protocol

from numpy.typing import NDArray

from prefloop.data.preferences import Queries


class Teacher(Protocol):
    """Somebody who says which of two segments is better."""

    def label(self, queries: Queries) -> NDArray:
        """Answers queries, or passes them over.

        Returns:
            Probability that the second segment is preferred, in [0, 1], 0.5 for a tie; NaN for a
            query that is skipped; float64; [queries].
        """
        ...
