"""People: what is stored of one, and its end. Names stand in no address, which logs would keep."""

from fastapi import APIRouter

from prefloop.labelling.schemas.people import ForgottenOut, PersonIn, StoredOut
from prefloop.labelling.server.service import (
    ServiceDep,
    VisitorDep,
    annotators_only,
    trainers_only,
)
from prefloop.labelling.server.storage.leases import not_theirs

router = APIRouter(prefix="/api/people", tags=["people"])


@router.post("/stored", dependencies=[annotators_only])
def get_stored_of(whose: PersonIn, service: ServiceDep, visitor: VisitorDep) -> StoredOut:
    """What is stored of somebody; of a participant it is told to trainers, and to themselves by their link."""
    stored = service.store.people.stored(whose.annotator)
    if stored.participant is not None and visitor.role != "trainer":
        raise not_theirs(whose.annotator)
    return StoredOut.of(stored)


@router.post("/forget", dependencies=[trainers_only])
def forget(whose: PersonIn, service: ServiceDep) -> ForgottenOut:
    """Deletes all that is stored of somebody, for good; their pairs are asked again."""
    return ForgottenOut.of(service.store.people.forget(whose.annotator))
