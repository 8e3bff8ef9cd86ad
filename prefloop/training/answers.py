"""One interface for whoever answers a loop: a program that judges by the true return, or people.

`People` (prefloop.labelling.client.people) is the other one that answers.
"""

import hashlib
from typing import Protocol

import numpy as np

from prefloop.data import dataset
from prefloop.data.preferences import Preferences, Queries
from prefloop.errors import UserError
from prefloop.run_files import PREFERENCES
from prefloop.teachers.teacher import Teacher
from prefloop.words import counted


class Answers(Protocol):
    """Queries that were asked, and the answers to them."""

    @property
    def shown(self) -> int:
        """Number of queries that were asked, skipped ones included."""
        ...

    @property
    def digest(self) -> str:
        """Digest of the answers to what was asked, by which `resume` knows them again; "" where these may change."""
        ...

    def resume(self, shown: int, digest: str = "") -> None:
        """Goes on where so many queries were asked in the iterations that are over.

        Args:
            digest: as it was then; "" where nobody has kept it.

        Raises:
            UserError: the answers to these are not there.
        """
        ...

    @property
    def open(self) -> int:
        """Number of queries that were asked and are not answered yet."""
        ...

    @property
    def are_watched(self) -> bool:
        """Whether people look at the segments, who see nothing in a step or two."""
        ...

    def missing(self, labels: int) -> int:
        """Number of queries that are still to be asked for so many labels, if none of them is skipped."""
        ...

    def ask(self, queries: Queries, iteration: int, next_up: bool = False) -> None:
        """Puts queries to whoever answers; what was asked already is not asked again.

        Args:
            next_up: before those that wait for an answer.
        """
        ...

    def wait(self) -> None:
        """Returns when nothing that was asked is left to answer."""
        ...

    def current(self) -> Preferences | None:
        """All answers so far, skips included; the same object while nothing is new, None while there are none."""
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
        # the same object as long as nothing was added
        self._so_far: Preferences | None = None
        self._digest = hashlib.sha256()  # of the answers to what was shown

    @property
    def open(self) -> int:
        """0: a program has answered when it was asked."""
        return 0

    @property
    def are_watched(self) -> bool:
        """No: a program judges by what is added up."""
        return False

    @property
    def digest(self) -> str:
        """As `Answers`."""
        return self._digest.hexdigest()

    def resume(self, shown: int, digest: str = "") -> None:
        """Goes on after so many queries; what was asked after them is asked again, and finds its answer.

        Raises:
            UserError: the answers to these are gone, or are other ones.
        """
        there = len(self._kept)
        if there < shown:
            raise UserError(
                f"{PREFERENCES}/ in the run's folder holds {there} of the {counted(shown, 'answer')} that it had"
            )
        self.shown, self._digest = 0, hashlib.sha256()
        self._show(shown)
        if digest and digest != self.digest:
            raise UserError(
                f"{PREFERENCES}/ in the run's folder holds other answers than those that it had"
            )

    def missing(self, labels: int) -> int:
        """Number of queries that are still to be asked for so many labels; a skipped one was shown, and has no label."""
        preferences = self.current()
        return labels - (len(preferences.answered) if preferences is not None else 0)

    def ask(self, queries: Queries, iteration: int, next_up: bool = False) -> None:
        """Has the teacher answer, and keeps what it said."""
        answered_already = len(self._kept) - self.shown
        rest = Queries(
            queries.segments, queries.first[answered_already:], queries.second[answered_already:]
        )
        if len(rest):
            labels = self._teacher.label(rest)
            new = Preferences(rest.segments, rest.first, rest.second, labels)
            self._kept.append(new, iteration=iteration)
        self._show(len(queries))

    def _show(self, number: int) -> None:
        """Counts so many more of the answers that are kept."""
        before, kept = self.shown, self._kept.preferences
        self.shown += number
        if kept is None or not number:
            return
        new = kept[before : self.shown].compact
        prints = new.segments.fingerprints
        for first, second, label in zip(new.first, new.second, new.labels, strict=True):
            said = "skipped" if np.isnan(label) else float(label).hex()
            self._digest.update(f"{prints[first]:x} {prints[second]:x} {said}\n".encode())

    def wait(self) -> None:
        """Returns at once: a program has answered when it was asked."""

    def current(self) -> Preferences | None:
        """Answers of the iterations that are over, and of this one."""
        all_kept = self._kept.preferences
        if all_kept is None or not self.shown:
            return None
        if self._so_far is None or len(self._so_far) != self.shown:
            self._so_far = all_kept[: self.shown]
        return self._so_far
