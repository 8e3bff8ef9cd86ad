"""What the routes work with, and who may call them."""

import contextlib
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from typing import Annotated
from uuid import UUID

from fastapi import Depends, HTTPException, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from prefloop.labelling.server.clips import ClipStore
from prefloop.labelling.server.config import SettingsFile
from prefloop.labelling.server.security import Role, Tokens
from prefloop.labelling.server.storage.store import Store
from prefloop.labelling.server.uploads import Opener, open_here


@dataclass(frozen=True)
class Service:
    """The parts of a running server.

    Attributes:
        tokens: whoever may do something must show one of these; None: everybody may do everything.
        want_clips: told of segments that somebody looks at, so that they get clips.
        opener: opens what is sent.
    """

    store: Store
    clips: ClipStore
    settings: SettingsFile
    tokens: Tokens | None
    want_clips: Callable[[Collection[UUID]], None]
    opener: Opener = open_here

    def room_for_clips(self) -> int:
        """Bytes that the next clip may have which is sent."""
        limit = self.settings.current.sent_clips_mb * 10**6
        return limit - self.clips.size(self.store.sent_clips())

    def forget_clips(self, digests: Collection[str]) -> None:
        """Removes clips that were sent, as far as nothing shows them any more."""
        for digest in set(digests) - self.store.sent_clips():
            path = self.clips.path(digest)
            if path is not None:
                with contextlib.suppress(OSError):  # a file that nobody refers to does no harm
                    path.unlink()

    def role(self, credentials: HTTPAuthorizationCredentials | None) -> Role | None:
        """What a request's sender may do."""
        if self.tokens is None:
            return "trainer"
        return None if credentials is None else self.tokens.role(credentials.credentials)


async def _service(request: Request) -> Service:
    # async, or else each request would visit a thread just for this
    service: Service = request.app.state.service
    return service


ServiceDep = Annotated[Service, Depends(_service)]
_bearer = HTTPBearer(auto_error=False, description="The annotators' or the trainers' token.")
Credentials = Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]


def _required(*roles: Role) -> Callable[..., Awaitable[None]]:
    async def check(service: ServiceDep, credentials: Credentials) -> None:
        role = service.role(credentials)
        if role is None:
            sentence = "A token is needed; whoever started the server has it."
            if credentials is not None:
                sentence = "The token is not this server's; whoever started the server has it."
            raise HTTPException(401, sentence, {"www-authenticate": "Bearer"})
        if role not in roles:
            raise HTTPException(403, "This needs the trainers' token.")

    return check


annotators_only = Depends(_required("annotator", "trainer"))
trainers_only = Depends(_required("trainer"))
