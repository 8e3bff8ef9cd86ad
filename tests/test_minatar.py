"""MinAtar's games, where they are installed; a game of our own stands in for them where they are not."""

import sys
import types

import numpy as np
import pytest
from conftest import assert_one_sentence

from prefloop.envs.make import make_env, make_vector_env
from prefloop.envs.spaces import spaces_of

ENV_ID = "MinAtar/Breakout-v1"


class Falling:
    """As MinAtar's `Environment`: something falls, and whoever is below it is paid."""

    def __init__(self, name):
        self.random, self.last_action = np.random.RandomState(), 3

    def minimal_action_set(self):
        return [0, 1, 3]

    def state_shape(self):
        return [10, 10, 2]

    def seed(self, seed):
        self.random = np.random.RandomState(seed)

    def reset(self):
        self.me, self.column, self.row = 5, self.random.randint(10), 0

    def act(self, action):
        if self.random.rand() < 0.1:
            action = self.last_action
        self.last_action = action
        self.me = min(max(self.me + {0: 0, 1: -1, 3: 1}[action], 0), 9)
        self.row += 1
        return int(self.row == 9 and self.me == self.column), self.row == 9

    def state(self):
        seen = np.zeros((10, 10, 2), bool)
        seen[9, self.me, 0] = seen[self.row, self.column, 1] = True
        return seen


@pytest.fixture(params=["MinAtar", "stand-in"])
def game(request, monkeypatch):
    if request.param == "MinAtar":
        return pytest.importorskip("minatar")
    module = types.ModuleType("minatar")
    module.Environment = Falling
    monkeypatch.setitem(sys.modules, "minatar", module)
    return module


def played(env, seed):
    rng, rows = np.random.default_rng(0), [env.reset(seed=seed)[0]]
    while True:
        obs, reward, over, _, _ = env.step(rng.integers(env.action_space.n))
        rows.append((obs, reward, over, env.render()))
        if over or len(rows) == 100:
            return rows


def test_pictures_of_a_game(game):
    env = make_env(ENV_ID, "rgb_array")
    spaces = spaces_of(env)
    assert spaces.obs_dtype == "uint8" and spaces.obs_shape[:2] == (10, 10)
    assert spaces.num_actions == 3 and make_vector_env(ENV_ID, 2).spec.max_episode_steps == 1000
    rows = played(env, 7)
    assert set(np.unique(rows[0])) == {0, 255}
    assert rows[1][3].shape == (200, 200, 3) and rows[1][3].any()


def test_an_episode_is_the_same_whatever_was_played_before(game):
    fresh, used = make_env(ENV_ID, "rgb_array"), make_env(ENV_ID, "rgb_array")
    played(used, 3)
    for one, other in zip(played(fresh, 7)[1:], played(used, 7)[1:], strict=True):
        for left, right in zip(one, other, strict=True):
            np.testing.assert_array_equal(left, right)


def test_a_policy_learns_from_them(game, run):
    short = "--steps 512 --iteration_steps 512 --num_envs 4 --rollout_steps 64 --update_epochs 1"
    outcome = run(f"prefloop.cli ppo --env {ENV_ID} {short} --out p")
    assert outcome.code == 0, outcome


def test_without_the_package_the_command_is_named(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "minatar", None)
    outcome = run(f"prefloop.cli ppo --env {ENV_ID} --out p")
    assert_one_sentence(outcome, "pip install MinAtar")
