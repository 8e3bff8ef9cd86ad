"""What the routes work with, and who may call them."""

import contextlib
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Annotated
from uuid import UUID

from fastapi import Depends, HTTPException, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from prefloop.labelling.links import PREFIX, digest
from prefloop.labelling.server.clips import ClipStore
from prefloop.labelling.server.config import SettingsFile
from prefloop.labelling.server.security import LINKS_MAY, ON_ANY_DEVICE, Role, Tokens
from prefloop.labelling.server.storage.errors import ForbiddenError, no_link
from prefloop.labelling.server.storage.records import Link
from prefloop.labelling.server.storage.store import Store
from prefloop.labelling.server.uploads import Opener


@dataclass(frozen=True)
class Service:
    """The parts of a running server.

    Attributes:
        tokens: whoever may do something must show one of these; None: everybody may do everything.
        want_clips: told of segments that somebody looks at, so that they get clips.
        opener: opens what is sent.
        pseudonym: what stands in place of a name where nobody is to be named.
        languages: that the page has words in for participants.
    """

    store: Store
    clips: ClipStore
    settings: SettingsFile
    tokens: Tokens | None
    want_clips: Callable[[Collection[UUID]], None]
    opener: Opener
    pseudonym: Callable[[str], str]
    languages: Sequence[str]

    def room_for_clips(self) -> int:
        """Bytes that the next clip may have which is sent."""
        limit = self.settings.current.sent_clips_mb * 10**6
        return limit - self.clips.size(self.store.sent_clips())

    def forget_clips(self, digests: Collection[str]) -> None:
        """Removes clips that were sent, as far as nothing shows them any more."""
        for clip in set(digests) - self.store.sent_clips():
            path = self.clips.path(clip)
            if path is not None:
                with contextlib.suppress(OSError):  # a file that nobody refers to does no harm
                    path.unlink()


@dataclass(frozen=True)
class Visitor:
    """Who sends a request.

    Attributes:
        role: what they may do; None: nothing.
        link: the link whose token they sent; None: they sent none, or one that nobody knows.
        has_token: whether they sent a token at all.
    """

    role: Role | None
    link: Link | None
    has_token: bool

    @property
    def participant(self) -> UUID | None:
        """Who takes part in a study; None: it is nobody's link."""
        return None if self.link is None else self.link.participant


async def _service(request: Request) -> Service:
    # async, or else each request would visit a thread just for this
    service: Service = request.app.state.service
    return service


ServiceDep = Annotated[Service, Depends(_service)]
_bearer = HTTPBearer(
    auto_error=False, description="The annotators', the trainers' or a link's token."
)
Credentials = Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]


async def _identified(service: Service, token: str | None) -> Visitor:
    if token is not None and token.startswith(PREFIX):
        link = await run_in_threadpool(service.store.taking_part.link, digest(token))
        if link is None or not link.holds:
            return Visitor(None, None, True)
        return Visitor("newcomer" if link.participant is None else "participant", link, True)
    if service.tokens is None:
        return Visitor("trainer", None, token is not None)
    return Visitor(None if token is None else service.tokens.role(token), None, token is not None)


DEVICE = "prefloop-device"  # the header by which a page says on which device it is


async def _admit(request: Request, credentials: Credentials) -> None:
    """Finds out who sends a request, and refuses links what they are not for, whichever route it is."""
    token = None if credentials is None else credentials.credentials
    visitor = await _identified(request.app.state.service, token)
    request.state.visitor = visitor
    operation = request.scope["route"].name
    if token is not None and token.startswith(PREFIX):
        if visitor.link is None or visitor.role is None:
            if operation == "get_health":
                return
            raise no_link()
        if operation not in LINKS_MAY[visitor.role]:
            raise HTTPException(403, "This is not for those who take part in a study.")
        if is_elsewhere(request, visitor.link) and operation not in ON_ANY_DEVICE:
            raise ForbiddenError("Your link is open on another device now.", "elsewhere")


# of the whole application, before all others. They read what it found, and depend on nothing: FastAPI
# walks through what a dependency depends on each time that it is named, also where it knows the value
admitted = Depends(_admit)


async def visitor_of(request: Request) -> Visitor:
    """Who sends a request that was admitted."""
    visitor: Visitor = request.state.visitor
    return visitor


VisitorDep = Annotated[Visitor, Depends(visitor_of)]


def is_elsewhere(request: Request, link: Link) -> bool:
    """Whether a link works on one device, and that is another one than the request's, or none yet."""
    return link.one_device and str(link.device) != request.headers.get(DEVICE, "").lower()


def _required(*roles: Role) -> Callable[..., Awaitable[None]]:
    async def check(request: Request) -> None:
        visitor = await visitor_of(request)
        if visitor.role is None:
            sentence = "A token is needed; whoever started the server has it."
            if visitor.has_token:
                sentence = "The token is not this server's; whoever started the server has it."
            raise HTTPException(401, sentence, {"www-authenticate": "Bearer"})
        if visitor.role not in roles:
            raise HTTPException(403, _NEEDED[roles[-1]])

    return check


_NEEDED: dict[Role, str] = {
    "trainer": "This needs the trainers' token.",
    "participant": "This needs the link of somebody who takes part in a study.",
    "newcomer": "This needs the link of a study.",
}
annotators_only = Depends(_required("annotator", "trainer"))
trainers_only = Depends(_required("trainer"))
participants_only = Depends(_required("participant"))
newcomers_only = Depends(_required("newcomer"))
links_only = Depends(_required("participant", "newcomer"))
participants_too = Depends(_required("participant", "annotator", "trainer"))
