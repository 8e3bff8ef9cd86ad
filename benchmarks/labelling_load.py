"""A study under load: 200 participants at once, strangers who hold connections, uploads, and a server that is killed.

    python benchmarks/labelling_load.py
    python benchmarks/labelling_load.py --pace 0
    python benchmarks/labelling_load.py --database-url postgresql://user@host/empty

Each participant has a link of their own and behaves as the page does: accepts the consent, holds four pairs ahead,
fetches their clips, looks at a pair for about --pace seconds, answers, and asks again for whatever was not
replied to. 200 people who answer every 4 seconds are 50 answers a second. Meanwhile strangers hold hundreds of
connections, half of them with a request that comes a byte at a time; 45 archives of segments are sent at once, and
again; and the server is killed with -9 and started again in the same folder, on the same port.

Printed are, of all answers, the median and the 95th and 99th percentile of the time until they were
acknowledged: of those that met no kill and no start of the server, and of all. Then what was lost (acknowledged and not in
the store), stored twice or otherwise than it was said, and given to more people than a pair wants. Where something was, or
where the 95th percentile is above --most, the exit code is 1.

On a machine with more cores, `taskset -c 0,1 python benchmarks/labelling_load.py` measures two of them.
"""

import argparse
import contextlib
import csv
import multiprocessing
import os
import re
import resource
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np
from crowd import Diary, Request, hold_connections, take_part
from labelling_speed import free_port

from prefloop.envs.spaces import Spaces
from prefloop.labelling.arrays import Segment, pad, to_archive
from prefloop.labelling.client.calling import RefusedError
from prefloop.labelling.client.client import LabellingClient
from prefloop.labelling.client.studies import StudyFile, new
from prefloop.labelling.schemas.training import EventOut
from prefloop.labelling.server.rendering import write_clip

RUN, CHECKS, COLLECTED, STUDY = "load", "load-checks", "load-collected", "load"
SPACES = Spaces((4,), "float32", True, 2)
KINDS = ("answer", "next pairs", "clip")
CHECKS_EVERY = 10
START_SECONDS = 120.0  # that a server may take on a busy machine

Pairs = dict[uuid.UUID, tuple[uuid.UUID, uuid.UUID]]  # first and second, by query


@dataclass(frozen=True)
class Downtime:
    """From a kill until the server answers again."""

    start: float
    stop: float

    def touches(self, request: Request) -> bool:
        """Whether a request was under way meanwhile."""
        return request.begun <= self.stop and request.done >= self.start


class Server:
    """`prefloop label`, which can be killed and started again.

    Attributes:
        cpu_seconds: what it has computed for so far, without the processes that it starts.
        ran_seconds, waited_seconds: its main thread, at work and while others had the processor.
    """

    def __init__(self, home: Path, database_url: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.token = ""
        self.cpu_seconds = self.ran_seconds = self.waited_seconds = 0.0
        self._command = [sys.executable, "-m", "prefloop", "label", "--tokens"]
        self._command += ["--home", str(home), "--port", str(self.port)]
        if database_url:
            self._command += ["--database-url", database_url]
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Returns when it answers."""
        self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        for line in self._process.stdout:
            found = re.search("PREFLOOP_TOKEN=(.*)", line)
            self.token = found[1] if found else self.token
            # what comes after the tokens, or in place of them
            if "neither token is shown again" in line or "shown before hold" in line:
                break
        else:
            raise SystemExit("The server did not start.")
        with LabellingClient(self.url, patience=START_SECONDS) as client:
            client.health()

    def kill(self) -> None:
        """Ends it with -9: it finishes nothing."""
        if self._process is not None:
            self._note_waiting()
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            self._process.kill()
            self._process.communicate()
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            self.cpu_seconds += after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            self._process = None

    def _note_waiting(self) -> None:
        """Adds how long its main thread has run, and how long it could have and did not, since others did."""
        assert self._process is not None
        with contextlib.suppress(OSError):  # Linux alone says so
            ran, waited, _ = Path(f"/proc/{self._process.pid}/schedstat").read_text().split()
            self.ran_seconds += int(ran) / 1e9
            self.waited_seconds += int(waited) / 1e9


def pairs_of(ids: Sequence[uuid.UUID], number: int) -> Pairs:
    """As many pairs of segments as are asked for, each once."""
    pairs = [(a, b) for i, a in enumerate(ids) for b in ids[:i]]
    rng = np.random.default_rng(0)
    chosen = rng.permutation(len(pairs))[:number]
    return {uuid.uuid4(): pairs[i] for i in chosen}


def segments_of(seed: int, number: int, steps: int) -> Any:
    """Segments that no other seed gives."""
    rng = np.random.default_rng(seed)
    return pad(
        [
            Segment(
                rng.normal(size=(steps, 4)).astype(np.float32),
                rng.integers(2, size=steps),
                np.ones(steps, dtype=np.float32),
            )
            for _ in range(number)
        ]
    )


def fill(client: LabellingClient, pairs: int, checks: int) -> tuple[Pairs, Pairs]:
    """Makes a run of pairs, with clips that were sent, and one of pairs whose answer is known."""
    num_segments = max(int((2 * pairs) ** 0.5) + 2, min(pairs, 200))
    asked = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.mp4"
        write_clip(path, (np.full((64, 64, 3), i, np.uint8) for i in range(50)), fps=50)
        video = path.read_bytes()
    for run, number, segments in ((RUN, pairs, num_segments), (CHECKS, checks, checks + 1)):
        client.put_run(run, env="CartPole-v1", spaces=SPACES)
        ids = client.add_segments(run, segments_of(len(run), segments, 50))
        for id in ids:
            client.put_clip(id, video + id.bytes)  # each is another file
        of_run = pairs_of(ids, number)
        client.add_queries(run, [(query, *sides) for query, sides in of_run.items()])
        if run == CHECKS:
            known: dict[str, Any] = {"annotator": "researcher", "label": 0.0}
            client.add_labels(
                run, [{"id": str(uuid.uuid4()), "query": str(id), **known} for id in of_run]
            )
        asked.append(of_run)
    client.put_run(COLLECTED, env="CartPole-v1", spaces=SPACES)
    return asked[0], asked[1]


def make_links(
    client: LabellingClient, folder: Path, people: int, labels: int, by_so_many: int
) -> list[tuple[str, str]]:
    """A study, as `prefloop study new` makes it; what participants are called, and their tokens."""
    path = folder / "links.csv"
    about = {"pairs": labels, "answers_per_pair": by_so_many, "checks_every": CHECKS_EVERY}
    texts = {"welcome": "Welcome.", "consent": "- You may stop.", "instructions": "Higher is better."}  # fmt: skip
    study = StudyFile.model_validate(
        {"runs": [RUN], "checks": CHECKS, "participants": people, **about, **texts}
    )
    with contextlib.redirect_stdout(None):
        new(client, STUDY, study, "", str(path))
    with path.open() as file:
        return [
            (row["participant"], row["link"].partition("#token=")[2])
            for row in csv.DictReader(file)
        ]


class Uploads:
    """Archives of segments, so many at once, and again after a pause, until it is told to stop."""

    def __init__(
        self, url: str, token: str, at_once: int, segments: int, steps: int, pause: float
    ) -> None:
        self._url, self._token, self._at_once, self._pause = url, token, at_once, pause
        self._sizes = segments, steps
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self.seconds: list[float] = []
        self.stored: list[list[uuid.UUID]] = []
        self.bytes = 0
        self.trouble: list[str] = []
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Uploads":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()

    def missing(self, client: LabellingClient) -> int:
        """How many of those that were acknowledged can't be read."""
        missing = 0
        for ids in self.stored:
            try:
                client.segments(COLLECTED, ids)
            except RefusedError:
                missing += 1
        return missing

    def _run(self) -> None:
        seed = 1000
        while self._at_once and not self._stopping.is_set():
            senders = [
                threading.Thread(target=self._send, args=(seed + i,)) for i in range(self._at_once)
            ]
            seed += len(senders)
            for sender in senders:
                sender.start()
            for sender in senders:
                sender.join()
            self._stopping.wait(self._pause)

    def _send(self, seed: int) -> None:
        try:
            segments = segments_of(seed, *self._sizes)
            # as programs do, which ask again until the server is there
            with LabellingClient(self._url, self._token, patience=None) as client:
                begun = time.monotonic()
                ids = client.add_segments(COLLECTED, segments)
                with self._lock:
                    self.seconds.append(time.monotonic() - begun)
                    self.bytes = len(to_archive(segments))
                    self.stored.append(ids)
        except Exception as error:
            self.trouble.append(f"{type(error).__name__}: {error}")


@contextlib.contextmanager
def strangers(port: int, number: int) -> Iterator[None]:
    """Strangers hold connections meanwhile."""
    spawn = multiprocessing.get_context("spawn")
    process = spawn.Process(target=hold_connections, args=(port, number), daemon=True)
    if number:
        process.start()
    try:
        yield
    finally:
        if number:
            process.kill()
            process.join()


def attend(
    server: Server, links: Sequence[tuple[str, str]], settings: argparse.Namespace
) -> tuple[list[Diary], list[Downtime]]:
    """All participants take part, and the server is killed meanwhile; their diaries, and when it was away."""
    spawn = multiprocessing.get_context("spawn")
    answered, diaries = spawn.Value("i", 0), spawn.Queue()
    shares = [links[i :: settings.processes] for i in range(settings.processes)]
    crowd: list[BaseProcess] = [
        spawn.Process(
            target=take_part,
            args=(share, server.port, settings.pace, settings.clips, answered, diaries),
            daemon=True,
        )
        for share in shares
    ]
    for process in crowd:
        process.start()
    total = len(links) * settings.labels
    away = []
    for number in range(1, settings.kills + 1):
        while answered.value < total * number // (settings.kills + 1):
            if not any(process.is_alive() for process in crowd):
                break
            time.sleep(0.01)
        start = time.monotonic()
        server.kill()
        server.start()
        away.append(Downtime(start, time.monotonic()))
        print(f"killed and started again after {answered.value} answers: away for {away[-1].stop - start:.1f} s", flush=True)  # fmt: skip
    written = [diary for _ in crowd for diary in diaries.get()]
    for process in crowd:
        process.join()
    return written, away


def wrongs(
    diaries: Sequence[Diary],
    events: Sequence[EventOut],
    asked: Pairs,
    checks: Pairs,
    settings: argparse.Namespace,
) -> dict[str, int]:
    """What must not be, and how often it was.

    Args:
        events: what participants have said, as it is stored.
        asked: the study's pairs.
        checks: those whose answer is known, of which everybody may be asked.
    """
    said = {id: (diary.ref, one) for diary in diaries for id, one in diary.said.items()}
    sides = {**asked, **checks}
    stored = Counter(str(event.id) for event in events)
    labelled = Counter((event.annotator, event.query) for event in events)
    otherwise = 0
    for event in events:
        if str(event.id) in said:
            ref, one = said[str(event.id)]
            chosen = {"left": one.left, "right": one.right}.get(one.choice)
            is_second = float(chosen == str(sides[event.query][1]))
            label = {"tie": 0.5, "skip": None}.get(one.choice, is_second)
            meant = (f"{STUDY}-{ref}", one.query, label)
            otherwise += (event.annotator, str(event.query), event.label) != meant
    given: defaultdict[str, list[str]] = defaultdict(list)
    for diary in diaries:
        for query in diary.given.values():
            given[query].append(diary.ref)
    labels = Counter(event.annotator for event in events if event.query in asked)
    return {
        "acknowledged and not stored": len(said.keys() - stored.keys()),
        "stored twice": stored.total() - len(stored) + labelled.total() - len(labelled),
        "stored otherwise than said": otherwise,
        "stored and never acknowledged": len(stored.keys() - said.keys()),
        "pairs given to somebody twice": sum(len(to) - len(set(to)) for to in given.values()),
        "pairs given to more people than wanted": sum(
            len(set(given[str(query)])) > settings.answers_per_pair for query in asked
        ),
        "participants with another number of labels": sum(
            labels[f"{STUDY}-{diary.ref}"] != settings.labels for diary in diaries
        ),
        "participants without a code": sum(not diary.code for diary in diaries),
    }


def print_times(requests: Sequence[Request], away: Sequence[Downtime]) -> float:
    """A table of how long requests took; the 95th percentile of answers that met no kill, in seconds."""
    print(f"{'':11} {'requests that met no kill':>39}   {'and those that met one':>31}")
    names = ("number", "median", "95 %", "99 %", "longest")
    print(f"{'':11} " + "".join(f"{name:>8}" for name in (*names, *names[1:])))
    p95 = 0.0
    for kind in KINDS:
        of_kind = [request for request in requests if request.kind == kind]
        undisturbed = [one for one in of_kind if not any(kill.touches(one) for kill in away)]
        row = [f"{len(of_kind):8}"]
        for some in (undisturbed, of_kind):
            seconds = [request.done - request.begun for request in some] or [float("nan")]
            shown = [*np.percentile(seconds, (50, 95, 99)), max(seconds)]
            row += [f"{value:8.3f}" for value in shown]
            if kind == "answer" and some is undisturbed:
                p95 = float(shown[1])
        print(f"{kind:11} " + "".join(row))
    again = sum(one.tries - 1 for one in requests if not any(kill.touches(one) for kill in away))
    print(f"in seconds; {again} requests that met no kill had to be made again")
    return p95


def print_rate(requests: Sequence[Request], away: Sequence[Downtime]) -> None:
    """How many answers there were a second, while the server was there."""
    done = [request.done for request in requests if request.kind == "answer"]
    if done:
        seconds = max(done) - min(done) - sum(kill.stop - kill.start for kill in away)
        print(f"{len(done) / seconds:.1f} answers/s, {len(requests) / seconds:.0f} requests/s, in {seconds:.0f} s without those in which the server was away")  # fmt: skip


def arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    # fmt: off
    parser.add_argument("--participants", type=int, default=200)
    parser.add_argument("--labels", type=int, default=40, help="that each gives (%(default)s)")
    parser.add_argument("--pace", type=float, default=4.0, help="seconds that a participant looks at a pair, on average; 0: as fast as replies come (%(default)s)")
    parser.add_argument("--no_clips", dest="clips", action="store_false", help="fetch no clips; the page fetches each that it has not shown before")
    parser.add_argument("--answers_per_pair", type=int, default=4, help="participants who are given each pair (%(default)s)")
    parser.add_argument("--kills", type=int, default=5, help="of the server, with -9, spread over the answers (%(default)s)")
    parser.add_argument("--strangers", type=int, default=600, help="who hold a connection each (%(default)s)")
    parser.add_argument("--uploads", type=int, default=45, help="at once (%(default)s)")
    parser.add_argument("--upload_segments", type=int, default=64, help="of each upload (%(default)s)")
    parser.add_argument("--upload_steps", type=int, default=500, help="of each of its segments (%(default)s)")
    parser.add_argument("--upload_pause", type=float, default=20.0, help="seconds after which the uploads begin again (%(default)s)")
    parser.add_argument("--processes", type=int, default=2, help="that participants are in (%(default)s)")
    parser.add_argument("--most", type=float, default=1.0, help="seconds within which 95 of 100 answers must be acknowledged (%(default)s)")
    parser.add_argument("--database-url", default="", help="an empty PostgreSQL database; SQLite if not given")
    # fmt: on
    return parser.parse_args()


def main() -> None:
    """Measures and prints."""
    settings = arguments()
    people, labels = settings.participants, settings.labels
    # as many as they need, and as many more as they hold ahead
    num_pairs = people * labels // settings.answers_per_pair + 4 * labels
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server = Server(folder / "home", settings.database_url)
        stack.callback(server.kill)
        server.start()
        with LabellingClient(server.url, server.token) as client:
            asked, checks = fill(client, num_pairs, labels // CHECKS_EVERY + 1)
            links = make_links(client, folder, people, labels, settings.answers_per_pair)
        print(f"{people} participants, {labels} labels each; {settings.strangers} strangers, {settings.uploads} uploads at once, {settings.kills} kills; load {os.getloadavg()[0]:.1f}", flush=True)  # fmt: skip
        sizes = settings.upload_segments, settings.upload_steps, settings.upload_pause
        with (
            strangers(server.port, settings.strangers),
            Uploads(server.url, server.token, settings.uploads, *sizes) as uploads,
        ):
            diaries, away = attend(server, links, settings)
        with LabellingClient(server.url, server.token) as client:
            events = [
                event
                for run in (RUN, CHECKS)
                for event in client.all_labels(run)
                if event.annotator.startswith(f"{STUDY}-")
            ]
            missing = uploads.missing(client)
        server.kill()
    requests = [request for diary in diaries for request in diary.requests]
    troubles = [f"{diary.ref}: {diary.trouble}" for diary in diaries if diary.trouble]
    p95 = print_times(requests, away)
    print_rate(requests, away)
    answers = sum(len(diary.said) for diary in diaries)
    print(f"the server computed for {1000 * server.cpu_seconds / max(answers, 1):.1f} ms per answer, with all that belongs to one, its starts and the uploads")  # fmt: skip
    if server.waited_seconds:
        waited = server.waited_seconds / (server.waited_seconds + server.ran_seconds)
        print(f"{waited:.0%} of the time in which its main thread had something to do it waited for a processor; on a machine that does nothing else this is little")  # fmt: skip
    lateness = [late for diary in diaries for late in diary.lateness]
    print(f"the participants' own processes were late by {np.percentile(lateness, 95):.3f} s (95 %)")  # fmt: skip
    if uploads.seconds:
        print(f"{len(uploads.seconds)} uploads of {uploads.bytes / 1e6:.1f} MB, stored after {np.median(uploads.seconds):.1f} s (median), {max(uploads.seconds):.1f} s at most")  # fmt: skip
    found = wrongs(diaries, events, asked, checks, settings)
    found["uploads that were acknowledged and are not there"] = missing
    for name, number in found.items():
        print(f"{number:6} {name}")
    for trouble in [*troubles, *uploads.trouble][:10]:
        print(trouble)
    if any(found.values()) or troubles or uploads.trouble or not p95 < settings.most:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
