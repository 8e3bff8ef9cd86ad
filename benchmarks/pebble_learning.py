"""PEBBLE: what few labels teach, and what each of its parts is worth.

    python benchmarks/pebble_learning.py --env dm_control/walker-walk-v0 --frames 60000 --seeds 0-2
    python benchmarks/pebble_learning.py --variants default no-relabel reed --seeds 0-4

Each row of benchmarks/pebble_learning.csv is an iteration of one run: the mean of ten episodes of the
policy's mean action, by the true reward, and how many labels there were. DM Control's actions are repeated
twice, and its steps are counted in frames. Two runs at once; 60,000 frames take about half an hour on a
core of their own.
"""

from pathlib import Path

import numpy as np
from many_runs import Run, options, rows_of, seeds_of, summary, turn
from sac_learning import flags_of

TABLE = Path(__file__).with_suffix(".csv")
# what differs from the defaults
# fmt: off
VARIANTS: dict[str, tuple[str, ...]] = {
    "default": (),
    "no-relabel": ("--no_relabel",),
    "no-exploration": ("--no_exploration",),
    "uniform": ("--queries", "uniform"),
    "surf": ("--surf",),
    "rune": ("--rune_beta", "0.05"),
    "reed": ("--reed",),
    "mistakes": ("--teacher", "mistake"),
    "recent": ("--recent_episodes", "10"),
    "constant": ("--schedule", "constant"),
    "goes-on": ("--no_absorb_termination",),  # where what ends early is absorbed by default
    "harmonic": ("--schedule", "harmonic"),
    "all-fitted": ("--held_out", "0", "--reward_epochs", "100"),
    "asked-scale": ("--reward_scale", "asked"),
    "batch-256": ("--network", "residual", "--updates_per_step", "1", "--batch_size", "256"),
    "reed-batch-256": (
        "--reed", "--network", "residual", "--updates_per_step", "1", "--batch_size", "256",
    ),
    # what the paper says of questions and reward, with our agent: its own takes 60 times as long
    "pebble-2021": (
        "--preset", "pebble-2021", "--network", "residual", "--hidden_sizes", "128",
        "--batch_size", "128", "--learning_rate", "0.001", "--temperature", "1",
    ),
}
# fmt: on


def main() -> None:
    """Runs what is left to do, and prints what all have reached."""
    parser = options(__doc__.splitlines()[0], "0-2")
    parser.add_argument("--env", default="dm_control/walker-walk-v0")
    parser.add_argument("--frames", type=int, default=60_000, help="or steps, without DM Control")
    parser.add_argument("--labels", type=int, default=100)
    parser.add_argument("--variants", nargs="+", default=["default"], choices=VARIANTS)
    arguments = parser.parse_args()
    runs = [
        Run(
            {"env": arguments.env, "frames": arguments.frames, "budget": arguments.labels,
             "variant": variant, "seed": seed},
            ("pebble", *flags_of(arguments.env, arguments.frames), "--labels",
             str(arguments.labels), *VARIANTS[variant]),
        )
        for seed in seeds_of(arguments.seeds)
        for variant in arguments.variants
    ]  # fmt: skip
    rows = turn(runs, arguments.runs / "pebble", TABLE, arguments.at_once)
    for variant in arguments.variants:
        curves = [rows_of(rows, run) for run in runs if run.cell["variant"] == variant]
        last = summary([float(curve[-1]["true_return"]) for curve in curves])
        seconds = np.nanmean([float(curve[-1]["cpu_seconds"]) for curve in curves])
        print(
            f"{arguments.env}, {arguments.labels} labels, {variant}: {last}, {seconds:.0f} s of a core"
        )


if __name__ == "__main__":
    main()
