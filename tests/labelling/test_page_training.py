"""The training behind a run, on its page."""

import uuid

from pages import (
    NEEDS_CHROMIUM,
    PHONE,
    Site,
    add_pairs,
    begin,
    clip_of,
    labels,
    lease,
    make_run,
    make_segments,
    opened,
    press,
    settled,
    shown,
    until,
)
from people import Clock

from prefloop.labelling.server.security import make_tokens

pytest_plugins = ["page_fixtures"]
pytestmark = NEEDS_CHROMIUM

PATH = "/api/runs/cartpole-01/training"
TRAINER = str(uuid.UUID(int=1))
CURVE = [{"steps": 1000 * i, "predicted": -5.0 + i, "length": 20.0 + i} for i in range(6)]
LEARNING = {
    "trainer": TRAINER, "phase": "learning", "steps": 5400, "next_pairs": 130.0, "steps_per_second": 61.4,
    "sessions": 3, "labels": 24, "held_out_accuracy": 0.75, "curve": CURVE,
}  # fmt: skip


def tell(site, **changes):
    reply = site.api.put(PATH, json={**LEARNING, **changes})
    assert reply.status_code == 200, reply.text
    return reply.json()


def said(page, text):
    until(
        page, "text => document.querySelector('.training-said')?.textContent.includes(text)", text
    )


def test_whoever_has_answered_everything_watches_the_training(site, browser):
    make_run(site.api, num_queries=1, instructions="Keep it upright.")
    tell(site)
    (segment,) = make_segments(1)
    assert site.api.put(f"{PATH}/video", content=clip_of(segment)).status_code == 204
    with opened(browser) as page:
        page.goto(f"{site.url}/#/label/cartpole-01")
        assert shown(page, ".goal") == "What to look for: Keep it upright."
        said(page, "Learning, step 5,400, the next pairs in about 2 min.")
        assert page.get_attribute(".training", "open") is None  # there is something to do
        press(page, "1")
        page.wait_for_selector(".training[open]")
        assert shown(page, ".goal")
        facts = shown(page, ".training-facts")
        # four or five held-out answers tell nothing, and "right about 0%" sounds like a fault
        assert "24 labels learned from" in facts and "%" not in facts
        assert "from about 50 on it can be told" in facts
        assert "61 steps a second" in facts
        assert page.locator(".training-curve").count() == 2
        assert "from -5 to 0" in page.get_attribute(".training-curve svg >> nth=0", "aria-label")
        until(page, "document.querySelector('.training-video').readyState >= 2")
        until(page, "document.querySelector('.training-video').currentTime > 0")
        tell(site, labels=50)
        until(
            page,
            "document.querySelector('.training-facts').textContent.includes('right about 75% of those')",
        )
        # its own keys answer nothing; whoever uses it by mouse goes on by keys
        add_pairs(site.api, "cartpole-01", 2, seed=1)
        page.wait_for_selector("[data-state=pair]")
        pair = lease(page)
        page.locator(".training-video").focus()
        page.keyboard.press(" ")
        until(page, "document.querySelector('.training-video').paused")
        page.keyboard.press("ArrowLeft")
        page.wait_for_timeout(100)
        assert lease(page) == pair
        page.locator(".training-video").click()
        press(page, "ArrowLeft")
        settled(page)
    assert len(labels(site.api)) == 2


def test_buttons_steer_it(site, browser):
    make_run(site.api, num_queries=0)
    with opened(browser) as page:
        page.goto(f"{site.url}/#/label/cartpole-01")
        page.wait_for_selector(".message")
        assert page.locator(".training").is_hidden()  # nothing trains on it
        tell(site)
        said(page, "Learning")
        page.get_by_role("button", name="Pause learning").click()
        said(page, "Paused at step 5,400.")
        assert tell(site, phase="paused")["paused"]
        page.get_by_role("button", name="Go on").click()
        said(page, "Learning")
        assert not tell(site)["paused"]
        page.get_by_role("button", name="Ask me now").click()
        until(page, "document.querySelector('.training .mistake').textContent === ''")
        while tell(site)["asks"] < 1:
            page.wait_for_timeout(50)
        # where all labels are given, or asked for, it would do nothing
        tell(site, labels_left=0)
        until(page, "document.querySelector('.training-facts').textContent.includes('no more')")
        assert page.get_by_role("button", name="Ask me now").is_disabled()
        assert page.get_by_role("button", name="Pause learning").is_enabled()
        page.get_by_role("button", name="Stop and keep").click()
        said(page, "Stopping, and keeping what was learned")
        assert tell(site)["stop"]
        assert page.get_by_role("button", name="Pause learning").is_disabled()
        tell(site, phase="ended", said="it was stopped on the page")
        said(page, "Training has ended at step 5,400: it was stopped on the page.")


def test_a_trainer_that_is_gone_is_said_and_comes_back_by_itself(tmp_path, browser):
    clock = Clock()
    with Site(tmp_path, clock) as site:
        make_run(site.api, num_queries=0)
        tell(site, phase="exploring", until=9000)
        with opened(browser) as page:
            page.goto(f"{site.url}/#/label/cartpole-01")
            said(page, "Exploring, 5,400 of 9,000 steps")
            clock.go(40)
            said(page, "was last heard of 40 s ago. The command that started it goes on")
            assert page.get_by_role("button", name="Pause learning").is_disabled()
            tell(site, trainer=str(uuid.UUID(int=2)), phase="asking")
            said(page, "Waiting for your answers.")


def test_on_a_phone_and_for_who_may_only_label(tmp_path, browser):
    given = make_tokens()
    with Site(tmp_path, tokens=given.hashed) as site:
        site.api.headers["authorization"] = f"Bearer {given.trainer}"
        make_run(site.api, num_queries=0)
        tell(site)
        with opened(browser, viewport=PHONE, has_touch=True, is_mobile=True) as page:
            page.goto(f"{site.url}/#token={given.annotator}")
            page.wait_for_selector(".run")
            page.goto(f"{site.url}/#/label/cartpole-01")
            said(page, "Learning")
            page.wait_for_selector(".training[open] .training-curve")
            assert page.get_by_role("button", name="Pause learning").count() == 0
            until(page, "document.documentElement.scrollWidth <= window.innerWidth")
        site.api.headers["authorization"] = f"Bearer {given.annotator}"
        assert site.api.post(f"{PATH}/wishes", json={"wish": "stop"}).status_code == 403
        assert site.api.put(PATH, json=LEARNING).status_code == 403
        assert site.api.get(PATH).json()["labels"] == 24


def traces(site, queries):
    """What a reward says of pairs: rising in the first clip, falling in the second."""
    rising = [0.1 * step for step in range(25)]
    told = {}
    for _, first, second in queries:
        for id, line in ((first, rising), (second, rising[::-1])):
            told[id] = {
                "learned": line, "lowest": [x - 0.2 for x in line], "highest": [x + 0.2 for x in line],
            }  # fmt: skip
    return site.api.put(f"{PATH}/traces", json={"traces": told})


def test_what_the_reward_says_is_shown_to_who_asks(site, browser):
    queries = make_run(site.api, num_queries=2)
    assert traces(site, queries).status_code == 404  # nobody trains on it
    tell(site)
    assert traces(site, queries).status_code == 204
    about = {id for _, *both in queries for id in both}
    assert set(site.api.get(f"{PATH}/traces").json()) == about
    with opened(browser) as page:
        begin(page, site.url)
        page.wait_for_selector("[data-action=microscope][aria-pressed=false]")
        assert page.locator(".microscope").first.is_hidden()
        page.keyboard.press(" ")  # so that it stands still
        page.keyboard.press("m")
        page.wait_for_selector(".microscope .reward-trace")
        assert page.locator(".microscope .reward-trace").count() == 2
        page.keyboard.press("r")
        shown_step = (
            "[...document.querySelectorAll('.microscope .reward')].map(x => +x.dataset.step)"
        )
        until(page, f"{shown_step}.every(step => step === 0)")
        for step in (1, 2):
            page.keyboard.press(".")
            until(page, f"step => {shown_step}.every(at => at === step)", step)
        # a click on the line goes to the frame, of both
        box = page.locator(".microscope svg").first.bounding_box()
        page.mouse.click(box["x"] + 0.5 * box["width"], box["y"] + 10)
        until(page, f"{shown_step}.every(step => step === 12)")
        # one step has one number: that of the transport
        assert "13 / 25" in shown(page, ".frame")
        figures = page.locator(".microscope .reward-figures").all_inner_texts()
        assert all(said.startswith("Step 13: ") for said in figures)
        # keys go on answering then; whoever comes to it by keyboard moves along it, and answers nothing
        assert not page.evaluate("document.activeElement.matches('.reward-trace')")
        pair = lease(page)
        page.locator(".microscope svg").first.focus()
        page.keyboard.press("ArrowRight")
        until(page, f"{shown_step}.every(step => step === 13)")
        assert (lease(page), labels(site.api)) == (pair, [])
        assert traces(site, []).status_code == 204
        press(page, "1")  # of the other pair nothing is said any more
        page.wait_for_selector("text=No reward was learned yet that says anything of this clip")
        page.reload()  # the browser remembers that it is open
        page.wait_for_selector("[data-action=microscope][aria-pressed=true]")
        page.keyboard.press("m")
        until(page, "document.querySelector('.microscope').hidden")


def test_the_policy_s_video_is_dimmed_in_the_dark_as_the_clips_are(site, browser):
    make_run(site.api, num_queries=1)
    tell(site)
    (segment,) = make_segments(1)
    assert site.api.put(f"{PATH}/video", content=clip_of(segment)).status_code == 204
    for scheme in ("light", "dark"):
        with opened(browser, color_scheme=scheme) as page:
            begin(page, site.url)
            page.wait_for_selector(".training-video", state="attached")
            of = "name => getComputedStyle(document.querySelector(name)).filter"
            clip, policy = (
                page.evaluate(of, f"{name}") for name in (".stage video", ".training-video")
            )
            assert clip == policy and (clip == "none") == (scheme == "light")
