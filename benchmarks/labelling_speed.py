"""Fifty annotators at once: how long a query and an answer take, beside an endpoint that does nothing.

    python benchmarks/labelling_speed.py
    python benchmarks/labelling_speed.py --database-url postgresql://user@host/empty

Each annotator asks for the next query, answers it at once, and asks again: far more than people
do, so both servers are busy all the time. The bare endpoint is FastAPI under uvicorn, as the
labelling server is, and returns a constant. Both take turns in one run; every answer of the
labelling server is on disk before it is acknowledged.
"""

import argparse
import asyncio
import json
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from prefloop.envs.spaces import Spaces
from prefloop.labelling.arrays import Segment, pad
from prefloop.labelling.client.client import LabellingClient
from prefloop.labelling.server.rendering import write_clip

BARE = """
import sys
import uvicorn
from fastapi import FastAPI

app = FastAPI()

@app.get("/api/health")
async def health() -> dict[str, int]:
    return {"answer": 42}

uvicorn.run(app, port=int(sys.argv[1]), access_log=False, log_level="warning")
"""
RUN = "benchmark"


class Connection:
    """A connection that is kept, with no more around it than HTTP needs."""

    def __init__(self, port: int) -> None:
        self.port = port

    async def open(self) -> "Connection":
        """Connects."""
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
        return self

    async def request(self, method: str, path: str, body: Any = None) -> Any:
        """One request and its reply."""
        data = b"" if body is None else json.dumps(body).encode()
        head = (
            f"{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
            f"content-length: {len(data)}\r\n\r\n"
        )
        self.writer.write(head.encode() + data)
        reply = await self.reader.readuntil(b"\r\n\r\n")
        length = int(reply.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        content = json.loads(await self.reader.readexactly(length))
        if not reply.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(f"{method} {path}: {content}")
        return content

    def close(self) -> None:
        """Disconnects."""
        self.writer.close()


async def together(
    annotators: int, port: int, work: Callable[[Connection, int], Awaitable[None]]
) -> None:
    """Has all annotators work at once."""
    connections = [await Connection(port).open() for _ in range(annotators)]
    await asyncio.gather(*(work(connection, i) for i, connection in enumerate(connections)))
    for connection in connections:
        connection.close()


def bare(annotators: int, port: int, requests: int) -> list[float]:
    """Seconds of each request to the endpoint that does nothing."""
    seconds: list[float] = []

    async def work(connection: Connection, _: int) -> None:
        for _ in range(requests):
            start = time.perf_counter()
            await connection.request("GET", "/api/health")
            seconds.append(time.perf_counter() - start)

    asyncio.run(together(annotators, port, work))
    return seconds


def labelling(annotators: int, port: int, labels: int) -> tuple[list[float], list[float]]:
    """Seconds of each query and of each answer."""
    queries: list[float] = []
    answers: list[float] = []

    async def work(connection: Connection, number: int) -> None:
        wish = {"annotator": f"annotator {number}", "session": str(uuid.uuid4()), "count": 1}
        for _ in range(labels):
            start = time.perf_counter()
            given = await connection.request("POST", f"/api/runs/{RUN}/leases", wish)
            middle = time.perf_counter()
            answer = {
                "id": str(uuid.uuid4()),
                "lease": given["queries"][0]["lease"],
                "choice": "left",
                "seconds": 1.0,
            }
            await connection.request("POST", "/api/answers", answer)
            queries.append(middle - start)
            answers.append(time.perf_counter() - middle)

    asyncio.run(together(annotators, port, work))
    return queries, answers


def fill(url: str, num_queries: int) -> None:
    """A run with as many queries as are going to be answered, and 2,000 more."""
    rng = np.random.default_rng(0)
    num = int((2 * (num_queries + 2000)) ** 0.5) + 2
    segments = [
        Segment(
            rng.normal(size=(50, 4)).astype(np.float32),
            rng.integers(2, size=50),
            np.ones(50, dtype=np.float32),
        )
        for _ in range(num)
    ]
    with LabellingClient(url) as client:
        client.put_run(RUN, env="CartPole-v1", spaces=Spaces((4,), "float32", True, 2))
        ids = client.add_segments(RUN, pad(segments))
        pairs = [(ids[i], ids[j]) for i in range(num) for j in range(i)][: num_queries + 2000]
        client.add_queries(RUN, [(uuid.uuid4(), *pair) for pair in pairs])
        # clips as a collector sends them, so that nothing has to be drawn meanwhile
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "clip.mp4"
            write_clip(path, (np.full((64, 64, 3), i, np.uint8) for i in range(50)), fps=50)
            for id in ids:
                client.put_clip(id, path.read_bytes())


def free_port() -> int:
    """A port that nothing uses."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
        return port


def wait_for(port: int) -> None:
    """Waits until a server answers."""
    for _ in range(200):
        try:
            httpx.get(f"http://127.0.0.1:{port}/api/health", trust_env=False)
            return
        except httpx.TransportError:
            time.sleep(0.05)
    raise RuntimeError("the server did not start")


def p95(seconds: list[float]) -> float:
    """The 95th percentile, in milliseconds."""
    return 1000 * float(np.percentile(seconds, 95))


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--annotators", type=int, default=50)
    parser.add_argument("--labels", type=int, default=20, help="of each annotator in a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--database-url", default="", help="an empty database; SQLite if not given")
    settings = parser.parse_args()
    ports = free_port(), free_port()
    with tempfile.TemporaryDirectory() as home:
        ours = [sys.executable, "-m", "prefloop", "label", "--home", home, "--port", str(ports[1])]
        if settings.database_url:
            ours += ["--database-url", settings.database_url]
        servers = [
            subprocess.Popen([sys.executable, "-c", BARE, str(ports[0])]),
            subprocess.Popen(ours, stdout=subprocess.DEVNULL),
        ]
        try:
            for port in ports:
                wait_for(port)
            people, labels = settings.annotators, settings.labels
            fill(f"http://127.0.0.1:{ports[1]}", people * labels * (settings.rounds + 1))
            bare(people, ports[0], 2 * labels)
            labelling(people, ports[1], labels)
            rows = []
            print(f"p95 in milliseconds, {people} annotators at once")
            print("round   bare   next query         answer")
            for i in range(settings.rounds):
                nothing = p95(bare(people, ports[0], 2 * labels))
                query, answer = map(p95, labelling(people, ports[1], labels))
                rows.append((query / nothing, answer / nothing))
                print(
                    f"{i + 1:5} {nothing:6.1f} {query:7.1f} ({rows[-1][0]:4.1f} x) "
                    f"{answer:7.1f} ({rows[-1][1]:4.1f} x)"
                )
            medians = [statistics.median(column) for column in zip(*rows, strict=True)]
            print(f"median ratio: next query {medians[0]:.1f}, answer {medians[1]:.1f}")
        finally:
            for server in servers:
                server.terminate()
                server.wait()


if __name__ == "__main__":
    main()
