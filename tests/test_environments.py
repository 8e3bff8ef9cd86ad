"""Every environment of Gymnasium's MuJoCo and of the DM Control suite, by its id."""

import functools

import gymnasium as gym
import numpy as np
import pytest
from conftest import assert_one_sentence
from test_rendering import act, act_mujoco, as_segment, needs_mujoco

from prefloop.data import dataset
from prefloop.data.segments import ACTIONS, SEED, STATES
from prefloop.envs import dm_control
from prefloop.envs.make import make_env
from prefloop.envs.registered import time_limit
from prefloop.envs.spaces import spaces_of
from prefloop.errors import UserError
from prefloop.files import read_csv
from prefloop.labelling.server.rendering import Renderer

pytest.importorskip("dm_control")
pytest.importorskip("mujoco")
dm_control.register()
ROBOTS = sorted(
    name
    for name, spec in gym.registry.items()
    if "gymnasium.envs.mujoco" in str(spec.entry_point) and name.endswith("-v5")
)
TASKS = sorted(name for name in gym.registry if name.startswith(dm_control.NAMESPACE))
# what is in the table of docs/environments.md
UNBOUNDED = [name for name in TASKS if "/lqr-" in name]
BY_SEED = ["dm_control/quadruped-escape-v0"]
IDS = [*ROBOTS, *(name for name in TASKS if name not in UNBOUNDED)]


@functools.cache
def played(env_id, seed):
    """Some steps of two episodes, of which the first is cut."""
    env = make_env(env_id)
    rng = np.random.default_rng(seed)
    low, high = spaces_of(env).bounds
    seen = [env.reset(seed=seed)[0]]
    for step in range(12):
        obs, reward, *_ = env.step(rng.uniform(low, high).astype(np.float32))
        seen.append(np.append(obs, reward))
        if step == 8:
            seen.append(env.reset()[0])
    env.close()
    return b"".join(np.asarray(x).tobytes() for x in seen)


def test_the_suites_are_there():
    assert len(ROBOTS) == 11 and len(IDS) >= 60
    assert "dm_control/walker-walk-v0" in IDS and "Humanoid-v5" in IDS


@pytest.mark.parametrize("env_id", IDS)
def test_made_stepped_and_seeded(env_id):
    env = make_env(env_id)
    spaces = spaces_of(env)
    obs, _ = env.reset(seed=0)
    assert env.observation_space.contains(obs)
    assert len(spaces.obs_shape) == 1 and not spaces.discrete
    assert np.isfinite(spaces.bounds).all()
    assert time_limit(env_id) == env.spec.max_episode_steps
    low, high = spaces.bounds
    for action in (low, high, (low + high) / 2):
        obs, reward, _, truncated, _ = env.step(action)
        assert np.isfinite(obs).all() and np.isfinite(reward)
        assert not truncated
    env.close()
    played.cache_clear()
    first = played(env_id, 1)
    played.cache_clear()
    assert played(env_id, 1) == first
    assert played(env_id, 2) != first


def act_task(env_id, steps):
    """Recorded states, and what was drawn when they were."""
    renderer = Renderer(env_id)
    env = renderer._env
    low, high = spaces_of(env).bounds
    rng, obs = np.random.default_rng(0), env.reset(seed=5)[0]
    rows, frames = [], []
    for _ in range(steps):
        # a step leaves what follows from positions where it was one substep before
        env.unwrapped.physics.forward()
        frames.append(env.render())
        action = rng.uniform(low, high).astype(np.float32)
        rows.append((obs, action, env.unwrapped.simulator_state()))
        obs = env.step(action)[0]
    renderer.close()
    obs, actions, states = map(np.array, zip(*rows, strict=True))
    return as_segment(obs, actions, 0, {STATES: states}), frames


def by_seed(env_id, steps):
    """As `act_task`, of one that is drawn from its seed and what was done."""
    obs, actions, frames = act(env_id, steps, seed=5)
    return as_segment(obs, actions, 0, {SEED: np.int64(5), ACTIONS: actions}), frames


def acting(env_id):
    """What records it."""
    if env_id in ROBOTS:
        return act_mujoco
    return by_seed if env_id in BY_SEED else act_task


def some_fast(*few):
    """All ids, of which a few are tried in the fast tests and the others in the slow ones."""
    return [pytest.param(x, marks=[] if x in few else pytest.mark.slow) for x in IDS]


@needs_mujoco
@pytest.mark.parametrize(
    "env_id",
    some_fast(
        "HalfCheetah-v5", "dm_control/walker-walk-v0", "dm_control/reacher-easy-v0", *BY_SEED
    ),
)
def test_a_segment_is_drawn_again(env_id):
    segment, frames = acting(env_id)(env_id, 3)
    renderer = Renderer(env_id)
    drawn = list(renderer.frames(segment))
    assert (drawn[0] != drawn[-1]).any()
    np.testing.assert_array_equal(drawn, frames)
    renderer.close()


@pytest.mark.parametrize("env_id", some_fast("Hopper-v5", "dm_control/cartpole-swingup-v0"))
def test_preferences_teach_it_for_some_steps(run, tmp_path, env_id):
    outcome = run(
        f"prefloop.cli pebble --env {env_id} --steps 400 --iteration-steps 100 --random-steps 60 "
        "--exploration-steps 200 --exploration-states 32 --labels 8 --segment-length 10 "
        "--hidden-sizes 8 --batch-size 16 --reward-hidden-sizes 8 --reward-epochs 2 --horizon 60 "
        "--updates-per-step 0.2 --evaluation-episodes 2 --no-keep-exploration --out p"
    )
    # where every random step is worth the same there is nothing to tell apart
    told = "No reward could be learned" in outcome.err
    assert outcome.code == (2 if told else 0), outcome.err
    asked = dataset.read(tmp_path / "p/preferences")
    assert told == (not np.ptp(asked.segments.returns)), asked.segments.returns
    rows = read_csv(tmp_path / "p/metrics.csv")
    assert len(rows) >= 2 and all(np.isfinite(float(row["true_return"])) for row in rows)


def test_actions_without_bounds_are_told():
    from prefloop.policies import make_policy

    for env_id in UNBOUNDED:
        with pytest.raises(UserError, match="actions without bounds"):
            make_policy(spaces_of(make_env(env_id)), (8,))


@pytest.mark.parametrize(
    ("env_id", "words"),
    [
        ("dm_control/walker-wlak-v0", ["dm_control/walker-wlak-v0"]),
        ("dm_control/walker-walk", ["did you mean 'dm_control/walker-walk-v0'?"]),
        ("walker-walk-v0", ["walker-walk"]),
    ],
)
def test_ids_that_are_none_end_in_sentences(run, env_id, words):
    outcome = run(f"prefloop.cli sac --env {env_id} --out p")
    assert_one_sentence(outcome, *words)
