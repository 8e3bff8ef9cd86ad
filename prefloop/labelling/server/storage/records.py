"""What goes into the store and comes out of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from prefloop.envs.settings import EnvSettings
from prefloop.envs.spaces import Spaces
from prefloop.labelling.arrays import Segment

Choice = Literal["left", "right", "tie", "skip"]
State = Literal["queries", "waiting", "finished"]


@dataclass(frozen=True)
class Counts:
    """How far a run's labelling is; repeats are not counted.

    Attributes:
        queries: all.
        answered: those with an answer.
        skipped: those that were only skipped.
        left: those that want more annotators than have labelled them.
        labels: answers and skips, of all annotators together.
        annotators: who have labelled.
    """

    queries: int = 0
    answered: int = 0
    skipped: int = 0
    left: int = 0
    labels: int = 0
    annotators: int = 0


@dataclass(frozen=True)
class RunFacts:
    """What a run is about.

    Attributes:
        env: the environment.
        spaces: its observations and actions.
        instructions: what annotators read; None keeps what is there.
        frames_per_second: of the environment; None: not known.
        annotators_per_query: how many are to label each query; None keeps what is there.
        repeats: share of queries that an annotator gets a second time, in [0, 1]; None keeps it.
        agents: of an arena, digests by name of those to compare, beside those it has; None: it is
            no arena.
    """

    env: EnvSettings
    spaces: Spaces
    instructions: str | None = None
    frames_per_second: float | None = None
    annotators_per_query: int | None = None
    repeats: float | None = None
    agents: Mapping[str, str] | None = None


@dataclass(frozen=True)
class Run:
    """A run and how far it is.

    Attributes:
        arena: whether it compares agents.
        own_settings: keys of labelling.yaml that say something else for this run.
        archived_at: since when nobody is asked about it; None: people are.
    """

    id: UUID
    name: str
    env: EnvSettings
    instructions: str
    created_at: datetime
    spaces: Spaces
    frames_per_second: float | None
    annotators_per_query: int
    repeats: float
    round: int
    counts: Counts
    reward_report: Mapping[str, Any] | None
    arena: bool
    own_settings: Mapping[str, float]
    archived_at: datetime | None


@dataclass(frozen=True)
class NewQuery:
    """Two segments to compare; `id` is made by whoever asks.

    Attributes:
        agents: in an arena, the names of those whose segments they are; None in an ordinary run.
    """

    id: UUID
    first: UUID
    second: UUID
    agents: tuple[str, str] | None = None


@dataclass(frozen=True)
class Side:
    """One of the two segments of a query, as it is shown.

    Attributes:
        segment: its id.
        length: in steps.
        clip: digest of its video; None while there is none.
        clip_error: why the segment can't be drawn; a clip it has all the same is a plot of it. None
            if nothing is wrong.
    """

    segment: UUID
    length: int
    clip: str | None
    clip_error: str | None


@dataclass(frozen=True)
class Said:
    """What an annotator said of a query, and took back.

    Attributes:
        choice: None for a label that no page gives, as an import may hold.
        trim: the steps that were compared, half-open; None: all.
    """

    choice: Choice | None
    trim: tuple[int, int] | None


@dataclass(frozen=True)
class Lease:
    """A query that is one annotator's until `expires_at`.

    Attributes:
        said: where they took an answer back, what it was.
    """

    id: UUID
    query: UUID
    expires_at: datetime
    left: Side
    right: Side
    said: Said | None = None


@dataclass(frozen=True)
class Leases:
    """What an annotator is to label next.

    Attributes:
        queries: the leases.
        left_over: where there are none, how many of the run want labels all the same, counted up
            to 1,000; None otherwise.
        state: `waiting`: all that is left is leased to others; `finished`: nothing is left for
            this annotator, until somebody adds queries.
    """

    queries: list[Lease]
    left_over: int | None
    state: State


@dataclass(frozen=True)
class Event:
    """An answer, a skip or an undo.

    Attributes:
        number: its place among the run's events, from 1.
        query: what was asked; of a repeat, the query that it repeats.
        repeat: whether the annotator had labelled the query before.
        label: probability that the second is preferred; None for a skip or an undo.
        trim: the steps that were compared, half-open; None: all.
        seconds: how long it took.
        undoes: the event that is taken back.
    """

    id: UUID
    number: int
    query: UUID
    repeat: bool
    annotator: str
    kind: Literal["answer", "skip", "undo"]
    label: float | None
    first_was_left: bool | None
    trim: tuple[int, int] | None
    seconds: float | None
    created_at: datetime
    undoes: UUID | None


@dataclass(frozen=True)
class NewLabel:
    """A label that was given elsewhere; None is a skip.

    Attributes:
        repeat: the annotator was asked again, to see whether they agree with themselves.
        given_at: None: now.
    """

    id: UUID
    query: UUID
    annotator: str
    label: float | None
    trim: tuple[int, int] | None
    seconds: float | None
    first_was_left: bool | None = None
    repeat: bool = False
    given_at: datetime | None = None


@dataclass(frozen=True)
class Asked:
    """A query: what was compared, when the trainer asked, and its place among all that was asked."""

    id: UUID
    first: UUID
    second: UUID
    iteration: int
    position: int


@dataclass(frozen=True)
class EventPage:
    """A run's events of its current round.

    Attributes:
        events: in order.
        queries: what they are about.
        next: give this as `after` to read on.
        more: whether there are more already.
        round: another one than before says that all earlier labels no longer count.
        annotators_per_query: labels that a query wants before it is finished.
        excluded: annotators whose labels are not to be learned from.
        forgotten: another number than before says that somebody's labels were deleted, and that numbers
            were given anew: whoever has read some begins with the first.
    """

    events: list[Event]
    queries: list[Asked]
    next: int
    more: bool
    round: int
    annotators_per_query: int
    excluded: list[str]
    forgotten: int


@dataclass(frozen=True)
class ToShow:
    """A segment that somebody will look at soon.

    Attributes:
        frames_per_second: of the environment; None: not known.
        own_rate: frames per second that somebody has set for this run; None: nobody has.
        clip: digest of its video; None if there is none yet.
        clip_was_sent: whether the video came from outside, so that it can't be rendered again.
        clip_error: why the segment can't be drawn, so that it is to be plotted; None if nothing is
            wrong.
    """

    segment: UUID
    env: EnvSettings
    frames_per_second: float | None
    own_rate: float | None
    clip: str | None
    clip_was_sent: bool
    clip_error: str | None


@dataclass(frozen=True)
class Vote:
    """What somebody said of two agents.

    Attributes:
        query: which clips of theirs were compared.
        label: probability that the second is preferred; None for a skip.
    """

    query: UUID
    first: str
    second: str
    label: float | None


@dataclass(frozen=True)
class NewLink:
    """A link for a participant; the token that it holds stays with whoever made it.

    Attributes:
        ref: what the participant is called within the study.
        token: the hash of the token.
    """

    ref: str
    token: str


@dataclass(frozen=True)
class Known:
    """A query whose answer is known: somebody who is no participant gave it.

    Attributes:
        label: probability that the second is preferred.
    """

    query: UUID
    first: Side
    second: Side
    label: float


@dataclass(frozen=True)
class Person:
    """Somebody who takes part in a study, and how far they are.

    Attributes:
        ref: what they are called within the study, perhaps by a recruiting site.
        number: their place in it, from 0.
        annotator: the name that their labels stand under.
        progress: what of the way is behind them.
        consent: the digest of the text that they accepted.
        code: what they are given at the end; None: nothing.
        outcome: how it ended; None: it has not.
    """

    id: UUID
    ref: str
    number: int
    annotator: str
    device: UUID | None
    progress: Mapping[str, Any]
    consented_at: datetime | None
    consent: str | None
    code: str | None
    started_at: datetime | None
    ended_at: datetime | None
    outcome: str | None
    revoked_at: datetime | None
    created_at: datetime


@dataclass(frozen=True)
class Link:
    """What a link's token stands for.

    Attributes:
        study: its name.
        person: whose it is; None: it makes a participant of whoever opens it.
        holds: whether it still does: it was not revoked, and its study goes on.
        about: how the study goes.
        runs: what its runs are there for.
        own_settings: what the first run whose pairs it shows has of its own.
    """

    study: str
    person: Person | None
    holds: bool
    about: Mapping[str, Any]
    runs: frozenset[str]
    own_settings: Mapping[str, float]

    @property
    def participant(self) -> UUID | None:
        """Whose it is."""
        return None if self.person is None else self.person.id

    @property
    def annotator(self) -> str:
        """The name that their labels stand under."""
        return "" if self.person is None else self.person.annotator

    @property
    def one_device(self) -> bool:
        """Whether it works on one device at a time."""
        return self.person is not None and bool(self.about["one_device"])

    @property
    def device(self) -> UUID | None:
        """Which that is now; None: it was not opened yet."""
        return None if self.person is None else self.person.device


@dataclass(frozen=True)
class Participant(Person):
    """A person of a study, with what they have labelled, which must be counted.

    Attributes:
        labels: answers and skips that stand.
        checks, passed: pairs with a known answer that they answered, and as it is known.
    """

    labels: int
    checks: int
    passed: int


@dataclass(frozen=True)
class Study:
    """A study and who takes part in it.

    Attributes:
        about: how it goes, as `schemas.studies.AboutIn` says it.
        runs: names by what they are there for, in order.
        open_link: whether there is a link that makes participants.
        closed_at: since when no link of it holds; None: they do.
        participants: in the order in which they were made.
    """

    id: UUID
    name: str
    about: Mapping[str, Any]
    runs: Mapping[str, list[str]]
    open_link: bool
    created_at: datetime
    closed_at: datetime | None
    participants: list[Participant]


@dataclass(frozen=True)
class Exported:
    """All that a preference dataset needs.

    Attributes:
        segments: those that labels are about, by id.
        queries: first, second and iteration, by id.
        labels: the current ones, in order.
        agents: of an arena, the names of the two that a query is about, by its id.
        digests: of an arena, its agents' by name.
        clips: digests of videos that were sent, by the segment that they show.
        pseudonyms: whether others stand in place of annotators' names.
    """

    run: Run
    segments: dict[UUID, Segment]
    queries: dict[UUID, tuple[UUID, UUID, int]]
    labels: list[Event]
    agents: dict[UUID, tuple[str, str]]
    digests: dict[str, str]
    clips: dict[UUID, str]
    pseudonyms: bool = False


@dataclass(frozen=True)
class Stored:
    """What is stored of one person.

    Attributes:
        name: that their labels stand under.
        study: that they take part in; None: in none, and the same of
        participant: what is known of them there.
        answers, skips, taken_back: what they said, and undos.
        trims: of the answers, those that are about a part of the clips.
        seconds: how long they looked, all together.
        shown: how often a pair was given to them, to be answered or not.
        pages: from how many pages of a browser, each by a random number.
        runs: names of those in which anything of that stands.
        excluded: names of those from which their labels are left out.
        comparisons: that they have put on the page.
        first, last: when the first and the last of that was stored; None: nothing was.
    """

    name: str
    study: str | None
    participant: Participant | None
    answers: int
    skips: int
    taken_back: int
    trims: int
    seconds: float
    shown: int
    pages: int
    runs: list[str]
    excluded: list[str]
    comparisons: int
    first: datetime | None
    last: datetime | None


@dataclass(frozen=True)
class Forgotten:
    """Somebody of whom nothing is stored any more.

    Attributes:
        stored: what was.
        rows: how many rows are gone, or changed, by table.
        asked_again: pairs that are in the queue again.
        wiped: whether the database keeps no trace of it where deleted rows stood; it may, where the
            disk is full or another program is at work in it.
    """

    stored: Stored
    rows: Mapping[str, int]
    asked_again: int
    wiped: bool


@dataclass(frozen=True)
class DeletedStudy:
    """A study that is no more.

    Attributes:
        participants: that it had.
        labels: events of theirs that are gone, too.
        asked_again, wiped: as of `Forgotten`.
    """

    participants: int
    labels: int
    asked_again: int
    wiped: bool
