"""The page with a screen reader, by keyboard, in the dark, and where nothing is to move."""

import re

import pytest
from accessibility import faults
from pages import (
    AWAY,
    NEEDS_CHROMIUM,
    begin,
    labels,
    make_run,
    opened,
    press,
    report,
    say,
    settled,
    shown,
    until,
)

pytest_plugins = ["page_fixtures"]
pytestmark = NEEDS_CHROMIUM

PLACES = {
    "#/": ".run",
    "#/label/cartpole-01": "[data-state=pair]",
    "#/results/cartpole-01": ".hard-pair",
    "#/settings": ".setting",
}
REWARDS = {"learned": [0.5] * 25, "lowest": [0.0] * 25, "highest": [1.0] * 25}  # of each step


@pytest.fixture
def labelled(site):
    """A run with everything that a page can show of one."""
    make_run(site.api, num_queries=3, annotators_per_query=2, instructions="Watch the pole.")
    query, *_ = say(site.api, "grace", ["left", "tie", "skip"], seconds=2)
    say(site.api, "bob", ["right"], seconds=3)
    report(site.api, (query, 0, 0.9), rewards=REWARDS)
    return site


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_that_axe_knows_is_wrong(labelled, browser, scheme):
    with opened(browser, (*AWAY, "ERR_"), color_scheme=scheme) as page:
        for place, sign in PLACES.items():
            page.goto(f"{labelled.url}/{place}")
            page.wait_for_selector(sign)
            assert faults(page) == [], place
        begin(page, labelled.url)
        page.keyboard.press("?")
        page.wait_for_selector("#help-dialog[open]")
        assert faults(page) == []
        page.keyboard.press("Escape")
        page.locator("#name-button").click()
        page.locator("#name-field").fill("")
        page.keyboard.press("Enter")
        page.wait_for_selector("#name-mistake:not(:empty)")
        assert faults(page) == []
        page.keyboard.press("Escape")
        # offline, narrowed, and then refused
        page.route("**/api/**", lambda route: route.abort())
        page.keyboard.press("o")
        press(page, "=")
        page.wait_for_selector("#offline:not([hidden])")
        assert faults(page) == []
        labelled.settings.change({"allow_ties": False})
        page.unroute("**/api/**")
        page.wait_for_selector(".notice")
        assert faults(page) == []


def test_axe_would_notice(labelled, browser):
    with opened(browser) as page:
        page.goto(f"{labelled.url}/#/")
        page.wait_for_selector(".run")
        page.evaluate("document.querySelector('h1').style.color = '#ddd'")
        page.evaluate("document.querySelector('#help-button').removeAttribute('aria-label')")
        page.evaluate("document.querySelector('#help-button').replaceChildren()")
        assert {"color-contrast", "button-name"} <= {fault for fault, *_ in faults(page)}


def test_every_control_has_a_name(labelled, browser):
    control = re.compile(
        r"^\s*- '?(button|link|slider|textbox|switch|progressbar|img|dialog|region)\b"
    )
    with opened(browser) as page:
        for place, sign in PLACES.items():
            page.goto(f"{labelled.url}/{place}")
            page.wait_for_selector(sign)
            lines = page.locator("body").aria_snapshot().splitlines()
            controls = [line for line in lines if control.match(line)]
            assert len(controls) > 5
            assert [line for line in controls if ' "' not in line] == [], place
        for button, dialog in (("#help-button", "help"), ("#name-button", "name")):
            page.locator(button).click()
            opened_dialog = page.locator(f"#{dialog}-dialog[open]")
            snapshot = opened_dialog.aria_snapshot()
            assert re.match(r'- dialog "\w', snapshot), snapshot
            page.keyboard.press("Escape")
            # whoever opened it is where they were
            until(page, "id => '#' + document.activeElement.id === id", button)


def test_answers_and_pairs_are_told_of_and_the_focus_stays(site, browser):
    make_run(site.api, num_queries=4)

    def told(text):
        until(page, "t => document.querySelector('#polite').textContent.startsWith(t)", text)

    with opened(browser) as page:
        begin(page, site.url)
        left = page.locator("[data-action=left]")
        left.focus()
        press(page, "Enter")
        told("Left is better. Next pair.")
        assert left.evaluate("node => node === document.activeElement")
        page.locator(".scrub").focus()
        press(page, "=")
        told("Both equal. Next pair.")
        assert page.locator(".scrub").evaluate("node => node === document.activeElement")
        settled(page)
        page.keyboard.press("u")
        told("Taken back: both equal. Choose again.")
        # a button that is switched off while it has the focus
        page.wait_for_selector("[data-state=pair]")
        settled(page)
        page.locator("[data-action=tie]").focus()
        site.settings.change({"allow_ties": False})
        page.wait_for_selector("[data-action=tie]", state="hidden")
        assert left.evaluate("node => node === document.activeElement")
        # and the clips, when there are no more
        for _ in range(3):
            page.wait_for_selector("[data-state=pair]")
            page.locator(".scrub").focus()
            press(page, "2")
        page.wait_for_selector("[data-state=finished]")
        told("All pairs so far are done.")
        focused = page.evaluate("document.activeElement.className")
        assert focused == "message"
        settled(page)
    assert len([e for e in labels(site.api) if e["kind"] == "answer"]) == 5


def test_nothing_moves_by_itself_where_that_is_not_wanted(site, browser):
    make_run(site.api, num_queries=2)
    (query, _) = say(site.api, "bob", ["left", "left"])
    report(site.api, (query, 0, 0.9), rewards=REWARDS)
    make_run(site.api, "second", num_queries=2)
    still = "[...document.querySelectorAll('video')].every(v => v.paused && v.currentTime < 0.1)"
    moving = "[...document.querySelectorAll('video')].some(v => v.currentTime > 0.1)"
    with opened(browser, reduced_motion="reduce") as page:
        begin(page, site.url, "second")
        page.wait_for_selector("[data-action=play][aria-label=Play]")
        page.wait_for_timeout(300)
        assert page.evaluate(still)
        page.keyboard.press(" ")
        until(page, moving)
        press(page, "1")
        page.wait_for_selector("[data-action=play][aria-label=Play]")
        page.wait_for_timeout(300)
        assert page.evaluate(still)
        settled(page)
        page.goto(f"{site.url}/#/results/cartpole-01")
        page.wait_for_selector(".hard-pair")
        page.locator(".hard-pair .clips").hover()
        until(page, "document.querySelectorAll('.hard-pair video').length === 2")
        page.wait_for_timeout(300)
        assert page.evaluate(still)
        page.get_by_role("button", name="Play pair 1").click()
        until(page, moving)
        assert shown(page, ".hard-pair button") == "Stop"
