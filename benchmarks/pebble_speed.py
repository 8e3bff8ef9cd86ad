"""PEBBLE on HalfCheetah-v5: steps a second, beside CleanRLHF's.

    git clone https://github.com/jualat/CleanRLHF && git -C CleanRLHF checkout 87a921e
    python -m venv theirs
    theirs/bin/pip install torch==2.13.0 gymnasium[mujoco]==1.4.0 mujoco==3.17.0 stable-baselines3 shimmy[dm-control]
    theirs/bin/pip install tensorboard tyro plotnine pandas imageio moviepy requests wandb pygame
    python benchmarks/pebble_speed.py --cleanrlhf CleanRLHF --their_python theirs/bin/python --rounds 3

Both have CleanRLHF's sizes and numbers: five hidden layers of 256 in policy and critics, and five of 128 in each
of three members of the reward (its flags count the layers after the first); batches of 256, one update of
everything a step, 512 random steps; sessions of 20 answers of an oracle about segments of 64 steps, chosen among
400 pairs by disagreement; 16 passes over four fifths of the answers in batches of ten; then every step of the past
is relabelled. One environment, one thread each, in turns. Seconds are the processor's: on a machine with other
work they waver less than the clock's.

A run is 750 steps of exploration and 1,500 of learning with two sessions in them. How many sessions are right is a
matter of taste, and the figure for the whole follows it: CleanRLHF's defaults have ten in the first 1,500 steps of
learning and 70 in all of 990,000; ours have one every 2,500. So the parts are printed, too: exploration once its
updates have begun, learning between the sessions, and a session (asking, fitting, relabelling). From them is
reckoned what CleanRLHF's default run would come to; that was not run, and is too kind to it: its exploration
becomes slower with each state, and its sessions with the answers of the seven before, of which there are two here.

Left out on both sides: evaluation, and what is saved. So are our updates of the new critics at the first reward,
which PEBBLE has and CleanRLHF has not. SURF and RUNE, which CleanRLHF has by default, are off unless `--surf` and
`--rune` are given. What it does otherwise counts: its buffer always has a million rows, which it adds up at every
step and relabels at every session (`--their_buffer` gives it fewer). Each of its members learns from all pairs,
ours from the two thirds of its bootstrap.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ENV, EXPLORED, LEARNED, SESSIONS = "HalfCheetah-v5", 750, 1500, 2
RANDOM, COUNTED_FROM = 512, 550  # exploration is timed from here on
ANSWERS, SEGMENT, CANDIDATES = 20, 64, 20  # of a session
# of CleanRLHF's default run: steps of exploration and of learning, sessions
DEFAULT_RUN = 10_000, 990_000, 70

# It has no switch for what is left out here, so names of its main program are replaced: what saves and what
# evaluates does nothing. Others are only watched: `select_actions` is called once a step, a session begins with
# `collect_feedback` and ends with `relabel_rewards`.
CLEANRLHF = f"""
import collections, json, os, sys, time, warnings
warnings.simplefilter("ignore")
repository, surf, rune, buffer = sys.argv[1], *map(int, sys.argv[2:])
sys.argv = ["sac_rlhf"]
sys.path.insert(0, repository + "/framework")
import torch
torch.set_num_threads(1)
import sac_rlhf
from sac_rlhf import ReplayBuffer

steps, sessions, marks = [], [], []
now = time.process_time

def watched(function, before=None, after=None):
    def call(*arguments, **named):
        if before is not None:
            before.append(now())
        result = function(*arguments, **named)
        if after is not None:
            after[-1] = now() - after[-1]
        return result
    return call

class NoEvaluation:
    def __init__(self, **named):
        pass
    def evaluate_policy(self, **named):
        marks.append(now())
        return collections.defaultdict(float)
    def plot(self, *arguments):
        pass

sac_rlhf.select_actions = watched(sac_rlhf.select_actions, before=steps)
sac_rlhf.collect_feedback = watched(sac_rlhf.collect_feedback, before=sessions)
ReplayBuffer.relabel_rewards = watched(ReplayBuffer.relabel_rewards, after=sessions)
sac_rlhf.Evaluation = NoEvaluation
sac_rlhf.save_model_all = lambda *arguments: None
sac_rlhf.save_replay_buffer = lambda *arguments: marks.append(now())
sac_rlhf.run(sac_rlhf.Args(
    env_id="{ENV}", cuda=False, log_file=False, log_level="ERROR",
    total_timesteps={EXPLORED + LEARNED}, total_explore_steps={EXPLORED},
    learning_starts=0, explore_learning_starts={RANDOM},
    teacher_feedback_schedule="linear", teacher_feedback_total_queries={SESSIONS * ANSWERS},
    teacher_feedback_num_queries_per_session={ANSWERS}, trajectory_length={SEGMENT},
    surf=bool(surf), rune=bool(rune), buffer_size=buffer,
))
# when exploration ended; an evaluation at the first step; when learning ended; at the very end
assert len(steps) == {EXPLORED + LEARNED} and len(sessions) == {SESSIONS} and len(marks) == 4, marks
explored, _, learned, _ = marks
learning = learned - steps[{EXPLORED}]
print(json.dumps({{
    "whole": explored - steps[0] + learning,
    "exploration": explored - steps[{COUNTED_FROM}],
    "learning": learning - sum(sessions),
    "sessions": sum(sessions),
}}))
"""


def ours(surf: bool, rune: bool) -> dict[str, float]:
    """Seconds of the whole run and of its parts."""
    import torch

    from prefloop.agents.settings import SACSettings
    from prefloop.rewards.settings import (
        AuxiliarySettings,
        RewardSettings,
        RuneSettings,
        SurfSettings,
    )
    from prefloop.teachers.settings import TeacherSettings
    from prefloop.training import methods, pebble
    from prefloop.training.on_policy import stepping_in
    from prefloop.training.settings import (
        ExplorationSettings,
        PebbleSettings,
        QuerySettings,
        ReplaySettings,
    )

    torch.set_num_threads(1)
    assert EXPLORED * (1 + SESSIONS) == EXPLORED + LEARNED  # an iteration has one session
    settings = PebbleSettings(
        critic_updates=0,
        experience=ReplaySettings(steps=EXPLORED + LEARNED, iteration_steps=EXPLORED),
        exploration=ExplorationSettings(steps=EXPLORED),
        questions=QuerySettings(
            labels=SESSIONS * ANSWERS,
            candidates=CANDIDATES,
            schedule="constant",
            segment_length=SEGMENT,
        ),
        agent=SACSettings(hidden_sizes=(256,) * 5, batch_size=256, random_steps=RANDOM),
        reward=RewardSettings(
            hidden_sizes=(128,) * 5, epochs=16, patience=16, batch_size=10, held_out=0.2
        ),
        auxiliary=AuxiliarySettings(
            surf=SurfSettings(
                surf=surf,
                unlabelled_ratio=1,
                confidence=0.999,
                surf_weight=0.1,
                smallest_crop=54 / 64,
                largest_crop=59 / 64,
            )
        ),
        rune=RuneSettings(rune_beta=0.05 if rune else 0, rune_decay=1e-4),
    )
    pebble.evaluation_row = lambda *_: {}
    steps: list[float] = []
    sessions: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        stepping, place = stepping_in(ENV, 1), Path(folder)
        with methods.simulated_answers(
            ENV, stepping, TeacherSettings(), SEGMENT, lambda: agent.acting_policy, 0, place,
            "pebble_speed",
        ) as answers:  # fmt: skip
            cpu = torch.device("cpu")
            _, learner = methods.pebble(ENV, stepping, answers, settings, 0, cpu, place)
            agent, taught, replay = learner.agent, learner.taught, learner.replay
            agent.act = _watched(agent.act, before=steps)  # type: ignore[method-assign]
            taught.ask = _watched(taught.ask, before=sessions)  # type: ignore[method-assign]
            replay.relabel = _watched(replay.relabel, after=sessions)  # type: ignore[method-assign]
            start = time.process_time()
            updates = learner.iterate(0)["updates"]
            explored = time.process_time()
            rows = [learner.iterate(1 + session) for session in range(SESSIONS)]
            learned = time.process_time()
    assert len(steps) == EXPLORED + LEARNED and len(sessions) == SESSIONS
    assert rows[-1]["labels"] == SESSIONS * ANSWERS
    assert updates == EXPLORED - RANDOM and sum(row["updates"] for row in rows) == LEARNED
    return {
        "whole": learned - start,
        "exploration": explored - steps[COUNTED_FROM],
        "learning": learned - explored - sum(sessions),
        "sessions": sum(sessions),
    }


def _watched(function, before=None, after=None):  # type: ignore[no-untyped-def]
    """The same function; says when it was called, or in place of that how long ago it is at its end."""

    def call(*arguments):  # type: ignore[no-untyped-def]
        if before is not None:
            before.append(time.process_time())
        result = function(*arguments)
        if after is not None:
            after[-1] = time.process_time() - after[-1]
        return result

    return call


# how many of what each part has: steps, or sessions
PARTS = {
    "whole": EXPLORED + LEARNED,
    "exploration": EXPLORED - COUNTED_FROM,
    "learning": LEARNED,
    "sessions": SESSIONS,
}


def default_run(seconds: dict[str, float]) -> float:
    """Hours that CleanRLHF's default run would take, reckoned from the parts."""
    parts = ("exploration", "learning", "sessions")
    times = zip(parts, DEFAULT_RUN, strict=True)
    return sum(number * seconds[part] / PARTS[part] for part, number in times) / 3600


def main() -> None:
    """Runs both in turns and prints the ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cleanrlhf", help="a clone of CleanRLHF; only ours without it")
    parser.add_argument("--their_python", "--their-python", default=sys.executable)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--surf", action="store_true")
    parser.add_argument("--rune", action="store_true")
    parser.add_argument("--their_buffer", "--their-buffer", type=int, default=1_000_000)
    parser.add_argument("--only_ours", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.only_ours:
        print(json.dumps(ours(arguments.surf, arguments.rune)))
        return
    mine = [sys.executable, str(Path(__file__).resolve()), "--only_ours"]
    mine += ["--surf"] * arguments.surf + ["--rune"] * arguments.rune
    switches = [str(int(x)) for x in (arguments.surf, arguments.rune, arguments.their_buffer)]
    ratios: dict[str, list[float]] = {}
    for _ in range(arguments.rounds):
        here = _last_line(mine)
        print(f"prefloop: {_said(here)}", flush=True)
        if not arguments.cleanrlhf:
            continue
        repository = str(Path(arguments.cleanrlhf).resolve())
        # -I: a folder on PYTHONPATH that has a utils.py would hide its own utils
        there = _last_line([arguments.their_python, "-Ic", CLEANRLHF, repository, *switches])
        print(f"CleanRLHF: {_said(there)}", flush=True)
        times = {part: there[part] / here[part] for part in PARTS}
        times["its default run, reckoned"] = default_run(there) / default_run(here)
        print("times: " + ", ".join(f"{part} {x:.2f}" for part, x in times.items()), flush=True)
        for part, x in times.items():
            ratios.setdefault(part, []).append(x)
    for part, values in ratios.items():
        print(f"{part}: median {statistics.median(values):.2f}, lowest {min(values):.2f}")


def _said(seconds: dict[str, float]) -> str:
    rates = (
        f"{PARTS[part] / seconds[part]:.1f} steps/s ({part})"
        for part in ("whole", "exploration", "learning")
    )
    return f"{', '.join(rates)}, {seconds['sessions'] / SESSIONS:.2f} s a session"


def _last_line(command: list[str]) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:  # where others leave their logs
        result = subprocess.run(
            command, check=False, capture_output=True, text=True, cwd=folder,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
    if result.returncode:
        sys.exit(result.stderr[-3000:])
    seconds: dict[str, float] = json.loads(result.stdout.splitlines()[-1])
    return seconds


if __name__ == "__main__":
    main()
