"""The server: one application around a store, made by `create_app`. Importing this opens nothing."""

import logging
import mimetypes
import secrets
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any
from uuid import UUID

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from fastapi.routing import APIRoute
from fastapi.staticfiles import StaticFiles
from starlette.types import Scope

import prefloop
from prefloop.errors import UserError
from prefloop.labelling.schemas.base import ErrorOut
from prefloop.labelling.server.clips import ClipStore, NoRoomError
from prefloop.labelling.server.config import SettingsFile
from prefloop.labelling.server.guard import LOOPBACK, Guard
from prefloop.labelling.server.languages import languages_of
from prefloop.labelling.server.pseudonyms import pseudonyms
from prefloop.labelling.server.rooms import Rooms, in_turn
from prefloop.labelling.server.routes import (
    annotate,
    arena,
    clips,
    comparisons,
    frames,
    people,
    results,
    runs,
    settings,
    studies,
    study,
    training,
    trainings,
)
from prefloop.labelling.server.security import Tokens
from prefloop.labelling.server.service import Service, admitted
from prefloop.labelling.server.storage.database import StoreUnavailableError
from prefloop.labelling.server.storage.errors import (
    ConflictError,
    ForbiddenError,
    InvalidError,
    NotFoundError,
)
from prefloop.labelling.server.storage.store import Store
from prefloop.labelling.server.uploads import EndingError, Opener, TooMuchError, open_here

logger = logging.getLogger(__name__)

STATIC = Path(__file__).parent / "static"
_STATUS: dict[type[UserError], int] = {
    ForbiddenError: 403,
    NotFoundError: 404,
    ConflictError: 409,
    StoreUnavailableError: 503,
    EndingError: 503,
    TooMuchError: 413,
    NoRoomError: 507,
    InvalidError: 422,
}
_ERRORS: dict[int | str, dict[str, Any]] = {
    400: {"model": ErrorOut, "description": "What was sent is not what it should be."},
    401: {"model": ErrorOut, "description": "A token is needed."},
    403: {"model": ErrorOut, "description": "It is not allowed."},
    404: {"model": ErrorOut, "description": "There is no such thing."},
    408: {"model": ErrorOut, "description": "The request took too long to arrive."},
    409: {"model": ErrorOut, "description": "It contradicts what is stored."},
    413: {"model": ErrorOut, "description": "Too much was sent."},
    422: {"model": ErrorOut, "description": "A value is missing or can't be meant."},
    429: {"model": ErrorOut, "description": "Too many wrong tokens came from there at once."},
    503: {"model": ErrorOut, "description": "The database does not answer; try again."},
    507: {"model": ErrorOut, "description": "There is no room for more clips."},
}


def create_app(
    store: Store,
    clip_store: ClipStore,
    settings_file: SettingsFile,
    tokens: Tokens | None = None,
    hosts: Collection[str] | None = LOOPBACK,
    origins: Collection[str] = (),
    static: Path = STATIC,
    want_clips: Callable[[Collection[UUID]], None] = lambda segments: None,
    opener: Opener = open_here,
    secret: bytes | None = None,
    **guarded: Any,
) -> FastAPI:
    """Makes the application.

    Args:
        tokens: whose hashes requests must match; None: everybody may do everything.
        hosts, origins, guarded: as `Guard`.
        static: the folder of the page.
        want_clips: told of segments that somebody looks at, as `ClipFeeder.want`; nobody is by default.
        opener: opens what is sent; by default without limits.
        secret: that pseudonyms are made with; None: one that nobody keeps.
    """
    app = FastAPI(
        title="prefloop labelling",
        version=prefloop.__version__,
        description="People compare clips, training reads their labels. docs/labelling_api.md",
        openapi_url="/api/openapi.json",
        docs_url=None,  # these pages load scripts from another host
        redoc_url=None,
        redirect_slashes=False,
        responses=_ERRORS,
        dependencies=[admitted],
        generate_unique_id_function=_operation_id,
    )
    app.state.service = Service(
        store,
        clip_store,
        settings_file,
        tokens,
        want_clips,
        opener,
        pseudonyms(secret or secrets.token_bytes(32)),
        languages_of(static),
    )
    app.state.rooms = Rooms()
    app.include_router(annotate.router)
    app.include_router(study.router)
    app.include_router(clips.router)
    for module in (
        runs,
        training,
        trainings,
        frames,
        people,
        results,
        arena,
        comparisons,
        settings,
        studies,
    ):
        app.include_router(module.router, dependencies=[in_turn])
    app.add_exception_handler(UserError, _as_sentence)
    app.add_exception_handler(RequestValidationError, _as_first_mistake)
    # Windows may call scripts plain text, and then browsers refuse to run them
    mimetypes.add_type("text/javascript", ".js")
    app.mount("/", _Page(directory=static, html=True, check_dir=False), name="page")
    demands = tokens is not None
    app.add_middleware(Guard, hosts=hosts, origins=origins, demands_tokens=demands, **guarded)
    return app


class _Page(StaticFiles):
    """The page's files, which browsers keep and ask after: a reload is quick, and sees what changed."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """One file, or that it is what the browser has."""
        response = await super().get_response(path, scope)
        response.headers["cache-control"] = "no-cache"
        return response


def _operation_id(route: APIRoute) -> str:
    return route.name


def _as_sentence(request: Request, error: Exception) -> JSONResponse:
    status = next((code for kind, code in _STATUS.items() if isinstance(error, kind)), 400)
    code = getattr(error, "code", "")
    told = {"detail": _clean(str(error)), **({"code": code} if code else {})}
    return JSONResponse(told, status)


def _as_first_mistake(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    mistake = error.errors()[0]
    place = ".".join(str(part) for part in mistake["loc"][1:])
    reason = mistake["msg"].removeprefix("Value error, ")
    if mistake["type"] == "string_pattern_mismatch" and place in ("name", "run"):
        reason = "a run is named by letters, digits, dots, dashes and underscores, 64 at most"
    sentence = f"{place}: {reason}." if place else f"{reason}."
    return JSONResponse({"detail": _clean(sentence)[:500]}, 422)


def _clean(text: str) -> str:
    """Text that can be sent: what a client made up may hold half a character."""
    return text.encode("utf-8", "replace").decode()
