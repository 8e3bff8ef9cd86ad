"""Can a person teach CartPole? An annotator who drives the real page by keyboard, and 100 pairs.

    python benchmarks/labelling_teaching.py
    python benchmarks/labelling_teaching.py --seeds 1 --record teaching.mp4

For every seed: `prefloop label`, `prefloop collect`, the page in headless Chromium, `prefloop
pref-ppo --teacher human` with the labels that come out of it, and 100 episodes of the policy. The
annotator presses the key of the clip with the higher true return, which in CartPole is the number
of steps that the page shows; where both are alike, that of a tie. Takes about two minutes a seed.
"""

import argparse
import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prefloop.video_files import write_video

ENV, RUN = "CartPole-v0", "cartpole-01"
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
RECORDED = 40  # answers that a recording shows
PREFLOOP = [sys.executable, "-m", "prefloop"]


@contextlib.contextmanager
def labelling_server(home: Path) -> Iterator[str]:
    """`prefloop label` on a free port; its address."""
    command = [*PREFLOOP, "label", "--home", str(home), "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        found = re.search(r"http://[\d.:]+", process.stdout.readline())
        assert found, "the server did not start"
        yield found[0]
    finally:
        process.terminate()
        process.wait()


class Annotator:
    """Somebody at the page, who judges by the true return."""

    def __init__(self, page: Any, url: str, record: bool) -> None:
        self.page, self.record = page, record
        self.labelled, self.pictures = 0, list[NDArray]()
        self._last: str | None = None
        page.goto(f"{url}/#/label/{RUN}")
        page.fill("#name-field", "ada")
        page.keyboard.press("Enter")

    def label_next(self) -> bool:
        """Answers the pair that is shown, by key; False where none is, or it was answered."""
        lease = self.page.get_attribute(".stage", "data-lease", timeout=60_000)
        state = self.page.get_attribute("#view", "data-state")
        if state != "pair" or lease is None or lease == self._last:
            return False
        left, right = (
            int(self.page.inner_text(f".clip.{side} .steps").split()[0])
            for side in ("left", "right")
        )
        if self.record and self.labelled < RECORDED:
            self.page.wait_for_timeout(500)  # a look at both
            self._photograph()
        self.page.keyboard.press("=" if left == right else "ArrowLeft" if left > right else "2")
        self._last, self.labelled = lease, self.labelled + 1
        return True

    def _photograph(self) -> None:
        import io

        from PIL import Image

        picture = Image.open(io.BytesIO(self.page.screenshot())).convert("RGB")
        self.pictures.append(np.asarray(picture))


def teach(seed: int, labels: int, folder: Path, record: Path | None) -> float:
    """Mean true return of the policy that the annotator's labels led to."""
    from playwright.sync_api import sync_playwright

    with labelling_server(folder / "home") as url, sync_playwright() as playwright:
        environment = {**os.environ, "PREFLOOP_SERVER": url}
        collect = ["collect", "--name", RUN, "--env", ENV, "--pairs", str(labels * 2 // 5)]
        subprocess.run(
            [*PREFLOOP, *collect, "--seed", str(seed)], check=True, env=environment,
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
        chromium = shutil.which("chromium") or shutil.which("google-chrome")
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        page = browser.new_page(viewport={"width": 1000, "height": 700})
        mistakes: list[str] = []
        page.on("pageerror", lambda error: mistakes.append(str(error)))
        annotator = Annotator(page, url, record is not None)
        train = ["pref-ppo", "--teacher", "human", "--run", RUN, "--labels", str(labels)]
        trainer = subprocess.Popen(
            [*PREFLOOP, *train, "--seed", str(seed)], cwd=folder, env=environment,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        while trainer.poll() is None:
            if not annotator.label_next():
                time.sleep(0.02)
        browser.close()
        assert trainer.returncode == 0 and not mistakes, (trainer.returncode, mistakes)
        assert annotator.labelled == labels, annotator.labelled
    if record is not None:
        write_video(record, iter(annotator.pictures), fps=2)
    evaluate = [*PREFLOOP, "evaluate", f"{RUN}/final_policy.params", "--episodes", "100"]
    said = subprocess.run(evaluate, cwd=folder, check=True, capture_output=True, text=True).stdout
    print(f"seed {seed}: {said.splitlines()[0]}", flush=True)
    return float(said.partition(": ")[2].split()[0])


def main() -> None:
    """Teaches with each seed and prints what came of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--labels", type=int, default=100)
    parser.add_argument("--record", type=Path, help="the first seed's page, as a video")
    arguments = parser.parse_args()
    returns = []
    for seed in range(arguments.seeds):
        with tempfile.TemporaryDirectory() as folder:
            record = arguments.record if seed == 0 else None
            returns.append(teach(seed, arguments.labels, Path(folder), record))
    print(f"195 or more: {sum(value >= 195 for value in returns)} of {len(returns)} seeds")


if __name__ == "__main__":
    main()
