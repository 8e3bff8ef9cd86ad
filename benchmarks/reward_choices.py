"""What a reward learned from few labels knows, by how it is fitted and asked about: minutes, not days.

    prefloop pebble --env dm_control/walker-walk-v0 --steps 30000 --schedule constant --seed 30 --out walker-30
    python benchmarks/reward_choices.py walker-30 --labels 50 100 --seeds 100-102

Goes through what runs of `prefloop pebble` or `sac` have done, as if they were doing it now: at the beginning
of each 2,500 steps it asks and fits as PEBBLE would, and compares the learned with the true reward in the
2,500 steps that come next, and in all so far. No policy learns from it, so this says what a choice is worth
to the reward alone. Each fit is an own seed's. Rows are added to benchmarks/reward_choices.csv, where what
is there already is not done again.
"""

import argparse
import contextlib
import math
import tempfile
from itertools import product
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from many_runs import seeds_of
from tqdm import tqdm

from prefloop import checkpoints, run_files
from prefloop.command_line import parse_settings
from prefloop.commands import pebble
from prefloop.data.replay_buffer import TRUE_REWARDS, ReplayBuffer
from prefloop.data.trajectories import Trajectories
from prefloop.envs.make import make_vector_env
from prefloop.envs.settings import from_facts
from prefloop.envs.spaces import spaces_of
from prefloop.evaluation.statistics import mean_estimate
from prefloop.files import read_csv, write_csv
from prefloop.queries.schedules import label_schedule
from prefloop.rewards.training import RewardFit, make_model
from prefloop.teachers.settings import TeacherSettings
from prefloop.training import methods
from prefloop.training.on_policy import stepping_in
from prefloop.training.settings import PebbleSettings
from prefloop.training.taught_reward import TaughtReward

TABLE = Path(__file__).with_suffix(".csv")
FIRST = 5000  # steps before the first questions
NEXT = 2500  # steps that the learned reward is judged in
RAW = "inputs on no scale"
# what differs from the defaults
VARIANTS: dict[str, str] = {
    "default": "",
    "reed": "--reed",
    "surf": "--surf",
    "uniform": "--queries uniform",
    "entropy": "--queries entropy",
    "candidates 50": "--candidates 50",
    "segments of 25": "--segment_length 25",
    "segments of 100": "--segment_length 100",
    "ensemble of 7": "--ensemble 7",
    "states alone": "--reward_inputs obs",
    "all answers are sure": "--label_noise 0",
    "weight decay 1e-3": "--weight_decay 1e-3",
    "no weight decay": "--weight_decay 0",
    "nothing held out": "--held_out 0 --reward_epochs 100",
    "hyperbolic": "--schedule hyperbolic",
    "every 5,000 steps": "--iteration_steps 5000",
    RAW: "",  # no setting, see below
    "the newest 10 episodes": "--recent_episodes 10",
}


def done_in(run: Path) -> Trajectories:
    """All that a run has done, in order."""
    facts = checkpoints.run_facts(run / "final_policy.params")
    env = from_facts(facts)
    if env is None:
        raise SystemExit(f"{run} is no run of prefloop.")
    spaces = spaces_of(make_vector_env(env, 1))
    rows = np.load(run / "replay" / "obs.npy", mmap_mode="r").shape[0]
    replay = ReplayBuffer(run / "replay", spaces, 1, rows, extras={TRUE_REWARDS: ("float32", ())})
    replay.load_state_dict(checkpoints.load(run / run_files.STATE, math.inf)["learner"]["replay"])
    return replay.trajectories()


def some(everything: Trajectories, first: int, last: int) -> Trajectories:
    """Episodes that lie within some steps."""
    ends = np.cumsum(everything.lengths)
    chosen = (ends - everything.lengths >= first) & (ends <= last)
    step = np.repeat(chosen, everything.lengths)
    steps = {
        name: getattr(everything, name)[step] for name in ("obs", "actions", "rewards", "next_obs")
    }
    whole = {
        name: getattr(everything, name)[chosen] for name in ("lengths", "terminated", "truncated")
    }
    return Trajectories(**steps, **whole)


def correlations(
    run: Path, everything: Trajectories, own: PebbleSettings, seed: int
) -> list[dict[str, float]]:
    """Of learned and true reward, in each stretch of steps."""
    env = from_facts(checkpoints.run_facts(run / "final_policy.params"))
    assert env is not None
    stepping = stepping_in(env, 1)
    model = make_model(stepping.spaces, own.reward, seed)
    steps = len(everything.rewards)
    sessions = (steps - FIRST) // own.experience.iteration_steps
    by = np.cumsum(label_schedule(own.questions.schedule, own.questions.labels, sessions))
    rows = []
    with (
        tempfile.TemporaryDirectory() as folder,
        methods.simulated_answers(
            env, stepping, TeacherSettings(), own.questions.segment_length, lambda: None,  # type: ignore[arg-type, return-value]
            seed, Path(folder), "reward_choices",
        ) as answers,
    ):  # fmt: skip
        taught = TaughtReward(
            model, answers, own.questions, own.reward, seed, auxiliary=own.auxiliary
        )
        for now in range(FIRST, steps - NEXT + 1, NEXT):
            session, since = divmod(now - FIRST, own.experience.iteration_steps)
            so_far, following = some(everything, 0, now), some(everything, now, now + NEXT)
            if not since and session < sessions:
                pool = so_far
                if own.recent_episodes is not None:
                    begin = so_far.lengths[: -own.recent_episodes].sum()
                    pool = some(so_far, int(begin), now)
                taught.ask(lambda pool=pool: pool, int(by[session]), session)  # type: ignore[misc]
                taught.fit(lambda so_far=so_far: so_far, session)  # type: ignore[misc]
            row = {"labels": float(by[min(session, sessions - 1)])}
            for name, episodes in (("next", following), ("so_far", so_far)):
                learned = taught.model.reward(np.asarray(episodes.obs), episodes.actions)
                row[name] = float(np.corrcoef(learned, episodes.rewards)[0, 1])
            rows.append(row)
    return rows


def of_cell(rows: list[dict[str, Any]], cell: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows of one fit."""
    return [row for row in rows if all(str(row[k]) == str(v) for k, v in cell.items())]


def report(
    rows: list[dict[str, Any]], runs: list[str], budget: int, variants: list[str], seeds: range
) -> None:
    """What each choice came to at the end, and how much that is above the default of the same run and seed."""

    def last(variant: str) -> np.ndarray:
        ends = [
            of_cell(rows, {"run": run, "budget": budget, "variant": variant, "seed": seed})[-1]
            for run, seed in product(runs, seeds)
        ]
        return np.array([[float(row["next"]), float(row["so_far"])] for row in ends])

    for variant in variants:
        found = last(variant)
        text = f"{budget} labels, {variant}: {found[:, 0].mean():.3f} in what comes next, {found[:, 1].mean():.3f} so far"
        if variant != "default" and "default" in variants and len(found) > 1:
            ahead = mean_estimate(found[:, 0] - last("default")[:, 0])
            text += f"; {ahead.mean:+.3f} ({ahead.low:.3f} to {ahead.high:.3f})"
        print(text)


def main() -> None:
    """Tries every choice, and prints what it is worth."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "run", type=Path, nargs="+", help="folders of runs whose steps are gone through"
    )
    parser.add_argument("--seeds", default="100-104")
    parser.add_argument("--labels", type=int, nargs="+", default=[100])
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS), choices=VARIANTS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    seeds = seeds_of(arguments.seeds)
    rows: list[dict[str, Any]] = list(read_csv(TABLE)) if TABLE.exists() else []
    everything = {run: done_in(run) for run in arguments.run}
    cells = list(product(arguments.labels, arguments.run, seeds, arguments.variants))
    for budget, run, seed, variant in tqdm(cells, unit=" fits"):
        cell = {"run": run.name, "budget": budget, "variant": variant, "seed": seed}
        if of_cell(rows, cell):
            continue
        line = f"--env x --out x --schedule constant --labels {budget} {VARIANTS[variant]}"
        own = parse_settings(pebble.Settings, line.split()).pebble
        raw = mock.patch.object(RewardFit, "_standardise_inputs", lambda *_: None)
        with raw if variant == RAW else contextlib.nullcontext():
            curve = correlations(run, everything[run], own, seed)
        rows += [{**cell, **row} for row in curve]
        write_csv(TABLE, rows)
    for budget in arguments.labels:
        report(rows, [run.name for run in arguments.run], budget, arguments.variants, seeds)


if __name__ == "__main__":
    main()
