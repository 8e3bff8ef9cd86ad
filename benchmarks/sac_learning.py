"""SAC on the true reward: what it reaches, by network and by updates a step.

    python benchmarks/sac_learning.py --env HalfCheetah-v5 --steps 100000 --seeds 0-2

Each row of benchmarks/sac_learning.csv is an iteration of one run: the mean of ten episodes of the
policy's mean action. DM Control's actions are repeated twice, and its steps are counted in frames.
Two runs at once; 100,000 steps take about half an hour on a core of their own.
"""

from pathlib import Path

import numpy as np
from many_runs import Run, options, rows_of, seeds_of, turn

TABLE = Path(__file__).with_suffix(".csv")


def flags_of(env: str, steps: int) -> tuple[str, ...]:
    """An environment and its budget: frames of DM Control are steps of the simulator."""
    repeats = 2 if env.startswith("dm_control/") else 1
    repeat = ("--action_repeat", str(repeats)) if repeats > 1 else ()
    return ("--env", env, *repeat, "--steps", str(steps // repeats))


def main() -> None:
    """Runs what is left to do, and prints what all have reached."""
    parser = options(__doc__.splitlines()[0], "0-2")
    parser.add_argument("--env", default="HalfCheetah-v5")
    parser.add_argument("--steps", type=int, default=100_000, help="or frames, with DM Control")
    parser.add_argument("--network", nargs="+", default=["mlp"], choices=("mlp", "residual"))
    parser.add_argument("--updates", nargs="+", default=["1.0"], help="updates a step")
    arguments = parser.parse_args()
    runs = [
        Run(
            {"env": arguments.env, "network": network, "updates_per_step": updates, "seed": seed},
            ("sac", *flags_of(arguments.env, arguments.steps), "--network", network,
             "--updates_per_step", updates),
        )
        for seed in seeds_of(arguments.seeds)
        for network in arguments.network
        for updates in arguments.updates
    ]  # fmt: skip
    rows = turn(runs, arguments.runs / "sac", TABLE, arguments.at_once)
    for network in arguments.network:
        for updates in arguments.updates:
            curves = [
                rows_of(rows, run)
                for run in runs
                if (run.cell["network"], run.cell["updates_per_step"]) == (network, updates)
            ]
            last = [float(curve[-1]["true_return"]) for curve in curves]
            seconds = [float(curve[-1]["cpu_seconds"]) for curve in curves]
            shown = " ".join(f"{value:.0f}" for value in last)
            print(
                f"{arguments.env}, {network}, {updates} updates a step: mean {np.mean(last):.0f} ({shown}), "
                f"{np.mean(seconds):.0f} s of a core"
            )


if __name__ == "__main__":
    main()
