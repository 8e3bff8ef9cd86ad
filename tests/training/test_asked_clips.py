"""Clips of what a simulated teacher was asked."""

from typing import ClassVar

import av
import gymnasium as gym
import numpy as np
import pytest
from conftest import assert_one_sentence
from test_stopping import PEBBLE, PREF_PPO, result

from prefloop.commands import clips
from prefloop.data import dataset
from prefloop.files import read_csv


class Wandering(gym.Env):
    """Is a grey picture of where it is; only its seed and actions show it again."""

    metadata: ClassVar = {"render_modes": ["rgb_array"], "render_fps": 10}
    observation_space = gym.spaces.Box(-100, 100, (1,))
    action_space = gym.spaces.Box(-1, 1, (1,))

    def __init__(self, render_mode=None):
        self.render_mode = render_mode

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place = self.np_random.normal(size=1)
        return self.place.astype(np.float32), {}

    def step(self, action):
        self.place = self.place + action + self.np_random.normal(size=1)
        return self.place.astype(np.float32), float(self.place[0]), False, False, {}

    def render(self):
        return np.full((32, 48, 3), 100 + int(self.place[0]), np.uint8)


gym.register("Wandering-v0", lambda **kwargs: Wandering(**kwargs), max_episode_steps=25)


def undrawn(folder):
    return {k: v for k, v in result(folder).items() if not k.startswith(("clips", "replay/"))}


def pictures(path):
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


@pytest.mark.parametrize(
    ("line", "steps"), [(PEBBLE, 20), (PREF_PPO, 10), (f"{PREF_PPO} x --teacher mistake --out", 10)]
)
def test_the_first_pairs_of_each_session_are_drawn(run, tmp_path, line, steps):
    outcome = run(f"{line} drawn --clips-per-session 2")
    assert outcome.code == 0, outcome.err
    assert run(f"{line} not").code == 0
    assert undrawn(tmp_path / "drawn") == undrawn(tmp_path / "not")
    said = dataset.read(tmp_path / "drawn/preferences")
    rows = read_csv(tmp_path / "drawn/metrics.csv")
    sessions = np.flatnonzero(np.diff([0, *(int(row["shown"]) for row in rows)]))
    there = sorted((tmp_path / "drawn/clips").iterdir())
    asked = {i: int(rows[i]["shown"]) - int(rows[i - 1]["shown"] if i else 0) for i in sessions}
    assert len(there) == sum(min(2, number) for number in asked.values()) >= 4
    for path in there:
        number, _, iteration, answer = path.stem.split("_")
        assert answer == {0.0: "first", 1.0: "second", 0.5: "tie"}[said.labels[int(number)]]
        assert int(iteration) in sessions
        frames = pictures(path)
        assert len(frames) == steps and frames[0].shape == (506, 976, 3)
        left, right = frames[0][30:, :470], frames[0][30:, -470:]
        assert (left != right).any()
        # what divides the two is dark on Pendulum's white, and the preferred one has a green line
        assert frames[0][100:, 484:492].max() < 80
        greens = [half[:20, 300:400].astype(int) for half in (frames[0], frames[0][:, 496:])]
        is_green = [bool((x[..., 1] > x[..., 0] + 40).all()) for x in greens]
        assert is_green == [answer == "first", answer == "second"]
        assert (frames[0] != frames[-1]).any()


@pytest.mark.parametrize("env", ["InvertedPendulum-v5", "Wandering-v0"])
def test_what_is_shown_by_states_or_by_its_seed(run, tmp_path, env):
    if env.startswith("Inverted"):
        pytest.importorskip("mujoco")
    line = PREF_PPO.replace("Pendulum-v1", env).replace("--segment-length 10", "--segment-length 4")
    outcome = run(f"{line} drawn --clips-per-session 1")
    if "can't be drawn here" in outcome.err:
        pytest.skip(outcome.err)
    assert outcome.code == 0, outcome.err
    assert len(list((tmp_path / "drawn/clips").iterdir())) == 4
    if env.startswith("Inverted"):
        assert run(f"{line} not").code == 0
        assert undrawn(tmp_path / "drawn") == undrawn(tmp_path / "not")


def test_a_clip_that_fails_stops_nothing(run, tmp_path, monkeypatch):
    def fail(*args):
        raise RuntimeError("The driver is gone.")

    monkeypatch.setattr(clips, "Renderer", fail)
    outcome = run(f"{PREF_PPO} p --clips-per-session 1")
    assert outcome.code == 0
    assert outcome.err == "No more clips (The driver is gone); training goes on.\n"


def test_the_shorter_one_waits():
    left, right = ([np.full((2, 2, 3), i, np.uint8) for i in range(n)] for n in (1, 3))
    frames = list(clips._side_by_side(left, right))
    assert len(frames) == 3
    assert frames[2][-1, 0, 0] == 0 and frames[2][-1, -1, 0] == 2


@pytest.mark.parametrize(
    ("label", "words"),
    [
        (0.0, ("first: preferred", "second")),
        (1.0, ("first", "second: preferred")),
        (0.5, ("first (tie)", "second (tie)")),
        (np.nan, ("first (skipped)", "second (skipped)")),
    ],
)
def test_above_the_two_stands_what_was_said(label, words):
    assert clips._captions(label) == words


def test_mistakes_end_in_sentences(run):
    line = f"{PREF_PPO} p --clips-per-session"
    assert_one_sentence(run(f"{line} 0"), "--clips_per_session must be above 0")
    people = run(f"{line} 1 --teacher human --run somebody")
    assert_one_sentence(people, "people see their clips on the page")
