"""How well the assignment's three parts learn, over seeds.

    python benchmarks/course_learning.py

Runs the three commands with their defaults for each seed, then 100 episodes of the best
demonstrator and of the learned policy.
"""

import argparse
import functools
import os
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tqdm import tqdm

from course.assignment import compare, run_parts
from course.report import ENV_ID, checkpoint_returns
from prefloop.envs.registered import return_bounds
from prefloop.evaluation.statistics import MeanEstimate, mean_estimate


def measure(seed: int, num_envs: int | None) -> tuple[MeanEstimate, MeanEstimate, MeanEstimate]:
    """True returns over 100 episodes: Part 1's last policy, its best one, and the learned one."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        run_parts(directory, seed, quiet=True, num_envs=num_envs)
        last = checkpoint_returns(directory / "synthetic", num_episodes=100, seed=seed)[9]
        best, learned = compare(directory, seed, num_episodes=100).values()
    bounds = return_bounds(ENV_ID)
    return last, mean_estimate(best, bounds), mean_estimate(learned, bounds)


def main() -> None:
    """Measures, then prints one line per seed and what the project promises."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=10, help="seeds 0 to N-1 (default: 10)")
    parser.add_argument("--num_envs", type=int, help="of vpg.py (default: its own)")
    arguments = parser.parse_args()
    seeds = range(arguments.seeds)
    one = functools.partial(measure, num_envs=arguments.num_envs)
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        results = list(tqdm(pool.map(one, seeds), total=len(seeds), disable=None))

    print("seed  Part 1's last          best demonstrator      learned policy")
    for seed, estimates in zip(seeds, results, strict=True):
        cells = (f"{e.mean:.1f} ({e.low:.1f} to {e.high:.1f})" for e in estimates)
        print(f"{seed:4}  " + "".join(f"{cell:23}" for cell in cells))
    last, _, learned = zip(*results, strict=True)
    means = [e.mean for e in learned]
    print(f"mean of the learned policies: {sum(means) / len(means):.1f} (promised: at least 195)")
    print(f"at least 190: {sum(m >= 190 for m in means)} of {len(means)} (promised: 9 of 10)")
    better = sum(own.low > best.high for _, best, own in results)
    print(
        f"better than the best demonstrator, intervals apart: {better} of {len(means)} (promised: all)"
    )
    low, high = min(e.mean for e in last), max(e.mean for e in last)
    print(f"Part 1's last policies: {low:.1f} to {high:.1f} (promised: 25 to 150)")


if __name__ == "__main__":
    main()
