"""The page in a browser: a run whose clips are real, and a Chromium that forgives no error."""

import contextlib
import importlib.util
import shutil
import tempfile
import time
import uuid
from pathlib import Path

import numpy as np
import pytest
from empty_stores import empty_sqlite
from people import seeded
from serving import serving

from prefloop.data.segments import Segments
from prefloop.labelling.arrays import Segment, pad, to_archive
from prefloop.labelling.server.app import create_app
from prefloop.labelling.server.clips import ClipStore
from prefloop.labelling.server.config import SettingsFile
from prefloop.labelling.server.rendering import write_clip
from prefloop.labelling.server.storage.store import Store, utc_now

# the shell without windows is the same engine with less around it, for a quarter less of the processor's time
NAMES = ("chromium-headless-shell", "chromium", "chromium-browser")
CHROMIUM = next(filter(None, map(shutil.which, NAMES)), None)
REASON = "Chromium is not installed"
if importlib.util.find_spec("playwright") is None:
    CHROMIUM, REASON = None, "Playwright is not installed"
NEEDS_CHROMIUM = pytest.mark.skipif(CHROMIUM is None, reason=REASON)
# in a round of clips that are compared: how far they were apart, in frames, when all last played
APART = """async ({seconds, fps}) => {
    const videos = [...document.querySelectorAll(".panels video")];
    const begun = performance.now();
    let apart = 0, looked = 0;
    while (performance.now() - begun < 1000 * seconds) {
        await new Promise(requestAnimationFrame);
        if (videos.some((video) => video.seeking || video.paused || video.currentTime < 0.5)) continue;
        const times = videos.map((video) => video.currentTime);
        apart = (Math.max(...times) - Math.min(...times)) * fps;
        looked += 1;
    }
    return {apart, looked};
}"""
AWAY = ("Failed to load resource",)  # what Chromium says of a server that refuses or is away
ARGUMENTS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
WIDE = {"width": 1280, "height": 800}
PHONE = {"width": 390, "height": 844}

RUN = {
    "env": "CartPole-v1",
    "spaces": {"obs_shape": [4], "obs_dtype": "float32", "discrete": True, "num_actions": 2},
}


def make_segments(count, length=25, seed=0):
    """Poles that fall sooner or later; the rewards say how long they stood."""
    rng = np.random.default_rng(seed)
    segments = []
    for _ in range(count):
        obs = np.zeros((length, 4), dtype=np.float32)
        time = np.arange(length)
        obs[:, 0] = rng.uniform(-1, 1) + rng.uniform(-0.03, 0.03) * time
        obs[:, 2] = rng.uniform(-0.05, 0.05) + rng.uniform(-0.02, 0.02) * time
        upright = (np.abs(obs[:, 2]) < 0.2).astype(np.float32)
        segments.append(Segment(obs, rng.integers(2, size=length), upright))
    return segments


def clip_of(segment):
    """An MP4 of a segment: a cart and its pole, in a sixteenth of the pixels, which take a sixth of the time."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.mp4"
        write_clip(path, map(_picture, segment.obs), 50)
        return path.read_bytes()


def _picture(obs):
    height, width = 100, 150
    y, x = np.mgrid[:height, :width]
    cart = width / 2 + 31 * obs[0]
    picture = np.full((height, width, 3), 255, np.uint8)
    picture[(abs(x - cart) < 6) & (abs(y - 75) < 4)] = 0
    up = 75 - y
    picture[(abs(x - cart - np.tan(obs[2]) * up) < 2) & (up > 0) & (up < 30)] = (202, 152, 101)
    return picture


def make_run(api, name="cartpole-01", num_queries=6, seed=0, length=25, clips=True, **facts):
    """A run with queries and clips."""
    assert api.put(f"/api/runs/{name}", json={**RUN, **facts}).status_code == 200
    return add_pairs(api, name, num_queries, seed, length, clips)


def add_pairs(api, name, num_queries, seed=0, length=25, clips=True):
    """Queries for a run: [(id, first segment's id, second's)] and the segments by id."""
    if not num_queries:
        return []
    segments = make_segments(2 * num_queries, length, seed)
    padded: Segments = pad(segments)
    reply = api.post(f"/api/runs/{name}/segments", content=to_archive(padded))
    ids = reply.json()["ids"]
    if clips:
        for id, segment in zip(ids, segments, strict=True):
            assert api.put(f"/api/segments/{id}/clip", content=clip_of(segment)).status_code == 200
    asked = [(str(uuid.uuid4()), ids[2 * i], ids[2 * i + 1]) for i in range(num_queries)]
    body = {"queries": [{"id": id, "first": one, "second": two} for id, one, two in asked]}
    assert api.post(f"/api/runs/{name}/queries", json=body).status_code == 204
    return asked


def labels(api, name="cartpole-01"):
    """The run's events."""
    return api.get(f"/api/runs/{name}/labels").json()["events"]


@contextlib.contextmanager
def chromium():
    """A browser."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()


@contextlib.contextmanager
def opened(browser, expected=(), viewport=WIDE, annotator="ada", **options):
    """A page; whatever its console complains about, or another tab's of its context, fails the test.

    Args:
        expected: parts of complaints that a test provokes, such as a server that is away.
        annotator: the name that the browser knows; None: it asks.
    """
    context = browser.new_context(viewport=viewport, locale="en-GB", **options)
    if annotator is not None:
        context.add_init_script(
            "location.protocol === 'about:' || (localStorage.getItem('prefloop.annotator') ?? "
            f"localStorage.setItem('prefloop.annotator', '\"{annotator}\"'))"
        )
    context.set_default_timeout(60_000)  # of a machine that does other things, too
    complaints = []

    def complain(text):
        if not any(part in text for part in expected):
            complaints.append(text)

    # a violation of the content security policy is an error of the console, too
    context.on("console", lambda m: complain(f"{m.type}: {m.text}") if m.type in ("error", "warning") else None)  # fmt: skip
    context.on("weberror", lambda uncaught: complain(f"uncaught: {uncaught.error}"))
    context.on("dialog", lambda dialog: (complain(f"dialog: {dialog.message}"), dialog.dismiss()))
    context.on("request", lambda r: None if r.url.startswith(("http://127.0.0.1:", "blob:", "data:")) else complain(f"elsewhere: {r.url}"))  # fmt: skip
    try:
        yield context.new_page()
        assert not complaints, complaints
    finally:
        context.close()


def until(page, script, arg=None, seconds=20):
    """Waits until a script says true. Playwright's own way is refused by the page's policy."""
    deadline = time.monotonic() + seconds
    while not page.evaluate(script, arg):
        assert time.monotonic() < deadline, f"never came true: {script}"
        page.wait_for_timeout(15)


class Site:
    """A served application; `api` is a client of it, `url` is where its page is."""

    def __init__(self, tmp_path, clock=utc_now, **kwargs):
        self.store = Store(empty_sqlite(tmp_path / "labels.sqlite3"), clock, seeded())
        self.settings = SettingsFile(tmp_path / "labelling.yaml")
        self.clips = ClipStore(tmp_path / "clips", 10**8)
        self.app = create_app(self.store, self.clips, self.settings, **kwargs)

    def __enter__(self):
        self._serving = serving(self.app)
        self.api = self._serving.__enter__()
        self.url = str(self.api.base_url).rstrip("/")
        return self

    def __exit__(self, *error):
        self._serving.__exit__(*error)
        self.store.close()


def begin(page, url, name="cartpole-01"):
    page.goto(f"{url}/#/label/{name}")
    page.wait_for_selector("[data-state=pair]")


def lease(page):
    return page.get_attribute(".stage", "data-lease")


def sides(page):
    """The segments that are shown, once a pair is."""
    page.wait_for_selector("[data-state=pair]")
    return page.evaluate(
        "['left', 'right'].map(side => document.querySelector(`[data-side=${side}]`).dataset.segment)"
    )


def keys_at_once(page, *keys):
    """Presses keys with nothing between them, however slow the machine is."""
    page.evaluate(
        "keys => keys.forEach(key => window.dispatchEvent(new KeyboardEvent('keydown', {key})))",
        list(keys),
    )


def press(page, key):
    """Presses an answering key once a pair is shown, and waits until that pair has gone."""
    page.wait_for_selector("[data-state=pair]")
    before = lease(page)
    page.keyboard.press(key)
    until(
        page,
        "before => document.querySelector('main').dataset.state !== 'pair'"
        " || document.querySelector('.stage').dataset.lease !== before",
        arg=before,
    )


def undo(page):
    """Takes the last answer back, and waits until its pair is shown again."""
    before = lease(page)
    page.keyboard.press("u")
    until(
        page,
        "before => document.querySelector('main').dataset.state === 'pair'"
        " && document.querySelector('.stage').dataset.lease !== before",
        before,
    )
    page.wait_for_selector("[data-action=undo][aria-disabled=false]")


def settled(page):
    until(page, "Object.keys(localStorage).every(key => !key.startsWith('prefloop.answer.'))")  # fmt: skip


def cut(page):
    """The server is away, for this page."""
    page.route("**/api/**", lambda route: route.abort())


def mend(page):
    """It is back."""
    page.unroute("**/api/**")


def last(page, text):
    """Waits until the page says so of the last key."""
    until(page, "text => document.querySelector('.last').textContent.includes(text)", text)


def kinds(site):
    """What the run's events are."""
    return [event["kind"] for event in labels(site.api)]


def shown(page, name):
    """Waits for a text of an element of the page."""
    return page.locator(name).inner_text()


def say(api, annotator, choices, run="cartpole-01", **more):
    """Answers by the API, as another page would give them; the queries."""
    wish = {"annotator": annotator, "session": str(uuid.uuid4()), "count": len(choices)}
    given = api.post(f"/api/runs/{run}/leases", json=wish).json()["queries"]
    for query, choice in zip(given, choices, strict=True):
        said = {"id": str(uuid.uuid4()), "lease": query["lease"], "choice": choice, **more}
        assert api.post("/api/answers", json=said).status_code == 200
    return [query["query"] for query in given]


def report(api, *hard, accuracy=0.75, rewards=None, run="cartpole-01"):
    """What a trainer says of its reward model; hard pairs as (query, label, probability).

    Args:
        rewards: of each step, of both segments of each pair.
    """
    hardest = [dict(zip(("query", "label", "probability"), pair, strict=True)) for pair in hard]
    if rewards is not None:
        hardest = [{**pair, "first_reward": rewards, "second_reward": rewards} for pair in hardest]
    body = {"accuracy": accuracy, "labels": 4, "hardest": hardest}
    assert api.put(f"/api/runs/{run}/reward-report", json=body).status_code == 204


def at_step(page, step, panels=2):
    """Waits until all of a comparison stands at a step, from 0: the readout, the cursors, and so many videos, if given."""
    if panels is not None:
        until(page, "n => document.querySelectorAll('.panels video').length === n", panels)
    until(page, "document.querySelector('.panels').ariaBusy === null")
    until(page, "step => document.querySelector('.frame').textContent.startsWith(`step ${step + 1} of`)", step)  # fmt: skip
    until(page, "step => [...document.querySelectorAll('.panels .reward')].every(n => Number(n.dataset.step) === step)", step)  # fmt: skip
    until(page, "step => [...document.querySelectorAll('.panels video')].every(v => !v.seeking && Math.floor(v.currentTime * 30) === step)", step)  # fmt: skip


def to_hard_pairs(page):
    """Scrolls to the pairs that a reward model finds hardest, which are loaded where they are seen."""
    page.locator(".hard-pair").first.scroll_into_view_if_needed()
