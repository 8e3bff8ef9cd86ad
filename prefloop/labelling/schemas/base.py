"""What all requests and replies are made of. What comes in has limits on everything; what goes out has none."""

from datetime import datetime, timezone
from typing import Annotated, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints

from prefloop.labelling.limits import (
    MAX_ENV,
    MAX_INSTRUCTIONS,
    MAX_NAME,
    RUN_NAME,
    as_shown,
    is_plain,
)

MAX_QUERIES = 10_000  # or labels in one request

MAX_INT = 2**31 - 1  # what an integer column holds


def plain(text: str) -> str:
    """Text without what no keyboard types."""
    if not is_plain(text):
        raise ValueError("control characters are not allowed")
    return text


def one_line(text: str) -> str:
    """Text that is one line, without what no keyboard types."""
    if "\n" in text or "\t" in text:
        raise ValueError("it must be one line")
    return plain(text)


def _name(text: str) -> str:
    """A name as it is kept."""
    shown = as_shown(one_line(text))
    if not shown:
        raise ValueError("a name has letters that can be seen")
    if len(shown) > MAX_NAME:
        raise ValueError(f"a name has at most {MAX_NAME} characters")
    return shown


RunName = Annotated[
    str,
    StringConstraints(pattern=RUN_NAME),
    Field(description="Letters, digits, dots, dashes and underscores."),
]
AnnotatorName = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_NAME),
    AfterValidator(_name),
]
AgentName = AnnotatorName
Env = Annotated[str, StringConstraints(min_length=1, max_length=MAX_ENV), AfterValidator(one_line)]
Instructions = Annotated[str, StringConstraints(max_length=MAX_INSTRUCTIONS), AfterValidator(plain)]
Seconds = Annotated[float, Field(ge=0, le=86_400, allow_inf_nan=False)]
Time = Annotated[
    AwareDatetime,
    # any zone's time is one that a database can hold
    Field(
        ge=datetime(1970, 1, 2, tzinfo=timezone.utc), lt=datetime(2200, 1, 1, tzinfo=timezone.utc)
    ),
]
Phase = Literal["exploring", "asking", "learning", "paused", "ended"]  # of a training
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
    code: str | None = Field(
        None,
        description="Names the reason, where the page says it to participants in their language.",
    )


class HealthOut(Out):
    """What answers here."""

    model_config = ConfigDict(populate_by_name=True)

    version: str
    schema_: int = Field(alias="schema")
    role: Literal["annotator", "trainer", "participant", "newcomer"] | None = Field(
        description="What the token that was sent allows; null: none, or a wrong one."
    )
    languages: list[str] = Field(
        ["en"], description="That the page has words in for participants of studies."
    )


class TrimOut(Out):
    """The steps that were compared, half-open."""

    start: int
    stop: int

    @classmethod
    def of(cls, trim: tuple[int, int] | None) -> "TrimOut | None":
        """From the store's."""
        return cls(start=trim[0], stop=trim[1]) if trim else None
