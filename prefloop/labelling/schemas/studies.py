"""Studies: how one goes, who takes part, and what a participant's page shows of it."""

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal
from urllib.parse import urlsplit
from uuid import UUID

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from prefloop.labelling.limits import MAX_AHEAD, MAX_TEXT, REF, STUDY_NAME
from prefloop.labelling.links import TOKEN
from prefloop.labelling.schemas.annotate import HeldIn, SideOut
from prefloop.labelling.schemas.base import Digest, In, Out, RunName, one_line, plain
from prefloop.labelling.schemas.results import DoubtOut

if TYPE_CHECKING:
    from prefloop.labelling.server.storage.records import Participant, Study

MAX_LINKS = 2000  # participants of a study

StudyName = Annotated[
    str,
    StringConstraints(pattern=STUDY_NAME),
    Field(description="Letters, digits, dots, dashes and underscores, 24 at most."),
]
Ref = Annotated[
    str,
    StringConstraints(pattern=REF),
    Field(description="What a participant is called within a study."),
]
Line = Annotated[str, StringConstraints(max_length=200), AfterValidator(one_line)]
Markdown = Annotated[str, StringConstraints(max_length=MAX_TEXT), AfterValidator(plain)]
Language = Annotated[str, StringConstraints(pattern=r"^[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*$")]
Token = Annotated[str, StringConstraints(pattern=TOKEN)]
Step = Literal[
    "join",
    "welcome",
    "consent",
    "instructions",
    "practice",
    "comprehension",
    "pairs",
    "thanks",
    "left",
    "failed",
]


def _web_address(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("https", "http") or not parts.hostname:
        raise ValueError("it must be an address such as https://example.org/done")
    return text


class QuestionIn(In):
    """A question on what is to be done, to see whether the instructions were understood."""

    question: Line
    options: list[Line] = Field(min_length=2, max_length=10)
    right: Line = Field(description="The option that is right.")

    @model_validator(mode="after")
    def _right_is_an_option(self) -> "QuestionIn":
        if self.right not in self.options:
            raise ValueError(f"{self.right!r} is right and is not among the options")
        return self


class PlanIn(In):
    """How a study goes, as its researcher says it. Every text may be left out, and with it its step; texts are Markdown."""

    title: Line = ""
    language: Language = Field("en", description="Of the page's own words; texts are yours.")
    pairs: int | None = Field(
        None, ge=1, le=100_000, description="That one participant answers; null: all there are."
    )
    block: int | None = Field(
        None,
        ge=1,
        le=100_000,
        description="Pairs between two pauses, all of one run; null: no pause.",
    )
    answers_per_pair: int | None = Field(
        None, ge=1, le=100, description="By how many participants each; null: as the runs say."
    )
    one_device: bool = Field(True, description="Whether a link works on one device at a time.")
    allow_ties: bool | None = Field(None, description="Null: as labelling.yaml says.")
    allow_skip: bool | None = None
    allow_trim: bool | None = None
    welcome: Markdown = ""
    consent: Markdown = Field("", description="What must be accepted before anything is shown.")
    instructions: Markdown = ""
    comprehension: list[QuestionIn] = Field([], max_length=20)
    attempts: int = Field(2, ge=1, le=10, description="At all questions together.")
    pause: Markdown = Field("", description="What is said between two blocks.")
    thanks: Markdown = ""
    privacy: Markdown = Field(
        "", description="What participants are told of their data, beside what is stored of them."
    )
    code: Line = Field(
        "each",
        max_length=64,
        description="Of completion; each: everybody has their own; empty: none.",
    )
    return_address: Annotated[Line, AfterValidator(_web_address)] | None = Field(
        None, description="Where participants go at the end; {code} stands for their code."
    )
    id_parameter: Line = Field(
        "PROLIFIC_PID", description="Of an open link's address: who comes; sites fill it in."
    )
    checks_every: int = Field(
        10, ge=2, le=1000, description="After so many pairs one whose answer is known."
    )
    smallest_seconds: float = Field(
        0, ge=0, le=60, description="That a pair must be looked at before it can be answered."
    )


class AboutIn(PlanIn):
    """How a study goes, as the server keeps it."""

    most_participants: int = Field(
        MAX_LINKS, ge=1, le=MAX_LINKS, description="That an open link makes."
    )


class ShownIn(In):
    """The runs of a study, by what they are there for."""

    pairs: list[RunName] = Field(min_length=1, max_length=20)
    practice: list[RunName] = Field([], max_length=1)
    examples: list[RunName] = Field([], max_length=1)
    checks: list[RunName] = Field([], max_length=1)

    @model_validator(mode="after")
    def _only_once(self) -> "ShownIn":
        if len(set(self.pairs)) < len(self.pairs):
            raise ValueError("a run is named twice")
        if set(self.pairs) & {*self.practice, *self.examples, *self.checks}:
            raise ValueError("a run whose pairs are asked about can't be there for anything else")
        return self


class NewLinkIn(In):
    """A participant to be."""

    ref: Ref
    token: Digest = Field(description="The hash of the token in their link.")


class StudyIn(In):
    """A study to be."""

    about: AboutIn
    runs: ShownIn
    links: list[NewLinkIn] = Field([], max_length=MAX_LINKS)
    open_link: Digest | None = Field(
        None, description="The hash of a token that makes participants; null: there is none."
    )

    @model_validator(mode="after")
    def _links_differ(self) -> "StudyIn":
        _require_different(self.links)
        return self


class LinksIn(In):
    """More participants."""

    links: list[NewLinkIn] = Field(min_length=1, max_length=MAX_LINKS)

    @model_validator(mode="after")
    def _links_differ(self) -> "LinksIn":
        _require_different(self.links)
        return self


def _require_different(links: list[NewLinkIn]) -> None:
    for values in ({link.ref for link in links}, {link.token for link in links}):
        if len(values) < len(links):
            raise ValueError("two links are the same")


class RenewIn(In):
    """Another link for a participant."""

    token: Digest


class ParticipantOut(Out):
    """A line of a study's table."""

    ref: str
    annotator: str = Field(description="The name that their labels stand under.")
    state: Literal["new", "started", "finished", "left", "failed", "revoked"]
    started_at: datetime | None
    consented_at: datetime | None
    consent: str | None = Field(description="The SHA-256 of the text that was accepted.")
    ended_at: datetime | None
    labels: int = Field(description="Answers and skips that stand.")
    checks: int = Field(description="Pairs with a known answer that they answered, and")
    passed: int = Field(description="as it is known.")
    code: str | None

    @classmethod
    def of(cls, person: "Participant") -> "ParticipantOut":
        """From the store's."""
        state = person.outcome or ("started" if person.started_at else "new")
        if person.revoked_at is not None and person.outcome is None:
            state = "revoked"
        return cls.model_validate({**vars(person), "state": state})


class DoubtedOut(Out):
    """A participant whose answers somebody should look at."""

    ref: str
    annotator: str
    doubts: list[DoubtOut] = Field(description="Of their pairs and checks together.")


class StudyOut(Out):
    """A study and its table."""

    name: str
    about: dict[str, Any]
    runs: dict[str, list[str]]
    open_link: bool
    created_at: datetime
    closed: bool
    participants: list[ParticipantOut]

    @classmethod
    def of(cls, study: "Study") -> "StudyOut":
        """From the store's."""
        people = [ParticipantOut.of(person) for person in study.participants]
        closed = study.closed_at is not None
        return cls.model_validate({**vars(study), "closed": closed, "participants": people})


class DeletedStudyOut(Out):
    """A study that is no more."""

    participants: int = Field(description="That it had.")
    labels: int = Field(description="Answers, skips and undos of theirs that are gone, too.")
    asked_again: int = Field(description="Pairs that are in the queue again.")
    wiped: bool = Field(description="As of who is forgotten.")


class ExampleOut(Out):
    """A pair as an example of what is better."""

    left: SideOut
    right: SideOut
    answer: Literal["left", "right", "tie"]


class PracticeOut(Out):
    """A pair to practise on."""

    query: UUID
    left: SideOut
    right: SideOut


class QuestionOut(Out):
    """A question without its answer."""

    question: str
    options: list[str]


class WayOut(Out):
    """How far a participant is, and what their page shows now."""

    study: str
    title: str
    language: str = Field(description="Of the page's own words.")
    privacy: str = Field(description="Markdown: what they are told of their data.")
    ref: str = Field(description="What they are called; empty: nothing yet.")
    step: Step
    number: int = Field(description="Of the step, from 1, among")
    of: int
    opened: bool = Field(description="Their link was opened before.")
    elsewhere: bool = Field(description="Their link is open on another device, or on none yet.")
    id_parameter: str = Field(description="Where an address says who comes.")
    text: str = Field(description="Markdown: of this step; beside pairs the instructions.")
    digest: str = Field(description="Of the text, in SHA-256: what a consent is about.")
    pause: str = Field(description="Markdown: what is said between two blocks.")
    examples: list[ExampleOut]
    practice: list[PracticeOut] = Field(description="Those that are not answered yet.")
    questions: list[QuestionOut]
    attempts_left: int
    answered: int = Field(description="Pairs, of")
    pairs: int
    block: int | None
    smallest_seconds: float
    code: str | None
    return_address: str | None


class JoinIn(In):
    """Somebody who has opened the link that makes participants."""

    ref: str | None = Field(
        None,
        description="What a recruiting site calls them; one that names no participant is refused with the code `id`.",
    )
    token: Token = Field(description="Made by the page; asked again with it, it is them.")


class EnterIn(In):
    """From now on the link is used on this device."""

    device: UUID


class StepIn(In):
    """A step of the way is done."""

    step: Literal["welcome", "consent", "instructions", "practice"]
    digest: Digest | None = Field(None, description="Of the text that was accepted.")


class PracticeIn(In):
    """What somebody says of a pair that they practise on."""

    query: UUID
    choice: Literal["left", "right", "tie", "skip"]


class FeedbackOut(Out):
    """What was said of it before."""

    right: bool
    answer: Literal["left", "right", "tie"]


class ComprehensionIn(In):
    """The options that were chosen, by their places from 0."""

    chosen: list[Annotated[int, Field(ge=0, lt=10)]] = Field(max_length=20)
    attempts_left: int | None = Field(
        None,
        ge=0,
        le=10,
        description="As the page has it: the same answers sent again with it are one attempt.",
    )


class ComprehensionOut(Out):
    """Which were wrong, by their places from 0; how they go on, if at all, `way` says."""

    wrong: list[int]
    way: WayOut


class PairSettingsOut(Out):
    """What the page may offer."""

    values: dict[str, bool | int | float | None]


class StudyLeaseIn(In):
    """A participant wants pairs."""

    session: UUID = Field(description="Made by the page when it opens.")
    count: int = Field(1, ge=1, le=MAX_AHEAD)
    holding: list[UUID] = Field([], max_length=4 * MAX_AHEAD)
    up_to: int | None = Field(
        None, ge=1, le=1_000_000, description="How many they are to have answered then."
    )


class StudyReleaseIn(In):
    """Pairs that a page will not answer, since it is closed."""

    session: UUID
    leases: list[HeldIn] = Field(max_length=4 * MAX_AHEAD)


class StudyUndoIn(In):
    """A participant takes back their last answer."""

    id: UUID
    session: UUID
    undoes: UUID | None = None
