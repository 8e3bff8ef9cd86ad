"""Participants of a study as their pages behave, and strangers who hold connections: many, in processes of their own.

Each participant asks as the page does, on a connection that is kept: what is not replied to is asked again,
with the same id, so that an answer is stored once. HTTP is spoken by hand, since 200 people share the
processor with the server that is measured; how late the crowd itself is, it measures, too.
"""

import asyncio
import contextlib
import hashlib
import json
import multiprocessing
import random
import time
import uuid
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing.sharedctypes import Synchronized
from typing import Any

from prefloop.labelling.server.connections import raise_file_limit

PATIENCE = 20.0  # seconds until the page takes a reply for lost
FIRST_PAUSE, LONGEST_PAUSE = 0.25, 1.0  # seconds between two tries, as the page's
SETTINGS_LAST = 5.0  # seconds after which it asks for them again
CHOICES = ("left", "right", "left", "right", "tie", "skip")


@dataclass(frozen=True)
class Request:
    """A request that was replied to in the end, in seconds of this machine's monotonic clock.

    Attributes:
        kind: what was asked for.
        begun: when it was sent for the first time.
        done: when the reply was there.
        tries: how often it was sent.
    """

    kind: str
    begun: float
    done: float
    tries: int


@dataclass(frozen=True)
class Said:
    """An answer that the server acknowledged."""

    query: str
    left: str
    right: str
    choice: str


@dataclass
class Diary:
    """What one participant met with.

    Attributes:
        given: queries by their leases.
        said: what was acknowledged, by its id.
        trouble: what ended their part before its time.
        lateness: seconds that their process was late when it wanted to do something.
    """

    ref: str
    requests: list[Request] = field(default_factory=list)
    given: dict[str, str] = field(default_factory=dict)
    said: dict[str, Said] = field(default_factory=dict)
    code: str | None = None
    trouble: str | None = None
    lateness: list[float] = field(default_factory=list)


class RefusedError(Exception):
    """The server replied and said no."""


class Connection:
    """A connection that is opened when it is needed, and kept."""

    def __init__(self, port: int, headers: str) -> None:
        self._port = port
        self._headers = f"host: 127.0.0.1\r\n{headers}"
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def request(self, method: str, path: str, body: Any) -> tuple[int, bytes]:
        """Status and body of a reply.

        Raises:
            OSError, EOFError: there was none.
        """
        data = b"" if body is None else json.dumps(body).encode()
        head = (
            f"{method} {path} HTTP/1.1\r\n{self._headers}content-type: application/json\r\n"
            f"content-length: {len(data)}\r\n\r\n"
        )
        if self._streams is not None and self._streams[0].at_eof():
            self.close()  # the server has ended it meanwhile, which browsers see as well: nothing is lost with it
        try:
            reader, writer = self._streams = self._streams or await asyncio.open_connection(
                "127.0.0.1", self._port
            )
            writer.write(head.encode() + data)
            reply = await reader.readuntil(b"\r\n\r\n")
            lower = reply.lower()
            length = lower.partition(b"content-length: ")[2].partition(b"\r\n")[0]
            content = await reader.readexactly(int(length or b"0"))
        except BaseException:
            self.close()  # what comes late is no reply to the next request
            raise
        if b"connection: close" in lower:
            self.close()
        return int(reply[9:12]), content

    def close(self) -> None:
        """Ends it."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


class Participant:
    """Somebody with a link: accepts what is to be accepted, looks at pairs, and answers."""

    def __init__(
        self, ref: str, token: str, port: int, pace: float, clips: bool, answered: Any
    ) -> None:
        """Does nothing yet.

        Args:
            pace: seconds between two answers, on average; 0: as fast as replies come.
            clips: whether the clips of each pair are fetched.
            answered: counts answers of all.
        """
        self.diary = Diary(ref)
        self._rng = random.Random(ref)
        self._pace, self._clips, self._answered = pace, clips, answered
        self._device, self._session = str(uuid.uuid4()), str(uuid.uuid4())
        headers = f"authorization: Bearer {token}\r\nprefloop-device: {self._device}\r\n"
        self._connection = Connection(port, headers)
        self._seen: set[str] = set()  # clips, which a browser keeps

    async def take_part(self) -> None:
        """The whole way, from the link to the code."""
        try:
            await asyncio.sleep(self._rng.uniform(0, max(self._pace, 0.5)))
            way = await self._post("way", "/enter", device=self._device)
            while way["step"] != "thanks":
                if way["step"] == "pairs":
                    await self._compare()
                    way = await self._post("way", "/finish")
                else:
                    way = await self._post("way", "/steps", step=way["step"], digest=way["digest"])
            self.diary.code = way["code"]
        except Exception as error:
            self.diary.trouble = f"{type(error).__name__}: {error}"
        finally:
            self._connection.close()

    async def _compare(self) -> None:
        held: deque[Any] = deque()
        ahead, asked = 0, -SETTINGS_LAST
        while True:
            if time.monotonic() - asked > SETTINGS_LAST:
                settings = await self._ask("settings", "GET", "/api/study/settings")
                ahead, asked = settings["values"]["pairs_ahead"], time.monotonic()
            if len(held) < ahead:
                leases = await self._post(
                    "next pairs",
                    "/leases",
                    session=self._session,
                    count=ahead - len(held),
                    holding=[one["lease"] for one in held],
                )
                for one in leases["queries"]:
                    self.diary.given[one["lease"]] = one["query"]
                    held.append(one)
                    await self._load(one)
                if not held:
                    if leases["state"] == "finished":
                        return
                    await self._wait(1.0)
                    continue
            await self._wait(self._pace * self._rng.uniform(0.5, 1.5))
            await self._say(held.popleft())

    async def _load(self, one: Any) -> None:
        """Fetches what a pair shows."""
        for side in (one["left"], one["right"]):
            url = side["clip_url"]
            if self._clips and url is not None and url not in self._seen:
                self._seen.add(url)
                await self._ask("clip", "GET", url)

    async def _say(self, one: Any) -> None:
        choice = self._rng.choice(CHOICES)
        id = str(uuid.uuid4())
        said = {"id": id, "lease": one["lease"], "choice": choice, "seconds": self._pace}
        reply = await self._ask("answer", "POST", "/api/answers", said)
        if (reply["id"], reply["query"]) != (id, one["query"]):
            raise RefusedError(f"the reply is about {reply}, not about the answer {id}")
        left, right = one["left"]["segment"], one["right"]["segment"]
        self.diary.said[id] = Said(one["query"], left, right, choice)
        with self._answered.get_lock():
            self._answered.value += 1

    async def _post(self, kind: str, path: str, **body: Any) -> Any:
        return await self._ask(kind, "POST", f"/api/study{path}", body)

    async def _ask(self, kind: str, method: str, path: str, body: Any = None) -> Any:
        """Asks until there is a reply, as the page does."""
        begun, tries, pause = time.monotonic(), 0, FIRST_PAUSE
        while True:
            tries += 1
            status, content = 0, b""
            with contextlib.suppress(OSError, EOFError, asyncio.TimeoutError):
                asking = self._connection.request(method, path, body)
                status, content = await asyncio.wait_for(asking, PATIENCE)
            if 200 <= status < 300:
                self.diary.requests.append(Request(kind, begun, time.monotonic(), tries))
                if kind == "clip":
                    if hashlib.sha256(content).hexdigest() not in path:
                        raise RefusedError(f"{path} is another clip")
                    return None
                return json.loads(content) if content else None
            if 0 < status < 500:
                raise RefusedError(f"{method} {path}: {status} {content[:300]!r}")
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    async def _wait(self, seconds: float) -> None:
        due = time.monotonic() + seconds
        await asyncio.sleep(seconds)
        self.diary.lateness.append(time.monotonic() - due)


def take_part(
    links: Sequence[tuple[str, str]],
    port: int,
    pace: float,
    clips: bool,
    answered: "Synchronized[int]",
    diaries: "multiprocessing.Queue[list[Diary]]",
) -> None:
    """One process of participants; it hands in their diaries at the end.

    Args:
        links: what each is called, and their token.
        pace, clips, answered: as `Participant`.
    """
    people = [Participant(ref, token, port, pace, clips, answered) for ref, token in links]

    async def all_of_them() -> None:
        await asyncio.gather(*(person.take_part() for person in people))

    asyncio.run(all_of_them())
    diaries.put([person.diary for person in people])


def hold_connections(port: int, strangers: int) -> None:
    """Strangers without a token, until the process is ended: half say half of a request, half say nothing.

    Whoever is sent away comes again.
    """
    raise_file_limit()

    async def stranger(number: int) -> None:
        rng = random.Random(number)
        while True:
            with contextlib.suppress(OSError):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                try:
                    if number % 2:
                        writer.write(b"POST /api/answers HTTP/1.1\r\nhost: 127.0.0.1\r\nx-slow: ")
                    while True:  # until the server ends it
                        with contextlib.suppress(asyncio.TimeoutError):
                            if not await asyncio.wait_for(reader.read(1), rng.uniform(2, 4)):
                                break
                        if number % 2:
                            writer.write(b"a")
                finally:
                    writer.close()
            await asyncio.sleep(rng.uniform(0.1, 1))

    async def all_of_them() -> None:
        await asyncio.gather(*(stranger(number) for number in range(strangers)))

    asyncio.run(all_of_them())
