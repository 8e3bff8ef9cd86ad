"""Behaviours that no reward describes: what a person at the page teaches, and how long it takes.

    python benchmarks/behaviours.py --behaviours cheetah-backwards --seeds 0-2
    python benchmarks/behaviours.py --report --film docs/images

For each seed `prefloop teach`, headless Chromium at its page, and an annotator at its keyboard who knows an
objective that nothing else is told of: a number for each clip, of its observations. They take a person's
time for each pair, answer one in ten wrong, and skip what they can't tell. Afterwards the objective of the
policy, as it is then and as it was untrained, and that of SAC on the environment's own reward after as many
steps. A row of benchmarks/behaviours.csv is one of these. About half an hour a seed, and 20 minutes for SAC.
"""

import argparse
import contextlib
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym
import mujoco  # type: ignore[import-untyped]
import numpy as np
from annotating import Annotator, opened_page, quiet
from many_runs import seeds_of
from numpy.typing import NDArray

from prefloop import policy_files
from prefloop.data.rollouts import Act
from prefloop.data.segments import Segments
from prefloop.envs.make import make_vector_env
from prefloop.envs.registered import without_early_end
from prefloop.envs.settings import EnvSettings
from prefloop.errors import UserError
from prefloop.evaluation.evaluate import acting_in_episode, env_seed
from prefloop.evaluation.statistics import mean_estimate
from prefloop.evaluation.videos import record_episode
from prefloop.files import read_csv, write_csv

TABLE = Path(__file__).with_suffix(".csv")
PREFLOOP = [sys.executable, "-m", "prefloop"]
EPISODES, STEPS_JUDGED = 10, 500
TWO_SECONDS = ("--segment_length", "50")  # of the swimmer, which turns slowly


@dataclass(frozen=True)
class Behaviour:
    """What is taught.

    Attributes:
        objective: of a clip's observations [steps, obs_dim], one number; more is better.
        steps: of experience.
        flags: of `prefloop teach` besides.
        slow: how many times as slow as it was the film plays.
    """

    env: str
    goal: str
    objective: Callable[[NDArray], float]
    steps: int = 60_000
    flags: tuple[str, ...] = ()
    slow: int = 1


def _upright_hopper_turning_back(obs: NDArray) -> float:
    """Backwards, by the torso's angle, in the air rather than on the floor."""
    return float(-(obs[:, 7] * (obs[:, 0] > 0.5)).mean())


def _reared_up(obs: NDArray) -> float:
    """1 where the torso points straight up, 0 where it lies, -1 on its head; HalfCheetah's pitch turns on and on."""
    return float(-np.sin(obs[:, 1]).mean())


def _leg_raised(obs: NDArray) -> float:
    """How high the front left foot is above the floor, in metres; below 0 by how far the torso lies on its back."""
    upright = 1 - 2 * (obs[:, 2] ** 2 + obs[:, 3] ** 2)  # of a unit quaternion w, x, y, z
    foot = _heights("Ant-v5", 2, ("left_ankle_geom",), obs)[:, 0]
    return float(np.where(upright > 0, foot * upright, 0.2 * upright).mean())


def _on_one_leg(obs: NDArray) -> float:
    """Upright and high, one foot above the other by up to half a metre, and not going anywhere."""
    upright = ((obs[:, 0] - 0.7) / 0.5).clip(0, 1) * np.cos(obs[:, 1]).clip(0)
    feet = _heights("Walker2d-v5", 1, ("foot_geom", "foot_left_geom"), obs)
    lifted = np.abs(feet[:, 0] - feet[:, 1]).clip(0, 0.5)
    return float((upright * (0.5 + lifted) - 0.1 * np.abs(obs[:, 8])).mean())


def _turning(obs: NDArray) -> float:
    """Radians per second, of the mean of the three links: the head alone swings to and fro by more than it turns."""
    return float((obs[:, 5] + (2 * obs[:, 6] + obs[:, 7]) / 3).mean())


def _heights(env: str, along: int, geoms: tuple[str, ...], obs: NDArray) -> NDArray:
    """How high the lower ends of capsules are above the floor, in metres; [steps, geoms].

    Args:
        along: coordinates along the floor, which are not observed; what is observed begins with all others.
    """
    unwrapped: Any = gym.make(env).unwrapped
    model = unwrapped.model
    data, found = mujoco.MjData(model), []
    for row in obs:
        data.qpos[along:] = row[: model.nq - along]
        mujoco.mj_kinematics(model, data)
        found.append(
            [
                data.geom(name).xpos[2] - abs(data.geom(name).xmat[8]) * model.geom(name).size[1]
                for name in geoms
            ]
        )
    return np.array(found)


BEHAVIOURS = {
    "cheetah-backwards": Behaviour(
        "HalfCheetah-v5", "Run backwards, to the left, as fast as possible.",
        lambda obs: float(-obs[:, 8].mean()),
    ),
    "cheetah-stroll": Behaviour(
        "HalfCheetah-v5", "Stroll to the right, at about one metre per second.",
        lambda obs: -abs(float(obs[:, 8].mean()) - 1),
    ),
    "cheetah-backflip": Behaviour(
        "HalfCheetah-v5", "Do backflips, one after the other.",
        lambda obs: float(-obs[:, 10].mean()), 30_000,
    ),
    "cheetah-upright": Behaviour(
        "HalfCheetah-v5", "Stand upright on the hind leg.", _reared_up, 30_000
    ),
    "reacher-spin": Behaviour(
        "Reacher-v5", "Spin the arm counter-clockwise, a turn a second or faster.",
        lambda obs: float((obs[:, 6] > 2 * np.pi).mean()), 15_000, slow=10,
    ),
    "swimmer-clockwise": Behaviour(
        "Swimmer-v5", "Turn clockwise, as fast as possible.", lambda obs: -_turning(obs), 30_000, TWO_SECONDS
    ),
    "swimmer-counter": Behaviour(
        "Swimmer-v5", "Turn counter-clockwise, as fast as possible.", _turning, 30_000, TWO_SECONDS
    ),
    "hopper-backflip": Behaviour(
        "Hopper-v5", "Do a backflip and land on the foot.", _upright_hopper_turning_back, 100_000
    ),
    "walker-one-leg": Behaviour(
        "Walker2d-v5", "Stand on one leg, and stay so.", _on_one_leg
    ),
    "ant-leg-up": Behaviour("Ant-v5", "Stand with the front left leg raised.", _leg_raised),
}  # fmt: skip


@contextlib.contextmanager
def teaching(behaviour: Behaviour, seed: int, labels: int, out: Path) -> Iterator[tuple[Any, str]]:
    """`prefloop teach`; the process, and where its page is."""
    line = [
        *PREFLOOP, "teach", "--no_browser", "--env", behaviour.env, "--goal", behaviour.goal, "--labels",
        str(labels), "--steps", str(behaviour.steps), "--seed", str(seed), "--out", str(out), "--run",
        out.name, "--profile", out.name, *behaviour.flags,
    ]  # fmt: skip
    log = Path(f"{out}.log")
    with log.open("ab") as file:
        process = subprocess.Popen(line, stdout=file, stderr=file, env=quiet())
    try:
        found = None
        while found is None and process.poll() is None:
            time.sleep(0.5)
            found = re.findall(r"Teach it at (\S+)", log.read_text(encoding="utf-8"))[-1:] or None
        assert found, f"teach ended; see {log}"
        yield process, found[0]
    finally:
        process.terminate()
        process.wait()


def teach(name: str, seed: int, labels: int, pace: float, out: Path) -> dict[str, Any]:
    """Teaches a behaviour from the page; what it took."""
    behaviour, begin = BEHAVIOURS[name], time.monotonic()

    def judge(segments: Segments, i: int) -> float:
        return behaviour.objective(segments.obs[i, : segments.lengths[i]])

    with opened_page() as page, teaching(behaviour, seed, labels, out) as (process, address):
        annotator, labelling = Annotator(page, address, judge, pace, seed), 0.0
        while process.poll() is None:
            try:
                if annotator.answered < labels and annotator.label_next():
                    labelling = time.monotonic() - begin
                else:
                    page.wait_for_timeout(500)
            except UserError:
                process.wait(60)  # the server ends with its training, be it under a pair
    assert process.returncode == 0, f"see {out}.log"
    return {
        "labels": annotator.answered, "wrong": annotator.wrong, "skipped": annotator.skipped,
        "labelling_minutes": round(labelling / 60, 1), "minutes": round((time.monotonic() - begin) / 60, 1),
    }  # fmt: skip


def judged(name: str, acts: Callable[[int], Act], seed: int) -> NDArray:
    """The objective of each of some episodes, without early ends; [episodes].

    Args:
        acts: chooses actions in an episode, by its number.
    """
    behaviour, found = BEHAVIOURS[name], []
    env = make_vector_env(without_early_end(EnvSettings(env=behaviour.env)), 1)
    for episode in range(EPISODES):
        act, seen = acts(episode), []
        obs = env.reset(seed=env_seed(seed, episode))[0]
        for _ in range(STEPS_JUDGED):
            seen.append(np.array(obs[0]))
            obs = env.step(act(obs))[0]
        found.append(behaviour.objective(np.array(seen)))
    return np.array(found)


def _trained(name: str, seed: int, out: Path) -> Callable[[int], Act]:
    env = make_vector_env(BEHAVIOURS[name].env, 1)
    policy = policy_files.load(out / "final_policy.params", env)
    return lambda episode: acting_in_episode(policy, seed, episode, greedy=True)


def _untrained(name: str, seed: int) -> Callable[[int], Act]:
    space = make_vector_env(BEHAVIOURS[name].env, 1).action_space
    space.seed(seed)
    return lambda episode: lambda obs: np.asarray(space.sample())


def _sac(name: str, seed: int, out: Path) -> None:
    """SAC on the environment's own reward, unless it is there."""
    if (out / "final_policy.params").exists():
        return
    behaviour = BEHAVIOURS[name]
    line = [*PREFLOOP, "sac", "--env", behaviour.env, "--steps", str(behaviour.steps), "--seed", str(seed), "--out", str(out)]  # fmt: skip
    if (out / "training_state.pt").exists():
        line.append("--resume")
    with Path(f"{out}.log").open("ab") as log:
        subprocess.run(line, check=True, stdout=log, stderr=log, env=quiet())


def _video(name: str, seed: int, out: Path) -> Path:
    """Of a run's last policy: the page's, which leaves steps out, or one of each step where it is to be slowed down."""
    if BEHAVIOURS[name].slow == 1:
        return out / "latest.mp4"
    act = _trained(name, seed, out)(0)
    record_episode(EnvSettings(env=BEHAVIOURS[name].env), act, seed, out / "each_step.mp4")
    return out / "each_step.mp4"


def film(video: Path, to: Path, slow: int, seconds: float = 6.0, width: int = 240) -> None:
    """The beginning of a video as a picture that moves for so many seconds, for a page."""
    import av

    with av.open(str(video)) as file:
        stream = file.streams.video[0]
        rate = float(stream.average_rate or 1)
        every = max(1, round(rate / 10 / slow))
        shown = int(seconds * rate / slow)
        frames = [frame.to_image() for frame in file.decode(stream)][:shown:every]
    small = [frame.resize((width, width * frame.height // frame.width)) for frame in frames]
    small[0].save(
        to, save_all=True, append_images=small[1:], duration=int(1000 * every * slow / rate), loop=0, quality=50
    )  # fmt: skip


def main() -> None:
    """Does what is left to do, and prints what all have reached."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--behaviours", nargs="+", default=list(BEHAVIOURS), choices=BEHAVIOURS)
    parser.add_argument("--seeds", default="0-2", help="for instance 0-2 or 5 (default: 0-2)")
    parser.add_argument("--labels", type=int, default=300)
    parser.add_argument(
        "--pace", type=float, default=3.0, help="seconds for each pair (default: 3)"
    )
    parser.add_argument("--runs", type=Path, default=Path("benchmark_runs/behaviours"))
    parser.add_argument("--report", action="store_true", help="only print what there is")
    parser.add_argument(
        "--film", type=Path, help="folder that gets a moving picture of the best seed of each"
    )
    arguments = parser.parse_args()
    rows: list[dict[str, Any]] = list(read_csv(TABLE)) if TABLE.exists() else []
    arguments.runs.mkdir(parents=True, exist_ok=True)
    for name in [] if arguments.report else arguments.behaviours:
        for seed in seeds_of(arguments.seeds):
            cell = {"behaviour": name, "seed": seed}
            if any(all(str(row[k]) == str(v) for k, v in cell.items()) for row in rows):
                continue
            out = arguments.runs / f"{name}-{seed}"
            took = teach(name, seed, arguments.labels, arguments.pace, out)
            behaviour = BEHAVIOURS[name]
            own = arguments.runs / f"sac-{behaviour.env}-{behaviour.steps}-{seed}"
            _sac(name, seed, own)
            found = {
                "before": judged(name, _untrained(name, seed), seed),
                "after": judged(name, _trained(name, seed, out), seed),
                "own_reward": judged(name, _trained(name, seed, own), seed),
            }
            told: dict[str, float] = {}
            for what, values in found.items():
                mean = mean_estimate(values)
                told |= {what: mean.mean, f"{what}_low": mean.low, f"{what}_high": mean.high}
            rows.append({**cell, **took, **told})
            write_csv(TABLE, rows)
            print(rows[-1], flush=True)
    for name in sorted({row["behaviour"] for row in rows}) if arguments.film else ():
        best = max(
            (row for row in rows if row["behaviour"] == name), key=lambda row: float(row["after"])
        )
        film(
            _video(name, int(best["seed"]), arguments.runs / f"{name}-{best['seed']}"),
            arguments.film / f"behaviour_{name}.webp",
            BEHAVIOURS[name].slow,
        )
    for row in rows:
        said = ", ".join(
            f"{what} {float(row[what]):.2f} ({float(row[f'{what}_low']):.2f} to {float(row[f'{what}_high']):.2f})"
            for what in ("before", "after", "own_reward")
        )
        print(
            f"{row['behaviour']}, seed {row['seed']}: {said}; {row['labels']} labels in {row['labelling_minutes']} min"
        )


if __name__ == "__main__":
    main()
