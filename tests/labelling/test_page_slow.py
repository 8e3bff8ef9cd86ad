"""The page and a server whose replies take long, or stop in the middle."""

import asyncio
import contextlib
import io
import zipfile

import pytest
from pages import NEEDS_CHROMIUM, Site, begin, labels, make_run, opened, say, until
from taking_part import make_study

pytest_plugins = ["page_fixtures"]
pytestmark = NEEDS_CHROMIUM

PIECES = 12


class Slow:
    """An application whose replies to some requests come late, and in pieces.

    Args:
        method, path: of these requests; the path's beginning.
        before: seconds until anything is done.
        between: seconds between two pieces.
        stopping: so many replies stop in the middle.
    """

    def __init__(self, app, method, path, before=0.0, between=0.0, stopping=0):
        self.app, self.method, self.path = app, method, path
        self.before, self.between, self.stopping = before, between, stopping
        self.asked = 0

    async def __call__(self, scope, receive, send):
        asks = scope["type"] == "http" and scope["method"] == self.method
        if not asks or not scope["path"].startswith(self.path):
            await self.app(scope, receive, send)
            return
        self.asked += 1
        stops = self.asked <= self.stopping

        async def slowly(message):
            if message["type"] == "http.response.start":
                await send(message)
                return
            body = message.get("body", b"")
            size = len(body) // PIECES + 1
            for start in range(0, len(body), size):
                if stops and start > 0:
                    while (await receive())["type"] != "http.disconnect":
                        pass  # until the page goes
                    raise ConnectionAbortedError
                await send({**message, "body": body[start : start + size], "more_body": True})
                await asyncio.sleep(self.between)
            await send({**message, "body": b""})

        await asyncio.sleep(self.before)
        with contextlib.suppress(ConnectionAbortedError):
            await self.app(scope, receive, slowly)


def slow(tmp_path, *what, **how):
    """A site, some of whose replies are slow."""
    site = Site(tmp_path)
    site.app = Slow(site.app, *what, **how)
    return site


def less_patient(page, patience, long=30_000):
    """Has the page wait for fewer milliseconds than it does."""

    def shorten(route):
        reply = route.fetch()
        text = reply.text()
        assert text.count("20_000") == text.count("600_000") == 1
        body = text.replace("20_000", str(patience)).replace("600_000", str(long))
        route.fulfill(response=reply, body=body)

    page.route("**/js/common/api.js", shorten)


def say_yes(page, name):
    """Types a name into the question whether to delete it, and says yes."""
    page.locator("#confirm-typed").fill(name)
    page.get_by_role("button", name="Delete for good").click()


@pytest.mark.parametrize(
    ("how", "patience", "asked"),
    [
        pytest.param({"between": 0.4}, 3000, 2, id="that come slowly are loaded once"),
        pytest.param({"stopping": 2}, 1500, 4, id="that stop in the middle are loaded again"),
    ],
)
def test_clips(tmp_path, browser, how, patience, asked):
    with slow(tmp_path, "GET", "/clips/", **how) as site, opened(browser) as page:
        make_run(site.api, num_queries=1)
        less_patient(page, patience)
        begin(page, site.url)
        assert site.app.asked == asked


def to_exports(page, site):
    """Opens a run's dialog in which it is exported."""
    make_run(site.api, num_queries=2)
    say(site.api, "ada", ["left"])
    page.goto(site.url)
    page.get_by_role("button", name="Manage cartpole-01").click()
    return page.get_by_role("button", name="Export", exact=True)


EXPORT = "/api/runs/cartpole-01/export"


def test_an_export_that_takes_long_is_saved(tmp_path, browser):
    with slow(tmp_path, "GET", EXPORT, before=4) as site, opened(browser) as page:
        less_patient(page, 1500)
        button = to_exports(page, site)
        with page.expect_download() as download:
            button.click()
        archive = zipfile.ZipFile(io.BytesIO(download.value.path().read_bytes()))
        assert "preferences.jsonl" in archive.namelist()
        assert site.app.asked == 1


def test_an_export_that_stops_in_the_middle_is_told(tmp_path, browser):
    with slow(tmp_path, "GET", EXPORT, stopping=1) as site, opened(browser) as page:
        less_patient(page, 20_000, long=1500)
        button = to_exports(page, site)
        button.click()
        page.get_by_text("The server's reply was cut short.").wait_for()
        with page.expect_download():
            button.click()


def test_who_is_forgotten_slowly_is_forgotten_once(tmp_path, browser):
    with slow(tmp_path, "POST", "/api/people/forget", before=4) as site, opened(browser) as page:
        make_run(site.api, num_queries=2, annotators_per_query=2)
        for name in ("bob", "eve"):
            say(site.api, name, ["left"])
        less_patient(page, 1500)
        page.goto(f"{site.url}/#/results/cartpole-01")
        page.get_by_role("button", name="Delete all that is stored of eve").click()
        say_yes(page, "eve")
        until(page, "!document.querySelector('dialog[open]') && !document.body.textContent.includes('eve')")  # fmt: skip
        assert site.app.asked == 1
        assert {event["annotator"] for event in labels(site.api)} == {"bob"}


@pytest.mark.parametrize("what", ["study", "run"])
def test_what_takes_long_to_delete_is_deleted(tmp_path, browser, what):
    path = {"study": "/api/studies/pilot", "run": "/api/runs/cartpole-01"}[what]
    with slow(tmp_path, "DELETE", path, before=4) as site, opened(browser) as page:
        make_run(site.api, num_queries=2)
        less_patient(page, 1500)
        if what == "study":
            make_study(site.api, runs={"pairs": ["cartpole-01"]})
            page.goto(f"{site.url}/#/studies/pilot")
            page.get_by_role("button", name="Delete the study …").click()
            say_yes(page, "pilot")
            until(page, "document.body.textContent.includes('There is no study yet')")
        else:
            say(site.api, "ada", ["left"])
            page.goto(site.url)
            page.get_by_role("button", name="Manage cartpole-01").click()
            page.get_by_role("button", name="Delete …").click()
            say_yes(page, "cartpole-01")
            until(page, "document.body.textContent.includes('There is nothing to label yet')")
        until(page, "!document.querySelector('dialog[open]')")
        assert site.app.asked == 1
