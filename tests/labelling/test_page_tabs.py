"""Two tabs of one annotator on one run: they share a browser and a name, and nothing else."""

import pytest
from pages import (
    AWAY,
    NEEDS_CHROMIUM,
    begin,
    cut,
    kinds,
    labels,
    last,
    lease,
    make_run,
    mend,
    opened,
    press,
    settled,
    shown,
    sides,
    undo,
    until,
)

pytest_plugins = ["page_fixtures"]
pytestmark = NEEDS_CHROMIUM


@pytest.fixture
def tabs(site, browser):
    """Two tabs that show pairs of a run of eight."""
    queries = make_run(site.api, num_queries=8)
    with opened(browser, (*AWAY, "ERR_")) as one:
        two = one.context.new_page()
        for page in (one, two):
            begin(page, site.url)
            page.wait_for_load_state("networkidle")  # each has four, so that no pair is left
        yield one, two
        for page in (one, two):
            finish(page)
            assert page.locator(".notice").count() == 0
    standing = site.store.labels.current("cartpole-01")
    assert sorted(str(event.query) for event in standing) == sorted(
        query for query, _, _ in queries
    )


def finish(page):
    """Answers what is left, with care: the other tab may be about to answer the same."""
    while True:
        until(page, "['pair', 'finished'].includes(document.querySelector('main').dataset.state)")
        if page.get_attribute("main", "data-state") == "finished":
            return
        press(page, "2")
        settled(page)


def test_each_tab_takes_back_its_own(site, tabs):
    one, two = tabs
    assert lease(one) != lease(two)
    press(one, "1")
    settled(one)
    first = sides(two)
    press(two, "2")
    settled(two)
    # that of the first tab is not the last any more
    one.keyboard.press("u")
    last(one, "not your last answer")
    settled(one)
    undo(two)
    assert sides(two) == first
    assert "right is better" in shown(two, ".last")
    press(two, "=")
    settled(two)
    assert kinds(site) == ["answer", "answer", "undo", "answer"]
    for page in tabs:
        assert shown(page, "[data-count=session]") == "1"


def test_a_pair_that_both_show_is_answered_once(site, tabs):
    one, two = tabs
    # when nothing else is left, it gets what the other tab has, in an order of its own
    while lease(one) != lease(two):
        press(one, "1")
        settled(one)
        one.wait_for_selector("[data-state=pair]")
    shared, pair = lease(one), sides(one)
    gone = "lease => document.querySelector('.stage').dataset.lease !== lease"
    press(one, "1")
    until(two, gone, shared)
    settled(one)
    undo(one)
    assert sides(one) == pair
    press(one, "=")
    settled(one)
    assert kinds(site)[-3:] == ["answer", "undo", "answer"]


def test_both_send_what_both_kept(site, tabs):
    one, two = tabs
    for page in tabs:
        cut(page)
    for _ in range(2):
        press(one, "1")
        press(two, "=")
    one.wait_for_selector("#offline:not([hidden])")
    one.keyboard.press("u")  # perhaps of what was tried: then it is taken back later
    last(one, "aken back")
    for page in tabs:
        mend(page)
    settled(one)
    last(one, "Taken back: left is better")
    assert (
        sorted(event["label"] for event in labels(site.api) if event["label"] == 0.5) == [0.5] * 2
    )
    assert [shown(page, "[data-count=session]") for page in tabs] == ["1", "2"]


def test_another_name_holds_in_both(site, tabs):
    one, two = tabs
    two.locator("#name-button").click()
    two.locator("#name-field").fill("grace")
    before = lease(one)
    two.keyboard.press("Enter")
    until(one, "document.querySelector('#name-shown').textContent === 'grace'")
    until(one, "lease => document.querySelector('.stage')?.dataset.lease !== lease", before)
    one.wait_for_selector("[data-state=pair]")
    press(one, "1")
    settled(one)
    assert [event["annotator"] for event in labels(site.api)] == ["grace"]
    undo(one)
    assert kinds(site) == ["answer", "undo"]
