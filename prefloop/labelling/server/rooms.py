"""Who gets a thread: answers have some of their own, whatever else goes on.

Requests work in threads, of which there are 40 (anyio's). What is not the labelling page's takes at most
`others` of them at once, and of what takes long `heavy` are at work; the rest wait without a thread, and
what they send waits with them.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from anyio import CapacityLimiter
from fastapi import Depends, Request

from prefloop.labelling.server.service import VisitorDep

# routes that open, pack or send much, by the names of their functions
HEAVY = frozenset(
    {
        "add_segments",
        "read_segments",
        "put_clip",
        "put_frames",
        "put_comparison_clip",
        "put_video",
        "export_run",
    }
)


@dataclass(frozen=True)
class Rooms:
    """How many requests besides the labelling page's may be at work."""

    others: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(20))
    heavy: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(4))


async def _wait_for_room(request: Request, visitor: VisitorDep) -> AsyncIterator[None]:
    if visitor.role is None:
        yield  # who may do nothing is told so at once, and waits in nobody's way
        return
    rooms: Rooms = request.app.state.rooms
    is_heavy = request.scope["route"].name in HEAVY
    async with rooms.heavy if is_heavy else rooms.others:
        yield


# left before the reply is sent: who reads it slowly takes nobody's room
in_turn = Depends(_wait_for_room, scope="function")
