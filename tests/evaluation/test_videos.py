import numpy as np
import pytest
from test_video_files import read

from prefloop.envs.settings import EnvSettings
from prefloop.evaluation.videos import frames_per_second, has_display, watch_episode
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


def test_a_broken_display_falls_back_to_a_video(tmp_path, monkeypatch):
    monkeypatch.setenv("DISPLAY", ":983")
    monkeypatch.setenv("SDL_VIDEODRIVER", "x11")
    assert not has_display()
    _, path = watch_episode("CartPole-v0", push_right, 0, tmp_path / "e.mp4")
    assert path and path.exists()
