"""Connections: how many there may be, and how long each may keep the server waiting.

uvicorn ends a connection that idles between two requests, and knows no limit for one that never says
anything, says it a byte at a time, or does not read what it asked for. Each holds a file that is
open, of which a process has so many; without one the server can't even say no.
"""

import asyncio
import contextlib
import logging
from collections.abc import Container
from dataclasses import dataclass, replace
from typing import Any, Protocol

from uvicorn.protocols.http.h11_impl import H11Protocol

from prefloop.labelling.server.addresses import network_of

logger = logging.getLogger(__name__)

MOST_FILES = 2**16  # to which the limit of open files is raised, where the system lets us
_BYTES_A_LOOK = 1024  # that a reply must go on by between two looks at whether it does


@dataclass(frozen=True)
class ConnectionLimits:
    """What strangers may take of the server.

    Attributes:
        head_seconds: from the connection's, or the next request's, first sign until the headers are there.
        idle_seconds: between a reply and the next request.
        unread_seconds: that a reply may wait while nobody reads on.
        connections: at the same time.
        backlog: that may wait to be taken; as many are taken at once, whatever the limit.
    """

    head_seconds: float = 20.0
    idle_seconds: int = 15
    unread_seconds: float = 60.0
    connections: int = 2000
    backlog: int = 128

    @property
    def per_address(self) -> int:
        """Connections of one address: never more than half, so that nobody alone takes all."""
        return max(1, self.connections // 2)

    def within(self, files: int) -> "ConnectionLimits":
        """Limits where a process may have so many files open: a quarter is left to the database and clips."""
        backlog = max(1, min(self.backlog, files // 8))
        # two rounds may have been taken and not be known here yet
        room = files - files // 4 - 2 * backlog
        return replace(self, backlog=backlog, connections=max(1, min(self.connections, room)))


USUAL = ConnectionLimits()


def raise_file_limit() -> int:
    """Raises how many files this process may have open, as far as the system allows; how many it may."""
    try:
        import resource  # not on Windows, where sockets do not count
    except ImportError:
        return MOST_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    endless = resource.RLIM_INFINITY
    wanted = MOST_FILES if hard == endless else min(hard, MOST_FILES)
    if soft == endless or soft >= wanted:
        return MOST_FILES if soft == endless else soft
    with contextlib.suppress(ValueError, OSError):  # macOS may allow less than it says
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


class Closable(Protocol):
    """A connection, as far as the gate is concerned."""

    def close_now(self) -> None:
        """Ends it."""
        ...


class Gate:
    """Lets connections in. Where all places are taken, whoever waits longest for nothing goes.

    A connection *waits* while the server has nothing to do for it: until a whole request is there. One
    whose request came in one piece hardly ever does; a stranger's that says nothing always does.
    """

    def __init__(self, limits: ConnectionLimits, proxies: Container[str | None] = ()) -> None:
        """Makes a gate that nobody has passed.

        Args:
            proxies: addresses whose connections are many people's.
        """
        self._limits, self._proxies = limits, proxies
        self._address: dict[Closable, str] = {}
        self._of: dict[str, set[Closable]] = {}
        self._waiting: dict[str, dict[Closable, None]] = {}  # of each address, the longest first
        self._all_waiting: dict[Closable, None] = {}  # likewise

    def __len__(self) -> int:
        return len(self._address)

    def enter(self, connection: Closable, host: str | None) -> bool:
        """Lets a connection in, in place of another perhaps; False: there is no room for it."""
        address = network_of(host)
        is_proxy = host in self._proxies
        own = self._of.get(address, ())
        if not is_proxy and len(own) >= self._limits.per_address:
            if not self._make_room(self._waiting.get(address, {})):
                return False
        elif len(self) >= self._limits.connections and not self._make_room(self._all_waiting):
            return False
        self._address[connection] = address
        self._of.setdefault(address, set()).add(connection)
        self.waits(connection)
        return True

    def waits(self, connection: Closable) -> None:
        """The server now has nothing to do for a connection."""
        address = self._address.get(connection)
        if address is not None and connection not in self._all_waiting:
            self._all_waiting[connection] = None
            self._waiting.setdefault(address, {})[connection] = None

    def works(self, connection: Closable) -> None:
        """The server now works for a connection."""
        if connection in self._all_waiting:
            address = self._address[connection]
            del self._all_waiting[connection], self._waiting[address][connection]
            if not self._waiting[address]:
                del self._waiting[address]

    def leave(self, connection: Closable) -> None:
        """A connection has ended, or is about to."""
        if connection in self._address:
            self.works(connection)
            address = self._address.pop(connection)
            self._of[address].discard(connection)
            if not self._of[address]:
                del self._of[address]

    def _make_room(self, waiting: dict[Closable, None]) -> bool:
        for connection in waiting:
            logger.warning("All places for connections are taken: who waited longest was sent away")
            self.leave(connection)
            connection.close_now()
            return True
        logger.warning("All places for connections are taken, and all are at work: one was refused")
        return False


class Connection(H11Protocol):
    """A connection that keeps nobody waiting for longer than it may."""

    def __init__(self, *args: Any, gate: Gate, limits: ConnectionLimits, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._gate, self._limits = gate, limits
        self._head_timer: asyncio.TimerHandle | None = None
        self._unread_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Somebody has come."""
        super().connection_made(transport)
        if self._gate.enter(self, self.client[0] if self.client else None):
            self._await_head()
        else:
            self.close_now()

    def connection_lost(self, exc: Exception | None) -> None:
        """Somebody has gone."""
        self._gate.leave(self)
        self._stop_head_timer()
        self._stop_unread_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Somebody has said something."""
        super().data_received(data)
        self._note()
        if not self._is_asked:
            self._await_head()

    def on_response_complete(self) -> None:
        """A reply is written."""
        super().on_response_complete()
        self._note()

    def pause_writing(self) -> None:
        """More is to be sent than is read."""
        super().pause_writing()
        self._await_reader()

    def resume_writing(self) -> None:
        """Enough was read."""
        self._stop_unread_timer()
        super().resume_writing()

    def close_now(self) -> None:
        """Ends the connection, without a word: who is meant would not listen."""
        self.transport.abort()

    @property
    def _is_asked(self) -> bool:
        """Whether a request's headers are there and its reply is not."""
        return self.cycle is not None and not self.cycle.response_complete

    def _note(self) -> None:
        if self._is_asked:
            self._stop_head_timer()
        if self._is_asked and not self.cycle.more_body:
            self._gate.works(self)
        else:
            self._gate.waits(self)

    def _await_head(self) -> None:
        if self._head_timer is None and not self.transport.is_closing():
            seconds = self._limits.head_seconds
            self._head_timer = self.loop.call_later(seconds, self.close_now)

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _await_reader(self) -> None:
        self._stop_unread_timer()
        left = self.transport.get_write_buffer_size()
        self._unread_timer = self.loop.call_later(
            self._limits.unread_seconds, self._require_progress, left
        )

    def _require_progress(self, before: int) -> None:
        if self.transport.get_write_buffer_size() > before - _BYTES_A_LOOK:
            self.close_now()
        else:
            self._await_reader()

    def _stop_unread_timer(self) -> None:
        if self._unread_timer is not None:
            self._unread_timer.cancel()
            self._unread_timer = None
