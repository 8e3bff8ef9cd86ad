"""The clips on the labelling page."""

import uuid

from pages import (
    AWAY,
    NEEDS_CHROMIUM,
    add_pairs,
    begin,
    clip_of,
    labels,
    make_run,
    make_segments,
    opened,
    press,
    settled,
    shown,
    sides,
    until,
)

pytest_plugins = ["page_fixtures"]
pytestmark = NEEDS_CHROMIUM


def test_both_clips_play_in_step_and_begin_again(site, browser):
    make_run(site.api, num_queries=1, length=40)
    times = "Array.from(document.querySelectorAll('.stage video'), video => video.currentTime)"
    with opened(browser) as page:
        begin(page, site.url)
        # the greatest distance between the two while they play, and how often they begin again
        found = page.evaluate("""async () => {
            const videos = [...document.querySelectorAll(".stage video")];
            let apart = 0, rounds = 0, last = 0, frames = 0;
            while (rounds < 3 && frames < 3000) {
                await new Promise(requestAnimationFrame);
                const [one, other] = videos.map((video) => video.currentTime);
                if (videos.every((video) => !video.seeking && !video.paused)) {
                    apart = Math.max(apart, Math.abs(one - other));
                }
                if (one < last - 0.3) rounds++;
                [last, frames] = [one, frames + 1];
            }
            return {apart, rounds};
        }""")
        assert found["rounds"] == 3
        assert found["apart"] < 0.25
        page.keyboard.press(" ")
        page.wait_for_selector("[data-action=play][aria-label=Play]")
        until(page, "[...document.querySelectorAll('.stage video')].every(v => v.paused && !v.seeking)")  # fmt: skip
        at = page.evaluate(times)
        assert at[0] == at[1]
        start = int(shown(page, ".frame").split(" / ")[0])
        page.keyboard.press(",")
        expected = (start - 2) % 40 + 1
        until(page, "n => document.querySelector('.frame').textContent === `${n} / 40`", expected)  # fmt: skip
        until(
            page,
            "t => [...document.querySelectorAll('.stage video')].every(v => Math.abs(v.currentTime - t) < 1e-3)",
            arg=(expected - 0.5) / 50,
        )
        page.keyboard.press(".")
        page.keyboard.press(".")
        expected = start % 40 + 1
        until(page, "n => document.querySelector('.frame').textContent === `${n} / 40`", expected)  # fmt: skip
        page.locator(".scrub").fill("10")
        until(page, "[...document.querySelectorAll('.stage video')].every(v => Math.abs(v.currentTime - 10.5 / 50) < 1e-3)")  # fmt: skip
        assert shown(page, ".speed") == "0.75\u00d7"  # 40 steps at 50 a second last 0.8 s
        page.keyboard.press(">")
        assert shown(page, ".speed") == "1\u00d7"
        page.keyboard.press("<")
        page.keyboard.press("<")
        assert shown(page, ".speed") == "0.5\u00d7"


def test_a_shorter_clip_waits_for_the_longer(site, browser):
    api = site.api
    make_run(api, num_queries=0)
    (long,) = add_pairs(api, "cartpole-01", 1, length=40)
    (short,) = add_pairs(api, "cartpole-01", 1, length=12, seed=3)
    extra = str(uuid.uuid4())
    body = {"queries": [{"id": extra, "first": long[1], "second": short[1]}]}
    assert api.post("/api/runs/cartpole-01/queries", json=body).status_code == 204
    with opened(browser) as page:
        begin(page, site.url)
        while set(sides(page)) != {long[1], short[1]}:
            press(page, "ArrowLeft")
            page.wait_for_selector("[data-state=pair]")
        page.wait_for_selector(".clip.over")
        side = page.get_attribute(".clip.over", "data-side")
        assert shown(page, f"[data-side={side}] .steps") == "12 steps"
        page.wait_for_selector(".clip.over", state="detached")  # both have begun again
        settled(page)


def test_a_trim_arrives_and_can_be_taken_back(site, browser):
    make_run(site.api, num_queries=4, length=20)

    def go_to(page, frame):
        page.locator(".scrub").fill(str(frame - 1))
        until(page, "n => document.querySelector('.frame').textContent === `${n} / 20`", frame)  # fmt: skip
        page.locator(".scrub").blur()

    with opened(browser) as page:
        begin(page, site.url)
        go_to(page, 5)
        page.keyboard.press("i")
        go_to(page, 12)
        page.keyboard.press("o")
        assert shown(page, ".range") == "frames 5 to 12"
        # only that part plays
        page.keyboard.press("r")
        page.keyboard.press(" ")
        seen = page.evaluate("""async () => {
            const seen = new Set();
            for (let i = 0; i < 90; i++) {
                await new Promise(requestAnimationFrame);
                seen.add(Number(document.querySelector(".frame").textContent.split(" / ")[0]));
            }
            return [...seen];
        }""")
        assert 5 <= min(seen) <= max(seen) <= 12
        press(page, "ArrowLeft")
        assert shown(page, ".range") == "all compared"
        # by its handles, and then all again
        page.locator(".trim-start").fill("3")
        assert shown(page, ".range") == "frames 4 to 20"
        page.locator(".trim-start").blur()
        page.keyboard.press("x")
        press(page, "ArrowRight")
        page.locator(".trim-stop").fill("1")
        page.locator(".trim-stop").blur()
        press(page, "=")
        settled(page)
    trims = [event["trim"] for event in labels(site.api)]
    assert trims == [{"start": 4, "stop": 12}, None, {"start": 0, "stop": 1}]


def test_the_next_pair_plays_at_once(site, browser):
    make_run(site.api, num_queries=6)
    with opened(browser, (*AWAY, "ERR_")) as page:
        begin(page, site.url)
        page.wait_for_load_state("networkidle")
        # without a server, since the clips of the next pairs are here already
        page.route("**/clips/*", lambda route: route.abort())
        for _ in range(2):
            page.keyboard.press("ArrowLeft")
            page.evaluate("new Promise(requestAnimationFrame)")
            assert page.get_attribute("main", "data-state") == "pair"
            assert page.locator(".stage video").count() == 2
            ready = "[...document.querySelectorAll('.stage video')].every(v => v.readyState >= 2)"
            assert page.evaluate(ready)
        until(page, "[...document.querySelectorAll('.stage video')].every(v => v.currentTime > 0.1)")  # fmt: skip
        page.unroute("**/clips/*")
        settled(page)


def test_clips_that_are_not_rendered_yet_are_waited_for(site, browser):
    ((_, first, second),) = make_run(site.api, num_queries=1, clips=False)
    with opened(browser) as page:
        page.goto(f"{site.url}/#/label/cartpole-01")
        until(page, "document.querySelector('.message')?.textContent.includes('on their way')")  # fmt: skip
        for id, segment in zip((first, second), make_segments(2), strict=True):
            site.api.put(f"/api/segments/{id}/clip", content=clip_of(segment))
        page.wait_for_selector("[data-state=pair]")
        press(page, "ArrowLeft")
        settled(page)
    assert len(labels(site.api)) == 1


def test_clips_that_are_over_in_no_time_begin_slowly(site, browser):
    """8 steps at 50 a second: at a tenth of the speed they last 1.6 s, at a quarter 0.64."""
    make_run(site.api, num_queries=1, length=8)
    with opened(browser) as page:
        begin(page, site.url)
        assert shown(page, ".speed") == "0.1\u00d7"
        add_pairs(site.api, "cartpole-01", 1, length=60, seed=1)
        press(page, "ArrowLeft")
        until(page, "document.querySelector('.frame').textContent.endsWith('/ 60')")
        assert shown(page, ".speed") == "1\u00d7"  # each pair at its own
        add_pairs(site.api, "cartpole-01", 1, length=8, seed=2)
        page.keyboard.press("<")
        page.keyboard.press("<")
        press(page, "ArrowLeft")
        until(page, "document.querySelector('.frame').textContent.endsWith('/ 8')")
        assert shown(page, ".speed") == "0.5\u00d7"  # until somebody chooses one
