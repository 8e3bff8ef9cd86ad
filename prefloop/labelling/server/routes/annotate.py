"""What the page does: fetch queries, answer them, take an answer back.

These are called most. They go to a thread once, for the database; FastAPI would send plain functions
there a second time, to check what they return.
"""

from fastapi import APIRouter, HTTPException
from fastapi.concurrency import run_in_threadpool

from prefloop.labelling.schemas.annotate import (
    AnswerIn,
    AnswerOut,
    LeaseIn,
    LeasesOut,
    ReleaseIn,
    UndoIn,
)
from prefloop.labelling.schemas.base import RunName
from prefloop.labelling.server.config import LabellingConfig
from prefloop.labelling.server.service import (
    ServiceDep,
    VisitorDep,
    annotators_only,
    participants_too,
)
from prefloop.labelling.server.storage.errors import ForbiddenError
from prefloop.labelling.server.way import rules_of

router = APIRouter(prefix="/api", tags=["labelling"])


@router.post("/runs/{name}/leases", dependencies=[annotators_only])
async def lease_queries(name: RunName, wish: LeaseIn, service: ServiceDep) -> LeasesOut:
    """Gives an annotator queries that nobody else gets until the lease runs out."""
    settings = service.settings.current
    leases = await run_in_threadpool(
        service.store.queue.lease,
        name,
        wish.annotator,
        wish.session,
        wish.count,
        wish.holding,
        settings.lease_seconds,
        settings.max_queries_per_annotator,
    )
    return LeasesOut.of(leases)


@router.post("/runs/{name}/release", dependencies=[annotators_only], status_code=204)
async def release_queries(name: RunName, given: ReleaseIn, service: ServiceDep) -> None:
    """Gives queries back before their leases run out, so that others need not wait for them."""
    held = {one.lease: one.expires_at for one in given.leases}
    await run_in_threadpool(service.store.queue.release, name, given.annotator, given.session, held)


@router.post("/answers", dependencies=[participants_too])
async def answer(said: AnswerIn, service: ServiceDep, visitor: VisitorDep) -> AnswerOut:
    """Stores an answer. When the reply arrives, it is on disk. A participant's needs their link."""
    link = visitor.link
    settings = service.settings.current
    if link is not None:
        settings, smallest = rules_of(service, link)
        if (said.seconds or 0) < smallest:
            raise HTTPException(422, f"seconds: a pair is to be looked at for {smallest:g} s.")
    _require_allowed(said, settings)
    trim = (said.trim.start, said.trim.stop) if said.trim else None
    event = await run_in_threadpool(
        service.store.labels.answer,
        said.id,
        said.lease,
        said.choice,
        trim,
        said.seconds,
        link.annotator if link is not None else None,
        link.about["pairs"] if link is not None else None,
    )
    return AnswerOut.model_validate(event)


@router.post("/undo", dependencies=[annotators_only])
async def undo(said: UndoIn, service: ServiceDep) -> LeasesOut:
    """Takes back an annotator's last answer that stands, and gives them the query again.

    If that is not the one which `undoes` names, nothing is taken back (409).
    """
    seconds = service.settings.current.lease_seconds
    leases = await run_in_threadpool(
        service.store.labels.undo,
        said.id,
        said.run,
        said.annotator,
        said.session,
        seconds,
        said.undoes,
    )
    return LeasesOut.of(leases)


def _require_allowed(said: AnswerIn, settings: LabellingConfig) -> None:
    if said.choice == "tie" and not settings.allow_ties:
        raise ForbiddenError("Ties are switched off.", "off")
    if said.choice == "skip" and not settings.allow_skip:
        raise ForbiddenError("Skipping is switched off.", "off")
    if said.trim is not None and not settings.allow_trim:
        raise ForbiddenError("Trimming is switched off.", "off")
