"""What is stored of a person, and what became of it."""

from datetime import datetime
from typing import TYPE_CHECKING

from pydantic import Field

from prefloop.labelling.schemas.base import AnnotatorName, In, Out

if TYPE_CHECKING:
    from prefloop.labelling.server.storage.records import Forgotten, Stored


class PersonIn(In):
    """Whom it is about."""

    annotator: AnnotatorName


class PlaceOut(Out):
    """What is stored of a participant beside their answers."""

    study: str
    ref: str = Field(description="What they are called within the study.")
    device: bool = Field(description="Whether a random number of their browser is.")
    created_at: datetime
    started_at: datetime | None
    consented_at: datetime | None
    consent: str | None = Field(description="The SHA-256 of the text that was accepted.")
    ended_at: datetime | None
    revoked_at: datetime | None
    outcome: str | None
    code: str | None = Field(description="Null until they have finished.")
    has_code: bool
    steps: int = Field(description="That they have done.")
    practised: int = Field(description="Pairs to practise on that they have answered.")
    attempts: int = Field(description="At the questions on the instructions.")


class StoredOut(Out):
    """What is stored of one person, in numbers."""

    name: str = Field(description="That their labels stand under.")
    participant: PlaceOut | None = Field(description="Null: they take part in no study.")
    answers: int
    skips: int
    taken_back: int
    trims: int = Field(description="Answers that are about a part of the clips.")
    seconds: float = Field(description="That they looked, all together.")
    shown: int = Field(description="How often a pair was given to them.")
    pages: int = Field(description="Of a browser that pairs were given to, each a random number.")
    runs: list[str]
    excluded: list[str] = Field(description="Runs from which their labels are left out.")
    comparisons: int = Field(description="That they have put on the page.")
    first: datetime | None
    last: datetime | None

    @classmethod
    def of(cls, stored: "Stored") -> "StoredOut":
        """From the store's."""
        person = stored.participant
        place = None
        if person is not None and stored.study is not None:
            said = person.progress
            place = PlaceOut.model_validate(
                {
                    **vars(person),
                    "study": stored.study,
                    "device": person.device is not None,
                    "has_code": person.code is not None,
                    "code": person.code if person.outcome == "finished" else None,
                    "steps": len(said.get("done", ())),
                    "practised": len(said.get("practice", ())),
                    "attempts": said.get("attempts", 0),
                }
            )
        return cls.model_validate({**vars(stored), "participant": place})


class ForgottenOut(Out):
    """What was deleted of one person."""

    stored: StoredOut = Field(description="What there was.")
    rows: dict[str, int] = Field(description="Rows that are gone, or changed, by table.")
    asked_again: int = Field(description="Pairs that are in the queue again.")
    wiped: bool = Field(
        description="Whether no trace is left where the rows stood; false where the database is in use elsewhere, or its disk is full."
    )

    @classmethod
    def of(cls, forgotten: "Forgotten") -> "ForgottenOut":
        """From the store's."""
        return cls.model_validate({**vars(forgotten), "stored": StoredOut.of(forgotten.stored)})
