"""What trainers and collectors send and read."""

from datetime import datetime
from typing import TYPE_CHECKING, Literal
from uuid import UUID

from pydantic import Field, model_validator

from prefloop.labelling.schemas.annotate import TrimIn
from prefloop.labelling.schemas.base import (
    MAX_INT,
    MAX_QUERIES,
    AgentName,
    AnnotatorName,
    In,
    Out,
    Seconds,
    Time,
    TrimOut,
)

if TYPE_CHECKING:
    from prefloop.labelling.server.storage.records import Event


MAX_SEGMENTS_READ = 200  # in one reply


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
    obs_names: list[str] = Field(description="What each number of an observation is called.")
    action_names: list[str] = Field(description="The same of an action; one of discrete ones.")


class SegmentsIn(In):
    """Segments that somebody wants to read."""

    ids: list[UUID] = Field(min_length=1, max_length=MAX_SEGMENTS_READ)
    with_replay: bool = Field(
        False, description="With what shows them again, where that is of one kind for all of them."
    )


class ClipOut(Out):
    """Where a clip is."""

    clip_url: str


class QueryIn(In):
    """Two segments to compare."""

    id: UUID = Field(description="Made by the trainer; the same query sent again is stored once.")
    first: UUID
    second: UUID
    agents: tuple[AgentName, AgentName] | None = Field(
        None, description="In an arena, whose segments the two are."
    )


class QueriesIn(In):
    """Queries for the queue."""

    iteration: int = Field(0, ge=0, le=MAX_INT)
    next_up: bool = Field(False, description="At its beginning; otherwise at its end.")
    queries: list[QueryIn] = Field(max_length=MAX_QUERIES)


class EventOut(Out):
    """An answer, a skip or an undo."""

    id: UUID
    number: int
    query: UUID = Field(description="Of a repeat, the query that it repeats.")
    repeat: bool
    annotator: str
    kind: Literal["answer", "skip", "undo"]
    label: float | None = Field(description="Probability that the second is preferred.")
    first_was_left: bool | None
    trim: TrimOut | None
    seconds: float | None
    created_at: datetime
    undoes: UUID | None

    @classmethod
    def of(cls, event: "Event") -> "EventOut":
        """From the store's."""
        return cls(
            id=event.id,
            number=event.number,
            query=event.query,
            repeat=event.repeat,
            annotator=event.annotator,
            kind=event.kind,
            label=event.label,
            first_was_left=event.first_was_left,
            trim=TrimOut.of(event.trim),
            seconds=event.seconds,
            created_at=event.created_at,
            undoes=event.undoes,
        )


class QueryOut(Out):
    """Two segments that were compared."""

    id: UUID
    first: UUID
    second: UUID
    iteration: int
    position: int = Field(description="Its place among all that was asked in the run.")


class LabelsOut(Out):
    """A run's events of its current round, from a cursor on."""

    events: list[EventOut]
    queries: list[QueryOut] = Field(description="Those that the events are about.")
    next: int = Field(description="Give this as `after` to read on.")
    more: bool
    round: int = Field(description="If it is another than before, earlier labels no longer count.")
    annotators_per_query: int
    excluded: list[str] = Field(
        [], description="Annotators whose labels are not to be learned from."
    )
    forgotten: int = Field(
        0,
        description="If it is another than before, somebody's labels were deleted: read on from 0, and forget what was read.",
    )


class LabelIn(In):
    """A label that was given elsewhere; null is a skip."""

    id: UUID
    query: UUID
    annotator: AnnotatorName
    label: float | None = Field(ge=0, le=1)
    trim: TrimIn | None = None
    seconds: Seconds | None = None
    first_was_left: bool | None = None
    repeat: bool = Field(
        False,
        description="The annotator was asked again, to see whether they agree with themselves.",
    )
    time: Time | None = Field(None, description="When it was given; null: now.")

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
