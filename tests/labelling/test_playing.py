"""A clip in a real browser."""

import functools
import http.server
import threading

import numpy as np
import pytest
from pages import NEEDS_CHROMIUM, chromium

from prefloop.labelling.arrays import Segment
from prefloop.labelling.server.rendering import Renderer, write_clip

# Chromium seeks in a blob, and over HTTP only where the server answers to ranges, as this does not
PAGE = """<!doctype html><title>a clip</title><video muted></video><script type="module">
    const clip = await (await fetch("clip.mp4")).blob();
    document.querySelector("video").src = URL.createObjectURL(clip);
</script>"""
SHOW = """
    async ([frame, expected]) => {
        const video = document.querySelector("video");
        video.pause();
        const shown = new Promise((done) => video.addEventListener("seeked", done, {once: true}));
        video.currentTime = (frame + 0.5) / 50;
        await shown;
        const canvas = document.createElement("canvas");
        [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
        const context = canvas.getContext("2d", {willReadFrequently: true});
        const middle = () => {
            context.drawImage(video, 0, 0);
            // a stripe above the ground through the cart, whose columns are dark where it stands
            const stripe = context.getImageData(0, 240, canvas.width, 1).data;
            const dark = [];
            for (let x = 0; x < canvas.width; x++) if (stripe[4 * x] < 128) dark.push(x);
            return dark.reduce((sum, x) => sum + x, 0) / dark.length;
        };
        // a busy machine says that it has sought before it shows what it found
        const end = performance.now() + 5000;
        while (Math.abs(middle() - expected) > 1.5 && performance.now() < end)
            await new Promise((done) => setTimeout(done, 20));
        return middle();
    }
"""


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def address(tmp_path):
    handler = functools.partial(Quiet, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@NEEDS_CHROMIUM
def test_a_clip_plays_in_chromium(tmp_path, address):
    length = 50
    obs = np.zeros((length, 4), dtype=np.float32)
    obs[:, 0] = np.linspace(-2, 2, length)  # the cart crosses the picture
    segment = Segment(obs, np.zeros(length, dtype=np.int64), np.zeros(length, dtype=np.float32))
    renderer = Renderer("CartPole-v1")
    write_clip(tmp_path / "clip.mp4", renderer.frames(segment), renderer.fps)
    (tmp_path / "index.html").write_text(PAGE)
    with chromium() as browser:
        page = browser.new_page()
        page.goto(address)
        page.wait_for_function("document.querySelector('video').readyState >= 3")
        facts = page.evaluate(
            "(({videoWidth, videoHeight, duration}) => [videoWidth, videoHeight, duration])"
            "(document.querySelector('video'))"
        )
        assert facts == [480, 320, 1]
        page.evaluate("document.querySelector('video').play()")
        page.wait_for_function("document.querySelector('video').currentTime > 0.2")
        page.wait_for_function("document.querySelector('video').ended")
        # whichever frame is asked for is shown, also backwards
        for frame in (0, 49, 25, 24, 23, 9, 10):
            expected = (obs[frame, 0] / 2.4 + 1) * 240
            assert abs(page.evaluate(SHOW, [frame, float(expected)]) - expected) < 1.5, frame
