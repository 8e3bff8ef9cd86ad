"""Runs: what there is to label, and how far it is."""

from datetime import datetime
from uuid import UUID

from pydantic import Field

from prefloop.labelling.schemas.base import MAX_INT, Env, In, Instructions, Out, RunName
from prefloop.labelling.storage.records import Run


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
    labels: int = Field(ge=0, le=MAX_INT, description="How many labels were judged; ties are not.")
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
