"""What the page asks for and says."""

from datetime import datetime
from typing import TYPE_CHECKING, Literal
from uuid import UUID

from pydantic import AwareDatetime, Field

from prefloop.labelling.limits import MAX_AHEAD
from prefloop.labelling.schemas.base import (
    MAX_INT,
    AnnotatorName,
    In,
    Out,
    RunName,
    Seconds,
    TrimOut,
)

if TYPE_CHECKING:
    from prefloop.labelling.server.storage.records import Lease, Leases, Said, Side


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


class HeldIn(In):
    """A lease as the page knows it."""

    lease: UUID
    expires_at: AwareDatetime


class ReleaseIn(In):
    """Queries that a page will not answer, since it is closed."""

    annotator: AnnotatorName
    session: UUID
    leases: list[HeldIn] = Field(max_length=4 * MAX_AHEAD)


class SideOut(Out):
    """One of the two segments of a query."""

    segment: UUID
    length: int = Field(description="Steps.")
    clip_url: str | None = Field(description="Null while the clip is not rendered.")
    clip_error: str | None = Field(
        description="Why the segment can't be drawn; a clip it has all the same is a plot of it."
    )

    @classmethod
    def of(cls, side: "Side") -> "SideOut":
        """From the store's."""
        return cls(
            segment=side.segment,
            length=side.length,
            clip_url=f"/clips/{side.clip}.mp4" if side.clip else None,
            clip_error=side.clip_error,
        )


class SaidOut(Out):
    """What an annotator said of a query, and took back."""

    choice: Literal["left", "right", "tie", "skip"] | None = Field(
        description="Null for a label that no page gives, as an import may hold."
    )
    trim: TrimOut | None

    @classmethod
    def of(cls, said: "Said | None") -> "SaidOut | None":
        """From the store's."""
        return cls(choice=said.choice, trim=TrimOut.of(said.trim)) if said else None


class LeasedQueryOut(Out):
    """A query that is this annotator's until `expires_at`."""

    query: UUID
    lease: UUID
    expires_at: datetime
    left: SideOut
    right: SideOut
    said: SaidOut | None = Field(description="What the annotator said of it last and took back.")

    @classmethod
    def of(cls, lease: "Lease") -> "LeasedQueryOut":
        """From the store's."""
        return cls(
            query=lease.query,
            lease=lease.id,
            expires_at=lease.expires_at,
            left=SideOut.of(lease.left),
            right=SideOut.of(lease.right),
            said=SaidOut.of(lease.said),
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
    def of(cls, leases: "Leases") -> "LeasesOut":
        """From the store's."""
        return cls(
            queries=[LeasedQueryOut.of(lease) for lease in leases.queries],
            left_over=leases.left_over,
            state=leases.state,
        )


class TrimIn(In):
    """The steps that were compared, half-open."""

    start: int = Field(ge=0, le=MAX_INT)
    stop: int = Field(ge=1, le=MAX_INT)


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
