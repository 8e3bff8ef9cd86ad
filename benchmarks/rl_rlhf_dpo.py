"""The experiment of "RL, RLHF, DPO": a weaker policy learns from preferences for a stronger one.

    python benchmarks/rl_rlhf_dpo.py --env CartPole-v0
    python benchmarks/rl_rlhf_dpo.py --env Acrobot-v1

For every seed `vpg.py` trains a policy; where it ends is the stronger one, and where it first came a
quarter of the way is the weaker one. Pairs of their episodes are labelled by the true return, and
each method starts as the weaker one. Needs about six minutes for CartPole and fifteen for Acrobot.
"""

import contextlib
import io
import itertools
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import vpg
from prefloop import checkpoints, run_files
from prefloop.command_line import parse_settings
from prefloop.envs.settings import EnvSettings
from prefloop.errors import one_sentence_errors
from prefloop.files import read_csv
from prefloop.seeding import Stream, integer
from prefloop.settings import defaults_of, setting
from prefloop.sweeps.compare import compare
from prefloop.sweeps.settings import CompareSettings

EPOCHS = {"CartPole-v0": 40, "Acrobot-v1": 80}
NUM_ENVS = {"CartPole-v0": 128, "Acrobot-v1": 16}  # only CartPole steps many at once quickly
WEAKER = 0.25


@dataclass(frozen=True)
class Settings:
    """What is run."""

    # fmt: off
    env: str = setting("CartPole-v0", "which environment", choices=tuple(EPOCHS))
    labels: tuple[int, ...] = setting((20, 50, 200), "label budgets")
    seeds: tuple[str, ...] = setting(("0-4",), "seeds or ranges of seeds")
    methods: tuple[str, ...] = setting(defaults_of(CompareSettings)["methods"], "what is compared")
    out: str = setting("benchmarks/results", "folder that everything is written to")
    # fmt: on


def train_demonstrators(env: str, seed: int, root: Path) -> Path:
    """A run of `vpg.py` that learns something, with a checkpoint after each epoch.

    On Acrobot some seeds never see the goal and so never learn; then others are tried.
    """
    for attempt in itertools.count():
        directory = root / f"seed-{seed}" / f"attempt-{attempt}"
        # with random numbers of its own: what is compared is not to learn in the same episodes
        train(env, integer(seed, Stream.DEMONSTRATIONS, attempt), directory)
        returns = true_returns(directory)
        if returns[-1] > returns[0]:
            break
    return directory


def train(env: str, seed: int, directory: Path) -> None:
    """A run of `vpg.py`; resumed if it was stopped."""
    settings = vpg.Settings(
        env_name=env,
        epochs=EPOCHS[env],
        num_envs=NUM_ENVS[env],
        seed=seed,
        checkpoint=True,
        checkpoint_dir=str(directory),
        resume=(directory / run_files.FACTS).exists(),
    )
    with contextlib.redirect_stdout(io.StringIO()):
        vpg.train(settings)


def true_returns(directory: Path) -> list[float]:
    """A run's, epoch by epoch."""
    return [float(row["true_return"]) for row in read_csv(directory / run_files.METRICS)]


def demonstrators(directory: Path) -> tuple[Path, Path]:
    """The stronger and the weaker policy of a run."""
    returns = true_returns(directory)
    wanted = returns[0] + WEAKER * (returns[-1] - returns[0])
    # an epoch's return is that of the policy before it was updated
    weaker = next(epoch for epoch, value in enumerate(returns) if value >= wanted) - 1
    return (
        checkpoints.checkpoint_path(directory, len(returns) - 1),
        checkpoints.checkpoint_path(directory, max(weaker, 0)),
    )


def main() -> None:
    """Trains the demonstrators and compares the methods."""
    settings = parse_settings(Settings, description=__doc__.splitlines()[0])
    root = Path(settings.out) / f"rl_rlhf_dpo-{settings.env}"
    wanted = CompareSettings(
        environment=EnvSettings(env=settings.env),
        methods=settings.methods,
        labels=settings.labels,
        seeds=settings.seeds,
        policies=tuple(
            str(root / "demonstrators" / "{seed}" / f"{x}.params") for x in ("strong", "weak")
        ),
        steps=200_000 if settings.env == "Acrobot-v1" else 100_000,
        out=str(root / "comparison"),
    )
    with one_sentence_errors("rl_rlhf_dpo.py"):
        with ProcessPoolExecutor(2, get_context("spawn")) as pool:
            jobs = {
                seed: pool.submit(train_demonstrators, settings.env, seed, root / "vpg")
                for seed in wanted.seed_numbers
            }
            folders = {seed: job.result() for seed, job in jobs.items()}
        for seed, folder in folders.items():
            place = root / "demonstrators" / str(seed)
            place.mkdir(parents=True, exist_ok=True)
            for name, source in zip(("strong", "weak"), demonstrators(folder), strict=True):
                checkpoints.save(place / f"{name}.params", checkpoints.load_weights(source))
        compare(wanted)


if __name__ == "__main__":
    main()
