"""PrefPPO on Pendulum-v1: how much of what the true reward teaches do 700 labels teach?

    python benchmarks/pref_ppo_pendulum.py --seeds 5

For every seed: PPO on the true reward, PrefPPO with an oracle, and with a teacher who turns 10 % of
the answers round, all with the defaults of `prefloop` and the same steps. 0 % is a random policy,
100 % what the true reward reaches with that seed. Takes about ten minutes on two cores.
"""

import argparse
import statistics
import tempfile
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import torch

from prefloop.agents.rollout import true_reward
from prefloop.evaluation.evaluate import evaluate
from prefloop.training.on_policy import OnPolicyTraining, make_ppo
from prefloop.training.plans import num_iterations
from prefloop.training.pref_ppo import opened
from prefloop.training.settings import PrefPPOSettings

ENV = "Pendulum-v1"
VARIANTS = ("true reward", "oracle", "10 % mistakes")


def train(variant: str, seed: int, labels: int) -> tuple[float, float]:
    """True returns before and after training, each the mean of 200 episodes."""
    torch.set_num_threads(1)
    settings = PrefPPOSettings(
        env=ENV, labels=labels, mistakes=0.1 if variant == "10 % mistakes" else None
    )
    ppo = make_ppo(ENV, settings, seed, torch.device("cpu"))
    before = evaluate(ppo.acting_policy, ENV, 200, seed).mean()
    if variant == "true reward":
        learner = OnPolicyTraining(ppo, true_reward, settings, seed)
        for iteration in range(num_iterations(settings, settings)):
            learner.iterate(iteration)
    else:
        with (
            tempfile.TemporaryDirectory() as folder,
            opened(ppo, settings, seed, Path(folder)) as pref_ppo,
        ):
            for iteration in range(num_iterations(settings, settings)):
                row = pref_ppo.iterate(iteration)
        assert row["labels"] == labels
    after = evaluate(ppo.acting_policy, ENV, 200, seed).mean()
    return float(before), float(after)


def main() -> None:
    """Prints a table, and the medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--labels", type=int, default=700)
    arguments = parser.parse_args()
    seeds = range(arguments.seeds)
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        jobs = {
            (variant, seed): pool.submit(train, variant, seed, arguments.labels)
            for seed in seeds
            for variant in VARIANTS
        }
        results = {key: job.result() for key, job in jobs.items()}
    shares: dict[str, list[float]] = {variant: [] for variant in VARIANTS}
    print(f"{'seed':>4}  {'untrained':>9}  " + "  ".join(f"{v:>20}" for v in VARIANTS))
    for seed in seeds:
        bottom, top = results["true reward", seed]
        cells = []
        for variant in VARIANTS:
            value = results[variant, seed][1]
            shares[variant].append((value - bottom) / (top - bottom))
            cells.append(f"{value:10.1f} ({shares[variant][-1]:6.1%})")
        print(f"{seed:>4}  {bottom:9.1f}  " + "  ".join(f"{cell:>20}" for cell in cells))
    for variant in VARIANTS[1:]:
        print(f"{variant}: median {statistics.median(shares[variant]):.1%} of the true reward")


if __name__ == "__main__":
    main()
