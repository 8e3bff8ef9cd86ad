"""What the agent sees beside a clip: the small pictures that were observed, on the page and from the server."""

import io
import uuid

import numpy as np
import pytest
from pages import (
    NEEDS_CHROMIUM,
    begin,
    clip_of,
    labels,
    make_run,
    make_segments,
    opened,
    press,
    report,
    settled,
    sides,
    until,
)
from PIL import Image
from taking_part import make_study

from prefloop.errors import UserError
from prefloop.labelling.arrays import Segment, pad, to_archive
from prefloop.labelling.server import observed
from prefloop.labelling.server.observed import sheet_of

pytest_plugins = ["page_fixtures"]
SPACES = {"obs_shape": [3, 4, 6], "obs_dtype": "uint8", "discrete": True, "num_actions": 2, "frame_stack": 3}  # fmt: skip
# of each canvas: the greys of the pictures of its stack, from the oldest to the newest
GREYS = """[...document.querySelectorAll('.observed canvas')].map(canvas => {
    const context = canvas.getContext('2d');
    return [0, 1, 2].map(i => context.getImageData(7 * i + 3, 2, 1, 1).data[0] / 10);
})"""


def stacks(frames, stack):
    """Segments' observations of frames that follow one another; [length, stack, *frame_shape]."""
    return np.stack([frames[i : i + stack] for i in range(len(frames) - stack + 1)])


def segment_of(frames, stack=1):
    obs = stacks(frames, stack) if stack > 1 else frames
    return Segment(obs, np.zeros(len(obs), np.int64), np.zeros(len(obs), np.float32), frame_stack=stack)  # fmt: skip


def plain_frames(count, height=4, width=6):
    """Each of one grey, ten brighter than the one before."""
    return np.ones((count, height, width), np.uint8) * 10 * np.arange(count, dtype=np.uint8)[:, None, None]  # fmt: skip


@pytest.mark.parametrize("stack", [1, 3])
def test_a_sheet_has_each_frame_once_from_left_to_right(stack):
    sheet = np.asarray(Image.open(io.BytesIO(sheet_of(segment_of(plain_frames(7), stack)))))
    assert sheet.shape == (3 * 4, 3 * 6)
    seen = sheet.reshape(3, 4, 3, 6).swapaxes(1, 2).reshape(9, 4, 6)
    np.testing.assert_array_equal(seen[:7], plain_frames(7))
    assert not seen[7:].any()


def test_a_sheet_of_colours_and_what_is_no_picture(monkeypatch):
    frames = np.random.default_rng(0).integers(256, size=(2, 5, 5, 3), dtype=np.uint8)
    sheet = np.asarray(Image.open(io.BytesIO(sheet_of(segment_of(frames)))))
    np.testing.assert_array_equal(sheet, np.concatenate(list(frames), axis=1))
    for obs in (np.zeros((4, 128), np.uint8), np.zeros((4, 8, 8), np.float32)):
        with pytest.raises(UserError, match="are no pictures"):
            sheet_of(segment_of(obs))
    monkeypatch.setattr(observed, "MAX_PIXELS", 100)
    with pytest.raises(UserError, match="too much"):
        sheet_of(segment_of(frames))


def ask(api, lengths, name="pictures"):
    """A run of stacked pictures, with a pair for each two lengths; their segments' ids."""
    assert api.put(f"/api/runs/{name}", json={"env": "CartPole-v1", "spaces": SPACES}).is_success
    ids = []
    for i, length in enumerate(lengths):
        one = segment_of(plain_frames(length + 2) + np.uint8(i), 3)
        reply = api.post(f"/api/runs/{name}/segments", content=to_archive(pad([one])))
        ids += reply.json()["ids"]
        clip = clip_of(make_segments(1, length)[0])
        assert api.put(f"/api/segments/{ids[-1]}/clip", content=clip).is_success
    asked = [
        {"id": str(uuid.uuid4()), "first": first, "second": second}
        for first, second in zip(ids[::2], ids[1::2], strict=True)
    ]
    assert api.post(f"/api/runs/{name}/queries", json={"queries": asked}).is_success
    return ids


@NEEDS_CHROMIUM
def test_what_the_agent_sees_is_shown_in_step_with_the_clip(site, browser):
    ids = ask(site.api, [12, 8, 12, 8])
    with opened(browser, expected=["willReadFrequently"]) as page:  # which the test does
        begin(page, site.url, "pictures")
        page.wait_for_selector("[data-action=observed][aria-pressed=false]")
        assert page.locator(".observed").first.is_hidden()
        page.keyboard.press(" ")  # so that it stands still
        page.keyboard.press("v")
        page.keyboard.press("r")
        first = sides(page)
        lengths = [8 if ids.index(id) % 2 else 12 for id in first]
        assert page.evaluate("document.querySelectorAll('.observed canvas').length") == 2
        for step in (0, 1, 10):
            page.locator(".scrub").fill(str(step))
            seen = [min(step, length - 1) for length in lengths]
            # the shorter one waits at its end; a segment's number is told by the last digit of its greys
            until(page, f"steps => {GREYS}.every((greys, k) => greys.every((grey, i) => Math.floor(grey) === steps[k] + i))", seen)  # fmt: skip
        press(page, "1")
        page.reload()  # the browser remembers
        page.wait_for_selector("[data-action=observed][aria-pressed=true]")
        second = sides(page)  # of this pair, and of each side its own
        assert {*first, *second} == set(ids)
        until(page, f"own => {GREYS}.every((greys, k) => Math.round(10 * greys[0]) % 10 === own[k])", [ids.index(id) for id in second])  # fmt: skip
        # the results have it, too
        settled(page)
        (event,) = labels(site.api, "pictures")
        report(site.api, (event["query"], event["label"], 0.9), run="pictures")
        page.goto(f"{site.url}/#/results/pictures")
        page.locator(".hard-pair").scroll_into_view_if_needed()
        page.wait_for_selector(".hard-pair .observed-frames[data-step='0']")
        page.click("text=Agent's view")
        assert page.locator(".hard-pair .observed-frames").first.is_hidden()
        begin(page, site.url, "pictures")
        assert page.locator(".observed").first.is_hidden()


@NEEDS_CHROMIUM
def test_it_is_offered_for_pictures_and_to_no_participant(site, browser):
    (person,) = make_study(site.api, people=1, num_queries=2)
    person.enter()
    ids = ask(site.api, [5, 5])
    path = f"/api/segments/{ids[0]}/observed.png"
    reply = site.api.get(path)
    assert reply.headers["content-type"] == "image/png" and "immutable" in reply.headers["cache-control"]  # fmt: skip
    assert site.api.get(path, headers=person.headers).status_code == 403
    make_run(site.api, "vectors", num_queries=1)
    with opened(browser) as page:
        begin(page, site.url, "vectors")
        other = site.api.get(f"/api/segments/{sides(page)[0]}/observed.png")
        assert other.status_code == 400 and "no pictures" in other.json()["detail"]
        assert page.locator("[data-action=observed]").count() == 0
        page.keyboard.press("v")
        page.keyboard.press("?")
        assert page.locator("#help-dialog >> text=what the agent sees").is_hidden()
