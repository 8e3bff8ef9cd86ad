"""Runs: what there is to label, and how far it is."""

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal
from uuid import UUID

from pydantic import Field, model_validator

from prefloop.envs.settings import MAX_PIXELS, TERMINATIONS
from prefloop.labelling.limits import MAX_AGENTS, MAX_ENV, MAX_TRACE
from prefloop.labelling.schemas.base import (
    MAX_INT,
    AgentName,
    AnnotatorName,
    Digest,
    Env,
    In,
    Instructions,
    Out,
    Phase,
    RunName,
)
from prefloop.labelling.schemas.trust import TrustIn

if TYPE_CHECKING:
    from prefloop.labelling.server.storage.records import Run
    from prefloop.labelling.server.storage.trainings import Training


Size = Annotated[int, Field(ge=1, le=10_000_000)]
MAX_ACTIONS = 1_000_000


class EnvChangesIn(In):
    """What is not as the environment's makers have it; left out is as they have it."""

    wrappers: list[Annotated[str, Field(max_length=MAX_ENV)]] | None = Field(None, max_length=20)
    horizon: Size | None = None
    termination: Literal[TERMINATIONS] | None = None  # type: ignore[valid-type]
    absorbing_steps: Size | None = None
    fallen_steps: Size | None = None
    action_repeat: Size | None = None
    frame_stack: Size | None = None
    sticky: float | None = Field(None, ge=0, lt=1)
    pixels: int | None = Field(None, ge=1, le=MAX_PIXELS)
    colour: bool | None = None
    mask_score: bool | None = None
    mask_rows: list[Annotated[int, Field(ge=0, le=10_000)]] | None = Field(None, max_length=2)
    noop_max: int | None = Field(None, ge=0, le=10_000)


class SpacesIn(In):
    """Observations and actions."""

    obs_shape: list[Size] = Field(max_length=8)
    obs_dtype: Literal[
        "float32", "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"
    ]
    discrete: bool
    num_actions: int = Field(
        ge=1, le=MAX_ACTIONS, description="How many there are, or the length of one."
    )
    low: list[float] = Field([], max_length=MAX_ACTIONS, description="Of vectors: lower bounds.")
    high: list[float] = Field([], max_length=MAX_ACTIONS)
    frame_stack: Size = Field(1, description="Successive frames on the first axis of obs_shape.")


class AgentIn(In):
    """Somebody whom an arena compares with others."""

    name: AgentName
    digest: Digest = Field(description="Of what acts; another one under a known name is refused.")


class RunIn(In):
    """What a run is about; null keeps what is there, or the default of labelling.yaml."""

    env: Env
    env_changes: EnvChangesIn | None = None
    spaces: SpacesIn
    instructions: Instructions | None = None
    frames_per_second: float | None = Field(None, gt=0, le=1000)
    annotators_per_query: int | None = Field(None, ge=1, le=100)
    repeats: float | None = Field(None, ge=0, le=1)
    agents: list[AgentIn] | None = Field(
        None,
        min_length=1,
        max_length=MAX_AGENTS,
        description="Makes it an arena, which compares these, beside those that it has.",
    )

    @model_validator(mode="after")
    def _names_differ(self) -> "RunIn":
        names = [agent.name for agent in self.agents or ()]
        if len(set(names)) < len(names):
            raise ValueError("two agents have one name")
        return self


class RenameIn(In):
    """A new name for a run."""

    name: RunName


class ExcludeIn(In):
    """Whose labels are left out, or taken in again."""

    annotator: AnnotatorName


class ExcludedOut(Out):
    """Whose labels of a run are left out of training and agreement."""

    excluded: list[str]


class CountsOut(Out):
    """How far a run is, without repeats."""

    queries: int
    answered: int
    skipped: int
    left: int = Field(description="Queries that want more annotators than have labelled them.")
    labels: int = Field(description="Answers and skips of all annotators.")
    annotators: int


Steps = Annotated[list[float], Field(min_length=1, max_length=MAX_TRACE)]


class TraceIn(In):
    """What a reward model says of each step of a segment, on the scale of its agent."""

    learned: Steps
    lowest: Steps = Field(description="Of the members of the ensemble.")
    highest: Steps
    true: Steps | None = Field(None, description="The environment's own reward, if there is one.")

    @model_validator(mode="after")
    def _of_one_length(self) -> "TraceIn":
        told = [self.learned, self.lowest, self.highest, self.true or self.learned]
        if len(set(map(len, told))) > 1:
            raise ValueError("all must be told of each step")
        return self


class HardestIn(In):
    """A query that the reward model finds hard."""

    query: UUID
    label: float = Field(ge=0, le=1)
    probability: float = Field(ge=0, le=1, description="That the second is preferred.")
    first_reward: TraceIn | None = None
    second_reward: TraceIn | None = None


class RewardReportIn(In):
    """What a trainer says of its reward model."""

    accuracy: float = Field(ge=0, le=1, description="Share of the labels that it agrees with.")
    labels: int = Field(ge=0, le=MAX_INT, description="How many labels were judged; ties are not.")
    hardest: list[HardestIn] = Field([], max_length=20)
    trust: TrustIn | None = Field(
        None, description="Of labels that it has not learned from, among others."
    )


class RunTrainingOut(Out):
    """The program that trains on a run now."""

    phase: Phase
    steps: int
    until: int | None
    paused: bool


class RunOut(Out):
    """A run."""

    name: str
    env: str
    instructions: str
    created_at: datetime
    env_changes: dict[str, Any]
    spaces: dict[str, Any]
    frames_per_second: float | None
    annotators_per_query: int
    repeats: float
    round: int
    arena: bool = Field(
        description="Whether it compares agents; who they are is no annotator's to know."
    )
    counts: CountsOut
    own_settings: dict[str, int | float] = Field(
        description="Keys of labelling.yaml that say something else for this run."
    )
    archived: bool = Field(description="Nobody is asked about it until it is brought back.")
    training: RunTrainingOut | None = Field(description="Null where no program trains on it now.")

    @classmethod
    def of(cls, run: "Run", training: "Training | None" = None) -> "RunOut":
        """From the store's."""
        return cls.model_validate(
            {
                **vars(run),
                "env": run.env.env,
                "env_changes": run.env.changes,
                "spaces": run.spaces.facts,
                "archived": run.archived_at is not None,
                "training": {**training.state, "paused": training.wishes["paused"]}
                if training is not None and training.is_there
                else None,
            }
        )
