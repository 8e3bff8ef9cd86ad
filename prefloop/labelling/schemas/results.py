"""What a run's labels say of its annotators, and a reward model of the labels."""

from datetime import datetime
from typing import TYPE_CHECKING, Literal
from uuid import UUID

from pydantic import Field

from prefloop.labelling.schemas.annotate import SideOut
from prefloop.labelling.schemas.base import Out, TrimOut
from prefloop.labelling.schemas.trust import TrustIn

if TYPE_CHECKING:
    from prefloop.labelling.server.storage.records import Event


class ShareOut(Out):
    """How often two labels agree."""

    n: int = Field(description="Pairs of labels that were compared.")
    share: float | None = Field(description="Of the pairs, those that agree; null where n is 0.")


class PairOut(ShareOut):
    """How often two annotators agree on the same queries."""

    annotators: tuple[str, str]
    kappa: float | None = Field(description="Cohen's kappa over first, second and tie.")


class AlphaOut(Out):
    """Agreement of all annotators beyond what chance would give."""

    n: int = Field(description="Answers to queries that several have answered.")
    value: float | None = Field(
        description="Krippendorff's alpha over first, tie and second, ordinal: 1 where all agree, 0 as by "
        "chance; null where n is 0, or all say the same."
    )


class SecondsOut(Out):
    """How long labels took: the quantiles at 10, 50 and 90 percent."""

    n: int = Field(description="Labels whose time is known.")
    low: float | None = Field(description="A tenth took less; null where n is 0.")
    median: float | None
    high: float | None = Field(description="A tenth took more.")


class DoubtOut(Out):
    """Why somebody should look at what an annotator says."""

    kind: Literal["one-side", "hasty", "unsteady", "apart"] = Field(
        description="They prefer the clip of one side, whatever it shows; answer before anybody "
        "could have looked; contradict themselves on repeats; or say something else than all others of "
        "pairs that are clear."
    )
    side: Literal["left", "right"] | None
    count: int = Field(description="How often: of `unsteady` and `apart`, how often they agree.")
    n: int = Field(description="Of how many.")
    low: float = Field(
        description="Lower end of the 95 % interval of the share; of `unsteady`, of 99.9 %."
    )
    high: float
    usual: float | None = Field(
        None, description="Of `apart`: the share that the median of all annotators comes to."
    )


class AnnotatorOut(Out):
    """What one annotator did."""

    annotator: str
    answers: int
    ties: int
    skips: int
    chose_left: float | None = Field(description="Share of the answers that are no ties.")
    seconds: SecondsOut
    consistency: ShareOut = Field(description="Agreement with themselves on repeats.")
    doubts: list[DoubtOut] = Field(
        description="What is suspicious; docs/labelling_api.md has the rule."
    )
    excluded: bool = Field(
        False, description="Whether their labels are left out of training and agreement."
    )


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
    def of(cls, event: "Event") -> "SaidOut":
        """From the store's."""
        return cls(
            annotator=event.annotator,
            label=event.label,
            trim=TrimOut.of(event.trim),
            repeat=event.repeat,
        )


class TraceOut(Out):
    """What a reward model says of each step of a segment, on the scale of its agent."""

    learned: list[float]
    lowest: list[float] = Field(description="Of the members of the ensemble.")
    highest: list[float]
    true: list[float] | None = Field(
        None, description="The environment's own reward, if there is one."
    )


class HardPairOut(Out):
    """A query that the reward model finds hard, and what stands of people's labels."""

    query: UUID
    label: float = Field(description="The one that the reward model contradicts most.")
    probability: float = Field(description="The reward model's, that the second is preferred.")
    first: SideOut
    second: SideOut
    first_reward: TraceOut | None = Field(
        None, description="Null where the segment is too long for it."
    )
    second_reward: TraceOut | None = None
    said: list[SaidOut]


class RewardReportOut(Out):
    """What a trainer said of its reward model in this round."""

    accuracy: float = Field(description="Share of the labels that it agrees with.")
    labels: int = Field(description="How many labels were judged; ties are not.")
    hardest: list[HardPairOut]
    trust: TrustIn | None = Field(None, description="As the trainer sent it; null: it did not.")


class ResultsOut(Out):
    """What can be said of a run's labels."""

    over_time: list[PointOut]
    curves: list[CurveOut] = Field(description="Of those who labelled most, if they are several.")
    annotators: list[AnnotatorOut]
    agreement: ShareOut = Field(description="Between annotators, on the same query.")
    alpha: AlphaOut = AlphaOut(n=0, value=None)
    consistency: ShareOut = Field(description="Of annotators with themselves, on repeats.")
    pairs: list[PairOut]
    seconds: SecondsOut
    reward: RewardReportOut | None
