"""Whoever answers, a loop asks in one way: a program that judges by the true return, or people.

`People` (prefloop.labelling.client.people) is the other one that answers.
"""

from typing import Protocol

from prefloop.data import dataset
from prefloop.data.preferences import Preferences, Queries
from prefloop.teachers.teacher import Teacher


class Answers(Protocol):
    """What was asked, and what was said to it."""

    @property
    def shown(self) -> int:
        """How many queries were asked, skipped ones included."""
        ...

    def resume(self, shown: int) -> None:
        """Goes on where so many queries were asked in the iterations that are over."""
        ...

    @property
    def open(self) -> int:
        """How many of them are not answered yet."""
        ...

    def missing(self, labels: int) -> int:
        """How many queries more it takes to come to so many labels, if none of them is skipped."""
        ...

    def ask(self, queries: Queries, iteration: int) -> None:
        """Puts queries to whoever answers; what was asked already is not asked again."""
        ...

    def wait(self) -> None:
        """Returns when nothing that was asked is left to answer."""
        ...

    def current(self) -> Preferences | None:
        """All that was said so far, skips included; the same object while nothing is new, None while that is nothing."""
        ...


class SimulatedAnswers:
    """A teacher that is a program, whose answers are kept in a dataset.

    Answers that an iteration which was stopped had got already are found there when it is done again:
    its queries are the same, and those that stand there are not answered anew.

    Attributes:
        shown: queries of the iterations that are over; part of a loop's state.
    """

    def __init__(self, teacher: Teacher, kept: dataset.Writer) -> None:
        """Asks nothing yet."""
        self.shown = 0
        self._teacher, self._kept = teacher, kept
        self._said: Preferences | None = None  # the same one as long as nothing was added

    @property
    def open(self) -> int:
        """A program has answered when it was asked."""
        return 0

    def resume(self, shown: int) -> None:
        """As `Answers`; what was asked after that is asked again, and finds its answer."""
        self.shown = shown

    def missing(self, labels: int) -> int:
        """As `Answers`: skipped queries are shown, but are no labels."""
        said = self.current()
        return labels - (len(said.answered) if said is not None else 0)

    def ask(self, queries: Queries, iteration: int) -> None:
        """Has the teacher answer, and keeps what it said."""
        answered_already = len(self._kept) - self.shown
        rest = Queries(
            queries.segments, queries.first[answered_already:], queries.second[answered_already:]
        )
        if len(rest):
            labels = self._teacher.label(rest)
            new = Preferences(rest.segments, rest.first, rest.second, labels)
            self._kept.append(new, iteration=iteration)
        self.shown += len(queries)

    def wait(self) -> None:
        """A program has answered when it was asked."""

    def current(self) -> Preferences | None:
        """What was said in the iterations that are over, and in this one."""
        known = self._kept.preferences
        if known is None or not self.shown:
            return None
        if self._said is None or len(self._said) != self.shown:
            self._said = known[: self.shown]
        return self._said
