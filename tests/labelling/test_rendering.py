import importlib.util

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete

from prefloop.data import recording
from prefloop.data.segments import ACTIONS, SEED, STATES
from prefloop.envs.drawing import draw_robot
from prefloop.envs.make import make_env
from prefloop.envs.settings import EnvSettings
from prefloop.errors import UserError
from prefloop.labelling.arrays import Segment
from prefloop.labelling.server import rendering
from prefloop.labelling.server.clips import examine
from prefloop.labelling.server.rendering import Renderer, write_clip
from prefloop.labelling.server.traces import HEIGHT, WIDTH, trace_frames


@pytest.fixture(autouse=True)
def no_display(monkeypatch):
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")


def as_segment(obs, actions, first_step=0, replay=None):
    actions = np.array(actions)
    return Segment(
        np.array(obs, dtype=np.float32),
        actions.astype(np.int64 if actions.ndim == 1 else np.float32),
        np.zeros(len(obs), dtype=np.float32),
        first_step=first_step,
        replay=replay or {},
    )


def act(env_id, steps, seed=0):
    """Random behaviour, as arrays and as the frames that the environment drew meanwhile."""
    env = make_env(env_id, render_mode="rgb_array")
    obs, _ = env.reset(seed=seed)
    env.action_space.seed(seed)
    observations, actions, frames, done = [], [], [], False
    while len(actions) < steps and not done:
        frames.append(env.render())
        observations.append(obs)
        actions.append(env.action_space.sample())
        obs, _, terminated, truncated, _ = env.step(actions[-1])
        done = terminated or truncated
    env.close()
    return np.array(observations), np.array(actions), frames


CLASSIC = [
    ("CartPole-v1", 60), ("Acrobot-v1", 80), ("Pendulum-v1", 80), ("MountainCar-v0", 60),
    ("MountainCarContinuous-v0", 60),
]  # fmt: skip


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(("env_id", "steps"), CLASSIC)
def test_observations_give_the_frames_that_were_drawn(env_id, steps, seed):
    obs, actions, frames = act(env_id, steps, seed)
    drawn = list(Renderer(env_id).frames(as_segment(obs, actions)))
    assert len(drawn) == len(frames) > 5
    assert (frames[0] != frames[-1]).any()
    for i, (one, other) in enumerate(zip(drawn, frames, strict=True)):
        np.testing.assert_array_equal(one, other, err_msg=f"frame {i}")


def test_observations_of_many_environments_at_once():
    # CartPole's vectorised form keeps one state for all, and can't draw one of them later
    envs = gym.make_vec("CartPole-v1", num_envs=3)
    obs, _ = envs.reset(seed=0)
    single = make_env("CartPole-v1", render_mode="rgb_array")
    single.reset()
    single.unwrapped.state = envs.unwrapped.state[:, 2]
    (frame,) = Renderer("CartPole-v1").frames(as_segment(obs[2:], [0]))
    np.testing.assert_array_equal(frame, single.render())


def test_one_renderer_draws_segment_after_segment():
    obs, actions, frames = act("Pendulum-v1", 30)
    renderer = Renderer("Pendulum-v1")
    list(renderer.frames(as_segment(obs[20:], actions[20:])))
    for part in (slice(0, 10), slice(0, 30)):
        drawn = list(renderer.frames(as_segment(obs[part], actions[part])))
        np.testing.assert_array_equal(drawn, frames[part])
    # in the middle of an episode, only the arrow of the torque before it is missing
    drawn = list(renderer.frames(as_segment(obs[10:], actions[10:], first_step=10)))
    np.testing.assert_array_equal(drawn[1:], frames[11:])


def test_what_must_be_recorded():
    assert recording.what_to_record(make_env("CartPole-v1")) == "observations"
    changed = gym.wrappers.TransformObservation(
        make_env("CartPole-v1"), lambda obs: obs / 2, Box(-1, 1, (4,))
    )
    assert recording.what_to_record(changed) == "seed"
    # a wrapper of the user's may hand out anything, and a reward's alone nothing else
    assert recording.what_to_record(Blind(make_env("CartPole-v1"))) == "seed"
    paid = gym.wrappers.TransformReward(make_env("CartPole-v1"), lambda reward: -reward)
    assert recording.what_to_record(paid) == "observations"


class Blind(gym.Wrapper):
    """Observes nothing but zeros, in the same space."""

    def step(self, action):
        obs, *rest = super().step(action)
        return 0 * obs, *rest


def test_what_ended_is_drawn_as_it_ended_for_as_long_as_it_is_absorbed():
    env = EnvSettings(env="CartPole-v1", termination="absorb", absorbing_steps=5)
    episodes = recording.record_episodes(env, lambda obs: np.zeros(len(obs), np.int64), 1, seed=0)
    assert not episodes.obs[-4:].any() and episodes.obs[-5].any()
    replay = {SEED: np.int64(episodes.states[0]), ACTIONS: episodes.actions}
    segment = as_segment(episodes.obs, episodes.actions, 0, replay)
    drawn = list(Renderer(env).frames(segment))
    for frame in drawn[-4:]:
        np.testing.assert_array_equal(frame, drawn[-5])
    assert (drawn[-5] != drawn[0]).any()


def replayable(env_id, steps, seed, first):
    obs, actions, frames = act(env_id, steps, seed)
    replay = {SEED: np.int64(seed), ACTIONS: np.concatenate([actions, actions[:3]])}
    return as_segment(obs[first:], actions[first:], first, replay), frames[first:]


@pytest.fixture
def as_if_unknown(monkeypatch):
    """Classic control as any other environment: nothing is known of its observations."""
    monkeypatch.setattr(recording, "STATE_OF", {})


@pytest.mark.parametrize("env_id", ["CartPole-v1", "Acrobot-v1", "Pendulum-v1"])
@pytest.mark.parametrize("first", [0, 7])
def test_a_replay_gives_the_frames_that_were_drawn(env_id, first, as_if_unknown):
    segment, frames = replayable(env_id, 12, 5, first)
    np.testing.assert_array_equal(list(Renderer(env_id).frames(segment)), frames)


def test_a_replay_of_stacked_frames():
    env = EnvSettings(env="CartPole-v1", frame_stack=2)
    episodes = recording.record_episodes(env, lambda obs: np.ones(len(obs), dtype=np.int64), 1, 0)
    replay = {SEED: np.int64(episodes.states[0]), ACTIONS: episodes.actions}
    drawn = list(Renderer(env).frames(as_segment(episodes.obs, episodes.actions, 0, replay)))
    assert len(drawn) == len(episodes.obs) > 5


def test_a_replay_that_does_something_else(as_if_unknown):
    segment, _ = replayable("Pendulum-v1", 12, 5, 4)
    other = Segment(**{**vars(segment), "replay": {**segment.replay, SEED: np.int64(6)}})
    with pytest.raises(UserError, match=r"does not agree.* from step 4 .*plotted trace"):
        list(Renderer("Pendulum-v1").frames(other))
    segment.obs[3] += 0.1
    with pytest.raises(UserError, match=r"does not agree.* from step 7 "):
        list(Renderer("Pendulum-v1").frames(segment))


def test_a_replay_that_ends_too_early(as_if_unknown):
    obs, actions, _ = act("CartPole-v1", 500)
    obs, actions = (np.concatenate([x, x[-1:]]) for x in (obs, actions))
    segment = as_segment(obs, actions, 0, {SEED: np.int64(0), ACTIONS: actions})
    with pytest.raises(UserError, match=r"does not agree"):
        list(Renderer("CartPole-v1").frames(segment))


def test_too_few_actions(as_if_unknown):
    segment, _ = replayable("CartPole-v1", 10, 0, 2)
    short = {**segment.replay, ACTIONS: segment.replay[ACTIONS][:5]}
    with pytest.raises(UserError, match="needs all actions"):
        list(Renderer("CartPole-v1").frames(Segment(**{**vars(segment), "replay": short})))


def test_nothing_to_replay(as_if_unknown):
    obs, actions, _ = act("CartPole-v1", 5)
    with pytest.raises(UserError, match=r"seed and all actions were not recorded.*plotted trace"):
        list(Renderer("CartPole-v1").frames(as_segment(obs, actions)))


def test_observations_of_another_environment():
    obs, actions, _ = act("Acrobot-v1", 5)
    with pytest.raises(UserError, match="4 numbers"):
        list(Renderer("CartPole-v1").frames(as_segment(obs, actions)))


class Invisible(gym.Env):
    metadata = {"render_modes": []}  # noqa: RUF012
    observation_space, action_space = Box(-1, 1, (12,)), Discrete(2)


class Broken(Invisible):
    metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012

    def __init__(self, render_mode=None):
        self.render_mode = render_mode

    def reset(self, seed=None, options=None):
        return np.zeros(12, dtype=np.float32), {}

    def step(self, action):
        return np.zeros(12, dtype=np.float32), 0.0, False, False, {}

    def render(self):
        raise RuntimeError("no\nGL")


@pytest.fixture
def broken_envs():
    for kind in (Invisible, Broken):
        gym.register(f"{kind.__name__}-v0", kind)
    yield
    for kind in (Invisible, Broken):
        del gym.registry[f"{kind.__name__}-v0"]


def test_what_can_not_be_drawn(broken_envs):
    with pytest.raises(UserError, match=r"Invisible-v0 can't be drawn: .*\. A plotted trace"):
        Renderer("Invisible-v0")
    replay = {SEED: np.int64(0), ACTIONS: np.zeros(3)}
    segment = as_segment(np.zeros((3, 12)), np.zeros(3, dtype=int), 0, replay)
    with pytest.raises(UserError, match=r"Broken-v0 can't be drawn: no\. A plotted trace"):
        list(Renderer("Broken-v0").frames(segment))
    with pytest.raises(UserError, match="Can't make the environment"):
        Renderer("NoSuchEnv-v0")


@pytest.mark.parametrize("obs_dim", [2, 8, 30])
@pytest.mark.parametrize("action_dim", [0, 1, 9])
def test_any_segment_can_be_traced(obs_dim, action_dim):
    rng = np.random.default_rng(0)
    obs = rng.normal(size=(11, obs_dim))
    obs[:, 1] = 3  # a value that does not change
    actions = rng.normal(size=(11, action_dim)) if action_dim else rng.integers(3, size=11)
    frames = list(trace_frames(as_segment(obs, actions)))
    assert [frame.shape for frame in frames] == [(HEIGHT, WIDTH, 3)] * 11
    assert frames[0].dtype == np.uint8
    cursor = [np.flatnonzero((f[60] == (214, 39, 40)).all(axis=1)).mean() for f in frames]
    assert (np.diff(cursor) > 10).all()  # it moves to the right
    assert np.ptp(np.diff(cursor)) <= 1  # with each step by as much


def test_a_trace_of_one_step():
    assert len(list(trace_frames(as_segment(np.zeros((1, 2)), [0])))) == 1


def test_a_clip_has_one_frame_for_each_step(tmp_path):
    obs, actions, _ = act("CartPole-v1", 10)
    renderer = Renderer("CartPole-v1")
    write_clip(tmp_path / "c.mp4", renderer.frames(as_segment(obs, actions)), renderer.fps)
    facts = examine((tmp_path / "c.mp4").read_bytes())
    assert (facts.frames, facts.fps, facts.width, facts.height) == (10, 50, 480, 320)


def mujoco_missing():
    if importlib.util.find_spec("mujoco") is None or importlib.util.find_spec("imageio") is None:
        return "mujoco and imageio are not installed"
    rendering._draw_without_display()
    import mujoco

    try:
        mujoco.GLContext(64, 64).free()
    except Exception as error:  # whatever the driver makes of it
        return f"no GL library draws without a display (libegl1, libosmesa6): {error!r}"[:200]
    return ""


reason = mujoco_missing()
needs_mujoco = pytest.mark.skipif(bool(reason), reason=reason or "-")


def act_mujoco(env_id, steps):
    """Recorded states; and the frames that a drawing of the acting environment gives."""
    renderer = Renderer(env_id)
    env, base = renderer._env, renderer._env.unwrapped
    import mujoco

    obs, _ = env.reset(seed=1)
    env.action_space.seed(1)
    observations, actions, states, frames = [], [], [], []
    for _ in range(steps):
        # a step leaves the bodies where they were one substep before; this brings them up to date
        mujoco.mj_forward(base.model, base.data)
        frames.append(draw_robot(base))
        states.append(base.state_vector())
        observations.append(obs)
        actions.append(env.action_space.sample())
        obs = env.step(actions[-1])[0]
    env.close()
    return as_segment(observations, actions, 0, {STATES: np.array(states)}), frames


@needs_mujoco
@pytest.mark.parametrize("env_id", ["InvertedPendulum-v5", "Hopper-v5", "Ant-v5"])
def test_states_give_the_frames_that_were_drawn(env_id):
    segment, frames = act_mujoco(env_id, 4)
    drawn = list(Renderer(env_id).frames(segment))
    assert (drawn[0] != drawn[-1]).any()
    np.testing.assert_array_equal(drawn, frames)


@needs_mujoco
def test_a_robot_that_runs_stays_in_the_picture():
    segment, _ = act_mujoco("Hopper-v5", 2)
    here, _ = Renderer("Hopper-v5").frames(segment)
    segment.replay[STATES][:, 0] += 30  # metres; the squares of the floor repeat
    there, _ = Renderer("Hopper-v5").frames(segment)
    assert robot(here).sum() > 1000
    assert (robot(here) != robot(there)).mean() < 0.01


def robot(picture):
    """Where Hopper is in the middle of a picture: it is brown."""
    middle = picture[150:440, 150:330].astype(int)
    return middle[..., 0] - middle[..., 2] > 40


@needs_mujoco
def test_states_that_do_not_fit():
    segment, _ = act_mujoco("InvertedPendulum-v5", 3)
    renderer = Renderer("InvertedPendulum-v5")
    for states, words in (
        (np.zeros((3, 5)), "needs states"),
        (np.zeros((2, 4)), "needs states"),
        (np.full((3, 4), np.nan), "NaN"),
    ):
        with pytest.raises(UserError, match=words):
            list(renderer.frames(Segment(**{**vars(segment), "replay": {STATES: states}})))
    with pytest.raises(UserError, match="states were not recorded"):
        list(renderer.frames(Segment(**{**vars(segment), "replay": {}})))
