"""The results of a run."""

from accessibility import faults
from pages import (
    AWAY,
    NEEDS_CHROMIUM,
    PHONE,
    Site,
    add_pairs,
    make_run,
    opened,
    report,
    say,
    shown,
    to_hard_pairs,
    until,
)

from prefloop.labelling.server.feeding import ClipFeeder

pytest_plugins = ["page_fixtures"]
pytestmark = NEEDS_CHROMIUM


def test_results(site, browser):
    make_run(site.api, num_queries=3, clips=False, annotators_per_query=2)
    with opened(browser) as page:
        page.goto(f"{site.url}/#/results/cartpole-01")
        page.wait_for_selector("text=No labels yet")
        for name in ("ada", "grace"):
            (query, *_) = say(site.api, name, ["tie"] * 3, seconds=2)
        report(site.api, (query, 0.5, 0.9))
        page.wait_for_selector("text=of 4 labels agree with the reward model")
        assert "It has learned from most of them" in shown(page, "main")
        assert "100%" in shown(page, ".fact:has-text('Annotators agree')")
        alpha = shown(page, ".fact:has-text('Krippendorff')")
        assert "of 6 answers that all say the same: undefined" in alpha and "NaN" not in alpha
        assert "2.0 s" in shown(page, ".fact:has-text('Seconds per label')")
        assert "80% between 2.0 and 2.0" in shown(page, ".fact:has-text('Seconds per label')")
        assert page.locator(".chart .dot").count() == 6
        assert page.locator(".chart .line.own").count() == 2
        assert page.locator(".bar-name").all_inner_texts() == ["ada", "grace"] * 2 + ["together"]
        assert "2.0 / 2.0 / 2.0" in shown(page, "table >> nth=0")
        assert "ada and grace" in shown(page, "table >> nth=1")


def test_agreement_beyond_chance_is_told_when_there_is_some(site, browser):
    make_run(site.api, num_queries=5, clips=False, annotators_per_query=2)
    alpha = ".fact:has-text('Krippendorff')"
    say(site.api, "ada", ["left", "right", "tie", "skip", "right"], seconds=2)
    with opened(browser) as page:
        page.goto(f"{site.url}/#/results/cartpole-01")
        page.wait_for_selector(alpha)
        assert "needs two annotators on the same pair" in shown(page, alpha)
        say(site.api, "bob", ["left", "right", "tie", "left", "right"], seconds=2)
        until(page, "!document.body.innerText.includes('needs two annotators on the same pair')")
        value = site.api.get("/api/runs/cartpole-01/results").json()["alpha"]
        assert value["n"] == 8 and -1 <= value["value"] <= 1
        assert f"{value['value']:.2f}" in shown(page, alpha)
        assert "of 8 answers; 1: all agree, 0: as by chance" in shown(page, alpha)
        assert faults(page) == []


def test_annotators_are_marked_in_words_and_a_few_labels_mark_nobody(site, browser):
    make_run(site.api, num_queries=15, clips=False, annotators_per_query=3)
    say(site.api, "ada", ["left", "right"] * 4, seconds=3)
    say(site.api, "ada", ["left", "right"] * 3, seconds=3)
    say(site.api, "bob", ["left"] * 8, seconds=3)
    say(site.api, "eve", ["left", "right", "tie"], seconds=0.2)
    with opened(browser) as page:
        page.goto(f"{site.url}/#/results/cartpole-01")
        page.wait_for_selector("table")
        assert page.locator(".doubt, .doubts").count() == 0
        assert "Nobody is marked as suspicious" in shown(page, ".rule")
        say(site.api, "bob", ["left"] * 7, seconds=3)
        say(site.api, "eve", ["left", "right"], seconds=0.2)
        page.wait_for_selector(".doubts")
        until(page, "document.querySelectorAll('.doubts li').length === 2")
        bob, eve = page.locator(".doubts li").all_inner_texts()
        assert "bob preferred the clip on the left in 15 of 15 answers" in bob
        assert "95% interval 80% to 100%" in bob
        assert "eve took less than half a second for 5 of 5 labels" in eve
        marks = page.locator("table >> nth=0").locator("tbody th").all_inner_texts()
        assert ["nearly always left" in mark for mark in marks] == [False, True, False]
        assert ["too quick to have looked" in mark for mark in marks] == [False, False, True]
        assert page.get_attribute(".doubt", "title").startswith("preferred the clip on the left")
        page.get_by_text("When somebody is marked").click()
        assert "12 of 12, or 38 of 43" in shown(page, ".rule")
        assert faults(page) == []


def test_a_table_that_is_too_wide_shows_that_it_goes_on(site, browser):
    make_run(site.api, num_queries=2, clips=False)
    say(site.api, "ada", ["left", "right"], seconds=3)
    more = "document.querySelector('.table').dataset.more"
    hint = ".table-more"
    with opened(browser, viewport=PHONE, has_touch=True, is_mobile=True) as page:
        page.goto(f"{site.url}/#/results/cartpole-01")
        page.wait_for_selector("table")
        until(page, f"{more} === 'right'")
        assert page.locator(hint).is_visible()
        shadow = "getComputedStyle(document.querySelector('.table')).boxShadow"
        assert "-14px 0px 12px -12px inset" in page.evaluate(shadow)
        page.evaluate("document.querySelector('.table').scrollLeft = 20")
        until(page, f"{more} === 'left right'")
        page.evaluate("document.querySelector('.table').scrollLeft = 9999")
        until(page, f"{more} === 'left'")
    with opened(browser) as page:
        page.goto(f"{site.url}/#/results/cartpole-01")
        page.wait_for_selector("table")
        until(page, f"{more} === ''")
        assert not page.locator(hint).is_visible()


def test_the_hardest_pairs_are_shown_with_what_people_and_the_model_say(site, browser):
    asked = make_run(site.api, num_queries=4, annotators_per_query=2)
    make_run(site.api, "other", num_queries=1)
    queries = say(site.api, "ada", ["left", "left", "tie", "skip"])
    say(site.api, "bob", ["right", "tie", "tie", "skip"])
    chosen = site.store.labels.current("cartpole-01")[1].label
    report(
        site.api,
        (queries[0], 0, 0.93),
        (queries[1], chosen, 0.93 - 0.86 * chosen),
        (queries[2], 0.5, 0.999),
        (queries[3], 0, 0.502),
    )
    with opened(browser, AWAY) as page:
        page.goto(f"{site.url}/#/results/cartpole-01")
        page.wait_for_selector(".hard-pair")
        pair = page.locator(".hard-pair")
        assert [one.get_attribute("data-query") for one in pair.all()] == queries
        for one, (_, *segments) in zip(pair.all(), asked, strict=True):
            shown_segments = [f.get_attribute("data-segment") for f in one.locator("figure").all()]
            assert shown_segments == segments
        words = {0.0: "first", 0.5: "equal", 1.0: "second", None: "can't tell"}
        for query, one in zip(queries, pair.all(), strict=True):
            said = one.locator(".said li").all_inner_texts()
            labels = [e for e in site.store.labels.current("cartpole-01") if str(e.query) == query]
            assert said == [f"{event.annotator}: {words[event.label]}" for event in labels]
        other = "second" if chosen == 0 else "first"
        model = [text.rstrip(".") for text in page.locator(".model").all_inner_texts()]
        assert model[1] == f"The model is 93% sure of the other: the {other}"
        assert model[2] == "The model is more than 99% sure of the second"
        assert model[3] == "The model can't tell them apart"
        # nothing moves before it is asked to; then both do, and one pair at a time
        assert page.locator(".hard-pair video").count() == 0  # they are not in sight yet
        pair.first.scroll_into_view_if_needed()
        until(page, "document.querySelector('.hard-pair').querySelectorAll('video').length === 2")
        pair.last.scroll_into_view_if_needed()
        until(page, "document.querySelectorAll('.hard-pair video').length === 8")
        still = "[...document.querySelectorAll('.hard-pair video')].every(v => v.paused)"
        assert page.evaluate(still)
        moving = "[...document.querySelectorAll('.hard-pair')].map(p => [...p.querySelectorAll('video')].some(v => v.currentTime > 0.1))"  # fmt: skip
        page.get_by_role("button", name="Play pair 1").click()
        until(page, f"({moving})[0]")
        page.get_by_role("button", name="Play pair 2").click()
        until(page, f"({moving})[1] && !({moving})[0]")
        page.get_by_role("button", name="Stop pair 2").press("Enter")
        until(page, still)
        page.locator(".hard-pair .clips").first.hover()
        until(page, f"({moving})[0]")
        page.mouse.move(0, 0)
        until(page, still)
        # what has not changed stays as it is when more is known
        button = page.get_by_role("button", name="Play pair 4")
        button.focus()
        add_pairs(site.api, "cartpole-01", 1, seed=5)
        say(site.api, "ada", ["left"])
        page.wait_for_selector(".fact:has-text('Labels') >> text=9")
        assert button.evaluate("node => node === document.activeElement")


def test_clips_of_hard_pairs_that_are_not_there_are_made(tmp_path, browser):
    """Plots stand in their place meanwhile; a pair that plays goes on with the videos."""
    videos = "document.querySelectorAll('.hard-pair video').length === 2"
    with Site(tmp_path, want_clips=lambda segments: feeder.want(segments)) as site:
        feeder = ClipFeeder(site.store, site.clips, site.settings)
        make_run(site.api, num_queries=1, clips=False)
        (query,) = say(site.api, "ada", ["left"])
        report(site.api, (query, 0, 0.9))
        with opened(browser) as page:
            page.goto(f"{site.url}/#/results/cartpole-01")
            to_hard_pairs(page)
            until(page, "document.querySelectorAll('.hard-pair .trace-line').length === 10")
            page.get_by_role("button", name="Play pair 1").click()
            button = page.get_by_role("button", name="Stop pair 1")
            button.focus()
            with feeder:
                until(page, videos)
            moving = "[...document.querySelectorAll('.hard-pair video')].every(v => v.currentTime > 0.1)"  # fmt: skip
            until(page, moving)
            assert button.evaluate("node => node === document.activeElement")
        for clip in (tmp_path / "clips").glob("*.mp4"):
            clip.unlink()
        feeder = ClipFeeder(site.store, site.clips, site.settings)
        with feeder, opened(browser) as page:
            page.goto(f"{site.url}/#/results/cartpole-01")
            to_hard_pairs(page)
            until(page, videos)


def test_a_hard_pair_whose_clip_was_sent_and_is_gone_is_plotted(site, tmp_path, browser):
    make_run(site.api, num_queries=1)
    (query,) = say(site.api, "ada", ["left"])
    report(site.api, (query, 0, 0.9))
    for clip in (tmp_path / "clips").glob("**/*.mp4"):
        clip.unlink()
    with opened(browser, AWAY) as page:
        page.goto(f"{site.url}/#/results/cartpole-01")
        to_hard_pairs(page)
        until(page, "document.querySelectorAll('.hard-pair .trace-line').length === 10")
        page.get_by_role("button", name="Play pair 1").click()
        until(page, "Number(document.querySelector('.trace-cursor').getAttribute('x1')) > 100")


def test_the_reward_under_a_clip_points_at_the_step_that_is_shown(site, browser):
    make_run(site.api, num_queries=1)
    (query,) = say(site.api, "ada", ["left"])
    learned = [step / 10 for step in range(25)]
    told = {
        "learned": learned,
        "lowest": [value - 1 for value in learned],
        "highest": [value + 1 for value in learned],
        "true": [step % 2 for step in range(25)],
    }
    report(site.api, (query, 0, 0.9), rewards=told)
    frames = "[...document.querySelectorAll('.hard-pair video')].map(v => Math.floor(v.currentTime / v.duration * 25))"  # fmt: skip
    with opened(browser) as page:
        page.goto(f"{site.url}/#/results/cartpole-01")
        page.wait_for_selector(".reward-trace")
        page.locator(".hard-pair").scroll_into_view_if_needed()
        until(page, "document.querySelectorAll('.hard-pair video').length === 2")
        trace = page.locator(".reward-trace").first
        box = trace.bounding_box()
        trace.click(position={"x": 0.62 * box["width"], "y": 20})
        until(page, f"({frames}).join() === '15,15'")
        steps = [one.get_attribute("data-step") for one in page.locator(".reward").all()]
        assert steps == ["15", "15"]  # one cursor for both
        assert (
            page.locator(".reward-figures").all_inner_texts() == ["Step 16: reward 1.5, true 1"] * 2
        )
        trace.press("ArrowRight")
        until(page, f"({frames}).join() === '16,16'")
        trace.press("End")
        until(page, f"({frames}).join() === '24,24'")
        assert trace.get_attribute("aria-valuenow") == "25"
        page.get_by_role("button", name="Stop pair 1").click()
        until(page, "document.querySelector('.reward').dataset.step === '0'")
        page.mouse.move(0, 0)
        page.get_by_role("button", name="Play pair 1").click()
        until(page, "Number(document.querySelector('.reward').dataset.step) > 3")
        shown_now = "[Math.floor(document.querySelector('.hard-pair video').currentTime / document.querySelector('.hard-pair video').duration * 25), Number(document.querySelector('.reward').dataset.step)]"  # fmt: skip
        frame, step = page.evaluate(shown_now)
        assert abs(frame - step) <= 1
