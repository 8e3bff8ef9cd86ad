"""What a trainer says of itself, and what people wish of it on its run's page."""

from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field

from prefloop.labelling.schemas.base import MAX_INT, In, Out, Phase
from prefloop.labelling.schemas.runs import TraceIn

MAX_POINTS = 300  # of a curve, which the page draws a few hundred pixels wide
MAX_TRACED = 200  # segments at once
MAX_SAID = 500  # characters

Wish = Literal["pause", "go-on", "ask", "stop"]
Count = Annotated[int, Field(ge=0, le=MAX_INT)]
Steps = Annotated[int, Field(ge=0, le=2**53)]


class PointIn(In):
    """How the policy did at a time."""

    steps: Steps
    predicted: float | None = Field(None, description="Return, as the learned reward has it.")
    length: float | None = Field(None, description="Of an episode, in steps.")


class TrainingIn(In):
    """What a trainer does now."""

    trainer: UUID = Field(description="Of the folder that it trains in, which holds one at a time.")
    begins: bool = Field(False, description="It was just started: what was wished before is over.")
    phase: Phase
    steps: Steps = Field(description="Of experience so far.")
    until: Steps | None = Field(
        None, description="Steps at which this phase ends, if that is known."
    )
    next_pairs: float | None = Field(None, ge=0, description="Seconds until it asks again.")
    steps_per_second: float | None = Field(None, ge=0)
    sessions: Count = Field(0, description="How often the reward was fitted.")
    labels: Count = Field(0, description="That the reward was fitted to.")
    labels_left: Count | None = Field(
        None, description="Labels that it may still ask for; null where it does not say."
    )
    held_out_accuracy: float | None = Field(None, ge=0, le=1)
    curve: list[PointIn] = Field([], max_length=MAX_POINTS)
    said: str = Field("", max_length=MAX_SAID, description="Why it ended.")


class TracesIn(In):
    """What a reward says of each step of segments that are asked about, by their ids."""

    traces: dict[UUID, TraceIn] = Field(max_length=MAX_TRACED)


class WishesOut(Out):
    """What people wish of a trainer."""

    paused: bool
    stop: bool
    asks: int = Field(description="How often somebody wanted to be asked at once.")


class WishIn(In):
    """A button of the page."""

    wish: Wish


class PointOut(Out):
    """How the policy did at a time."""

    steps: int
    predicted: float | None
    length: float | None


class TrainingOut(Out):
    """What a run's trainer last said, and what is wished of it."""

    phase: Phase
    steps: int
    until: int | None
    next_pairs: float | None
    steps_per_second: float | None
    sessions: int
    labels: int
    labels_left: int | None = Field(None, description="Null of trainers that do not say.")
    held_out_accuracy: float | None
    curve: list[PointOut]
    said: str
    heard_seconds: float = Field(description="How long ago it said so.")
    is_there: bool = Field(description="Whether it was heard of lately, and has not ended.")
    wishes: WishesOut
    video_url: str | None = Field(description="The policy from a fixed start.")
