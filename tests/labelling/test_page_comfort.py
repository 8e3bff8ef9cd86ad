"""What makes labelling quick and easy on the eyes: large clips, nothing in the way, a sign of what was heard."""

import uuid

import pytest
from accessibility import faults
from pages import (
    NEEDS_CHROMIUM,
    PHONE,
    begin,
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

from prefloop.labelling.server.feeding import ClipFeeder

pytest_plugins = ["page_fixtures"]
pytestmark = NEEDS_CHROMIUM

FLASHING = "document.getAnimations().map(({effect}) => effect.target.dataset.side ?? effect.target.dataset.action)"
UNFOLD = "Compare a part"


@pytest.mark.parametrize(
    ("width", "height", "least"),
    [(1280, 800, 400), (1440, 900, 450), (1920, 1080, 600), (1280, 640, 250), (3440, 1440, 1000)],
)
def test_clips_use_the_height_that_there_is(site, browser, width, height, least):
    make_run(site.api, num_queries=1, instructions="Watch the pole.")
    with opened(browser, viewport={"width": width, "height": height}) as page:
        begin(page, site.url)
        screen = page.locator("[data-side=left] .screen").bounding_box()
        assert screen["height"] >= least
        # what is empty at the sides of a clip is little: 3 by 2 is what CartPole's are
        assert screen["width"] <= 1.2 * 1.5 * screen["height"]
        # and all that is needed is in sight
        bottom = page.locator(".choices").bounding_box()
        assert bottom["y"] + bottom["height"] <= height
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        # what is opened below takes no room from the clips
        page.evaluate("document.querySelector('.training').hidden = false")
        page.evaluate("document.querySelector('.training').open = true")
        page.evaluate("document.querySelector('.training-body').style.height = '30rem'")
        assert page.locator("[data-side=left] .screen").bounding_box()["height"] >= least - 60


def test_a_line_under_each_clip_takes_little_of_it(site, browser):
    make_run(site.api, num_queries=1)
    with opened(browser, viewport={"width": 1440, "height": 900}) as page:
        begin(page, site.url)
        page.evaluate("""for (const clip of document.querySelectorAll('.clip')) {
            const line = document.createElement('div');
            line.style.height = '6rem';
            clip.append(line);
        }
        document.querySelector('.stage > .clips').style.setProperty('--under', '6rem');""")
        screen = page.locator("[data-side=left] .screen").bounding_box()
        assert screen["height"] > 400
        bottom = page.locator(".choices").bounding_box()
        assert bottom["y"] + bottom["height"] <= 900


def test_trimming_is_folded_away_until_it_is_wanted(site, browser):
    make_run(site.api, num_queries=3, length=20)
    with opened(browser) as page:
        begin(page, site.url)
        fold = page.get_by_role("button", name=UNFOLD)
        trim = page.locator(".trim-start")
        assert (fold.get_attribute("aria-expanded"), trim.is_visible()) == ("false", False)
        # by keyboard alone, and it leaves the keys that answer alone
        fold.focus()
        page.keyboard.press("Enter")
        assert (fold.get_attribute("aria-expanded"), trim.is_visible()) == ("true", True)
        trim.fill("4")
        assert shown(page, ".range") == "frames 5 to 20"
        # folded away, it says what is compared all the same, and that is what is answered
        fold.click()
        assert not trim.is_visible()
        page.get_by_role("button", name="Comparing frames 5 to 20").wait_for()
        press(page, "ArrowLeft")
        assert shown(page, ".fold") == UNFOLD
        # a key that narrows shows what it did
        page.keyboard.press("o")
        page.locator(".trim-start").wait_for()
        page.keyboard.press("x")
        press(page, "ArrowRight")
        assert trim.is_visible()  # who has opened it keeps it
        settled(page)
    assert [event["trim"] for event in labels(site.api)] == [{"start": 4, "stop": 20}, None]


def test_trimming_has_a_row_of_its_own_on_a_phone(site, browser):
    make_run(site.api, num_queries=1, length=20)
    with opened(browser, viewport=PHONE, has_touch=True, is_mobile=True) as page:
        begin(page, site.url)
        page.get_by_role("button", name=UNFOLD).tap()
        track = page.locator(".trim-track").bounding_box()
        assert track["width"] > 0.9 * PHONE["width"]
        for name in ("[data-action=trimStart]", "[data-action=trimReset]"):
            box = page.locator(name).bounding_box()
            assert box["x"] >= 0 and box["x"] + box["width"] <= PHONE["width"]
            assert box["y"] + box["height"] <= track["y"] + 1
        choices = page.locator(".choices").bounding_box()
        assert track["y"] + track["height"] <= choices["y"]
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        assert faults(page) == []


def test_what_is_chosen_flashes(site, browser):
    make_run(site.api, num_queries=4)
    with opened(browser) as page:
        begin(page, site.url)
        for key, lit in (
            ("ArrowLeft", ["left", "left"]),
            ("2", ["right", "right"]),
            ("=", ["tie"]),
        ):
            page.wait_for_selector("[data-state=pair]")
            page.keyboard.press(key)
            assert sorted(page.evaluate(FLASHING)) == lit
            until(page, "document.getAnimations().length === 0")
        settled(page)


def test_nothing_flashes_where_nothing_is_to_move(site, browser):
    make_run(site.api, num_queries=2)
    with opened(browser, reduced_motion="reduce") as page:
        begin(page, site.url)
        page.keyboard.press("ArrowLeft")
        assert page.evaluate(FLASHING) == []
        settled(page)


def test_time_left_is_told_once_there_is_a_pace(site, browser):
    make_run(site.api, num_queries=6)
    with opened(browser) as page:
        begin(page, site.url)
        assert shown(page, ".time-left") == ""
        for key in ("1", "2", "1"):
            assert shown(page, ".time-left") == ""
            press(page, key)
        assert shown(page, ".time-left") == "less than a minute left"
        settled(page)
        # somebody slow: 100 s a label, and three are left
        page.evaluate("""() => {
            const key = Object.keys(sessionStorage).find(key => key.includes("labelled."));
            sessionStorage.setItem(key, JSON.stringify({labels: 3, seconds: 300}));
        }""")
        page.reload()
        page.wait_for_selector("[data-state=pair]")
        assert shown(page, ".time-left") == "about 5 min left"
        for key in ("1", "2", "1"):
            press(page, key)
        page.wait_for_selector("[data-state=finished]")
        assert shown(page, ".time-left") == ""
        settled(page)


def test_white_clips_are_dimmed_in_the_dark_alone(site, browser):
    make_run(site.api, num_queries=1)
    for scheme, dimmed in (("light", False), ("dark", True)):
        with opened(browser, color_scheme=scheme) as page:
            begin(page, site.url)
            of = "getComputedStyle(document.querySelector('.stage video')).filter"
            assert (page.evaluate(of) != "none") == dimmed
            # a plot is dark by itself
            page.evaluate("document.querySelector('[data-side=left]').classList.add('plot')")
            left = "getComputedStyle(document.querySelector('[data-side=left] video')).filter"
            assert page.evaluate(left) == "none"


def test_clips_last_a_second_at_a_run_s_own_frame_rate(site, browser):
    """25 steps at the 125 a second of Hopper; as the environment itself is shown they last half a second."""
    make_run(site.api, num_queries=2, clips=False, frames_per_second=125)
    (query,) = say(site.api, "bob", ["left"])
    report(site.api, (query, 0, 0.9))
    shown_there = site.store.queue.sides("cartpole-01", [uuid.UUID(query)]).values()
    lasts = (
        "(() => { const video = document.querySelector('%s video'); return video !== null && !video.paused"
        " && video.duration < 0.3 && video.duration / video.playbackRate >= 1; })()"
    )
    feeder = ClipFeeder(site.store, site.clips, site.settings)
    feeder.want({side.segment for sides in shown_there for side in sides})
    with feeder, opened(browser) as page:
        begin(page, site.url)
        until(page, lasts % ".stage")
        site.settings.change({"playback_speed": 3.0})
        page.reload()
        page.wait_for_selector("[data-state=pair]")
        until(page, lasts % ".stage")
        page.goto(f"{site.url}/#/results/cartpole-01")
        to_hard_pairs(page)
        until(page, "document.querySelectorAll('.hard-pair video').length === 2")
        page.get_by_role("button", name="Play pair 1").click()
        until(page, lasts % ".hard-pair")
