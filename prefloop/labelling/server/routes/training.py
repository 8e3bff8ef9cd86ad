"""What trainers and collectors do: send segments, clips and queries, and read labels."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, HTTPException, Query, Request, Response
from fastapi.concurrency import run_in_threadpool

from prefloop.labelling import arrays
from prefloop.labelling.schemas.base import RunName
from prefloop.labelling.schemas.training import (
    ClipOut,
    EventOut,
    LabelsOut,
    NewLabelsIn,
    NewLabelsOut,
    QueriesIn,
    QueryOut,
    SegmentOut,
    SegmentsIn,
    SegmentsOut,
)
from prefloop.labelling.server.service import (
    ServiceDep,
    VisitorDep,
    annotators_only,
    participants_too,
    trainers_only,
)
from prefloop.labelling.server.storage.packed import packed_archive
from prefloop.labelling.server.storage.records import NewLabel, NewQuery

router = APIRouter(prefix="/api", tags=["training"])


MAX_PLOTTED = 1_000_000  # numbers; as text they take the whole server's time

# says in the OpenAPI document that a body is a file
BINARY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}


@router.post(
    "/runs/{name}/segments",
    dependencies=[trainers_only],
    openapi_extra=BINARY,
)
async def add_segments(name: RunName, request: Request, service: ServiceDep) -> SegmentsOut:
    """Stores the segments of an archive of NumPy arrays (.npz, docs/labelling_api.md)."""
    data = await request.body()

    def store() -> list[UUID]:
        arrays.require_small(data, arrays.MOST_PACKED)
        spaces = service.store.segments.spaces(name)
        packed = service.opener(packed_archive, data, spaces)
        return service.store.segments.add_packed(name, packed, spaces)

    return SegmentsOut(ids=await run_in_threadpool(store))


@router.post(
    "/runs/{name}/segments/read",
    dependencies=[trainers_only],
    response_class=Response,
    responses={200: {"content": {"application/octet-stream": {}}}},
)
def read_segments(name: RunName, wanted: SegmentsIn, service: ServiceDep) -> Response:
    """Segments of a run as an archive of NumPy arrays (.npz), in the order of their ids."""
    found = service.store.segments.get_many(name, wanted.ids, wanted.with_replay)
    is_one_kind = len({arrays.replay_kind(segment) for segment in found}) == 1
    padded = arrays.pad(found, with_replay=wanted.with_replay and is_one_kind)
    return Response(arrays.to_archive(padded), media_type="application/octet-stream")


@router.get("/segments/{segment}", dependencies=[participants_too])
def get_segment(segment: UUID, service: ServiceDep, visitor: VisitorDep) -> SegmentOut:
    """What was observed and done in a segment, to plot it where there is no clip.

    Participants see those of their pairs.
    """
    person = visitor.participant
    if person is not None and not service.store.taking_part.may_see_segment(person, segment):
        raise HTTPException(403, "This is not one of your pairs.")
    found = service.store.segments.get(segment)
    if found.obs.size + found.actions.size > MAX_PLOTTED:
        raise HTTPException(413, "This segment is too large to be plotted by a page.")
    # here, since Gymnasium takes long to load and few servers plot anything
    from prefloop.labelling.server.naming import names_of

    obs_names, action_names = names_of(service.store.segments.env_of(segment), found)
    return SegmentOut(
        id=segment,
        length=found.length,
        discrete=found.discrete,
        obs=found.obs.reshape(found.length, -1).tolist(),
        actions=found.actions.tolist(),
        obs_names=obs_names,
        action_names=action_names,
    )


# whoever takes part in a study is to judge what is done, and by nothing else
@router.get(
    "/segments/{segment}/observed.png",
    dependencies=[annotators_only],
    response_class=Response,
    responses={200: {"content": {"image/png": {}}}},
)
def get_observed(segment: UUID, service: ServiceDep) -> Response:
    """The pictures that were observed in a segment, each frame once, in rows from left to right."""
    from prefloop.labelling.server.observed import sheet_of

    # what an id names never changes
    headers = {"cache-control": "private, max-age=31536000, immutable"}
    sheet = sheet_of(service.store.segments.get(segment))
    return Response(sheet, media_type="image/png", headers=headers)


@router.put("/segments/{segment}/clip", dependencies=[trainers_only], openapi_extra=BINARY)
async def put_clip(segment: UUID, request: Request, service: ServiceDep) -> ClipOut:
    """Stores a video that shows a segment, a frame for each step: H.264 in MP4."""
    data = await request.body()

    def store() -> str:
        length = service.store.segments.length(segment)
        digest = service.clips.put(data, service.room_for_clips(), frames=length)
        service.store.segments.set_clip(segment, digest, sent=True)
        return digest

    return ClipOut(clip_url=f"/clips/{await run_in_threadpool(store)}.mp4")


@router.post("/runs/{name}/queries", dependencies=[trainers_only], status_code=204)
def add_queries(name: RunName, asked: QueriesIn, service: ServiceDep) -> None:
    """Puts queries at the end of the queue, or at its beginning; those that are there already stay as they are."""
    new = [NewQuery(query.id, query.first, query.second, query.agents) for query in asked.queries]
    service.store.queue.add(name, new, asked.iteration, asked.next_up)


@router.get("/runs/{name}/labels", dependencies=[trainers_only])
def list_labels(
    name: RunName, service: ServiceDep, after: Annotated[int, Query(ge=0, lt=2**53)] = 0
) -> LabelsOut:
    """The run's events since a cursor: answers, skips, and undos of earlier ones."""
    labels = service.store.labels.since(name, after)
    return LabelsOut(
        events=[EventOut.of(event) for event in labels.events],
        queries=[QueryOut.model_validate(query) for query in labels.queries],
        next=labels.next,
        more=labels.more,
        round=labels.round,
        annotators_per_query=labels.annotators_per_query,
        excluded=labels.excluded,
        forgotten=labels.forgotten,
    )


@router.post("/runs/{name}/labels", dependencies=[trainers_only])
def add_labels(name: RunName, given: NewLabelsIn, service: ServiceDep) -> NewLabelsOut:
    """Stores labels that were given elsewhere, for instance those of an export."""
    new = [
        NewLabel(
            label.id,
            label.query,
            label.annotator,
            label.label,
            (label.trim.start, label.trim.stop) if label.trim else None,
            label.seconds,
            label.first_was_left,
            label.repeat,
            label.time,
        )
        for label in given.labels
    ]
    return NewLabelsOut(added=service.store.labels.add(name, new))
