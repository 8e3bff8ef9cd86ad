"""Every environment of Gymnasium's Box2D, by its id."""

from functools import partial

import gymnasium as gym
import numpy as np
import pytest
from conftest import assert_one_sentence
from test_rendering import act, as_segment

from prefloop.data.segments import ACTIONS, SEED
from prefloop.envs.make import make_env, make_vector_env
from prefloop.envs.settings import EnvSettings
from prefloop.envs.spaces import spaces_of
from prefloop.files import read_csv
from prefloop.labelling.server.rendering import Renderer

pytest.importorskip("Box2D")
from gymnasium.envs.box2d.bipedal_walker import BipedalWalker

IDS = sorted(
    name for name, spec in gym.registry.items() if "gymnasium.envs.box2d" in str(spec.entry_point)
)


def test_the_environments_are_there():
    assert {"BipedalWalker-v3", "CarRacing-v3", "LunarLander-v3"} < set(IDS)


@pytest.mark.parametrize("env_id", IDS)
def test_made_and_seeded(env_id):
    played = []
    for seed in (1, 1, 2):
        env = make_env(env_id)
        rng = np.random.default_rng(seed)
        spaces = spaces_of(env)
        seen = [env.reset(seed=seed)[0]]
        for _ in range(8):
            drawn = (
                rng.integers(env.action_space.n) if spaces.discrete else rng.uniform(*spaces.bounds)
            )
            seen.append(env.step(drawn)[0])
        env.close()
        played.append(np.array(seen).tobytes())
    assert played[0] == played[1] != played[2]


class OfMyOwn(BipedalWalker):
    """A user's, which is told by what it is made of."""


@pytest.fixture(params=["BipedalWalker-v3", "Strolls-v0"])
def walker(request, monkeypatch):
    """Gymnasium's, and a user's own."""
    spec = gym.envs.registration.EnvSpec("Strolls-v0", OfMyOwn, max_episode_steps=1600)
    monkeypatch.setitem(gym.registry, "Strolls-v0", spec)
    return request.param


@pytest.mark.parametrize(
    "make", [make_env, partial(make_vector_env, num_envs=1)], ids=["one", "many"]
)
@pytest.mark.parametrize("changes", [{}, {"horizon": 200}])
def test_what_was_done_before_shows_nowhere(walker, make, changes):
    """Or a run that is resumed would not end where the unbroken one does."""

    def play(env, seed):
        rng, seen = np.random.default_rng(seed), [env.reset(seed=seed)[0]]
        for _ in range(120):
            seen.append(env.step(rng.uniform(-1, 1, env.action_space.shape))[0])
        return np.array(seen)

    env = EnvSettings(env=walker, **changes)
    used = make(env)
    for seed in range(4):
        np.testing.assert_array_equal(play(make(env), seed), play(used, seed))


@pytest.mark.parametrize("env_id", IDS)
def test_a_segment_is_drawn_again(env_id):
    obs, actions, frames = act(env_id, 4, seed=5)
    renderer = Renderer(env_id)
    segment = as_segment(obs, actions, 0, {SEED: np.int64(5), ACTIONS: actions})
    drawn = list(renderer.frames(segment))
    renderer.close()
    assert (drawn[0] != drawn[-1]).any()
    np.testing.assert_array_equal(drawn, frames)


@pytest.mark.parametrize(
    "line",
    [
        "pref-ppo --env LunarLander-v3 --hidden-sizes 8",
        "pref-ppo --env CarRacing-v3 --pixels 24 --frame-stack 2",
        "pebble --env BipedalWalker-v3 --hidden-sizes 8 --batch-size 16 --random-steps 60 --exploration-steps 100 "
        "--exploration-states 32 --updates-per-step 0.2 --evaluation-episodes 2 --no-keep-exploration",
    ],
)
def test_preferences_teach_it_for_some_steps(run, tmp_path, line):
    more = " --num-envs 2 --rollout-steps 25" if line.startswith("pref-ppo") else ""
    outcome = run(
        f"prefloop.cli {line}{more} --steps 200 --iteration-steps 50 --labels 8 --segment-length 10 --horizon 30 "
        "--reward-hidden-sizes 8 --reward-epochs 2 --out p"
    )
    assert outcome.code == 0, outcome.err
    rows = read_csv(tmp_path / "p/metrics.csv")
    assert len(rows) >= 3 and all(np.isfinite(float(row["true_return"])) for row in rows)


def test_what_sac_can_not_steer_is_told(run):
    assert_one_sentence(run("prefloop.cli sac --env LunarLander-v3 --out p"), "pref-ppo")
