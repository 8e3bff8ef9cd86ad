"""What docs/python.md shows is run here, in the order of the page."""

import os
import re
import subprocess
import sys

import gymnasium as gym
import numpy as np
import pytest
from conftest import ROOT, assert_one_sentence

from prefloop.envs.learned_reward import TRUE_REWARD, LearnedReward, LearnedRewardVector
from prefloop.envs.make import make_env, make_vector_env
from prefloop.errors import UserError

EXAMPLES = re.findall(
    r"```python\n(.*?)```", (ROOT / "docs" / "python.md").read_text(encoding="utf-8"), re.DOTALL
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two policies, preferences about them and a reward, as the commands leave them."""
    path = tmp_path_factory.mktemp("api")
    for line in (
        "ppo --env CartPole-v0 --steps 30000 --out strong",
        "ppo --env CartPole-v0 --steps 2048 --iteration_steps 2048 --out weak",
        "pairs --env CartPole-v0 --policies strong/final_policy.params weak/final_policy.params "
        "--episodes 20 --pairs 60 --out prefs",
        "reward --preferences prefs --out reward",
    ):
        command(path, *line.split())
    return path


def command(folder, *words, check=True):
    return subprocess.run(
        [sys.executable, "-m", "prefloop", *words],
        cwd=folder, env=environment(), capture_output=True, text=True, check=check,
    )  # fmt: skip


def environment():
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def run(folder, code):
    return subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment(), capture_output=True, text=True
    )


def test_a_reward_a_policy_on_it_and_what_came_of_it(folder):
    outcome = run(folder, EXAMPLES[0])
    assert outcome.returncode == 0, outcome.stderr
    accuracy, *_, judged = outcome.stdout.splitlines()
    assert float(accuracy.split()[-1]) > 0.7
    assert float(judged) > 100


def test_an_agent_of_another_library_learns_on_our_reward_and_is_ranked(folder):
    pytest.importorskip("stable_baselines3")
    outcome = run(folder, EXAMPLES[1] + '\nagent.save("agent.zip")\n')
    assert outcome.returncode == 0, outcome.stderr
    assert float(outcome.stdout.splitlines()[-1]) > 30
    # and its policy is a demonstrator beside ours
    (folder / "mine.py").write_text(EXAMPLES[2])
    flags = "--policies mine:act weak/final_policy.params --episodes 5 --pairs 8 --out more"
    outcome = command(folder, "pairs", "--env", "CartPole-v0", *flags.split())
    means = re.findall(r"mean true return of a segment ([\d.]+)", outcome.stdout)
    assert float(means[0]) > float(means[1])


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nowhere:act", "There is no function nowhere:act"),
        ("json:walk", "There is no function json:walk"),
        ("json:__name__", "is no function"),
        ("math:pi", "is no function"),
        ("prefloop:__version__", "is no function"),
    ],
)
def test_functions_that_are_none(run, name, words):
    line = f"prefloop.cli pairs --env CartPole-v0 --policies {name} --pairs 4 --out p"
    assert_one_sentence(run(line), words)


def count(obs, actions, next_obs):
    """A reward that says what it saw."""
    return 100 * np.sign(next_obs[:, 0] - obs[:, 0]) + actions


def test_one_environment_pays_what_was_learned():
    env, plain = LearnedReward(make_env("CartPole-v1"), count), make_env("CartPole-v1")
    before, _ = env.reset(seed=0)
    plain.reset(seed=0)
    for action in (0, 1, 1, 0):
        obs, reward, *ends, info = env.step(action)
        expected, true_reward, *true_ends, _ = plain.step(action)
        np.testing.assert_array_equal(obs, expected)
        assert reward == 100 * np.sign(obs[0] - before[0]) + action
        assert (info[TRUE_REWARD], ends) == (true_reward, true_ends)
        before = obs


def test_environments_that_reset_at_once_are_refused():
    mode = gym.vector.AutoresetMode.SAME_STEP
    envs = gym.vector.SyncVectorEnv([lambda: make_env("CartPole-v1")] * 2, autoreset_mode=mode)
    with pytest.raises(UserError, match="SAME_STEP, and only NEXT_STEP is supported"):
        LearnedRewardVector(envs, count)


def test_many_environments_are_judged_at_once():
    envs = LearnedRewardVector(make_vector_env("CartPole-v1", 3), count)
    assert isinstance(envs, gym.vector.VectorEnv)
    obs, _ = envs.reset(seed=0)
    before, resets, seen = np.array(obs), np.zeros(3, bool), 0
    for _ in range(60):
        actions = np.ones(3, dtype=np.int64)
        obs, rewards, terminated, truncated, info = envs.step(actions)
        expected = np.where(resets, 0, count(before, actions, obs))
        np.testing.assert_array_equal(rewards, expected)
        assert info[TRUE_REWARD].shape == (3,)
        before, resets = np.array(obs), terminated | truncated
        seen += resets.sum()
    assert seen > 3
