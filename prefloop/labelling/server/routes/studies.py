"""Studies, for trainers: made, looked at, and their links ended."""

from dataclasses import asdict

from fastapi import APIRouter

from prefloop.labelling.schemas.studies import (
    DeletedStudyOut,
    DoubtedOut,
    LinksIn,
    ParticipantOut,
    Ref,
    RenewIn,
    StudyIn,
    StudyName,
    StudyOut,
)
from prefloop.labelling.server.doubts import doubts
from prefloop.labelling.server.languages import require_language
from prefloop.labelling.server.service import ServiceDep, trainers_only
from prefloop.labelling.server.storage.records import NewLink
from prefloop.labelling.server.storage.tables import CHECKS, PAIRS

router = APIRouter(prefix="/api/studies", tags=["studies"], dependencies=[trainers_only])


@router.get("")
def list_studies(service: ServiceDep) -> list[StudyOut]:
    """All studies with their participants, the newest first."""
    return [StudyOut.of(study) for study in service.store.studies.all()]


@router.get("/{name}")
def get_study_table(name: StudyName, service: ServiceDep) -> StudyOut:
    """One study with its participants."""
    return StudyOut.of(service.store.studies.get(name))


@router.get("/{name}/doubts")
def get_study_doubts(name: StudyName, service: ServiceDep) -> list[DoubtedOut]:
    """Participants whose answers somebody should look at, and why; as of a run's results, of all its runs and checks together."""
    store = service.store
    study = store.studies.get(name)
    people = {person.annotator: person.ref for person in study.participants}
    pairs, checks = study.runs.get(PAIRS, []), study.runs.get(CHECKS, [])
    labels = [label for run in pairs for label in store.labels.current(run)]
    labels += [
        label for run in checks for label in store.labels.current(run) if label.annotator in people
    ]
    excluded = {annotator for run in pairs for annotator in store.runs.excluded(run)}
    known: dict[object, float] = {
        one.query: one.label for one in store.taking_part.known(name, CHECKS)
    }
    found = doubts(labels, excluded, known)
    return [
        DoubtedOut.model_validate(
            {
                "ref": ref,
                "annotator": annotator,
                "doubts": [asdict(one) for one in found[annotator]],
            }
        )
        for annotator, ref in people.items()
        if found.get(annotator)
    ]


@router.put("/{name}")
def put_study(name: StudyName, study: StudyIn, service: ServiceDep) -> StudyOut:
    """Makes a study; 409 if there is another one of this name, or its runs are part of one."""
    require_language(study.about.language, service.languages)
    links = [NewLink(link.ref, link.token) for link in study.links]
    shown = {purpose: names for purpose, names in study.runs.model_dump().items() if names}
    about = study.about.model_dump(mode="json")
    return StudyOut.of(service.store.studies.put(name, about, shown, links, study.open_link))


@router.post("/{name}/participants")
def add_participants(name: StudyName, new: LinksIn, service: ServiceDep) -> StudyOut:
    """Adds participants, each with a link."""
    links = [NewLink(link.ref, link.token) for link in new.links]
    return StudyOut.of(service.store.studies.add(name, links))


@router.post("/{name}/participants/{ref}/revoke")
def revoke_link(name: StudyName, ref: Ref, service: ServiceDep) -> ParticipantOut:
    """Ends one participant's link; their labels stay, what they had open is free."""
    return ParticipantOut.of(service.store.studies.revoke(name, ref))


@router.post("/{name}/participants/{ref}/renew")
def renew_link(name: StudyName, ref: Ref, new: RenewIn, service: ServiceDep) -> ParticipantOut:
    """Gives a participant another link, in place of the one before."""
    return ParticipantOut.of(service.store.studies.renew(name, ref, new.token))


@router.post("/{name}/revoke-open-link")
def revoke_open_link(name: StudyName, service: ServiceDep) -> StudyOut:
    """Ends the link that makes participants; those that it made go on."""
    return StudyOut.of(service.store.studies.revoke_open_link(name))


@router.post("/{name}/close")
def close_study(name: StudyName, service: ServiceDep) -> StudyOut:
    """Ends a study: no link of it holds, and its runs are anybody's to label."""
    return StudyOut.of(service.store.studies.close(name))


@router.post("/{name}/reopen")
def reopen_study(name: StudyName, service: ServiceDep) -> StudyOut:
    """Goes on with a study."""
    return StudyOut.of(service.store.studies.close(name, False))


@router.delete("/{name}")
def delete_study(name: StudyName, service: ServiceDep, answers: bool = False) -> DeletedStudyOut:
    """Deletes a study with its links and participants, for good; with `answers`, what they said, too.

    Else that stays in the runs under their names, but for what they said of checks.
    """
    return DeletedStudyOut.model_validate(service.store.people.delete_study(name, answers))
