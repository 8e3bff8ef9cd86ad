"""The page of `prefloop show`, opened from its folder in a browser that has no network."""

import contextlib
import json
import re
import shutil

import pytest
from kept_runs import make_run, show
from pages import APART, NEEDS_CHROMIUM, PHONE, WIDE, at_step, until
from test_video_files import read

from prefloop.showing import gathering
from prefloop.showing.page import write_page

pytest_plugins = ["page_fixtures"]
pytestmark = NEEDS_CHROMIUM

STEPS = 60  # of an episode: at 30 a second, 2 s
PLAYS = "document.querySelector('[data-key=\" \"]').textContent === 'Pause'"


@pytest.fixture(scope="module")
def page_folder(tmp_path_factory):
    """Two runs of a pendulum, one of which was taught; three policies and two episodes of each."""
    folder = tmp_path_factory.mktemp("shown")
    make_run(folder / "taught", kept=(0, 1), rows=3, labels=True, reward=True)
    make_run(folder / "true", kept=(0, 1), rows=3, seed=1)
    page = folder / "page"
    show(folder / "taught", folder / "true", "--export", page, "--steps", STEPS, "--episodes", 3, "--clips", 2)  # fmt: skip
    shutil.rmtree(folder / "taught")  # nothing of the page is there
    return page


@contextlib.contextmanager
def opened(browser, folder, viewport=WIDE, **options):
    """The page, standing still; whatever its console complains about, or asks of a network, fails the test."""
    context = browser.new_context(viewport=viewport, offline=True, reduced_motion="reduce", **options)  # fmt: skip
    context.set_default_timeout(60_000)
    complaints = []
    context.on("console", lambda m: complaints.append(m.text) if m.type in ("error", "warning") else None)  # fmt: skip
    context.on("weberror", lambda uncaught: complaints.append(str(uncaught.error)))
    context.on("request", lambda r: None if r.url.startswith((folder.as_uri(), "data:")) else complaints.append(r.url))  # fmt: skip
    page = context.new_page()
    try:
        page.goto((folder / "index.html").as_uri())
        at_step(page, 0, panels=None)
        yield page
        assert not complaints, complaints
    finally:
        context.close()


def videos(page):
    """What is on the stage."""
    return page.eval_on_selector_all(".panel", "panels => panels.map(p => p.dataset.video)")


def wait_for_videos(page, *names):
    until(page, "names => JSON.stringify([...document.querySelectorAll('.panel')].map(p => p.dataset.video)) === JSON.stringify(names)", [f"clips/{name}.mp4" for name in names])  # fmt: skip


def about(folder):
    return json.loads((folder / "show.json").read_text())


def number(text):
    return float(text.replace("\u2212", "-").replace(",", ""))


def test_everything_by_keyboard(browser, page_folder):
    with opened(browser, page_folder) as page:
        press = page.keyboard.press
        assert videos(page) == ["clips/0-2-0.mp4", "clips/1-2-0.mp4"]  # the last policies
        press(".")
        press("ArrowRight")
        at_step(page, 2)
        press(",")
        at_step(page, 1)
        press("n")
        wait_for_videos(page, "0-2-1", "1-2-1")
        press("p")
        wait_for_videos(page, "0-2-0", "1-2-0")
        at_step(page, 0)
        press(".")
        at_step(page, 1)
        press("[")
        wait_for_videos(page, "0-1-0", "1-1-0")
        at_step(page, 1)  # what stands is compared where it stands
        press("]")
        wait_for_videos(page, "0-2-0", "1-2-0")
        press("2")  # to the slider of the second
        press("ArrowLeft")
        wait_for_videos(page, "0-2-0", "1-1-0")
        speed = page.locator(".speed").inner_text()
        press(">")
        assert page.locator(".speed").inner_text() != speed
        press("<")
        assert page.locator(".speed").inner_text() == speed
        assert not page.locator("dl").is_visible()
        press("?")
        assert page.locator("dl").is_visible()
        press(" ")
        until(page, PLAYS)
        press(" ")
        until(page, f"!({PLAYS})")
        page.locator(".reward-trace").first.focus()
        press("Home")
        at_step(page, 0)
        press("ArrowRight")
        at_step(page, 1)  # and not a step by the trace and one by the page
        page.locator(".scrub").focus()
        press("End")
        at_step(page, STEPS - 1)
        page.locator(".point circle").first.focus()
        press("Enter")
        wait_for_videos(page, "0-0-0", "1-1-0")
        page.locator(".gallery button").last.focus()
        press("Enter")
        assert videos(page) != ["clips/0-0-0.mp4", "clips/1-1-0.mp4"]


def test_a_click_on_the_reward_goes_to_its_step(browser, page_folder):
    with opened(browser, page_folder) as page:
        trace = page.locator(".reward-trace").nth(1)
        box = trace.bounding_box()
        trace.click(position={"x": box["width"] * 40.5 / STEPS, "y": 20})
        at_step(page, 40)
        reward = about(page_folder)["runs"][1]["policies"][2]["clips"][0]["reward"]["true"][40]
        said = page.locator(".reward-figures").all_inner_texts()
        assert number(said[1].split()[-1]) == pytest.approx(reward, rel=0.01, abs=1e-6)
        assert reward < 0 and "reward" in said[0] and "true" in said[0]
        assert (
            "Step 41:" in said[0] and page.locator(".frame").inner_text() == f"step 41 of {STEPS}"
        )
        assert page.locator(".reward-band").count() == 1  # of the run that has learned one


def test_a_click_in_a_chart_plays_the_nearest_checkpoint(browser, page_folder):
    with opened(browser, page_folder) as page:
        charts = page.locator(".chart")
        assert [charts.nth(i).get_attribute("aria-label") for i in range(charts.count())] == [
            "Return against steps", "Return against labels",
        ]  # fmt: skip
        assert charts.nth(1).locator("circle").count() == 3  # one run alone has labels
        for chart, point, shown in ((0, 3, ("0-2-0", "1-0-0")), (1, 1, ("0-1-0", "1-0-0"))):
            dot = charts.nth(chart).locator("circle").nth(point)
            dot.scroll_into_view_if_needed()
            box = dot.bounding_box()
            page.mouse.click(box["x"] + box["width"] + 1, box["y"] + box["height"] / 2)  # beside it
            wait_for_videos(page, *shown)
            until(page, PLAYS)
        assert page.locator(".point.shown").count() == 3


def test_returns_are_shown_as_they_are_and_sorted(browser, page_folder):
    runs = about(page_folder)["runs"]
    clips = [clip for run in runs for policy in run["policies"] for clip in policy["clips"]]
    with opened(browser, page_folder) as page:
        policy = runs[0]["policies"][2]
        said = page.locator(".returns").first.inner_text()
        own, mean, low, high = map(number, re.findall(r"\u2212?[\d,]+(?:\.\d+)?", re.sub(r"\(.*\)", "", said)))  # fmt: skip
        assert own == pytest.approx(policy["clips"][0]["return"], abs=0.06 + abs(own) / 100) and own < 0  # fmt: skip
        for figure, name in ((mean, "mean"), (low, "low"), (high, "high")):
            assert figure == pytest.approx(policy[name], abs=0.06 + abs(figure) / 100)
        read = lambda: [number(text) for text in page.locator(".gallery b").all_inner_texts()]  # noqa: E731
        returns = [clip["return"] for clip in clips]
        assert read() == pytest.approx(sorted(returns, reverse=True), abs=0.6)
        page.locator("#order").select_option("return, lowest first")
        assert read() == pytest.approx(sorted(returns), abs=0.6)
        page.locator("#order").select_option("episode")
        titles = page.locator(".gallery .title").all_inner_texts()
        assert [text[-1] for text in titles] == ["1"] * 6 + ["2"] * 6
        page.locator("#order").select_option("step, earliest first")
        titles = page.locator(".gallery .title").all_inner_texts()
        assert ["1,000 steps" in text for text in titles] == [True] * 4 + [False] * 8
        page.locator("#order").select_option("step, latest first")
        titles = page.locator(".gallery .title").all_inner_texts()
        assert ["the last policy" in text for text in titles] == [True] * 4 + [False] * 8


def test_clips_play_in_step(browser, page_folder):
    with opened(browser, page_folder) as page:
        page.keyboard.press(" ")
        found = page.evaluate(APART, {"seconds": 1.8, "fps": 30})
        assert found["looked"] > 3
        assert found["apart"] <= 1


def test_steps_that_share_a_frame_are_told_apart(browser, tmp_path, monkeypatch):
    monkeypatch.setattr(gathering, "steps_a_picture", lambda env: 4)
    make_run(tmp_path / "a", kept=())
    line = "--episodes 1 --clips 1 --steps 30"
    show(tmp_path / "a", "--export", tmp_path / "p", *line.split())
    (clip,) = about(tmp_path / "p")["runs"][0]["policies"][0]["clips"]
    assert (clip["steps"], clip["steps_a_frame"]) == (30, 4)
    assert len(read(tmp_path / "p" / clip["video"])[0]) == 8
    with opened(browser, tmp_path / "p") as page:
        for key, step in ((".", 1), ("r", 0), (",", 29)):
            page.keyboard.press(key)
            until(page, "step => Number(document.querySelector('.panels .reward').dataset.step) === step", step)  # fmt: skip
            until(page, "step => [...document.querySelectorAll('.panels video')].every(v => !v.seeking && Math.floor(v.currentTime * 30) === step)", step)  # fmt: skip


@pytest.mark.slow
def test_clips_are_in_step_after_ten_seconds(browser, tmp_path):
    for i, name in enumerate("ab"):
        make_run(tmp_path / name, "MountainCar-v0", kept=(), seed=i)
    show(tmp_path / "a", tmp_path / "b", "--export", tmp_path / "p", "--episodes", 1, "--clips", 1)
    with opened(browser, tmp_path / "p") as page:
        for _ in range(2):
            page.keyboard.press("<")  # 200 steps at 30 a second would be over in 7
        assert page.locator(".speed").inner_text() == "0.5\u00d7"
        page.keyboard.press(" ")
        found = page.evaluate(APART, {"seconds": 10, "fps": 30})
        assert found["looked"] > 50
        assert found["apart"] <= 1


def test_a_hundred_clips_are_loaded_as_they_come_into_sight(browser, page_folder, tmp_path):
    shown = about(page_folder)
    for run in shown["runs"]:
        run["policies"] = [run["policies"][i % 3] for i in range(25)]
    shutil.copytree(page_folder, tmp_path / "page")
    write_page(tmp_path / "page", shown)
    loaded = "[...document.querySelectorAll('.gallery video')].filter(v => v.src).length"
    in_sight = """[...document.querySelectorAll('.gallery video')].filter(v => {
        const box = v.parentElement.getBoundingClientRect();
        return box.top < innerHeight && box.bottom > 0;
    }).length"""
    with opened(browser, tmp_path / "page") as page:
        assert page.locator(".gallery video").count() == 100
        assert page.evaluate(in_sight) == 0
        assert page.evaluate(loaded) == 0
        page.locator("#order").scroll_into_view_if_needed()
        page.mouse.wheel(0, 250)
        until(page, f"{in_sight} > 0 && {loaded} > 0")
        page.wait_for_timeout(300)
        assert 0 < page.evaluate(in_sight) <= page.evaluate(loaded) < 60
        assert page.evaluate("[...document.querySelectorAll('.gallery video')].every(v => v.src ? v.preload === 'metadata' : v.preload === 'none')")  # fmt: skip


def test_a_clip_that_is_gone_leaves_the_others(browser, page_folder, tmp_path):
    shutil.copytree(page_folder, tmp_path / "page")
    (tmp_path / "page" / "clips" / "0-2-0.mp4").unlink()
    with pytest.raises(AssertionError, match="ERR_FILE_NOT_FOUND"), opened(browser, tmp_path / "page") as page:  # fmt: skip
        assert "can't play the clip" in page.locator(".screen").first.inner_text()
        page.keyboard.press(".")
        at_step(page, 1, panels=None)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [WIDE, PHONE], ids=["wide", "phone"])
def test_everybody_can_use_it(browser, page_folder, scheme, viewport):
    from axe_playwright_python.sync_playwright import Axe

    rules = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}
    with opened(browser, page_folder, viewport, color_scheme=scheme) as page:
        page.keyboard.press("?")
        found = Axe().run(page, options=rules).response
        assert len(found["passes"]) > 10
        faults = [(f["id"], n["target"], n["failureSummary"]) for f in found["violations"] for n in f["nodes"]]  # fmt: skip
        assert faults == []
        width = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
        assert width[0] <= width[1]
