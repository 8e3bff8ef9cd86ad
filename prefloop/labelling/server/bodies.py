"""Bodies of requests: how large each may be, how long it may take, and what becomes of those that nobody reads."""

from collections.abc import Mapping

import anyio
from fastapi import HTTPException
from starlette.types import Message, Receive

from prefloop.labelling.limits import MAX_COMPARISON

MAX_JSON = 64 * 2**10
MAX_LONG_JSON = 4 * 2**20  # lists of queries, labels or rewards of steps
MAX_SEGMENTS = 64 * 2**20
MAX_CLIP = 32 * 2**20
BODY_SECONDS = 60.0  # in which a whole body must arrive
MOST_DISCARDED = 2**20  # bytes that are still read of a body whose request is answered already,
DISCARD_SECONDS = 2.0  # and for how long


def body_limit(path: str) -> int:
    """How many bytes a request to this path may have."""
    if path.startswith("/api/segments/"):
        return MAX_CLIP
    if path.startswith("/api/comparisons/"):
        return MAX_CLIP if "/clips/" in path else MAX_COMPARISON
    if path.startswith("/api/studies/"):
        return MAX_LONG_JSON
    if path.startswith("/api/runs/"):
        last = path.rpartition("/")[2]
        long = dict.fromkeys(("queries", "labels", "reward-report", "traces"), MAX_LONG_JSON)
        return {"segments": MAX_SEGMENTS, "video": MAX_CLIP, **long}.get(last, MAX_JSON)
    return MAX_JSON


class Body:
    """What a request brings, received until it is too large or takes too long."""

    def __init__(self, receive: Receive, headers: Mapping[bytes, bytes], limit: int) -> None:
        """Has received nothing yet.

        Args:
            receive: where it comes from.
            headers: of its request.
            limit: bytes that it may have.
        """
        self._receive, self._limit = receive, limit
        self._received = 0
        self._deadline: float | None = None
        self._is_announced = headers.get(b"content-length", b"0") != b"0"
        self._is_announced |= b"transfer-encoding" in headers
        self._is_whole = False

    @property
    def is_coming(self) -> bool:
        """Whether there is more of it that was not received."""
        return self._is_announced and not self._is_whole

    async def receive(self) -> Message:
        """The next part of it; once it is whole, that the client has gone away.

        Raises:
            HTTPException: it is too large, or takes too long.
        """
        if self._is_whole:
            return await self._receive()  # however long that takes
        self._deadline = self._deadline or anyio.current_time() + BODY_SECONDS
        try:
            # a task of its own, as asyncio.wait_for makes on Python 3.11 and before, costs more than to receive
            with anyio.fail_after(self._deadline - anyio.current_time()):
                message = await self._next()
        except TimeoutError:
            raise HTTPException(408, "The request took too long to arrive.") from None
        if self._received > self._limit:
            raise HTTPException(413, f"At most {self._limit} bytes can be sent here.")
        return message

    async def discard(self) -> None:
        """Reads on what nobody wants, for a while."""
        most = self._received + MOST_DISCARDED
        with anyio.move_on_after(DISCARD_SECONDS):
            while self.is_coming and self._received < most:
                await self._next()

    async def _next(self) -> Message:
        message = await self._receive()
        self._received += len(message.get("body", b""))
        self._is_whole = not message.get("more_body", False)
        return message
