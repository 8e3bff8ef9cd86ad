"""The way of a participant through a study: which step they are at, what it shows, and what takes them on."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal
from urllib.parse import quote
from uuid import UUID

from fastapi import HTTPException

from prefloop.labelling.limits import MAX_REF, REF
from prefloop.labelling.schemas.annotate import SideOut
from prefloop.labelling.schemas.studies import (
    ComprehensionIn,
    ExampleOut,
    FeedbackOut,
    PracticeIn,
    PracticeOut,
    QuestionOut,
    Step,
    StepIn,
    WayOut,
)
from prefloop.labelling.server.config import LabellingConfig, for_run
from prefloop.labelling.server.languages import DEFAULT
from prefloop.labelling.server.service import Service
from prefloop.labelling.server.storage.errors import (
    ConflictError,
    InvalidError,
    NotFoundError,
    full,
)
from prefloop.labelling.server.storage.records import Known, Link, Participant, Person, Side, Study
from prefloop.labelling.server.storage.tables import EXAMPLES, PRACTICE

SWITCHES = ("allow_ties", "allow_skip", "allow_trim")
# what a participant's page is told of the settings
TOLD = (*SWITCHES, "playback_speed", "pairs_ahead")
OUTCOMES: dict[str, Step] = {"finished": "thanks", "left": "left", "failed": "failed"}


def steps_of(study: Study | Link) -> list[Step]:
    """The steps of a study in their order; what has nothing to show is left out."""
    about, runs = study.about, study.runs
    there: dict[Step, Any] = {
        "welcome": about["welcome"],
        "consent": about["consent"],
        "instructions": about["instructions"] or EXAMPLES in runs,
        "practice": PRACTICE in runs,
        "comprehension": about["comprehension"],
        "pairs": True,
        "thanks": True,
    }
    return [step for step, shows in there.items() if shows]


def step_of(study: Study | Link, person: Person) -> Step:
    """Where somebody is."""
    if person.outcome is not None:
        return OUTCOMES[person.outcome]
    done = person.progress.get("done", ())
    return next(step for step in steps_of(study) if step not in done)


def rules_of(service: Service, link: Link) -> tuple[LabellingConfig, float]:
    """What holds for the participants of a study: labelling.yaml, what its first run has of its own, and its own words.

    Returns:
        The settings, and for how many seconds a pair must be looked at.
    """
    about = link.about
    switches = {key: about[key] for key in SWITCHES if about[key] is not None}
    settings = replace(for_run(service.settings.current, link.own_settings), **switches)
    return settings, about["smallest_seconds"]


def digest_of(text: str) -> str:
    """By which a consent says what it is about."""
    return hashlib.sha256(text.encode()).hexdigest()


def way(service: Service, study: Study, person: Participant, elsewhere: bool) -> WayOut:
    """What a participant's page shows now."""
    about, step, steps = study.about, step_of(study, person), steps_of(study)
    known = service.store.taking_part.known
    practice = _practice(known(study.name, PRACTICE), person) if step == "practice" else []
    examples = known(study.name, EXAMPLES) if step == "instructions" else []
    has_ended = step == "thanks"
    code = person.code if has_ended else None
    address = about["return_address"] if has_ended else None
    there = service.store.taking_part.num_pairs(study.name)
    shown = [(left, right) for _, left, right in practice]
    shown += [(one.first, one.second) for one in examples]
    service.want_clips({side.segment for pair in shown for side in pair})
    text = about["instructions"] if step == "pairs" else about.get(step, "")
    text = text if isinstance(text, str) else ""  # questions stand elsewhere
    return WayOut(
        study=study.name,
        title=about["title"],
        language=about.get("language", DEFAULT),  # studies of earlier versions say none
        privacy=about.get("privacy", ""),
        ref=person.ref,
        step=step,
        number=steps.index(step) + 1 if step in steps else len(steps),
        of=len(steps),
        opened=person.started_at is not None,
        elsewhere=elsewhere,
        id_parameter=about["id_parameter"],
        text=text,
        digest=digest_of(text),
        pause=about["pause"],
        examples=[_example(one, person) for one in examples],
        practice=[
            PracticeOut(query=query, left=SideOut.of(left), right=SideOut.of(right))
            for query, left, right in practice
        ],
        questions=[QuestionOut(**_question(one)) for one in about["comprehension"]]
        if step == "comprehension"
        else [],
        attempts_left=about["attempts"] - person.progress.get("attempts", 0),
        answered=person.labels,
        pairs=_num_pairs(service, about["pairs"], person, there),
        block=about["block"],
        smallest_seconds=about["smallest_seconds"],
        code=code,
        return_address=(address or "").replace("{code}", quote(code or "", safe="")) or None,
    )


def _num_pairs(service: Service, wanted: int | None, person: Participant, there: int) -> int:
    """How many pairs somebody compares in all, as far as is known: repeats come on top of those that there are.

    Args:
        wanted: that their link is for; None: all there are.
        there: pairs of the study's runs.
    """
    if wanted is not None and wanted <= there:
        return wanted
    more = person.labels >= there and not service.store.assignment.is_through(person.id)
    return max(there, person.labels + more)


def before_joining(study: Study) -> WayOut:
    """What the page of an open link shows to whoever is no participant yet."""
    return WayOut(
        study=study.name,
        title=study.about["title"],
        language=study.about.get("language", DEFAULT),
        privacy=study.about.get("privacy", ""),
        ref="",
        step="join",
        number=1,
        of=len(steps_of(study)),
        opened=False,
        elsewhere=False,
        id_parameter=study.about["id_parameter"],
        text="",
        digest=digest_of(""),
        pause="",
        examples=[],
        practice=[],
        questions=[],
        attempts_left=0,
        answered=0,
        pairs=0,
        block=None,
        smallest_seconds=0,
        code=None,
        return_address=None,
    )


def require_ref(ref: str) -> None:
    """Refuses an id of a recruiting site's that names no participant.

    Raises:
        InvalidError: says which do.
    """
    if not re.fullmatch(REF, ref):
        raise InvalidError(
            f"The id in your link can't be used: it may have letters, digits, dots, dashes and underscores, {MAX_REF} "
            "at most. Ask whoever gave it to you.",
            "id",
        )


def take_step(service: Service, study: Study, id: UUID, told: StepIn) -> Person:
    """Goes on to the next step.

    Raises:
        ConflictError: it is not the step that they are at, or a consent is about another text.
    """
    practised_on = (
        service.store.taking_part.known(study.name, PRACTICE) if told.step == "practice" else []
    )

    def change(person: Person) -> Mapping[str, Any] | None:
        if told.step in person.progress.get("done", ()):
            return None  # sent again
        _require_at(study, person, told.step)
        values: dict[str, Any] = {}
        if told.step == "consent":
            if told.digest != digest_of(study.about["consent"]):
                raise ConflictError("The text has changed: read it again.", "changed")
            values = {"consented_at": True, "consent": told.digest}
        if _practice(practised_on, person):
            raise ConflictError("There are pairs left to practise on.", "left")
        return {**values, "progress": _done(person, told.step)}

    return service.store.taking_part.advance(id, change)


def practise(service: Service, study: Study, id: UUID, told: PracticeIn) -> FeedbackOut:
    """Says what was said of a pair before; the first answer to it is kept.

    Raises:
        NotFoundError: nobody practises on it.
        ConflictError: it is not the step that they are at.
    """
    known = {one.query: one for one in service.store.taking_part.known(study.name, PRACTICE)}
    if told.query not in known:
        raise NotFoundError("There is no such pair to practise on.", "step")

    def change(person: Person) -> Mapping[str, Any] | None:
        _require_at(study, person, "practice")
        said = person.progress.get("practice", {})
        if str(told.query) in said:
            return None
        practised = {**said, str(told.query): told.choice}
        return {"progress": {**person.progress, "practice": practised}}

    person = service.store.taking_part.advance(id, change)
    answer = _answer(known[told.query], person)
    return FeedbackOut(right=told.choice == answer, answer=answer)


def check_comprehension(
    service: Service, study: Study, id: UUID, told: ComprehensionIn
) -> tuple[list[int], Person]:
    """Goes on where all is understood; after the last attempt it is over.

    Answers whose reply was lost are sent again, and are one attempt.

    Returns:
        Which answers were wrong, and how the participant stands now.

    Raises:
        HTTPException: 422: another number of answers than of questions.
        ConflictError: it is not the step that they are at.
    """
    asked = study.about["comprehension"]
    if len(told.chosen) != len(asked):
        raise HTTPException(422, f"chosen: there are {len(asked)} questions.")
    wrong = [
        i
        for i, (question, place) in enumerate(zip(asked, told.chosen, strict=True))
        if place >= len(question["options"]) or question["options"][place] != question["right"]
    ]

    # with how many attempts left, and which answers
    last = [told.attempts_left, *told.chosen]

    def change(person: Person) -> Mapping[str, Any] | None:
        is_again = told.attempts_left is not None and person.progress.get("last_attempt") == last
        if is_again or "comprehension" in person.progress.get("done", ()):
            return None
        _require_at(study, person, "comprehension")
        attempts = person.progress.get("attempts", 0) + 1
        counted = {"attempts": attempts, "last_attempt": last}
        if not wrong:
            return {"progress": {**_done(person, "comprehension"), **counted}}
        progress = {**person.progress, **counted}
        if attempts < study.about["attempts"]:
            return {"progress": progress}
        return {"progress": progress, "outcome": "failed", "ended_at": True}

    person = service.store.taking_part.advance(id, change)
    return [] if "comprehension" in person.progress.get("done", ()) else wrong, person


def end(service: Service, study: Study, id: UUID, outcome: Literal["finished", "left"]) -> Person:
    """Ends somebody's part; what they have open is others' again.

    Raises:
        ConflictError: there are pairs left for them to answer, or others had taken all before they came.
    """
    if outcome == "finished":
        if not service.store.assignment.is_through(id):
            raise ConflictError("There are pairs left to compare.", "left")
        if not service.store.taking_part.participant(id).labels:
            raise full()

    def change(person: Person) -> Mapping[str, Any] | None:
        if person.outcome is not None:
            return None
        if outcome == "finished":
            _require_at(study, person, "pairs")
        return {"outcome": outcome, "ended_at": True}

    return service.store.taking_part.advance(id, change)


def require_at_pairs(link: Link) -> None:
    """Refuses pairs to whoever has not come to them, or has been through.

    Raises:
        ConflictError: says which step comes first.
    """
    assert link.person is not None  # newcomers come to no pairs
    _require_at(link, link.person, "pairs")


def _require_at(study: Study | Link, person: Person, step: Step) -> None:
    now = step_of(study, person)
    if now != step:
        if person.outcome is not None:
            raise ConflictError("Your part in this study is over. Thank you!", "over")
        raise ConflictError(f"The step that comes now is {now}, not {step}.", "step")


def _done(person: Person, step: Step) -> dict[str, Any]:
    return {**person.progress, "done": [*person.progress.get("done", ()), step]}


def _practice(known: list[Known], person: Person) -> list[tuple[UUID, Side, Side]]:
    """The pairs that somebody has not practised on yet, with what they see left and right."""
    said = person.progress.get("practice", {})
    return [(one.query, *_sides(one, person)) for one in known if str(one.query) not in said]


def _first_is_left(one: Known, person: Person) -> bool:
    """For each participant another half of the pairs, and always the same: nothing is stored of it."""
    return hashlib.sha256(one.query.bytes + person.id.bytes).digest()[0] % 2 == 0


def _sides(one: Known, person: Person) -> tuple[Side, Side]:
    return (one.first, one.second) if _first_is_left(one, person) else (one.second, one.first)


def _answer(one: Known, person: Person) -> Literal["left", "right", "tie"]:
    if one.label == 0.5:
        return "tie"
    return "left" if (one.label < 0.5) == _first_is_left(one, person) else "right"


def _example(one: Known, person: Person) -> ExampleOut:
    left, right = _sides(one, person)
    return ExampleOut(left=SideOut.of(left), right=SideOut.of(right), answer=_answer(one, person))


def _question(one: Mapping[str, Any]) -> dict[str, Any]:
    return {"question": one["question"], "options": one["options"]}
