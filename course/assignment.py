"""The whole assignment, as a student runs it, and what came of it.

python -m course.assignment
"""

import argparse
import os
import shlex
import subprocess
import sys
from pathlib import Path

from prefloop.command_line import command_line
from prefloop.errors import UserError, one_sentence_errors
from prefloop.startup import print_anything

ROOT = Path(__file__).resolve().parents[1]
ENV_ID = "CartPole-v0"


def commands(seed: int, num_envs: int | None = None) -> list[list[str]]:
    """Parts 1 to 3, as in README.md, with a seed and, if asked, a number of environments."""
    lines = (
        "vpg.py --epochs 10 --checkpoint --checkpoint_dir ./synthetic",
        "offline_reward_learning.py",
        "vpg.py --epochs 50 --checkpoint --reward reward.params --checkpoint_dir rlhf",
    )
    envs = [] if num_envs is None else ["--num_envs", str(num_envs)]
    return [
        [*shlex.split(line), "--seed", str(seed), *(envs if line.startswith("vpg.py") else [])]
        for line in lines
    ]


def run_parts(directory: Path, seed: int, quiet: bool = False, num_envs: int | None = None) -> None:
    """Runs Parts 1 to 3 in a directory.

    Raises:
        UserError: a part ended with an error, which it has printed itself.
    """
    for script, *flags in commands(seed, num_envs):
        if not quiet:
            print(f"\n$ python {shlex.join([script, *flags])}", flush=True)
        done = subprocess.run(
            [sys.executable, str(ROOT / script), *flags],
            cwd=directory,
            stdout=subprocess.DEVNULL if quiet else None,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            check=False,
        )
        if done.returncode:
            raise UserError(f"{script} ended with exit code {done.returncode}.")


def compare(directory: Path, seed: int, num_episodes: int) -> dict[str, list[float]]:
    """Returns of the learned policy and of the best policy it had demonstrations of.

    The best demonstrator is picked on other episodes than those it is reported on: the highest
    of ten noisy averages would flatter it.

    Returns:
        For each of the two checkpoints, by its path, the return of every episode.
    """
    from prefloop.checkpoints import checkpoint_path, epochs_of_run
    from prefloop.envs.make import make_env
    from prefloop.envs.spaces import policy_sizes
    from prefloop.evaluation.evaluate import evaluate
    from prefloop.policy_files import load_mlp
    from prefloop.seeding import Stream, integer

    sizes = policy_sizes(make_env(ENV_ID))

    def returns(path: Path, seed: int) -> list[float]:
        return evaluate(load_mlp(path, *sizes), ENV_ID, num_episodes, seed).tolist()

    demonstrators = [directory / "synthetic" / f"policy_checkpoint{i}.params" for i in range(10)]
    picking_seed = integer(seed, Stream.DEMONSTRATIONS)
    best = max(demonstrators, key=lambda path: sum(returns(path, picking_seed)))
    learned = checkpoint_path(directory / "rlhf", epochs_of_run(directory / "rlhf")[-1])
    return {str(path.relative_to(directory)): returns(path, seed) for path in (best, learned)}


def main() -> None:
    """Runs the parts, then prints the table."""
    print_anything()
    parser = argparse.ArgumentParser(
        description="Runs Parts 1 to 3 of the assignment and compares the learned policy with "
        "the best policy it had demonstrations of.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--seed", type=int, default=0, help="of every part")
    parser.add_argument("--directory", default=".", help="where synthetic/ and rlhf/ are written")
    parser.add_argument("--num_rollouts", type=int, default=100, help="episodes of each policy")
    arguments = parser.parse_args(command_line())
    if arguments.num_rollouts < 2 or arguments.seed < 0:
        parser.error("--num_rollouts must be at least 2 and --seed at least 0")
    with one_sentence_errors("course.assignment"):
        directory = Path(arguments.directory)
        if not directory.is_dir():
            raise UserError(f"{directory} is not a directory.")
        run_parts(directory, arguments.seed)
        from prefloop.envs.registered import return_bounds
        from prefloop.evaluation.statistics import mean_estimate

        results = compare(directory, arguments.seed, arguments.num_rollouts)
        print(f"\nTrue return over {arguments.num_rollouts} episodes (at most 200 each)")
        print(f"{'':18} {'checkpoint':36} average   95 % interval")
        for name, (path, returns) in zip(
            ("best demonstrator", "learned policy"), results.items(), strict=True
        ):
            e = mean_estimate(returns, return_bounds(ENV_ID))
            print(f"{name:18} {path:36} {e.mean:7.1f}   {e.low:.1f} to {e.high:.1f}")


if __name__ == "__main__":
    main()
