"""What the API takes and gives. What comes in has limits on everything; what goes out has none."""

import unicodedata
from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)

from prefloop.labelling.storage.records import Event, Lease, Leases, Run, Side
from prefloop.labelling.storage.tables import MAX_ENV, MAX_NAME

MAX_QUERIES = 10_000  # or labels in one request
MAX_AHEAD = 8  # queries that a page may hold ahead

_INT = 2**31 - 1  # what an integer column holds


def _plain(text: str) -> str:
    """Text without what no keyboard types and some databases refuse."""
    for character in text:
        if unicodedata.category(character) in ("Cc", "Cs") and character not in "\n\t":
            raise ValueError("control characters are not allowed")
    return text


def _one_line(text: str) -> str:
    if "\n" in text or "\t" in text:
        raise ValueError("it must be one line")
    return _plain(text)


RunName = Annotated[
    str,
    StringConstraints(pattern=rf"^[A-Za-z0-9][A-Za-z0-9._-]{{0,{MAX_NAME - 1}}}$"),
    Field(description="Letters, digits, dots, dashes and underscores."),
]
AnnotatorName = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_NAME),
    AfterValidator(_one_line),
]
Env = Annotated[str, StringConstraints(min_length=1, max_length=MAX_ENV), AfterValidator(_one_line)]
Instructions = Annotated[str, StringConstraints(max_length=10_000), AfterValidator(_plain)]
Seconds = Annotated[float, Field(ge=0, le=86_400, allow_inf_nan=False)]
Digest = Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")]


class In(BaseModel):
    """What is sent to the server."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class Out(BaseModel):
    """What the server replies."""

    model_config = ConfigDict(from_attributes=True)


class ErrorOut(Out):
    """What was wrong, in a sentence."""

    detail: str


class HealthOut(Out):
    """What answers here."""

    model_config = ConfigDict(populate_by_name=True)

    version: str
    schema_: int = Field(alias="schema")
    role: Literal["annotator", "trainer"] | None = Field(
        description="What the token that was sent allows; null: none, or a wrong one."
    )


# runs


class RunIn(In):
    """What a run is about; null keeps what is there, or the default of labelling.yaml."""

    env: Env
    obs_dim: int = Field(ge=1, le=10_000_000)
    action_dim: int = Field(
        ge=1, le=1_000_000, description="Number of actions, or length of the vector."
    )
    discrete: bool
    instructions: Instructions | None = None
    frames_per_second: float | None = Field(None, gt=0, le=1000)
    annotators_per_query: int | None = Field(None, ge=1, le=100)
    repeats: float | None = Field(None, ge=0, le=1)


class RenameIn(In):
    """A new name for a run."""

    name: RunName


class CountsOut(Out):
    """How far a run is, without repeats."""

    queries: int
    answered: int
    skipped: int
    left: int = Field(description="Queries that want more annotators than have labelled them.")
    labels: int = Field(description="Answers and skips of all annotators.")
    annotators: int


class HardestIn(In):
    """A query that the reward model finds hard."""

    query: UUID
    label: float = Field(ge=0, le=1)
    probability: float = Field(ge=0, le=1, description="That the second is preferred.")


class RewardReportIn(In):
    """What a trainer says of its reward model."""

    accuracy: float = Field(ge=0, le=1, description="Share of the labels that it agrees with.")
    labels: int = Field(ge=0, le=_INT, description="How many labels were judged; ties are not.")
    hardest: list[HardestIn] = Field([], max_length=20)


class RunOut(Out):
    """A run."""

    name: str
    env: str
    instructions: str
    created_at: datetime
    obs_dim: int
    action_dim: int
    discrete: bool
    frames_per_second: float | None
    annotators_per_query: int
    repeats: float
    round: int
    counts: CountsOut

    @classmethod
    def of(cls, run: Run) -> "RunOut":
        """From the store's."""
        return cls.model_validate(run)


# labelling


class LeaseIn(In):
    """Somebody wants queries to label."""

    annotator: AnnotatorName
    session: UUID = Field(description="Made by the page when it opens.")
    count: int = Field(1, ge=1, le=MAX_AHEAD)
    holding: list[UUID] = Field(
        [],
        max_length=4 * MAX_AHEAD,
        description="Leases that the page has; others of its session are given again.",
    )


class SideOut(Out):
    """One of the two segments of a query."""

    segment: UUID
    length: int = Field(description="Steps.")
    clip_url: str | None = Field(description="Null while the clip is not rendered.")
    clip_error: str | None = Field(
        description="Why the segment can't be drawn; a clip it has all the same is a plot of it."
    )

    @classmethod
    def of(cls, side: Side) -> "SideOut":
        """From the store's."""
        return cls(
            segment=side.segment,
            length=side.length,
            clip_url=f"/clips/{side.clip}.mp4" if side.clip else None,
            clip_error=side.clip_error,
        )


class LeasedQueryOut(Out):
    """A query that is this annotator's until `expires_at`."""

    query: UUID
    lease: UUID
    expires_at: datetime
    left: SideOut
    right: SideOut

    @classmethod
    def of(cls, lease: Lease) -> "LeasedQueryOut":
        """From the store's."""
        return cls(
            query=lease.query,
            lease=lease.id,
            expires_at=lease.expires_at,
            left=SideOut.of(lease.left),
            right=SideOut.of(lease.right),
        )


class LeasesOut(Out):
    """What to label next."""

    queries: list[LeasedQueryOut]
    left_over: int | None = Field(
        description="Where there are none: queries of the run that want labels all the same, "
        "counted up to 1,000."
    )
    state: Literal["queries", "waiting", "finished"] = Field(
        description="waiting: all that is left is leased to others; finished: nothing is left for "
        "this annotator until the trainer adds queries."
    )

    @classmethod
    def of(cls, leases: Leases) -> "LeasesOut":
        """From the store's."""
        return cls(
            queries=[LeasedQueryOut.of(lease) for lease in leases.queries],
            left_over=leases.left_over,
            state=leases.state,
        )


class TrimIn(In):
    """The steps that were compared, half-open."""

    start: int = Field(ge=0, le=_INT)
    stop: int = Field(ge=1, le=_INT)


class AnswerIn(In):
    """What an annotator said."""

    id: UUID = Field(description="Made by the page; the same answer sent again is stored once.")
    lease: UUID
    choice: Literal["left", "right", "tie", "skip"]
    trim: TrimIn | None = None
    seconds: Seconds | None = Field(None, description="From the first look to the answer.")


class AnswerOut(Out):
    """The answer is on disk."""

    id: UUID
    query: UUID
    kind: Literal["answer", "skip", "undo"]
    created_at: datetime


class UndoIn(In):
    """Somebody takes back their last answer."""

    id: UUID = Field(description="Made by the page; the same undo sent again is stored once.")
    run: RunName
    annotator: AnnotatorName
    session: UUID
    undoes: UUID | None = Field(
        None, description="The answer that is meant; if it is not the last that stands: 409."
    )


# training


class SegmentsOut(Out):
    """The ids of the segments that were sent, in order."""

    ids: list[UUID]


class SegmentOut(Out):
    """What was observed and done, for a plot where there is no clip."""

    id: UUID
    length: int
    discrete: bool
    obs: list[list[float]]
    actions: list[int] | list[list[float]]


class ClipOut(Out):
    """Where a clip is."""

    clip_url: str


class QueryIn(In):
    """Two segments to compare."""

    id: UUID = Field(description="Made by the trainer; the same query sent again is stored once.")
    first: UUID
    second: UUID


class QueriesIn(In):
    """Queries for the end of the queue."""

    iteration: int = Field(0, ge=0, le=_INT)
    queries: list[QueryIn] = Field(max_length=MAX_QUERIES)


class TrimOut(Out):
    """The steps that were compared, half-open."""

    start: int
    stop: int

    @classmethod
    def of(cls, trim: tuple[int, int] | None) -> "TrimOut | None":
        """From the store's."""
        return cls(start=trim[0], stop=trim[1]) if trim else None


class EventOut(Out):
    """An answer, a skip or an undo."""

    id: UUID
    number: int
    query: UUID = Field(description="Of a repeat, the query that it repeats.")
    repeat: bool
    annotator: str
    kind: Literal["answer", "skip", "undo"]
    label: float | None = Field(description="Probability that the second is preferred.")
    trim: TrimOut | None
    seconds: float | None
    created_at: datetime
    undoes: UUID | None

    @classmethod
    def of(cls, event: Event) -> "EventOut":
        """From the store's."""
        return cls(
            id=event.id,
            number=event.number,
            query=event.query,
            repeat=event.repeat,
            annotator=event.annotator,
            kind=event.kind,
            label=event.label,
            trim=TrimOut.of(event.trim),
            seconds=event.seconds,
            created_at=event.created_at,
            undoes=event.undoes,
        )


class LabelsOut(Out):
    """A run's events of its current round, from a cursor on."""

    events: list[EventOut]
    next: int = Field(description="Give this as `after` to read on.")
    more: bool
    round: int = Field(description="If it is another than before, earlier labels no longer count.")
    annotators_per_query: int


class LabelIn(In):
    """A label that was given elsewhere; null is a skip."""

    id: UUID
    query: UUID
    annotator: AnnotatorName
    label: float | None = Field(ge=0, le=1)
    trim: TrimIn | None = None
    seconds: Seconds | None = None

    @model_validator(mode="after")
    def _trimmed_part_has_steps(self) -> "LabelIn":
        if self.trim is not None and self.trim.start >= self.trim.stop:
            raise ValueError("a trim must have steps")
        return self


class NewLabelsIn(In):
    """Labels that were given elsewhere."""

    labels: list[LabelIn] = Field(max_length=MAX_QUERIES)


class NewLabelsOut(Out):
    """How many labels were not stored before."""

    added: int


# results


class ShareOut(Out):
    """How often two labels agree."""

    n: int = Field(description="Pairs of labels that were compared.")
    share: float | None = Field(description="Of the pairs, those that agree; null where n is 0.")


class PairOut(ShareOut):
    """How often two annotators agree on the same queries."""

    annotators: tuple[str, str]
    kappa: float | None = Field(description="Cohen's kappa over first, second and tie.")


class SecondsOut(Out):
    """How long labels took: the quantiles at 10, 50 and 90 percent."""

    n: int = Field(description="Labels whose time is known.")
    low: float | None = Field(description="A tenth took less; null where n is 0.")
    median: float | None
    high: float | None = Field(description="A tenth took more.")


class AnnotatorOut(Out):
    """What one annotator did."""

    annotator: str
    answers: int
    ties: int
    skips: int
    chose_left: float | None = Field(description="Share of the answers that are no ties.")
    seconds: SecondsOut
    consistency: ShareOut = Field(description="Agreement with themselves on repeats.")


class PointOut(Out):
    """How many labels there were at a time."""

    time: datetime
    labels: int


class CurveOut(Out):
    """How many labels of one annotator there were at a time."""

    annotator: str
    points: list[PointOut]


class SaidOut(Out):
    """What one annotator said of a query."""

    annotator: str
    label: float | None = Field(description="Probability that the second is preferred; null: skip.")
    trim: TrimOut | None
    repeat: bool

    @classmethod
    def of(cls, event: Event) -> "SaidOut":
        """From the store's."""
        return cls(
            annotator=event.annotator,
            label=event.label,
            trim=TrimOut.of(event.trim),
            repeat=event.repeat,
        )


class HardPairOut(Out):
    """A query that the reward model finds hard, and what stands of people's labels."""

    query: UUID
    label: float = Field(description="The one that the reward model contradicts most.")
    probability: float = Field(description="The reward model's, that the second is preferred.")
    first: SideOut
    second: SideOut
    said: list[SaidOut]


class RewardReportOut(Out):
    """What a trainer said of its reward model in this round."""

    accuracy: float = Field(description="Share of the labels that it agrees with.")
    labels: int = Field(description="How many labels were judged; ties are not.")
    hardest: list[HardPairOut]


class ResultsOut(Out):
    """What can be said of a run's labels."""

    over_time: list[PointOut]
    curves: list[CurveOut] = Field(description="Of those who labelled most, if they are several.")
    annotators: list[AnnotatorOut]
    agreement: ShareOut = Field(description="Between annotators, on the same query.")
    consistency: ShareOut = Field(description="Of annotators with themselves, on repeats.")
    pairs: list[PairOut]
    seconds: SecondsOut
    reward: RewardReportOut | None


# settings


class SettingsOut(Out):
    """labelling.yaml, and what each key means."""

    values: dict[str, bool | int | float | None]
    keys: list["KeyOut"]
    may_change: bool


class KeyOut(Out):
    """A key of labelling.yaml."""

    key: str
    default: bool | int | float | None
    help: str
    low: float | None
    high: float | None


class SettingsIn(In):
    """Keys to change; those that are not given stay."""

    allow_ties: bool | None = None
    allow_skip: bool | None = None
    allow_trim: bool | None = None
    frames_per_second: float | None = None
    playback_speed: float | None = None
    rendered_queue_size: int | None = None
    cache_size_mb: int | None = None
    sent_clips_mb: int | None = None
    annotators_per_query: int | None = None
    repeats: float | None = None
    max_queries_per_annotator: int | None = None
    lease_seconds: float | None = None
