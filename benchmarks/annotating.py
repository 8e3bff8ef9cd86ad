"""Scripted annotators at the real page, for benchmarks: headless Chromium, a keyboard, and what is wanted as a number."""

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

import numpy as np

from prefloop.data.segments import Segments
from prefloop.errors import UserError
from prefloop.labelling.client.client import LabellingClient

FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
WRONG = 0.1  # of the answers
TELLABLE = 0.1  # deviations of what is wanted that two clips must differ by

Judge = Callable[[Segments, int], float]
"""How good a segment is, of those that it is among by its place; more is better."""


@contextlib.contextmanager
def opened_page() -> Iterator[Any]:
    """A page in Chromium."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        path = os.environ.get("CHROMIUM", "/usr/bin/chromium")
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser.new_page(viewport={"width": 1280, "height": 800})
        browser.close()


def quiet() -> dict[str, str]:
    """Surroundings of a process whose log is read while it runs, on a core of its own."""
    return {**os.environ, "PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1"}


class Annotator:
    """Somebody at the page, who knows what is wanted.

    Attributes:
        run: the run's name on the server.
        client: of the server.
        answered, wrong, skipped, ties: how often.
    """

    def __init__(
        self,
        page: Any,
        address: str,
        judge: Judge,
        pace: float,
        seed: int,
        on_pair: Callable[[list[UUID], Segments], None] = lambda ids, segments: None,
        alike: str = "s",
    ) -> None:
        """Opens the page of a run.

        Args:
            pace: seconds for each pair.
            on_pair: is told of each pair, the left segment first.
            alike: the key for two that can't be told apart: `s`, they can't, or `=`, they are equal.
        """
        self._page, self._judge, self._pace = page, judge, pace
        self._on_pair, self._alike = on_pair, alike
        self._rng = np.random.default_rng(seed)
        url, _, self.run = address.partition("/#/label/")
        self.client = LabellingClient(url, patience=30)
        self._seen: list[float] = []
        self.answered = self.wrong = self.skipped = self.ties = 0
        page.goto(address)
        # the browser asks once
        page.locator("#name-field:visible, #view[data-state]").first.wait_for()
        if page.locator("#name-field").is_visible():
            page.fill("#name-field", "ada")
            page.keyboard.press("Enter")

    def label_next(self) -> bool:
        """Looks at the pair that is shown, and answers it by key; False where there is none."""
        if self._page.get_attribute("#view", "data-state") != "pair":
            return False
        lease = self._page.get_attribute(".stage", "data-lease")
        ids = [
            UUID(self._page.get_attribute(f"[data-side={side}]", "data-segment"))
            for side in ("left", "right")
        ]
        segments = self.client.segments(self.run, ids)
        self._on_pair(ids, segments)
        left, right = (self._judge(segments, i) for i in range(2))
        self._seen += [left, right]
        self._page.wait_for_timeout(1000 * self._pace)
        self._page.keyboard.press(self._key(left, right))
        deadline = time.monotonic() + 30
        while (
            self._page.get_attribute("#view", "data-state") == "pair"
            and self._page.get_attribute(".stage", "data-lease") == lease
        ):
            if time.monotonic() > deadline:
                raise UserError("The page did not take the answer within 30 s.")
            self._page.wait_for_timeout(20)
        return True

    def _key(self, left: float, right: float) -> str:
        if abs(left - right) <= TELLABLE * np.std(self._seen):
            self.skipped += self._alike == "s"
            self.ties += self._alike == "="
            self.answered += self._alike == "="
            return self._alike
        is_wrong = self._rng.random() < WRONG
        self.answered, self.wrong = self.answered + 1, self.wrong + is_wrong
        return "1" if (left > right) != is_wrong else "2"
