import numpy as np
import pytest
from test_rendering import needs_mujoco

from prefloop.data.segments import cut, whole_episodes
from prefloop.labelling import rendering
from prefloop.labelling.arrays import from_archive, pack, to_archive, unpack
from prefloop.labelling.recording import record_episodes
from prefloop.labelling.rendering import ACTIONS, SEED, STATES, Renderer


@pytest.fixture(autouse=True)
def no_display(monkeypatch):
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")


def pushing(num_actions, seed=0):
    rng = np.random.default_rng(seed)
    return lambda obs: rng.integers(num_actions, size=len(obs))


def sent(segments, replay):
    """As the server has them, after the wire and the database."""
    return [unpack(pack(segment)) for segment in from_archive(to_archive(segments, replay))]


def test_classic_control_needs_nothing_else():
    recording = record_episodes("CartPole-v1", pushing(2), 6, seed=0)
    segments, replay = recording.cut(10, 8, np.random.default_rng(0))
    assert replay == {}
    alone = cut(recording.trajectories, 10, 8, np.random.default_rng(0))
    np.testing.assert_array_equal(segments.obs, alone.obs)
    np.testing.assert_array_equal(segments.first_step, alone.first_step)
    whole, _ = recording.cut(None, 0, np.random.default_rng(0))
    np.testing.assert_array_equal(whole.obs, whole_episodes(recording.trajectories).obs)


@pytest.mark.parametrize("length", [10, None])
def test_others_are_seeded_and_can_be_replayed(monkeypatch, length):
    with monkeypatch.context() as as_if_unknown:
        as_if_unknown.setattr(rendering, "_STATE_OF", {})
        recording = record_episodes("CartPole-v1", pushing(2), 4, seed=0)
        assert len(set(recording.seeds)) == 4
        segments, replay = recording.cut(length, 6, np.random.default_rng(0))
        assert replay.keys() == {SEED, ACTIONS}
        assert length is None or segments.first_step.any()
        received = sent(segments, replay)
        renderer = Renderer("CartPole-v1")
        replayed = [list(renderer.frames(segment)) for segment in received]
    renderer = Renderer("CartPole-v1")
    for segment, frames in zip(received, replayed, strict=True):
        assert len(frames) == segment.length
        np.testing.assert_array_equal(frames, list(renderer.frames(segment)))


@needs_mujoco
def test_mujoco_states_stand_by_their_observations():
    rng = np.random.default_rng(0)
    recording = record_episodes(
        "InvertedPendulum-v5",
        lambda obs: rng.uniform(-3, 3, (len(obs), 1)).astype(np.float32),
        7,
        0,
    )
    states, obs = recording.trajectories.states, recording.trajectories.obs
    np.testing.assert_array_equal(states, obs)  # this one observes qpos and qvel
    segments, replay = recording.cut(4, 9, rng)
    for segment in sent(segments, replay):
        np.testing.assert_array_equal(
            segment.replay[STATES][: segment.length].astype(np.float32), segment.obs
        )
        assert len(list(Renderer("InvertedPendulum-v5").frames(segment))) == segment.length
