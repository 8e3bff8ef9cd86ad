"""Where runs of PEBBLE end below what is possible: is it their reward, or their policy?

    python benchmarks/reward_or_agent.py benchmark_runs/pebble/dm_control_walker-walk-v0-60000-100-default-?

Every policy, one column each, judged by the learned reward of every run, one row each: its mean for each step of
three episodes, in units in which the steps of that run have deviation 1. The first row is the true reward.
Where a reward puts another run's better policy above its own, it knows what is better, and what is missing is
a policy that tries it. `--better RUN` adds policies as columns only.

    python benchmarks/reward_or_agent.py RUN --observed height=14 speed=16 --last 5000

asks what a reward pays around what its run does: by how many of its deviations learned and true reward rise, in the last steps
of the run, for each deviation of some numbers that are observed (least squares on all that are named).
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from reward_choices import done_in

from prefloop import checkpoints, policy_files
from prefloop.data.trajectories import Trajectories
from prefloop.envs.make import make_vector_env
from prefloop.envs.settings import EnvSettings, from_facts
from prefloop.evaluation.evaluate import play
from prefloop.rewards import reward_model

EPISODES, SEED = 3, 0


def env_of(run: Path) -> EnvSettings:
    """What a run is judged in."""
    env = from_facts(checkpoints.run_facts(run / "final_policy.params"))
    if env is None:
        raise SystemExit(f"{run} is no run of prefloop.")
    return env


def played(run: Path, env: EnvSettings) -> Trajectories:
    """Episodes of the mean action of a run's policy."""
    policy = policy_files.load(run / "final_policy.params", make_vector_env(env, 1))
    return play(policy, env, EPISODES, SEED, greedy=True, observed=True)


def show(name: str, rewards: list[NDArray]) -> None:
    """Prints a row of the table: of each policy the mean of its steps."""
    cells = [f"{steps.mean():.2f}" for steps in rewards]
    print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


def slopes(run: Path, observed: dict[str, int], last: int) -> None:
    """Prints rows of a table: how learned and true reward rise with what is observed.

    Args:
        observed: places in an observation, by name.
        last: steps.
    """
    episodes = done_in(run)
    model = reward_model.load(run / "reward.params", make_vector_env(env_of(run), 1))
    learned = model.reward(np.asarray(episodes.obs), episodes.actions)
    seen = np.asarray(episodes.obs)[-last:, list(observed.values())]
    inputs = np.column_stack([(seen - seen.mean(0)) / seen.std(0), np.ones(len(seen))])
    means = ", ".join(f"{name} {x:.2f}" for name, x in zip(observed, seen.mean(0), strict=True))
    for name, rewards in (("learned", learned), ("true", episodes.rewards)):
        found = np.linalg.lstsq(inputs, rewards[-last:] / rewards.std(), rcond=None)[0]
        print(
            f"| {run.name} ({means}) | {name} | "
            + " | ".join(f"{x:.2f}" for x in found[:-1])
            + " |"
        )


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path, help="folders of runs of prefloop pebble")
    parser.add_argument("--better", nargs="*", type=Path, default=[], help="only their policies")
    parser.add_argument("--observed", nargs="+", default=[], help="for instance height=14 speed=16")
    parser.add_argument("--last", type=int, default=5000, help="steps, with --observed")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.observed:
        observed = {
            name: int(i) for name, _, i in (one.partition("=") for one in arguments.observed)
        }
        print(f"| run | reward | {' | '.join(observed)} |")
        print("|---" * (2 + len(observed)) + "|")
        for run in arguments.runs:
            slopes(run, observed, arguments.last)
        return
    env = env_of(arguments.runs[0])
    policies = [played(run, env) for run in (*arguments.runs, *arguments.better)]
    envs = make_vector_env(env, 1)
    names = [run.name for run in (*arguments.runs, *arguments.better)]
    print("| reward of | " + " | ".join(names) + " |")
    print("|---" * (len(names) + 1) + "|")
    show("the environment", [episodes.rewards for episodes in policies])
    for run in arguments.runs:
        model = reward_model.load(run / "reward.params", envs)
        show(run.name, [model.reward(np.asarray(steps.obs), steps.actions) for steps in policies])


if __name__ == "__main__":
    main()
