"""The videos. The page fetches them with its token: nothing secret stands in an address or a log."""

import contextlib
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Header, HTTPException, Response
from fastapi.responses import FileResponse

from prefloop.labelling.schemas.base import Digest
from prefloop.labelling.server.service import ServiceDep, VisitorDep, participants_too
from prefloop.labelling.server.storage.errors import NotFoundError

AT_ONCE = 128 * 2**10  # bytes of a clip that is sent in one piece: most are far smaller

router = APIRouter(prefix="/clips", tags=["clips"], dependencies=[participants_too])


@router.get(
    "/{digest}.mp4",
    response_class=Response,
    responses={
        200: {"content": {"video/mp4": {}}},
        206: {"content": {"video/mp4": {}}},
        304: {"description": "It is what you have."},
        416: {"description": "The range is not in the clip."},
    },
)
def get_clip(
    digest: Digest,
    service: ServiceDep,
    visitor: VisitorDep,
    if_none_match: Annotated[str | None, Header()] = None,
    range: Annotated[str | None, Header(include_in_schema=False)] = None,
) -> Response:
    """A clip by the hash of its content, whole or in part; participants see those of their pairs."""
    person = visitor.participant
    if person is not None and not service.store.taking_part.may_see_clip(person, digest):
        raise HTTPException(403, "This is not one of your pairs.")
    # what a hash names never changes, so whoever has it need not ask again
    headers = {"etag": f'"{digest}"', "cache-control": "private, max-age=31536000, immutable"}
    if if_none_match and headers["etag"] in if_none_match:
        return Response(status_code=304, headers=headers)
    path = service.clips.path(digest)
    if path is None:
        raise NotFoundError("There is no such clip now; fetch again what named it.")
    data = _in_one_piece(path) if range is None else None
    if data is not None:
        headers["accept-ranges"] = "bytes"
        return Response(data, media_type="video/mp4", headers=headers)
    return FileResponse(path, media_type="video/mp4", headers=headers)


def _in_one_piece(path: Path) -> bytes | None:
    """A small clip, read here: a `FileResponse` goes to a thread again for each thing that it does with a file."""
    with contextlib.suppress(OSError):  # it was removed meanwhile
        if path.stat().st_size <= AT_ONCE:
            return path.read_bytes()
    return None
