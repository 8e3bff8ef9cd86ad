import av
import numpy as np
import pytest
from test_video_files import read

from prefloop.envs.settings import EnvSettings
from prefloop.evaluation import videos
from prefloop.evaluation.videos import (
    frames_per_second,
    has_display,
    record_episode,
    steps_a_picture,
    watch_episode,
)
from prefloop.labelling.server.rendering import Renderer


@pytest.fixture(autouse=True)
def no_display(monkeypatch):
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")


def push_right(obs):
    return np.ones(len(obs), dtype=np.int64)


def test_repeated_actions_are_shown_as_quickly_as_they_happened():
    for repeat, fps in ((1, 50.0), (2, 25.0)):
        env = EnvSettings(env="CartPole-v0", action_repeat=repeat)
        assert frames_per_second(env) == Renderer(env).fps == fps  # to people as in a video


def test_an_episode_becomes_a_playable_video(tmp_path):
    assert not has_display()
    episode_return, path = watch_episode("CartPole-v0", push_right, 0, tmp_path / "new" / "e.mp4")
    frames, stream = read(path)
    assert len(frames) == episode_return > 5
    assert frames[0].shape == (400, 600, 3)
    assert stream.average_rate == 50
    assert (frames[0] != frames[-1]).any()


def test_what_is_observed_as_pictures_is_watched_in_a_window_too(tmp_path, monkeypatch):
    monkeypatch.setattr(videos, "has_display", lambda: True)
    env, seen = EnvSettings(env="CartPole-v1", pixels=42, horizon=5), []

    def act(obs):
        seen.append(obs)
        return push_right(obs)

    assert watch_episode(env, act, 0, tmp_path / "e.mp4") == (5, None)
    assert {x.shape for x in seen} == {(1, 42, 42)} and np.ptp(seen[0]) > 0


def test_of_some_steps_one_is_drawn_at_the_makers_speed_all_the_same(tmp_path):
    path, acted = tmp_path / "few.mp4", []

    def act(obs):
        acted.append(1)
        return np.array([len(acted) % 2])

    total = record_episode("CartPole-v1", act, 0, path, every=4, steps=18)
    assert (total, len(acted)) == (18, 18)
    with av.open(str(path)) as video:
        assert video.streams.video[0].frames == 5
        assert float(video.streams.video[0].average_rate) == pytest.approx(50 / 4)


@pytest.mark.parametrize(
    ("env", "steps"), [("HalfCheetah-v5", 1), ("CartPole-v1", 1), ("Hopper-v5", 4)]
)
def test_no_more_is_drawn_than_is_seen(env, steps):
    assert steps_a_picture(env) == steps
    assert 20 <= frames_per_second(env) / steps <= 60


def test_a_broken_display_falls_back_to_a_video(tmp_path, monkeypatch):
    monkeypatch.setenv("DISPLAY", ":983")
    monkeypatch.setenv("SDL_VIDEODRIVER", "x11")
    assert not has_display()
    _, path = watch_episode("CartPole-v0", push_right, 0, tmp_path / "e.mp4")
    assert path and path.exists()
