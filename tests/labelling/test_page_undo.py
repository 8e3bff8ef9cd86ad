"""Undo brings a pair back as it was answered: what was compared, and what was said."""

from pages import (
    AWAY,
    NEEDS_CHROMIUM,
    begin,
    cut,
    labels,
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


def go_to(page, frame):
    page.locator(".scrub").fill(str(frame - 1))
    until(page, "n => document.querySelector('.frame').textContent.startsWith(`${n} /`)", frame)
    page.locator(".scrub").blur()


def marked(page):
    """The buttons that are marked as what was said."""
    return page.evaluate(
        "[...document.querySelectorAll('[aria-current=true][data-action]')].map(node => node.dataset.action)"
    )


def trim_and_answer(page, key):
    go_to(page, 5)
    page.keyboard.press("i")
    go_to(page, 12)
    page.keyboard.press("o")
    press(page, key)


def test_a_pair_comes_back_as_it_was_answered(site, browser):
    make_run(site.api, num_queries=4, length=20)
    with opened(browser, AWAY) as page:
        begin(page, site.url)
        first = sides(page)
        assert marked(page) == []
        trim_and_answer(page, "ArrowRight")
        assert shown(page, ".range") == "all compared"
        press(page, "=")
        settled(page)
        undo(page)
        assert marked(page) == ["tie"]
        assert shown(page, ".range") == "all compared"
        undo(page)
        assert sides(page) == first
        assert marked(page) == ["right"]
        assert shown(page, ".range") == "frames 5 to 12"
        assert "✓" in page.evaluate(
            "getComputedStyle(document.querySelector('[data-action=right]'), '::before').content"
        )
        # the part plays, and said once more it is what it was
        within = "n => { const at = parseInt(document.querySelector('.frame').textContent); return at >= 5 && at <= 12; }"
        until(page, within)
        press(page, "ArrowLeft")
        assert marked(page) == ["tie"]  # of the pair that is still to be answered again
        press(page, "s")
        assert marked(page) == []
        settled(page)
    said = [(event["kind"], event["trim"]) for event in labels(site.api)]
    trim = {"start": 4, "stop": 12}
    assert said[:2] + said[-2:] == [("answer", trim), ("answer", None), ("answer", trim), ("skip", None)]  # fmt: skip


def test_also_after_the_page_was_loaded_anew(site, browser):
    make_run(site.api, num_queries=3, length=20)
    with opened(browser) as page:
        begin(page, site.url)
        first = sides(page)
        trim_and_answer(page, "ArrowLeft")
        settled(page)
        page.reload()
        page.wait_for_selector("[data-state=pair]")
        undo(page)
        assert sides(page) == first
        assert marked(page) == ["left"]
        assert shown(page, ".last") == "Taken back: left is better"
        assert shown(page, ".range") == "frames 5 to 12"
        # and once more, before it is answered again; which clip stands on the left may be drawn anew
        page.reload()
        again = sides(page)
        assert set(again) == set(first)
        assert marked(page) == ["left" if again == first else "right"]
        assert shown(page, ".range") == "frames 5 to 12"
        page.keyboard.press("x")
        press(page, "ArrowRight")
        assert marked(page) == []
        settled(page)
    trims = [event["trim"] for event in labels(site.api) if event["kind"] == "answer"]
    assert trims == [{"start": 4, "stop": 12}, None]


def test_also_without_a_server(site, browser):
    make_run(site.api, num_queries=3, length=20)
    with opened(browser, (*AWAY, "ERR_")) as page:
        begin(page, site.url)
        page.wait_for_load_state("networkidle")
        first = lease(page)
        cut(page)
        press(page, "=")
        trim_and_answer(page, "ArrowLeft")
        undo(page)  # it was never sent, unlike the first, which may have arrived
        assert marked(page) == ["left"]
        assert shown(page, ".range") == "frames 5 to 12"
        mend(page)
        press(page, "ArrowLeft")
        settled(page)
        assert lease(page) != first
    trims = [event["trim"] for event in labels(site.api)]
    assert trims == [None, {"start": 4, "stop": 12}]


def test_what_may_be_said_no_longer_is_not_brought_back(site, browser):
    make_run(site.api, num_queries=2, length=20)
    with opened(browser) as page:
        begin(page, site.url)
        trim_and_answer(page, "ArrowLeft")
        settled(page)
        site.settings.change({"allow_trim": False})
        page.reload()
        page.wait_for_selector("[data-state=pair]")
        undo(page)
        assert marked(page) == ["left"]
        press(page, "ArrowLeft")
        settled(page)
    assert [event["trim"] for event in labels(site.api)][-1] is None
