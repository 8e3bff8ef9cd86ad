"""What is learned from pictures: on the true reward, and from preferences alone.

    python benchmarks/pictures_learning.py --seeds 0-2
    python benchmarks/pictures_learning.py --env ALE/Pong-v5 --methods ppo --seeds 0-1
    python benchmarks/pictures_learning.py --env ALE/Pong-v5 --methods pref-ppo --labels 1500 --seeds 0-2

Each row of benchmarks/pictures_learning.csv is an iteration of one run: the mean true return of its episodes, and how
many labels there were. Atari's games are seen in 42 pixels, without sticky actions, as in most published figures. Two runs at
once; the dot takes two minutes of a core, 2,000,000 steps of Pong about half an hour.
"""

from pathlib import Path

import numpy as np
from many_runs import Run, options, rows_of, seeds_of, summary, turn

TABLE = Path(__file__).with_suffix(".csv")
METHODS = ("ppo", "pref-ppo")


def flags_of(env: str, method: str, labels: int) -> tuple[str, ...]:
    """A run's, beside the settings that come with the program for its environment."""
    seen = ("--pixels", "42", "--sticky", "0") if env.startswith("ALE/") else ()
    asked = ("--labels", str(labels)) if method == "pref-ppo" else ()
    return (method, "--env", env, *seen, *asked)


def main() -> None:
    """Runs what is left to do, and prints what all have reached."""
    parser = options(__doc__.splitlines()[0], "0-2")
    parser.add_argument("--env", default="prefloop/Dot-v0")
    parser.add_argument("--labels", type=int, default=200)
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=METHODS)
    arguments = parser.parse_args()
    runs = [
        Run(
            {"env": arguments.env, "method": method, "seed": seed,
             "budget": arguments.labels if method == "pref-ppo" else 0},
            flags_of(arguments.env, method, arguments.labels),
        )
        for seed in seeds_of(arguments.seeds)
        for method in arguments.methods
    ]  # fmt: skip
    rows = turn(runs, arguments.runs / "pictures", TABLE, arguments.at_once)
    for method in arguments.methods:
        curves = [rows_of(rows, run) for run in runs if run.cell["method"] == method]
        last = summary([float(curve[-1]["true_return"]) for curve in curves])
        seconds = np.nanmean([float(curve[-1]["cpu_seconds"]) for curve in curves])
        print(f"{arguments.env}, {method}: {last}, {seconds:.0f} s of a core")


if __name__ == "__main__":
    main()
