"""What the methods reach in earnest; the figures over more seeds are those of benchmarks/."""

import numpy as np
import pytest
import torch

from prefloop.agents.settings import PPOSettings
from prefloop.cli import main
from prefloop.evaluation.evaluate import evaluate
from prefloop.files import read_csv
from prefloop.teachers.settings import TeacherSettings
from prefloop.training import methods
from prefloop.training.on_policy import true_reward
from prefloop.training.settings import ExperienceSettings, PrefPPOSettings

CPU = torch.device("cpu")


def run(method):
    return [method.learner.iterate(iteration) for iteration in range(method.iterations)]


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_ppo_solves_cartpole(seed):
    experience = ExperienceSettings(steps=60_000)
    method = methods.ppo(
        "CartPole-v1", lambda stepping: true_reward, PPOSettings(), experience, seed, CPU
    )
    run(method)
    assert evaluate(method.policy(), "CartPole-v1", 100, seed=1).mean() >= 475


@pytest.mark.slow
def test_pref_ppo_learns_pendulum_with_the_defaults(tmp_path):
    env, settings = "Pendulum-v1", PrefPPOSettings()
    on_the_true_reward = methods.ppo(
        env, lambda stepping: true_reward, settings.agent, settings.experience, 0, CPU
    )
    stepping = methods.stepping_in(env, settings.experience.num_envs)
    judged = {"untrained": on_the_true_reward.policy()}
    run(on_the_true_reward)
    judged["true"] = on_the_true_reward.policy()
    length = settings.questions.segment_length
    with methods.simulated_answers(
        env, stepping, TeacherSettings(), length, lambda: judged["untrained"], 0, tmp_path, "test"
    ) as answers:
        method, _ = methods.pref_ppo(env, stepping, answers, settings, 0, CPU)
        assert run(method)[-1]["labels"] == 700
    judged["oracle"] = method.policy()
    means = {name: evaluate(policy, env, 100, seed=1).mean() for name, policy in judged.items()}
    share = (means["oracle"] - means["untrained"]) / (means["true"] - means["untrained"])
    assert share >= 0.9, means


@pytest.mark.slow
def test_ppo_learns_from_pictures(tmp_path):
    main(f"ppo --env prefloop/Dot-v0 --seed 0 --out {tmp_path / 'dot'}".split())
    assert float(read_csv(tmp_path / "dot" / "metrics.csv")[-1]["true_return"]) >= 80


@pytest.mark.slow
def test_a_few_answers_teach_what_is_seen_in_pictures(tmp_path):
    """200 of them; PPO has 89 on the true reward, and who acts at random 25."""
    main(f"pref-ppo --env prefloop/Dot-v0 --labels 200 --seed 0 --out {tmp_path / 'dot'}".split())
    assert float(read_csv(tmp_path / "dot" / "metrics.csv")[-1]["true_return"]) >= 75


@pytest.mark.slow
def test_methods_on_equal_labels(tmp_path):
    out = tmp_path / "comparison"
    main(f"compare --env CartPole-v0 --labels 50 --seeds 0-2 --out {out}".split())
    returns: dict[str, list[float]] = {}
    for row in read_csv(out / "results.csv"):
        returns.setdefault(row["method"], []).append(float(row["mean_return"]))
    assert np.median(returns["ppo-rlhf"]) >= 195
    assert max(returns["flipped"]) < 30
    assert np.median(returns["constant"]) >= 195  # what the task gives away for nothing


@pytest.mark.slow
def test_where_episodes_are_equally_long_a_reward_that_says_nothing_teaches_nothing(tmp_path):
    out = tmp_path / "comparison"
    line = (
        "compare --env Pendulum-v1 --methods sac sac-constant sac-random --labels 20 --seeds 0-1 "
        f"--steps 10000 --demonstrator-steps 20000 --evaluation-episodes 20 --out {out}"
    )
    main(line.split())
    returns: dict[str, list[float]] = {}
    for row in read_csv(out / "results.csv"):
        returns.setdefault(row["method"], []).append(float(row["mean_return"]))
    # a pendulum that nobody drives comes to about -1200
    assert min(returns["sac"]) > -300, returns
    assert max(returns["sac-constant"] + returns["sac-random"]) < -900, returns


@pytest.mark.slow
@pytest.mark.xfail(reason="short of the bar: 604 on 2026-11-28, see docs/pebble.md", strict=True)
def test_pebble_swings_the_pole_up_from_a_hundred_labels(tmp_path, monkeypatch):
    pytest.importorskip("dm_control")
    monkeypatch.chdir(tmp_path)  # and nothing kept of an exploration elsewhere
    # 50,000 frames: the settings that come with the program take each action twice
    line = "pebble --env dm_control/cartpole-swingup-v0 --steps 25000 --labels 100 --out run"
    main([*line.split(), "--no_keep_exploration"])
    row = read_csv(tmp_path / "run/metrics.csv")[-1]
    assert int(row["labels"]) == 100
    assert float(row["true_return"]) >= 750
