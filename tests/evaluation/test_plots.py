import warnings

import numpy as np
from PIL import Image

from prefloop.evaluation.plots import LONGEST, _shortened, plot_returns


def test_long_names_leave_room_for_the_picture(tmp_path):
    names = [f"{'deep/' * 60}run-{i}/final_policy.params" for i in range(3)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # of Matplotlib, that there is no room
        plot_returns(tmp_path / "p.png", {name: np.arange(5.0) for name in names})
    pixels = np.asarray(Image.open(tmp_path / "p.png").convert("L"))
    frame = (pixels < 50).sum(axis=0) > 100  # the left and the right edge of the axes
    assert np.ptp(np.flatnonzero(frame)) > pixels.shape[1] / 3


def test_names_that_differ_in_the_middle_stay_apart():
    names = [
        f"/home/me/comparison/runs/{method}/labels-200/seed-0/final_policy.params, drawn actions"
        for method in ("pebble", "pebble+surf")
    ]
    short = _shortened(names)
    assert len(set(short)) == 2 and short[1].startswith("pebble+surf/")
    assert all(len(name) <= LONGEST for name in short)
    assert _shortened(["a/b", "a/c"]) == ["a/b", "a/c"]
