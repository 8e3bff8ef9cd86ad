"""What an arena's votes say of its agents."""

from pydantic import Field

from prefloop.labelling.schemas.base import Out

Square = list[list[float | None]]


class RankedOut(Out):
    """One agent; what the votes say nothing of is null."""

    name: str
    strength: float | None = Field(
        description="Logarithm of Bradley-Terry's, less the mean of the agent's group."
    )
    low: float | None = Field(description="Of its 95 % interval.")
    high: float | None
    wins: float
    losses: float
    ties: float


class RankingOut(Out):
    """Agents ranked by all votes at once, the best first."""

    agents: list[RankedOut]
    groups: list[list[str]] = Field(
        description="Agents that votes connect; those of different groups can't be compared."
    )
    beats: Square = Field(
        description="Probability that the row's agent beats the column's, a tie counting half; in "
        "the order of the agents."
    )
    above: Square = Field(
        description="Share of the bootstrap's resamples in which the row's is ranked above the column's."
    )
    tie: float | None = Field(
        description="Probability of a tie between two that are equally strong."
    )
    votes: int
    skips: int
