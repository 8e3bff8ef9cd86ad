"""What a reward learned from few labels knows, by how it is fitted and asked about: minutes, not days.

    prefloop pebble --env dm_control/walker-walk-v0 --steps 30000 --schedule constant --seed 10 --out explored
    python benchmarks/reward_choices.py explored --seeds 100-104

Goes through what a run of `prefloop pebble` or `sac` has done, as if it were doing it now: at the beginning
of each 2,500 steps it asks and fits as PEBBLE would, and compares the learned with the true reward in the
2,500 steps that come next, and in all so far. No policy learns from it, so this says what a choice is worth
to the reward alone. Writes benchmarks/reward_choices.csv; each fit is an own seed's.
"""

import argparse
import math
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from many_runs import seeds_of
from tqdm import tqdm

from prefloop import checkpoints, runs
from prefloop.command_line import parse_settings
from prefloop.commands import pebble
from prefloop.data.replay_buffer import TRUE_REWARDS, ReplayBuffer
from prefloop.data.trajectories import Trajectories
from prefloop.envs.make import make_vector_env
from prefloop.envs.settings import from_facts
from prefloop.envs.spaces import spaces_of
from prefloop.files import write_csv
from prefloop.queries.schedules import label_schedule
from prefloop.rewards.training import make_model
from prefloop.teachers.settings import TeacherSettings
from prefloop.training import methods
from prefloop.training.on_policy import stepping_in
from prefloop.training.settings import PebbleSettings
from prefloop.training.taught_reward import TaughtReward

TABLE = Path(__file__).with_suffix(".csv")
FIRST, EVERY = 5000, 2500  # steps before the first questions, and between two sessions
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
    "nothing held out": "--held_out 0 --reward_epochs 100",
    "hyperbolic": "--schedule hyperbolic",
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
    replay.load_state_dict(checkpoints.load(run / runs.STATE, math.inf)["learner"]["replay"])
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
    """Of learned and true reward, after each session."""
    env = from_facts(checkpoints.run_facts(run / "final_policy.params"))
    assert env is not None
    stepping = stepping_in(env, 1)
    model = make_model(stepping.spaces, own.reward, seed)
    steps = len(everything.rewards)
    sessions = (steps - FIRST) // EVERY
    by = np.cumsum(label_schedule(own.questions.schedule, own.questions.labels, sessions))
    rows = []
    with (
        tempfile.TemporaryDirectory() as folder,
        methods.simulated_answers(
            env, stepping, TeacherSettings(), own.questions.segment_length, lambda: None,  # type: ignore[arg-type, return-value]
            seed, Path(folder),
        ) as answers,
    ):  # fmt: skip
        taught = TaughtReward(
            model, answers, own.questions, own.reward, seed, surf=own.surf, reed=own.reed
        )
        for session in range(sessions):
            now = FIRST + EVERY * session
            so_far, following = some(everything, 0, now), some(everything, now, now + EVERY)
            pool = so_far
            if own.recent_episodes is not None:
                begin = so_far.lengths[: -own.recent_episodes].sum()
                pool = some(so_far, int(begin), now)
            taught.ask(lambda pool=pool: pool, int(by[session]), session)  # type: ignore[misc]
            taught.fit(lambda so_far=so_far: so_far, session)  # type: ignore[misc]
            row = {"labels": float(by[session])}
            for name, episodes in (("next", following), ("so_far", so_far)):
                learned = taught.model.reward(np.asarray(episodes.obs), episodes.actions)
                row[name] = float(np.corrcoef(learned, episodes.rewards)[0, 1])
            rows.append(row)
    return rows


def main() -> None:
    """Tries every choice, and prints what it is worth."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="folder of a run whose steps are gone through")
    parser.add_argument("--seeds", default="100-104")
    parser.add_argument("--labels", type=int, default=100)
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS), choices=VARIANTS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    everything, table = done_in(arguments.run), []
    for variant in tqdm(arguments.variants, unit=" choices"):
        line = (
            f"--env x --out x --schedule constant --labels {arguments.labels} {VARIANTS[variant]}"
        )
        own = parse_settings(pebble.Settings, line.split()).pebble
        curves = [
            correlations(arguments.run, everything, replace(own), seed)
            for seed in seeds_of(arguments.seeds)
        ]
        for seed, curve in zip(seeds_of(arguments.seeds), curves, strict=True):
            table += [{"variant": variant, "seed": seed, **row} for row in curve]
        last = np.array([[curve[-1]["next"], curve[-1]["so_far"]] for curve in curves])
        mean, error = last.mean(0), last.std(0, ddof=1) / np.sqrt(len(last))
        tqdm.write(
            f"{variant}: {mean[0]:.2f} ± {error[0]:.2f} in what comes next, {mean[1]:.2f} ± {error[1]:.2f} so far"
        )
        write_csv(TABLE, table)


if __name__ == "__main__":
    main()
