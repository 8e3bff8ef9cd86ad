"""SAC on the true reward: what it reaches by its default settings, and by others.

    python benchmarks/sac_learning.py --env HalfCheetah-v5 --steps 100000 --seeds 0-2
    python benchmarks/sac_learning.py --env dm_control/walker-walk-v0 --variants mlp residual --seeds 0-2

Each row of benchmarks/sac_learning.csv is an iteration of one run: the mean of ten episodes of the
policy's mean action. DM Control's actions are repeated twice, and its steps are counted in frames. With several
variants it also says what each had reached by the time that the quickest of them was done, in seconds of a
core. Two runs at once; 100,000 steps take about a quarter of an hour on a core of their own.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from many_runs import Run, options, rows_of, seeds_of, summary, turn

TABLE = Path(__file__).with_suffix(".csv")
# what differs from the settings that the program has for the environment
# fmt: off
VARIANTS: dict[str, tuple[str, ...]] = {
    "default": (),
    "mlp": ("--network", "mlp", "--updates_per_step", "1"),
    "residual": ("--network", "residual", "--updates_per_step", "1"),
    "residual-256": ("--network", "residual", "--updates_per_step", "1", "--batch_size", "256"),
    "mlp-2-updates": ("--network", "mlp", "--updates_per_step", "2"),
    "residual-2-updates": ("--network", "residual", "--updates_per_step", "2"),
    "absorbed": ("--absorb_termination",),
}
# fmt: on


def flags_of(env: str, steps: int) -> tuple[str, ...]:
    """An environment and its budget: frames of DM Control are steps of the simulator."""
    repeats = 2 if env.startswith("dm_control/") else 1
    repeat = ("--action_repeat", str(repeats)) if repeats > 1 else ()
    return ("--env", env, *repeat, "--steps", str(steps // repeats))


def return_at(curve: Sequence[dict[str, Any]], seconds: float) -> float:
    """What a run had reached after so many seconds of a core.

    They were counted for the whole run, whose updates take equally long.
    """
    updates = np.cumsum([float(row["updates"]) for row in curve])
    at = updates / updates[-1] * float(curve[-1]["cpu_seconds"])
    return float(np.interp(seconds, at, [float(row["true_return"]) for row in curve]))


def main() -> None:
    """Runs what is left to do, and prints what all have reached."""
    parser = options(__doc__.splitlines()[0], "0-2")
    parser.add_argument("--env", default="HalfCheetah-v5")
    parser.add_argument("--steps", type=int, default=100_000, help="or frames, with DM Control")
    parser.add_argument("--variants", nargs="+", default=["default"], choices=VARIANTS)
    arguments = parser.parse_args()
    runs = [
        Run(
            {
                "env": arguments.env,
                "total_steps": arguments.steps,
                "variant": variant,
                "seed": seed,
            },
            ("sac", *flags_of(arguments.env, arguments.steps), *VARIANTS[variant]),
        )
        for seed in seeds_of(arguments.seeds)
        for variant in arguments.variants
    ]
    rows = turn(runs, arguments.runs / "sac", TABLE, arguments.at_once)
    curves = {
        variant: [rows_of(rows, run) for run in runs if run.cell["variant"] == variant]
        for variant in arguments.variants
    }
    seconds = {
        variant: float(np.nanmean([float(curve[-1]["cpu_seconds"]) for curve in own]))
        for variant, own in curves.items()
    }
    for variant, own in curves.items():
        last = summary([float(curve[-1]["true_return"]) for curve in own])
        print(
            f"{arguments.env}, {arguments.steps} steps, {variant}: {last}, {seconds[variant]:.0f} s of a core"
        )
    if len(curves) > 1:
        enough = min(seconds.values())
        for variant, own in curves.items():
            at = summary([return_at(curve, enough) for curve in own])
            print(f"after {enough:.0f} s of a core, {variant}: {at}")


if __name__ == "__main__":
    main()
