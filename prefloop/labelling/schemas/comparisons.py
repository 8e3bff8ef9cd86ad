"""Comparisons: policies side by side, as `prefloop show` has gathered them."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from prefloop.labelling.limits import MAX_COMPARED, MAX_FILMED
from prefloop.labelling.schemas.base import AnnotatorName, Digest, In, Out, one_line

MAX_POLICIES = 100  # of one run
MAX_STARTS = 100
MAX_POINTS = 20_000  # of a curve: rows of metrics.csv

Text = Annotated[str, StringConstraints(max_length=500), AfterValidator(one_line)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=500), AfterValidator(one_line)]
Count = Annotated[int, Field(ge=0, le=2**53)]  # what JavaScript counts exactly
Rewards = Annotated[list[float], Field(min_length=1, max_length=MAX_FILMED)]


class PointIn(In):
    """A row of a run's metrics.csv; null is what it does not say."""

    steps: Count | None
    labels: Count | None
    return_: float | None = Field(alias="return")


class RewardsIn(In):
    """What each step of an episode is worth."""

    true: Rewards = Field(description="The environment's own.")
    learned: Rewards | None = None
    lowest: Rewards | None = Field(None, description="Of the members of the ensemble.")
    highest: Rewards | None = None

    @model_validator(mode="after")
    def _all_or_none_is_learned(self) -> "RewardsIn":
        if len({told is None for told in (self.learned, self.lowest, self.highest)}) > 1:
            raise ValueError("a learned reward comes with its lowest and its highest")
        return self


class EpisodeIn(In):
    """An episode that was filmed."""

    video: Digest = Field(description="SHA-256 of the MP4.")
    return_: float = Field(alias="return")
    steps: int = Field(ge=1, le=MAX_FILMED)
    steps_a_frame: int = Field(ge=1, le=MAX_FILMED, description="Of the video.")
    terminated: bool = Field(description="Not cut by a limit.")
    reward: RewardsIn

    @model_validator(mode="after")
    def _each_step_is_told(self) -> "EpisodeIn":
        reward = self.reward
        told = (reward.true, reward.learned, reward.lowest, reward.highest)
        if any(one is not None and len(one) != self.steps for one in told):
            raise ValueError("a reward must be told of each step")
        return self


class PolicyIn(In):
    """A policy of a run."""

    file: Name
    number: Count | None = Field(description="Of its row in the curve, from 0.")
    steps: Count | None
    labels: Count | None
    mean: float
    low: float | None = Field(description="Of the 95 % interval; null: of one episode.")
    high: float | None
    greedy: bool
    clips: list[EpisodeIn] = Field(min_length=1, max_length=MAX_STARTS)


class ComparedIn(In):
    """A run that is compared."""

    name: Name
    program: Text
    learned: bool = Field(description="Whether it has a learned reward.")
    curve: list[PointIn] = Field(max_length=MAX_POINTS)
    policies: list[PolicyIn] = Field(min_length=1, max_length=MAX_POLICIES)


class ComparisonIn(In):
    """What show.json holds (docs/show.md), its videos by their content."""

    env: Name
    episodes: int = Field(ge=1, le=10_000_000)
    seed: Count
    cut: Count | None
    fps: float = Field(gt=0, le=1000)
    by: AnnotatorName | None = Field(None, description="Who shows it.")
    runs: list[ComparedIn] = Field(min_length=1, max_length=MAX_COMPARED)

    @model_validator(mode="after")
    def _fits_side_by_side(self) -> "ComparisonIn":
        if len({run.name for run in self.runs}) < len(self.runs):
            raise ValueError("two runs have one name")
        starts = {len(policy.clips) for run in self.runs for policy in run.policies}
        if len(starts) > 1:
            raise ValueError("all policies must be filmed from the same starts")
        return self

    def videos(self) -> set[str]:
        """The digests of all clips."""
        clips = (clip for run in self.runs for policy in run.policies for clip in policy.clips)
        return {clip.video for clip in clips}


class MissingOut(Out):
    """What must be sent before a comparison is shown."""

    missing: list[str] = Field(description="Digests of videos; none: it is shown.")


class ComparisonOut(Out):
    """A comparison, in brief."""

    id: UUID
    env: str
    runs: list[str]
    by: str | None
    created_at: datetime
    clips: int
