"""Atari from clips alone, the whole way: collect, label on the page, fit a reward, train with fresh labels.

    python benchmarks/atari_journey.py --games DonkeyKong Freeway

For each game the commands of docs/atari.md, and an annotator at the real page in headless Chromium, who judges by
the points that were made in a clip: the score is hidden from policy and reward. Points that differ are answered by who
has more, one in ten wrong; the others are equal. In Freeway, where who can't play yet makes none, also by the way up. Each clip that is shown is held against what the agent saw, frame by frame. In
the middle of the training its process is killed, and the same command goes on. A row of benchmarks/atari_journey.csv is one of these; what
was done of one that was stopped is not done again.
"""

import argparse
import contextlib
import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
from annotating import Annotator, opened_page, quiet
from numpy.typing import NDArray
from PIL import Image

from prefloop import policies, policy_files
from prefloop.data.segments import Segments
from prefloop.envs.make import make_vector_env
from prefloop.envs.settings import EnvSettings
from prefloop.envs.spaces import spaces_of
from prefloop.errors import UserError
from prefloop.evaluation.evaluate import evaluate
from prefloop.evaluation.statistics import mean_estimate
from prefloop.files import read_csv, read_json, write_csv, write_json
from prefloop.labelling.client.client import LabellingClient
from prefloop.labelling.home import running_server
from prefloop.run_files import POLICY

TABLE = Path(__file__).with_suffix(".csv")
PREFLOOP = [sys.executable, "-m", "prefloop"]
PIXELS = 42
UP, DOWN = 1, 2  # actions of Freeway
DONE = "learning_curve.png"  # written at a training's end alone; policies are, meanwhile, too
CELL = ("pairs", "label_budget", "steps", "iteration_steps", "steps_of_clip")
EPISODES = 10  # that policies are judged in
# levels of grey that a clip's pictures may differ from what was observed, in the mean: it is compressed, and in colour
MOST_APART = 2.0


@dataclass
class Told:
    """What a game's journey has told so far; it stands in the game's folder."""

    labels: int = 0
    wrong: int = 0
    ties: int = 0
    skipped: int = 0
    clips: int = 0
    clips_wrong: int = 0
    killed: int = 0
    minutes: float = 0.0
    seen: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, file: Path) -> "Told":
        """What was written there."""
        return cls(**read_json(file)) if file.exists() else cls()


class Clips:
    """Holds each clip against what the agent saw in it."""

    def __init__(self, page: Any, client: LabellingClient, told: Told) -> None:
        self._client, self._told = client, told
        self._urls: dict[str, str] = {}
        page.on("response", self._heard)

    def _heard(self, reply: Any) -> None:
        if reply.url.endswith("/leases") and reply.ok:
            for query in reply.json()["queries"]:
                for side in (query["left"], query["right"]):
                    self._urls[side["segment"]] = side["clip_url"]

    def check(self, ids: list[UUID], segments: Segments) -> None:
        """Looks at a pair's; counts those that show something else."""
        for i, id in enumerate(ids):
            if str(id) in self._told.seen:
                continue
            digest = self._urls[str(id)].removeprefix("/clips/").removesuffix(".mp4")
            shown = _greys(self._client.clip(digest))
            self._told.clips += 1
            self._told.clips_wrong += not _agree(shown, segments.obs[i, : segments.lengths[i], -1])
            self._told.seen.append(str(id))


def _greys(video: bytes) -> NDArray:
    """A clip's pictures as an agent might see them; float; [steps, PIXELS, PIXELS]."""
    import av

    with av.open(io.BytesIO(video), "r") as file:
        images = [frame.to_image().convert("L") for frame in file.decode(video=0)]
    box = Image.Resampling.BOX
    return np.array([image.resize((PIXELS, PIXELS), box) for image in images], float)


def _agree(shown: NDArray, seen: NDArray) -> bool:
    """Whether each picture shows what was seen in its step, and no clip a step earlier or later would do so better."""
    if len(shown) != len(seen):
        return False
    told = ~(seen == 0).all(axis=(0, 2))  # rows that the agent sees: the score is black
    seen = seen.astype(float)

    def apart(one: NDArray, other: NDArray) -> NDArray:
        return np.abs(one - other)[:, told].mean(axis=(1, 2))

    own = apart(shown, seen)
    beside = (apart(shown[1:], seen[:-1]).sum(), apart(shown[:-1], seen[1:]).sum())
    # in a clip in which nothing moves all are the same
    return bool((own < MOST_APART).all() and own.sum() <= min(beside) + own.max())


def points(segments: Segments, i: int) -> float:
    """Of a clip: what is hidden from the agent."""
    return float(segments.rewards[i, : segments.lengths[i]].sum())


def points_or_way(segments: Segments, i: int) -> float:
    """Of a clip of Freeway: points, and where there are none, how far the chicken was made to go up."""
    acted = segments.actions[i, : segments.lengths[i]]
    return points(segments, i) + float((acted == UP).mean() - (acted == DOWN).mean())


# nobody who does not know the game yet makes a point in it
JUDGES = {"Freeway": points_or_way}


@contextlib.contextmanager
def labelling_server(home: Path) -> Iterator[str]:
    """`prefloop label`; where it is. One that outlived a benchmark that was killed goes on."""
    if (left := running_server(home)) is not None:
        yield left.url
        return
    line = [*PREFLOOP, "label", "--home", str(home), "--port", "0"]
    with Path(f"{home}.log").open("ab") as log:
        process = subprocess.Popen(line, stdout=log, stderr=log, env=quiet())
    try:
        while (found := running_server(home)) is None:
            assert process.poll() is None, f"see {home}.log"
            time.sleep(0.2)
        yield found.url
    finally:
        process.terminate()
        process.wait()


def do(log: Path, *flags: str) -> None:
    """A command, to its end."""
    with log.open("ab") as file:
        subprocess.run([*PREFLOOP, *flags], check=True, stdout=file, stderr=file, env=quiet())


def label(annotator: Annotator, told: Told, file: Path, labels: int) -> bool:
    """Answers the pair that is shown, if there is one and labels are left; writes down what it has told."""
    before = (annotator.answered, annotator.wrong, annotator.ties, annotator.skipped)
    if told.labels >= labels or not annotator.label_next():
        return False
    after = (annotator.answered, annotator.wrong, annotator.ties, annotator.skipped)
    answered, wrong, ties, skipped = (int(b - a) for a, b in zip(before, after, strict=True))
    told.labels, told.wrong = told.labels + answered, told.wrong + wrong
    told.ties, told.skipped = told.ties + ties, told.skipped + skipped
    write_json(file, asdict(told))
    return True


def journey(game: str, seed: int, arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """What came of one."""
    name, begin = f"{game.lower()}-01", time.monotonic()
    out, log, file = folder / name, folder / "commands.log", folder / "told.json"
    folder.mkdir(parents=True, exist_ok=True)
    told = Told.of(file)
    spent, pairs, labels = told.minutes, arguments.pairs, arguments.label_budget
    seen = ["--env", f"ALE/{game}-v5", "--pixels", str(PIXELS), "--mask-score"]

    with labelling_server(folder / "server") as url, opened_page() as page:
        server = ["--server", url]
        client = LabellingClient(url, patience=30)
        is_collected = any(
            run.name == name and run.counts.queries >= pairs for run in client.runs()
        )
        if not is_collected:  # it would play all of it again
            do(log, "collect", "--name", name, *seen, "--pairs", str(pairs), "--segment_length",
               str(arguments.steps_of_clip), "--episodes", "6", "--seed", str(seed), *server)  # fmt: skip
        page.set_default_timeout(120_000)
        clips = Clips(page, client, told)
        annotator = Annotator(
            page, f"{url}/#/label/{name}", JUDGES.get(game, points), arguments.pace, seed + told.labels,
            clips.check, alike="=",
        )  # fmt: skip
        # what is told may be one answer behind, where this was killed; what a training asks is answered below
        while not out.exists() and client.run(name).counts.left:
            if not label(annotator, told, file, pairs + 1):
                page.wait_for_timeout(300)
        if not (folder / "reward" / "reward.params").exists():
            do(log, "reward", "--run", name, "--out", str(folder / "reward"), "--seed", str(seed), *server)  # fmt: skip
        train = [
            *PREFLOOP, "pref-ppo", "--run", name, "--teacher", "human", "--labels", str(labels), "--steps",
            str(arguments.steps), "--iteration_steps", str(arguments.iteration_steps), "--segment_length",
            str(arguments.steps_of_clip), "--out", str(out), "--seed", str(seed), *server,
        ]  # fmt: skip
        while not (out / DONE).exists():
            with log.open("ab") as told_by_it:
                training = subprocess.Popen(train, stdout=told_by_it, stderr=told_by_it, env=quiet())  # fmt: skip
            while training.poll() is None:
                if not label(annotator, told, file, labels):
                    page.wait_for_timeout(300)
                if not told.killed and told.labels >= (pairs + labels) // 2:
                    training.send_signal(signal.SIGKILL)
                    training.wait()
                    told.killed = 1
                told.minutes = spent + (time.monotonic() - begin) / 60
                write_json(file, asdict(told))
            if training.returncode not in (0, -signal.SIGKILL):
                raise UserError(f"The training ended with {training.returncode}; see {log}.")
    return {**_told(told), **_returns(seen, out, seed)}


def _told(told: Told) -> dict[str, Any]:
    found = asdict(told)
    del found["seen"]
    return {**found, "minutes": round(told.minutes, 1)}


def _returns(seen: list[str], out: Path, seed: int) -> dict[str, float]:
    """Points in an episode, of the policy that was learned and of one that was not trained."""
    import torch

    env = EnvSettings(env=seen[1], pixels=PIXELS, mask_score=True)
    made = make_vector_env(env, 1)
    torch.manual_seed(seed)
    playing = {
        "before": policies.make_policy(spaces_of(made), (64, 64)),
        "after": policy_files.load(out / POLICY, made),
    }
    found: dict[str, float] = {}
    for what, policy in playing.items():
        mean = mean_estimate(evaluate(policy, env, EPISODES, seed))
        found |= {what: mean.mean, f"{what}_low": mean.low, f"{what}_high": mean.high}
    return found


def main() -> None:
    """Does what is left to do, and prints what came of all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--games", nargs="+", default=["DonkeyKong", "Freeway"])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--pairs", type=int, default=100, help="labels before training")
    parser.add_argument("--label_budget", type=int, default=200, help="labels in all")
    parser.add_argument("--steps", type=int, default=60_000)
    parser.add_argument("--iteration_steps", type=int, default=10_000)
    parser.add_argument("--steps_of_clip", type=int, default=50)
    parser.add_argument("--pace", type=float, default=0.2, help="seconds for each pair")
    parser.add_argument("--runs", type=Path, default=Path("benchmark_runs/atari_journey"))
    arguments = parser.parse_args()
    # what is explored or begun is nobody else's
    os.environ.setdefault("PREFLOOP_PROFILE", "atari-journey")
    rows: list[dict[str, Any]] = list(read_csv(TABLE)) if TABLE.exists() else []
    for game in arguments.games:
        cell = {
            "game": game,
            "seed": arguments.seed,
            **{name: getattr(arguments, name) for name in CELL},
        }
        if any(all(str(row[k]) == str(v) for k, v in cell.items()) for row in rows):
            continue
        folder = arguments.runs / "-".join(map(str, cell.values()))
        rows.append({**cell, **journey(game, arguments.seed, arguments, folder)})
        write_csv(TABLE, rows)
    for row in rows:
        said = ", ".join(
            f"{what} {float(row[what]):.1f} ({float(row[f'{what}_low']):.1f} to {float(row[f'{what}_high']):.1f})"
            for what in ("before", "after")
        )
        print(
            f"{row['game']}, seed {row['seed']}: points {said}; {row['labels']} labels, {row['wrong']} of them wrong and "
            f"{row['ties']} equal, in {row['minutes']} min; {row['clips_wrong']} of {row['clips']} clips showed "
            f"something else; killed {row['killed']} times"
        )


if __name__ == "__main__":
    main()
