"""Clips of what can't be drawn: lines over the steps, of both sides on the same axes."""

import uuid

import numpy as np
from accessibility import faults
from pages import (
    NEEDS_CHROMIUM,
    PHONE,
    begin,
    clip_of,
    labels,
    make_run,
    opened,
    press,
    report,
    say,
    settled,
    shown,
    to_hard_pairs,
    until,
)

from prefloop.labelling.arrays import Segment, pad, to_archive

pytest_plugins = ["page_fixtures"]
pytestmark = NEEDS_CHROMIUM

CARTPOLE = ["cart position", "cart velocity", "pole angle", "pole angular velocity", "action"]
WHY = "CartPole-v1 can't be drawn <b>here</b>."
# of each side: name, range, and height of the line's first point, of each row
ROWS = """[...document.querySelectorAll(".clip")].map(clip => [...clip.querySelectorAll(".trace-row")].map(row => [
    ...[...row.querySelectorAll("span")].map(span => span.textContent),
    Number(row.querySelector("polyline").getAttribute("points").split(" ")[0].split(",")[1]),
]))"""


def plotted(site, *segments, name="cartpole-01"):
    """A run of one pair that can't be drawn; the segments' ids."""
    make_run(site.api, name, num_queries=0)
    archive = to_archive(pad(segments))
    ids = site.api.post(f"/api/runs/{name}/segments", content=archive).json()["ids"]
    asked = {"id": str(uuid.uuid4()), "first": ids[0], "second": ids[1]}
    site.api.post(f"/api/runs/{name}/queries", json={"queries": [asked]})
    for id in ids:
        site.store.segments.set_clip_error(uuid.UUID(id), WHY)
    return asked["id"], ids


def constant(value, length=25):
    """The pole at an angle, pushed to the left."""
    obs = np.zeros((length, 4), dtype=np.float32)
    obs[:, 2] = value
    return Segment(obs, np.zeros(length, dtype=np.int64), np.ones(length, dtype=np.float32))


def test_what_cannot_be_drawn_is_plotted_on_the_same_axes_with_names(site, browser):
    plotted(site, constant(-0.1), constant(0.1))
    with opened(browser) as page:
        begin(page, site.url)
        left, right = page.evaluate(ROWS)
        assert [row[0] for row in left] == [row[0] for row in right] == CARTPOLE
        # a constant would fill any axis of its own alike
        assert left[2][1] == right[2][1] == "-0.1 to 0.1"
        assert abs(left[2][2] - right[2][2]) > 50
        assert left[0][1:] == right[0][1:] == ["0", left[0][2]]
        # it is what it is, and no error; who asks is told why
        assert shown(page, ".note").startswith("Plotted: each line is a number")
        assert "can't be drawn" not in page.locator(".label-page").inner_text()
        assert page.locator("[role=alert]:visible").count() == 0
        page.get_by_text("Why no picture?").click()
        assert WHY in shown(page, ".note")
        assert faults(page) == []
        left_plot = page.get_by_role(
            "img", name="Left clip, 25 steps, plotted: cart position, cart"
        )
        assert left_plot.count() == 1
        at = "document.querySelector('.trace-cursor').getAttribute('x1')"
        until(page, f"Number({at}) > 100")
        press(page, "2")
        settled(page)
    assert len(labels(site.api)) == 1


def test_a_shorter_plot_ends_where_the_longer_goes_on(site, browser):
    plotted(site, constant(0.1, length=10), constant(0.1, length=40))
    with opened(browser, viewport=PHONE) as page:
        begin(page, site.url)
        assert shown(page, ".speed") == "1\u00d7"  # 40 steps at 30 a second last 1.3 s
        ends = page.evaluate(
            "[...document.querySelectorAll('.clip')].map(clip => Number(clip.querySelector('polyline')"
            ".getAttribute('points').split(' ').at(-1).split(',')[0]))"
        )
        assert max(ends) / min(ends) > 4  # of 39.5 and of 9.5 steps
        for box in page.locator(".trace-row span").all():  # on a phone letters are no smaller
            assert box.evaluate("node => parseFloat(getComputedStyle(node).fontSize)") > 11
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_plots_that_are_over_in_no_time_begin_slowly(site, browser):
    plotted(site, constant(-0.1, length=8), constant(0.1, length=8))
    with opened(browser) as page:
        begin(page, site.url)
        assert shown(page, ".speed") == "0.25\u00d7"  # 8 steps at 30 a second


def test_a_plot_that_the_server_has_made_is_shown_only_where_a_page_can_make_none(site, browser):
    """The server's names no lines, and has axes of its own; but a page plots so many numbers only."""
    _, ids = plotted(site, constant(-0.1), constant(0.1))
    for id in ids:
        digest = site.clips.put(clip_of(constant(0.1)))
        site.store.segments.set_clip(uuid.UUID(id), digest, sent=False)
    with opened(browser, ("Failed to load",)) as page:
        begin(page, site.url)
        assert page.locator(".trace-line").count() == 10
        page.route(
            "**/api/segments/*", lambda route: route.fulfill(status=413, json={"detail": "Large."})
        )
        page.reload()
        page.wait_for_selector("[data-state=pair]")
        assert page.locator(".stage video").count() == 2
        assert shown(page, ".note").startswith("Plotted")


def test_plots_of_hard_pairs_share_their_axes_too(site, browser):
    query, _ = plotted(site, constant(-0.1), constant(0.1))
    say(site.api, "bob", ["left"])
    report(site.api, (query, 0, 0.9))
    with opened(browser) as page:
        page.goto(f"{site.url}/#/results/cartpole-01")
        to_hard_pairs(page)
        until(page, "document.querySelectorAll('.hard-pair .trace-line').length === 10")
        first, second = page.evaluate(ROWS)
        assert first[2][1] == second[2][1] == "-0.1 to 0.1"
        assert abs(first[2][2] - second[2][2]) > 50
