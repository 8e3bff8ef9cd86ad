"""A whole study by twenty scripted participants in Chromium: who is careless is told, and what a reward learns is measured.

    python benchmarks/scripted_study.py
    python benchmarks/scripted_study.py --report

A server of its own that demands tokens, segments of Pendulum-v1, `prefloop study new` with every step there is, and
twenty people who come by their links, several at once, and do by keyboard and mouse what people do. They prefer the
clip of the higher true return, less surely where two are close, and answer one in ten or so without looking. Four
of them press any key as soon as they may; one always takes the left clip; one leaves in the middle, the server is
killed and started again, and they come back in another browser process with what the first had kept; one has the
study open in two tabs; the link of one is revoked in the middle. Afterwards what is stored is compared with what was
pressed, the study's table must name who was careless and nobody else, and rewards are fitted with and without
them. `--report` does that last part again, of the folder of an earlier run.
"""

import argparse
import asyncio
import csv
import json
import os
import re
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
from annotator_errors import CLEAN, ENV, EPISODES, LENGTH, OTHER_EPISODES, clean, pool
from numpy.typing import NDArray

from prefloop.envs.make import make_vector_env
from prefloop.evaluation.statistics import mean_estimate
from prefloop.labelling.client.client import LabellingClient
from prefloop.rewards import reward_model

PREFLOOP = [sys.executable, "-m", "prefloop"]
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
RUN, STUDY = "swing", "scripted"
PAIRS, OF_EACH, ANSWERS, KNOWN, PRACTICE = 160, 40, 5, 16, 2
REPEATS, SMALLEST_SECONDS = 0.1, 1.0
STUDY_YAML = f"""\
runs: [{RUN}]
practice: {RUN}-practice
checks: {RUN}-checks
participants: 20
pairs: {OF_EACH}
block: 20
answers_per_pair: {ANSWERS}
checks_every: 5
smallest_seconds: {SMALLEST_SECONDS}
title: Which pendulum is better?
welcome: |
  Thank you for your interest. You will watch **short clips** of a pendulum, two at a time.
consent: |
  - Taking part is voluntary; you may stop at any time.
  - Your answers are stored without your name.
instructions: |
  Better is the clip in which the pendulum is **higher up**, and swings less.
comprehension:
  - question: What makes a clip better?
    options: [The pendulum swings faster, The pendulum is higher up]
    right: The pendulum is higher up
pause: Look out of the window for a moment.
thanks: Paste the code where you signed up.
"""


def pushing(obs: NDArray) -> NDArray:
    """Torques at random, the same for the same observations; who acts in what is compared."""
    return np.stack([np.random.default_rng(list(row.tobytes())).uniform(-2, 2, 1) for row in obs])


@dataclass
class Person:
    """Somebody who takes part, and what was seen of them.

    Attributes:
        kind: careful, careless, left, next day, two tabs or revoked.
        slips: how often they answer without looking.
        codes: that they were shown at the end.
        sent: ids of answers that the server has acknowledged.
        pressed: how many answers they have given, and
        undone: taken back.
    """

    ref: str
    link: str
    kind: str
    slips: float
    rng: np.random.Generator
    code: str = ""
    pressed: int = 0
    undone: int = 0
    sent: set[str] = field(default_factory=set)

    @property
    def is_careless(self) -> bool:
        """Whether nothing is to be learned from them."""
        return self.kind in ("careless", "left")


KINDS = ["careless"] * 4 + ["left", "next day", "two tabs", "revoked"] + ["careful"] * 12


class Server:
    """`prefloop label`, which can be killed and started again in its place."""

    def __init__(self, out: Path, port: int) -> None:
        self.out, self.url = out, f"http://127.0.0.1:{port}"
        self._log = out / "server.txt"
        self._line = [*PREFLOOP, "label", "--tokens", "--port", str(port), "--home", str(out / "server")]  # fmt: skip
        self.env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1", "PREFLOOP_SERVER": self.url}  # fmt: skip
        self.env["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), self.env.get("PYTHONPATH", "")])  # fmt: skip
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        """Starts it, and waits until it answers."""
        with self._log.open("ab") as log:
            before = self._log.stat().st_size
            self._process = subprocess.Popen(self._line, stdout=log, stderr=log, env=self.env)
        while "Labelling at" not in (said := self._log.read_text()[before:]):
            assert self._process.poll() is None, f"see {self._log}"
            time.sleep(0.1)
        if found := re.search(r"PREFLOOP_TOKEN=(\S+)", said):
            (self.out / "token").write_text(found[1])
        self.env["PREFLOOP_TOKEN"] = (self.out / "token").read_text()

    def kill(self) -> None:
        """As by kill -9, or a power cut."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def client(self) -> LabellingClient:
        """A client of a trainer."""
        return LabellingClient(self.url, token=self.env["PREFLOOP_TOKEN"], patience=60)

    def prefloop(self, *words: str) -> str:
        """What a command says."""
        done = subprocess.run([*PREFLOOP, *words], env=self.env, capture_output=True, text=True, cwd=self.out)  # fmt: skip
        assert done.returncode == 0, f"prefloop {' '.join(words)}: {done.stdout}{done.stderr}"
        return done.stdout


class Returns:
    """True returns of what is shown."""

    def __init__(self, client: LabellingClient) -> None:
        self._client = client
        self._known: dict[UUID, float] = {}

    def of(self, ids: Sequence[UUID], run: str = RUN) -> list[float]:
        """Of segments, fetched where they are not known yet."""
        if new := [id for id in ids if id not in self._known]:
            found = self._client.segments(run, new)
            self._known.update(zip(new, found.returns.tolist(), strict=True))
        return [self._known[id] for id in ids]


def prepare(server: Server, client: LabellingClient) -> Returns:
    """Runs to compare, with known answers where they are needed, and the study's links."""
    returns = Returns(client)
    for name, pairs, seed in ((RUN, PAIRS, 0), (f"{RUN}-practice", PRACTICE, 1), (f"{RUN}-checks", KNOWN, 2)):  # fmt: skip
        more = ["--repeats", str(REPEATS)] if name == RUN else []
        server.prefloop(
            "collect", "--name", name, "--env", ENV, "--policies", "scripted_study:pushing", "--pairs", str(pairs),
            "--episodes", str(EPISODES), "--segment_length", str(LENGTH), "--seed", str(seed), *more,
        )  # fmt: skip
        server.prefloop("runs", "set", name, "rendered_queue_size", str(pairs))
    for name in (f"{RUN}-practice", f"{RUN}-checks"):
        session = uuid.uuid4()
        while given := client.lease(name, "researcher", session, 1).queries:
            (query,) = given
            left, right = returns.of([query.left.segment, query.right.segment], name)
            client.answer(uuid.uuid4(), query.lease, "left" if left > right else "right")
    (server.out / "study.yaml").write_text(STUDY_YAML)
    print(server.prefloop("study", "new", STUDY, "--file", "study.yaml", "--address", server.url))
    drawn, clips = -1, server.out / "server" / "clips"
    while drawn < (drawn := len(list(clips.rglob("*.mp4")))):  # until all are there
        time.sleep(15)
    return returns


def people_of(links: Path, seed: int) -> list[Person]:
    """Who comes by which link; kinds are dealt out."""
    rng = np.random.default_rng(seed)
    kinds = rng.permutation(KINDS)
    with links.open() as file:
        rows = list(csv.DictReader(file))
    return [
        Person(row["participant"], row["link"], str(kind), rng.uniform(0.03, 0.15), np.random.default_rng((seed, i)))
        for i, (row, kind) in enumerate(zip(rows, kinds, strict=True))
    ]  # fmt: skip


class Visit:
    """A participant before their page, or two of them."""

    def __init__(self, study: "Study", person: Person, context: Any) -> None:
        self._study, self.person, self._context = study, person, context
        self._pages: list[Any] = []

    async def open(self, tabs: int = 1) -> None:
        """Opens the link, in as many tabs."""
        for _ in range(tabs):
            page = await self._context.new_page()
            page.set_default_timeout(120_000)
            page.on("response", self._note)
            await page.goto(self.person.link)
            await page.wait_for_selector("main[data-step]")
            self._pages.append(page)

    def _note(self, response: Any) -> None:
        if response.url.endswith("/api/answers") and response.status == 200:
            self.person.sent.add(json.loads(response.request.post_data)["id"])

    @property
    def page(self) -> Any:
        """The page that they look at, now this and now that."""
        return self._pages[self.person.pressed % len(self._pages)]

    async def take_part(self, until: int = 10**6) -> str:
        """Goes on until it is over, or so many answers are given; the step at which they are then."""
        while True:
            page = self.page
            step = await page.get_attribute("main", "data-step")
            if step in ("thanks", "ended", "left", "failed", "elsewhere"):
                return str(step)
            if step == "pairs":
                if self.person.pressed - self.person.undone >= until:
                    return "pairs"
                await self._compare(page)
            else:
                await getattr(self, f"_{step}")(page)

    async def _click(self, page: Any, name: str) -> None:
        step = await page.get_attribute("main", "data-step")
        await page.get_by_role("button", name=name, exact=True).click()
        await self._until(page, lambda: self._is_past(page, step))

    async def _is_past(self, page: Any, step: str) -> bool:
        return bool(await page.get_attribute("main", "data-step") != step)

    async def _until(self, page: Any, happens: Any) -> None:
        deadline = time.monotonic() + 120
        while not await happens():
            assert time.monotonic() < deadline, f"{self.person.ref}: nothing happens"
            await page.wait_for_timeout(20)

    async def _welcome(self, page: Any) -> None:
        await self._click(page, "Begin")

    async def _consent(self, page: Any) -> None:
        await page.locator("#agree").check()
        await self._click(page, "Agree and go on")

    async def _instructions(self, page: Any) -> None:
        await self._click(page, "Go on")

    async def _practice(self, page: Any) -> None:
        for left in reversed(range(PRACTICE)):
            await page.wait_for_selector(".stage:not([hidden]) [data-side=left]")
            await page.keyboard.press(await self._choice(page))
            await page.wait_for_selector(".feedback[data-right]:not(:empty)")
            next_pair = page.get_by_role("button", name="Next", exact=True)
            if left:
                await next_pair.click()
                await self._until(page, lambda: self._is_empty(page))
            else:
                await self._click(page, "Next")

    async def _is_empty(self, page: Any) -> bool:
        return await page.locator(".feedback").inner_text() == ""

    async def _comprehension(self, page: Any) -> None:
        if self.person.is_careless:  # they try the first, and are told
            await page.get_by_label("swings faster").check()
            await page.get_by_role("button", name="Check the answers", exact=True).click()
            await page.wait_for_selector("text=You have one more try.")
        await page.get_by_label("higher up").check()
        await self._click(page, "Check the answers")

    async def _pause(self, page: Any) -> None:
        await self._click(page, "Go on")

    async def _choice(self, page: Any) -> str:
        """The key of the clip that they prefer."""
        person = self.person
        if person.kind == "left":
            return "1"
        if person.kind == "careless" or person.rng.random() < person.slips:
            return str(person.rng.choice(["1", "2"]))
        ids = [
            UUID(await page.get_attribute(f"[data-side={side}]", "data-segment"))
            for side in ("left", "right")
        ]
        left, right = await asyncio.to_thread(self._study.returns.of, ids)
        sure = 1 / (1 + np.exp(-(right - left) / self._study.close))
        return "2" if person.rng.random() < sure else "1"

    async def _compare(self, page: Any) -> None:
        """Looks at the pair that is shown, and answers it by key."""
        person = self.person
        if not await page.locator("main[data-step=pairs][data-state=pair]").count():
            await page.wait_for_timeout(50)
            return
        lease = await page.get_attribute(".stage", "data-lease")
        await self._until(page, lambda: self._may_answer(page))
        if await page.get_attribute("main", "data-step") != "pairs":
            return
        if not person.is_careless:
            await page.wait_for_timeout(1000 * person.rng.exponential(0.8))
        if await page.get_attribute(".stage", "data-lease") != lease:
            return  # the other tab has it by now
        await page.keyboard.press(await self._choice(page))
        person.pressed += 1
        await self._until(page, lambda: self._has_gone(page, lease))
        if (
            person.kind == "careful"
            and person.pressed == 11
            and await page.locator(".stage").count()
        ):
            before = await page.get_attribute(".stage", "data-lease")
            await page.keyboard.press("u")
            await self._until(page, lambda: self._has_gone(page, before))
            await page.wait_for_selector("[data-action=undo][aria-disabled=false]")
            person.undone += 1

    async def _may_answer(self, page: Any) -> bool:
        ready = page.locator("[data-action=left][aria-disabled=false]")
        return await ready.count() > 0 or await page.get_attribute("main", "data-step") != "pairs"

    async def _has_gone(self, page: Any, lease: str | None) -> bool:
        if not await page.locator("main[data-step=pairs][data-state=pair]").count():
            return True
        return bool(await page.get_attribute(".stage", "data-lease") != lease)

    async def all_sent(self) -> None:
        """Waits until no answer is left to be sent."""
        for page in self._pages:
            kept = "Object.keys(localStorage).filter(key => key.includes('answer.')).length"
            deadline = time.monotonic() + 60
            while await page.evaluate(kept):
                assert time.monotonic() < deadline, f"{self.person.ref}: answers are not sent"
                await page.wait_for_timeout(50)

    async def code(self) -> str:
        """Of completion."""
        return str(await self.page.locator(".code").inner_text())

    async def reload(self) -> str:
        """Loads the page anew; the step that it shows."""
        await self.page.goto("about:blank")
        await self.page.goto(self.person.link)
        await self.page.wait_for_selector("main[data-step]")
        return str(await self.page.get_attribute("main", "data-step"))


class Study:
    """All of them, several at once."""

    def __init__(self, server: Server, returns: Returns, close: float, at_once: int) -> None:
        self.server, self.returns, self.close = server, returns, close
        self._room = asyncio.Semaphore(at_once)

    async def run(self, people: Sequence[Person]) -> None:
        """Brings all of them through."""
        from playwright.async_api import async_playwright

        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)

            @asynccontextmanager
            async def own(person: Person) -> AsyncIterator[Visit]:
                context = await browser.new_context(viewport={"width": 1100, "height": 760})
                yield Visit(self, person, context)
                await context.close()

            @asynccontextmanager
            async def kept(person: Person) -> AsyncIterator[Visit]:
                context = await playwright.chromium.launch_persistent_context(
                    self.server.out / "browser", executable_path=CHROMIUM, args=FLAGS
                )
                yield Visit(self, person, context)
                await context.close()

            # who comes back is among the first
            order = sorted(people, key=lambda person: person.kind != "next day")
            ways = {
                "next day": self._next_day,
                "two tabs": self._two_tabs,
                "revoked": self._revoked,
            }
            await asyncio.gather(
                *(
                    self._let_in(person, ways.get(person.kind, self._ordinary), kept if person.kind == "next day" else own)
                    for person in order
                )
            )  # fmt: skip
            await browser.close()

    async def _let_in(self, person: Person, way: Any, visiting: Any) -> None:
        async with self._room:
            begin = time.monotonic()
            await way(person, visiting)
            print(
                f"{person.ref} ({person.kind}): {person.pressed} answers in {(time.monotonic() - begin) / 60:.1f} min",
                flush=True,
            )

    async def _finished(self, visit: Visit) -> None:
        assert await visit.take_part() == "thanks"
        await visit.all_sent()
        visit.person.code = await visit.code()

    async def _ordinary(self, person: Person, visiting: Any) -> None:
        async with visiting(person) as visit:
            await visit.open()
            await self._finished(visit)

    async def _two_tabs(self, person: Person, visiting: Any) -> None:
        async with visiting(person) as visit:
            await visit.open()
            await visit.take_part(until=3)
            await visit.open()
            await self._finished(visit)

    async def _next_day(self, person: Person, visiting: Any) -> None:
        async with visiting(person) as visit:
            await visit.open()
            assert await visit.take_part(until=OF_EACH // 2 - 3) == "pairs"
        # while others are in the middle of it
        await asyncio.to_thread(self.server.kill)
        await asyncio.sleep(5)
        await asyncio.to_thread(self.server.start)
        async with visiting(person) as visit:
            await visit.open()
            # no consent, no practice again
            assert await visit.page.get_attribute("main", "data-step") == "pairs"
            await self._finished(visit)

    async def _revoked(self, person: Person, visiting: Any) -> None:
        async with visiting(person) as visit:
            await visit.open()
            assert await visit.take_part(until=OF_EACH // 2) == "pairs"
            await visit.all_sent()
            stored = len(person.sent)
            await asyncio.to_thread(self.server.prefloop, "study", "revoke", STUDY, person.ref)
            assert await visit.take_part() == "ended"
            assert await visit.reload() == "ended"
            assert len(person.sent) == stored, "an answer counted after the link was revoked"


def require_nothing_lost(client: LabellingClient, people: Sequence[Person]) -> int:
    """Compares what is stored with what was pressed; how many answers there are.

    Raises:
        AssertionError: one is missing, is there twice, or is more than a link was for.
    """
    of_pairs = list(client.all_labels(RUN))
    events = [*of_pairs, *client.all_labels(f"{RUN}-checks")]
    pairs = {event.query for event in of_pairs}
    undone: set[UUID] = {event.undoes for event in events if event.undoes is not None}
    for person in people:
        theirs = [e for e in events if e.annotator == f"{STUDY}-{person.ref}" and e.kind != "undo"]
        stands = [event for event in theirs if event.id not in undone]
        assert {str(event.id) for event in theirs} >= person.sent, person.ref
        assert len({(event.query, event.repeat) for event in stands}) == len(stands), person.ref
        assert len(theirs) - len(stands) == person.undone, person.ref
        if person.kind == "revoked":
            # what was pressed after that was refused
            assert len(theirs) == len(person.sent) <= person.pressed, person.ref
        else:
            assert len(theirs) == len(person.sent) == person.pressed, person.ref
            assert len([e for e in stands if e.query in pairs]) == OF_EACH, person.ref
    return len(events)


def named(server: Server) -> list[str]:
    """Whom the study's table marks."""
    print(server.prefloop("study", "show", STUDY))
    (server.out / "study.csv").unlink(missing_ok=True)
    server.prefloop("study", "show", STUDY, "--csv", "study.csv")
    with (server.out / "study.csv").open() as file:
        return [row["participant"] for row in csv.DictReader(file) if row["doubts"]]


def accuracies(server: Server, name: str, seeds: int, *flags: str) -> NDArray:
    """Of rewards that `prefloop reward` fits, on clean pairs of other episodes; [seeds]."""
    env, found = make_vector_env(ENV, 1), []
    judged = [clean(pool(OTHER_EPISODES + i)[0], CLEAN, np.random.default_rng(i)) for i in range(2)]
    for seed in range(seeds):
        out = server.out / f"reward-{name}-{seed}"
        if not (out / reward_model.PARAMS).exists():
            server.prefloop("reward", "--run", RUN, "--out", str(out), "--seed", str(seed), *flags)
        model = reward_model.load(out, env)
        right = []
        for pairs in judged:
            returns = model.returns(pairs.segments).mean(axis=0)
            prefers_second = returns[pairs.second] > returns[pairs.first]
            right.append((prefers_second == (pairs.labels > 0.5)).mean())
        found.append(np.mean(right))
    return np.array(found)


def report(server: Server, client: LabellingClient, people: Sequence[Mapping[str, Any]], seeds: int) -> None:  # fmt: skip
    """Who is named, and what rewards learn with and without them."""
    careless = sorted(one["ref"] for one in people if one["kind"] in ("careless", "left"))
    marked = sorted(named(server))
    print(f"careless: {', '.join(careless)}; named: {', '.join(marked)}")
    assert marked == careless, "not the careless alone are named"
    print(server.prefloop("runs", "show", RUN))
    for ref in marked:
        server.prefloop("runs", "include", RUN, f"{STUDY}-{ref}")
    rows = {
        "all, as they are": accuracies(server, "all", seeds),
        "all, `--annotator_errors learned`": accuracies(server, "learned", seeds, "--annotator_errors", "learned"),
    }  # fmt: skip
    for ref in marked:
        server.prefloop("runs", "exclude", RUN, f"{STUDY}-{ref}")
    rows["without those named"] = accuracies(server, "without", seeds)
    plain = next(iter(rows.values()))
    print("| answers | accuracy on clean pairs | less all, as they are |\n|---|---|---|")
    for what, values in rows.items():
        mean, gain = mean_estimate(values), mean_estimate(values - plain)
        said = "" if values is plain else f"{gain.mean:+.3f} ({gain.low:+.3f} to {gain.high:+.3f})"
        print(f"| {what} | {mean.mean:.3f} ({mean.low:.3f} to {mean.high:.3f}) | {said} |")


def main() -> None:
    """The study, and what came of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("benchmark_runs/scripted_study"))
    parser.add_argument("--port", type=int, default=8123)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--at_once", type=int, default=6)
    parser.add_argument("--fits", type=int, default=8)
    parser.add_argument("--report", action="store_true", help="only what came of an earlier run")
    arguments = parser.parse_args()
    out = arguments.out.resolve()
    out.mkdir(parents=True, exist_ok=arguments.report)
    server = Server(out, arguments.port)
    try:
        client = server.client()
        if not arguments.report:
            returns = prepare(server, client)
            people = people_of(out / f"{STUDY}-links.csv", arguments.seed)
            spread = float(pool(0)[0].returns.std())
            begin = time.monotonic()
            asyncio.run(Study(server, returns, 0.15 * spread, arguments.at_once).run(people))
            stored = require_nothing_lost(client, people)
            print(f"{stored} events in {(time.monotonic() - begin) / 60:.0f} min; nothing is lost, nothing is there twice.")  # fmt: skip
            codes = {person.ref: person.code for person in client.study(STUDY).participants}
            assert all(codes[p.ref] == p.code for p in people if p.kind != "revoked")
            kinds = [{"ref": person.ref, "kind": person.kind} for person in people]
            (out / "people.json").write_text(json.dumps(kinds))
        report(server, client, json.loads((out / "people.json").read_text()), arguments.fits)
    finally:
        server.kill()


if __name__ == "__main__":
    main()
