"""The page of a reward report, in a browser."""

import numpy as np
import pytest
from made_up import make_segments
from pages import NEEDS_CHROMIUM, chromium
from test_reward_report import pairs_of, report

from prefloop.data.preferences import Preferences
from prefloop.evaluation.judgement import AnswerFacts

pytestmark = NEEDS_CHROMIUM


def test_the_page_shows_the_step_that_was_clicked(tmp_path):
    rng = np.random.default_rng(0)
    obs = rng.normal(size=(4, 21, 3))
    segments = make_segments(
        obs, np.zeros((4, 21)), np.array([21, 11, 21, 21]), rewards=obs[..., 0]
    )
    prefs = Preferences(segments, np.array([0, 2]), np.array([1, 3]), np.array([1.0, 0.5]))
    report(tmp_path, prefs, known=AnswerFacts(inputs=["a", "b", "c"]))
    first, second = pairs_of(tmp_path)[0]["sides"]
    assert first["learned"][20] == pytest.approx(float(obs[0, 20, 0]), rel=1e-3)
    assert len(second["learned"]) == len(second["true"]) == 11
    with chromium() as browser:
        page = browser.new_page()
        mistakes = []
        page.on("pageerror", lambda error: mistakes.append(str(error)))
        page.goto((tmp_path / "report.html").as_uri())
        pair = page.locator(".pair").first
        chart = pair.locator("svg").first
        box = chart.bounding_box()
        chart.click(position={"x": box["width"] - 1, "y": box["height"] / 2})
        said = pair.locator("figcaption").all_inner_texts()
        assert "Step 21" in said[0] and "Step 11" in said[1]  # the shorter one waits at its end
        pair.locator("input").fill("5")
        assert all("Step 6" in text for text in pair.locator("figcaption").all_inner_texts())
        assert page.locator(".pair").count() == 2
        assert not mistakes
