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
from contextlib import ExitStack
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import torch

from prefloop.data.stepping import Stepping
from prefloop.evaluation.evaluate import evaluate
from prefloop.policies import Policy
from prefloop.teachers.settings import TeacherSettings
from prefloop.training import methods
from prefloop.training.on_policy import true_reward
from prefloop.training.settings import PrefPPOSettings

ENV = "Pendulum-v1"
VARIANTS = ("true reward", "oracle", "10 % mistakes")


def untrained(stepping: Stepping, settings: PrefPPOSettings, seed: int) -> Policy:
    """What teachers whose thresholds depend on returns are shown first."""
    return methods.make_ppo(stepping, settings.agent, seed, torch.device("cpu")).acting_policy


def train(variant: str, seed: int, labels: int) -> tuple[float, float]:
    """True returns before and after training, each the mean of 200 episodes."""
    torch.set_num_threads(1)
    cpu, own = torch.device("cpu"), PrefPPOSettings()
    settings = replace(own, questions=replace(own.questions, labels=labels))
    with ExitStack() as stack:
        if variant == "true reward":
            method = methods.ppo(
                ENV, lambda stepping: true_reward, settings.agent, settings.experience, seed, cpu
            )
        else:
            teacher = TeacherSettings(mistakes=0.1 if variant == "10 % mistakes" else None)
            stepping = methods.stepping_in(ENV, settings.experience.num_envs)
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            length = settings.questions.segment_length
            answers = stack.enter_context(
                methods.simulated_answers(
                    ENV,
                    stepping,
                    teacher,
                    length,
                    lambda: untrained(stepping, settings, seed),
                    seed,
                    folder,
                    "pref_ppo_pendulum",
                )
            )
            method, _ = methods.pref_ppo(ENV, stepping, answers, settings, seed, cpu)
        before = evaluate(method.policy(), ENV, 200, seed).mean()
        for iteration in range(method.iterations):
            row = method.learner.iterate(iteration)
    assert variant == "true reward" or row["labels"] == labels
    after = evaluate(method.policy(), ENV, 200, seed).mean()
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
