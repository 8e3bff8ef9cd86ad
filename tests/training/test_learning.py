"""What the methods reach in earnest; the figures over more seeds are those of benchmarks/."""

import numpy as np
import pytest
import torch

from prefloop.agents.ppo import PPO
from prefloop.agents.rollout import true_reward
from prefloop.agents.settings import PPOSettings
from prefloop.cli import main
from prefloop.envs import make_vector_env
from prefloop.evaluation.evaluate import evaluate
from prefloop.files import read_csv
from prefloop.training.on_policy import OnPolicyTraining, make_ppo
from prefloop.training.plans import num_iterations
from prefloop.training.pref_ppo import opened
from prefloop.training.settings import PrefPPOSettings


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_ppo_solves_cartpole(seed):
    settings = PPOSettings()
    torch.manual_seed(seed)
    ppo = PPO(settings, make_vector_env("CartPole-v1", settings.num_envs), torch.device("cpu"))
    for _ in range(30):
        rollout = ppo.collect()
        ppo.update(rollout, true_reward(rollout))
    assert evaluate(ppo.acting_policy, "CartPole-v1", 100, seed=1).mean() >= 475


@pytest.mark.slow
def test_pref_ppo_learns_pendulum_with_the_defaults(tmp_path):
    settings = PrefPPOSettings(env="Pendulum-v1")
    means = {}
    for variant in ("untrained", "true", "oracle"):
        ppo = make_ppo("Pendulum-v1", settings, 0, torch.device("cpu"))
        iterations = range(num_iterations(settings, settings))
        if variant == "true":
            learner = OnPolicyTraining(ppo, true_reward, settings, 0)
            for iteration in iterations:
                learner.iterate(iteration)
        elif variant == "oracle":
            with opened(ppo, settings, 0, tmp_path) as pref_ppo:
                rows = [pref_ppo.iterate(iteration) for iteration in iterations]
            assert rows[-1]["labels"] == 700
        means[variant] = evaluate(ppo.acting_policy, "Pendulum-v1", 100, seed=1).mean()
    share = (means["oracle"] - means["untrained"]) / (means["true"] - means["untrained"])
    assert share >= 0.9, means


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
