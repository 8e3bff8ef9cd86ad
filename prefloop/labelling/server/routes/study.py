"""A participant's own study: all that a link is for, apart from its clips and its answers.

No request names a run, a study or a person: the link says it.
"""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Request
from fastapi.concurrency import run_in_threadpool

from prefloop.labelling.links import digest
from prefloop.labelling.schemas.annotate import LeasesOut
from prefloop.labelling.schemas.people import StoredOut
from prefloop.labelling.schemas.studies import (
    ComprehensionIn,
    ComprehensionOut,
    EnterIn,
    FeedbackOut,
    JoinIn,
    PairSettingsOut,
    PracticeIn,
    StepIn,
    StudyLeaseIn,
    StudyReleaseIn,
    StudyUndoIn,
    WayOut,
)
from prefloop.labelling.server import way
from prefloop.labelling.server.config import as_dict
from prefloop.labelling.server.service import (
    Service,
    ServiceDep,
    VisitorDep,
    is_elsewhere,
    links_only,
    newcomers_only,
    participants_only,
)
from prefloop.labelling.server.storage.errors import NotFoundError, no_link
from prefloop.labelling.server.storage.records import Leases, Link, Study

router = APIRouter(prefix="/api/study", tags=["taking part"])


async def _link(visitor: VisitorDep) -> Link:
    assert visitor.link is not None  # the route's own dependency has seen to it
    return visitor.link


LinkDep = Annotated[Link, Depends(_link)]


def _own(link: Link) -> UUID:
    assert link.participant is not None
    return link.participant


def _study(service: Service, link: Link) -> Study:
    return service.store.studies.get_without_people(link.study)


def _way(service: Service, link: Link, elsewhere: bool = False) -> WayOut:
    study = _study(service, link)
    if link.participant is None:
        return way.before_joining(study)
    return way.way(
        service, study, service.store.taking_part.participant(link.participant), elsewhere
    )


@router.get("", dependencies=[links_only])
def get_study(service: ServiceDep, link: LinkDep, request: Request) -> WayOut:
    """How far the participant is, and what their page shows now."""
    return _way(service, link, is_elsewhere(request, link))


@router.get("/stored", dependencies=[participants_only])
def get_stored(service: ServiceDep, link: LinkDep) -> StoredOut:
    """What is stored of the participant."""
    try:
        return StoredOut.of(service.store.people.stored(link.annotator))
    except NotFoundError:
        # forgotten since the request began; the error names others whose names are like theirs
        raise no_link() from None


@router.post("/join", dependencies=[newcomers_only], status_code=204)
def join_study(told: JoinIn, service: ServiceDep, link: LinkDep) -> None:
    """Makes a participant of whoever opened the link; from then on their own token counts."""
    if told.ref is not None:
        way.require_ref(told.ref)
    most = _study(service, link).about["most_participants"]
    service.store.taking_part.join(link.study, told.ref, digest(told.token), most)


@router.post("/enter", dependencies=[participants_only])
def enter_study(told: EnterIn, service: ServiceDep, link: LinkDep) -> WayOut:
    """Goes on on this device; where a link works on one at a time, it no longer does on the one before."""
    service.store.taking_part.enter(_own(link), told.device)
    return _way(service, link)


@router.post("/steps", dependencies=[participants_only])
def take_step(told: StepIn, service: ServiceDep, link: LinkDep) -> WayOut:
    """A step is done; 409 if another comes first, or if a consent is about another text."""
    way.take_step(service, _study(service, link), _own(link), told)
    return _way(service, link)


@router.post("/practice", dependencies=[participants_only])
def practise(told: PracticeIn, service: ServiceDep, link: LinkDep) -> FeedbackOut:
    """Says how a pair is judged that is there to practise on. It is no label."""
    return way.practise(service, _study(service, link), _own(link), told)


@router.post("/comprehension", dependencies=[participants_only])
def check_comprehension(
    told: ComprehensionIn, service: ServiceDep, link: LinkDep
) -> ComprehensionOut:
    """Answers the questions on the instructions; after the last attempt it is over."""
    wrong, _ = way.check_comprehension(service, _study(service, link), _own(link), told)
    return ComprehensionOut(wrong=wrong, way=_way(service, link))


@router.get("/settings", dependencies=[participants_only])
def get_study_settings(service: ServiceDep, link: LinkDep) -> PairSettingsOut:
    """What the page may offer."""
    values = as_dict(way.rules_of(service, link)[0])
    return PairSettingsOut(values={key: values[key] for key in way.TOLD})


@router.post("/leases", dependencies=[participants_only])
async def lease_study_pairs(wish: StudyLeaseIn, service: ServiceDep, link: LinkDep) -> LeasesOut:
    """Gives the participant pairs that nobody else gets meanwhile, as many as they are to answer."""
    way.require_at_pairs(link)
    leases = await run_in_threadpool(
        service.store.assignment.lease,
        _own(link),
        wish.session,
        wish.count,
        wish.up_to,
        wish.holding,
        service.settings.current.lease_seconds,
    )
    return LeasesOut.of(leases)


@router.post("/release", dependencies=[participants_only], status_code=204)
def release_study_pairs(given: StudyReleaseIn, service: ServiceDep, link: LinkDep) -> None:
    """Gives pairs back before their leases run out, so that others need not wait for them."""
    held = {one.lease: one.expires_at for one in given.leases}
    service.store.assignment.release(_own(link), given.session, held)


@router.post("/undo", dependencies=[participants_only])
def undo_in_study(said: StudyUndoIn, service: ServiceDep, link: LinkDep) -> LeasesOut:
    """Takes back the participant's last answer that stands, and gives them the pair again."""
    way.require_at_pairs(link)
    name = service.store.assignment.run_to_undo(_own(link), said.id, said.undoes)
    seconds = service.settings.current.lease_seconds
    leases = service.store.labels.undo(
        said.id, name, link.annotator, said.session, seconds, said.undoes, by_link=True
    )
    # how much others have left is not theirs to know
    return LeasesOut.of(Leases(leases.queries, None, leases.state))


@router.post("/finish", dependencies=[participants_only])
def finish_study(service: ServiceDep, link: LinkDep) -> WayOut:
    """Ends a participant's part when they have answered all; the reply has their code."""
    way.end(service, _study(service, link), _own(link), "finished")
    return _way(service, link)


@router.post("/leave", dependencies=[participants_only])
def leave_study(service: ServiceDep, link: LinkDep) -> WayOut:
    """Ends a participant's part before; their answers stay, what they have open is others' again."""
    way.end(service, _study(service, link), _own(link), "left")
    return _way(service, link)
