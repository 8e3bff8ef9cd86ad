"""Twenty scripted people who take part in a study, each at a page in Chromium; see scripted_study.py."""

import asyncio
import csv
import json
import os
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import numpy as np

from prefloop.labelling.client.client import LabellingClient

if TYPE_CHECKING:
    from scripted_study import Server

FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
RUN, STUDY = "swing", "scripted"
OF_EACH, PRACTICE = 40, 2  # pairs of each participant, and those to practise on


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

    def __init__(self, crowd: "Crowd", person: Person, context: Any) -> None:
        self._crowd, self.person, self._context = crowd, person, context
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
        left, right = await asyncio.to_thread(self._crowd.returns.of, ids)
        sure = 1 / (1 + np.exp(-(right - left) / self._crowd.close))
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


class Crowd:
    """All of them, several at once."""

    def __init__(self, server: "Server", returns: Returns, close: float, at_once: int) -> None:
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
