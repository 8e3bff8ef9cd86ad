"""Policies side by side, as `prefloop show` sends them."""

import hashlib
from uuid import UUID

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.concurrency import run_in_threadpool

from prefloop.labelling.schemas.base import Digest
from prefloop.labelling.schemas.comparisons import ComparisonIn, ComparisonOut, MissingOut
from prefloop.labelling.server.routes.training import BINARY
from prefloop.labelling.server.service import ServiceDep, annotators_only, trainers_only
from prefloop.labelling.server.storage.errors import NotFoundError

router = APIRouter(prefix="/api/comparisons", tags=["comparisons"])


@router.get("", dependencies=[annotators_only])
def list_comparisons(service: ServiceDep) -> list[ComparisonOut]:
    """All comparisons whose clips are there, the newest first."""
    return [ComparisonOut.model_validate(found) for found in service.store.comparisons.all()]


@router.get(
    "/{id}",
    dependencies=[annotators_only],
    response_class=Response,
    responses={200: {"content": {"application/json": {}}}},
)
def get_comparison(id: UUID, service: ServiceDep) -> Response:
    """All that a comparison shows, as it was sent; `video` names a clip at /clips/{video}.mp4."""
    return Response(service.store.comparisons.get(id), media_type="application/json")


@router.put("/{id}", dependencies=[trainers_only])
def put_comparison(id: UUID, compared: ComparisonIn, service: ServiceDep) -> MissingOut:
    """Keeps a comparison, in place of another one of this id, and says which of its videos are missing.

    Sent again when none is, it is shown.
    """
    videos = compared.videos()
    about = compared.model_dump(mode="json", by_alias=True)
    service.store.comparisons.put(id, about, videos)
    missing = sorted(video for video in videos if service.clips.path(video) is None)
    if not missing:
        service.store.comparisons.complete(id)
    return MissingOut(missing=missing)


@router.put(
    "/{id}/clips/{digest}", dependencies=[trainers_only], status_code=204, openapi_extra=BINARY
)
async def put_comparison_clip(
    id: UUID, digest: Digest, request: Request, service: ServiceDep
) -> None:
    """Stores a video that a comparison names: H.264 in MP4."""
    data = await request.body()

    def store() -> None:
        if not service.store.comparisons.has_clip(id, digest):
            raise NotFoundError("There is no such comparison, or it shows no such clip.")
        if hashlib.sha256(data).hexdigest() != digest:
            raise HTTPException(422, "This is another video than the one that is named.")
        service.clips.put(data, service.room_for_clips())

    await run_in_threadpool(store)


@router.delete("/{id}", dependencies=[trainers_only], status_code=204)
def delete_comparison(id: UUID, service: ServiceDep) -> None:
    """Removes a comparison, and its clips as far as nothing else shows them."""
    service.forget_clips(service.store.comparisons.remove(id))
