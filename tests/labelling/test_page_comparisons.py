"""Comparisons on the page: listed, watched in step, by keyboard and on phones, and removed."""

import re

import pytest
from accessibility import faults
from compared import ID, STEPS, comparison, send
from pages import (
    APART,
    AWAY,
    NEEDS_CHROMIUM,
    PHONE,
    WIDE,
    Site,
    at_step,
    make_run,
    opened,
    shown,
    until,
)

from prefloop.labelling.server.security import make_tokens

pytest_plugins = ["page_fixtures"]
pytestmark = NEEDS_CHROMIUM

CALM = {"reduced_motion": "reduce"}


@pytest.fixture
def compared(site):
    """A server that shows a comparison of two runs, one of which has learned a reward."""
    send(site.api, *comparison())
    return site


def watch(page, site):
    page.goto(f"{site.url}/#/comparisons/{ID}")
    at_step(page, 0)


def policies(page):
    return page.locator(".which").all_inner_texts()


def test_opened_from_the_list_it_plays_in_step(compared, browser):
    with opened(browser, **CALM) as page:
        page.goto(compared.url)
        page.get_by_role("link", name="Comparisons").click()
        card = page.locator(".run")
        assert re.search(r"Pendulum-v1 \(horizon 60\)\s+\d+ \w+ 20\d\d", card.inner_text())
        assert "2 runs, 8 clips, by ada" in card.inner_text()
        page.get_by_role("link", name="Watch taught, true").click()
        at_step(page, 0)
        assert page.title() == "taught, true · prefloop"
        assert page.locator("h1").evaluate("node => node === document.activeElement")
        page.keyboard.press(" ")
        found = page.evaluate(APART, {"seconds": 1.8, "fps": 30})
        assert found["looked"] > 3
        assert found["apart"] <= 1
        sources = page.eval_on_selector_all(".panels video", "all => all.map(v => v.src)")
        assert all(source.startswith("blob:") for source in sources)  # fetched with the token


def test_everything_by_keyboard(compared, browser):
    with opened(browser, **CALM) as page:
        watch(page, compared)
        press = page.keyboard.press
        press(".")
        press("ArrowRight")
        at_step(page, 2)
        press(",")
        at_step(page, 1)
        press("N")  # with caps lock, too
        until(page, "document.querySelector('.start').textContent === 'episode 2 of 2'")
        at_step(page, 0)
        assert policies(page) == ["the last policy, 2,000 steps, 20 labels", "the last policy, 2,000 steps"]  # fmt: skip
        press("2")  # to the slider of the second run
        press("ArrowLeft")
        assert policies(page)[1] == "checkpoint 0, 1,000 steps"
        at_step(page, 0)
        page.locator(".reward-trace").first.focus()
        press("End")
        at_step(page, STEPS - 1)
        press("?")  # the help of the page, and not both
        page.wait_for_selector("#help-dialog[open]")
        assert not page.locator(".transport dl").is_visible()
        press(".")
        press("Escape")
        at_step(page, STEPS - 1)
        page.locator(".gallery button").last.focus()
        press("Enter")
        at_step(page, 0)
        until(page, "document.querySelector('[data-key=\" \"]').textContent === 'Pause'")


def test_it_stops_where_the_page_is_left(compared, browser):
    with opened(browser) as page:
        page.goto(f"{compared.url}/#/comparisons/{ID}")
        until(
            page, "[...document.querySelectorAll('.panels video')].some(v => v.currentTime > 0.2)"
        )
        page.evaluate("window.old = [...document.querySelectorAll('.panels video')]")
        page.get_by_role("link", name="All comparisons").click()
        page.wait_for_selector(".run")
        assert page.evaluate("window.old.every(video => video.paused)")
        page.keyboard.press(".")  # which is nobody's here
        assert page.evaluate("window.old.every(video => video.paused)")


def test_it_is_removed_after_a_question_also_while_somebody_watches(compared, browser):
    with (
        opened(browser, (*AWAY, "ERR_"), **CALM) as watching,
        opened(browser) as page,
    ):
        watch(watching, compared)
        page.goto(f"{compared.url}/#/comparisons")
        remove = page.get_by_role("button", name="Remove taught, true")
        remove.click()
        assert "with its 8 clips" in shown(page, "#remove-dialog")
        assert faults(page) == []
        page.get_by_role("button", name="Cancel").click()
        assert remove.evaluate("node => node === document.activeElement")
        assert len(compared.api.get("/api/comparisons").json()) == 1
        remove.click()
        page.get_by_role("button", name="Remove for good").click()
        page.wait_for_selector(".empty")
        assert compared.api.get("/api/comparisons").json() == []
        assert f"--server {compared.url}" in shown(page, ".empty")
        assert page.locator("h1").evaluate("node => node === document.activeElement")
        # what was fetched still plays; what was not is told, and leaves nothing behind
        watching.keyboard.press(".")
        at_step(watching, 1)
        watching.keyboard.press("n")
        until(watching, "document.querySelector('.screen').textContent.includes('This clip is gone')")  # fmt: skip
        watching.reload()
        until(watching, "document.querySelector('main').textContent.includes('may have been removed')")  # fmt: skip


def test_a_new_one_shows_by_itself_and_whoever_only_labels_can_remove_none(tmp_path, browser):
    tokens = make_tokens()
    with Site(tmp_path, tokens=tokens.hashed) as site, opened(browser) as page:
        page.goto(f"{site.url}/#token={tokens.annotator}")
        page.get_by_role("link", name="Comparisons").click()
        page.wait_for_selector(".empty:not([hidden])")
        site.api.headers["authorization"] = f"Bearer {tokens.trainer}"
        send(site.api, *comparison("taught"))
        page.wait_for_selector(".run")
        assert page.locator(".run button").count() == 0
        page.get_by_role("link", name="Watch taught").click()
        at_step(page, 0, panels=1)


def test_a_runs_results_lead_to_the_newest_comparison_of_it(compared, browser):
    make_run(compared.api, "taught", num_queries=0)
    make_run(compared.api, "other", num_queries=0)
    with opened(browser, **CALM) as page:
        page.goto(f"{compared.url}/#/results/other")
        page.wait_for_selector(".page-links")
        page.wait_for_timeout(300)
        assert not page.get_by_text("Side by side").is_visible()
        page.goto(f"{compared.url}/#/results/taught")
        page.get_by_role("link", name="Side by side").click()
        at_step(page, 0)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [WIDE, PHONE], ids=["wide", "phone"])
def test_everybody_can_use_it(site, browser, scheme, viewport):
    send(site.api, *comparison("taught", "true", "third"))
    with opened(browser, viewport=viewport, color_scheme=scheme, **CALM) as page:
        fits = "document.documentElement.scrollWidth <= innerWidth"
        page.goto(f"{site.url}/#/comparisons")
        page.wait_for_selector(".run")
        assert faults(page) == []
        assert page.evaluate(fits)
        page.goto(f"{site.url}/#/comparisons/{ID}")
        at_step(page, 0, panels=3)
        page.locator(".help summary").click()
        assert faults(page) == []
        assert page.evaluate(fits)
