"""What a collector sends that lives in another Python environment and can't encode videos."""

from uuid import UUID

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool

from prefloop.labelling.schemas.training import ClipOut
from prefloop.labelling.server.service import ServiceDep, trainers_only

router = APIRouter(prefix="/api", tags=["training"])

_FILE = {"schema": {"type": "string", "format": "binary"}}


@router.put(
    "/segments/{segment}/frames",
    dependencies=[trainers_only],
    openapi_extra={
        "requestBody": {"required": True, "content": {"application/octet-stream": _FILE}}
    },
)
async def put_frames(segment: UUID, request: Request, service: ServiceDep) -> ClipOut:
    """Makes a clip of an archive of pictures (.npz, docs/labelling_api.md), one for each step."""
    data = await request.body()

    def store() -> str:
        # here, since FFmpeg and Gymnasium take long to load and not every server needs them
        from prefloop.labelling.server.frames import store_frames

        length = service.store.segments.length(segment)
        room = service.room_for_clips()
        digest = store_frames(data, length, service.clips, room, service.opener)
        service.store.segments.set_clip(segment, digest, sent=True)
        return digest

    return ClipOut(clip_url=f"/clips/{await run_in_threadpool(store)}.mp4")
