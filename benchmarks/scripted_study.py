"""A whole study by twenty scripted participants in Chromium: who is careless is told, and what a reward learns is measured.

    python benchmarks/scripted_study.py
    python benchmarks/scripted_study.py --report

A server of its own that demands tokens, segments of Pendulum-v1, `prefloop study new` with every step there is, and
twenty people who come by their links, several at once, and do by keyboard and mouse what people do. They prefer the
clip of the higher true return, less surely where two are close, and answer one in ten or so without looking. Four
of them press any key as soon as they may; one always takes the left clip; one leaves in the middle, the server is
killed and started again, and they come back in another browser process with what the first had kept; one has the
study open in two tabs; the link of one is revoked in the middle. Afterwards what is stored is compared with what was
pressed, the study's table must name who was careless and nobody else, and rewards are fitted with and without
them. `--report` does that last part again, of the folder of an earlier run.
"""

import argparse
import asyncio
import csv
import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import labelling_load
import numpy as np
from annotator_errors import CLEAN, ENV, EPISODES, LENGTH, OTHER_EPISODES, clean, pool
from numpy.typing import NDArray
from scripted_people import OF_EACH, PRACTICE, RUN, STUDY, Crowd, Person, Returns, people_of

from prefloop import run_files
from prefloop.envs.make import make_vector_env
from prefloop.evaluation.statistics import mean_estimate
from prefloop.labelling.client.client import LabellingClient
from prefloop.rewards import reward_model

PREFLOOP = [sys.executable, "-m", "prefloop"]
PAIRS, ANSWERS, KNOWN = 160, 5, 16
REPEATS, SMALLEST_SECONDS = 0.1, 1.0
STUDY_YAML = f"""\
runs: [{RUN}]
practice: {RUN}-practice
checks: {RUN}-checks
participants: 20
pairs: {OF_EACH}
block: 20
answers_per_pair: {ANSWERS}
checks_every: 5
smallest_seconds: {SMALLEST_SECONDS}
title: Which pendulum is better?
welcome: |
  Thank you for your interest. You will watch **short clips** of a pendulum, two at a time.
consent: |
  - Taking part is voluntary; you may stop at any time.
  - Your answers are stored without your name.
instructions: |
  Better is the clip in which the pendulum is **higher up**, and swings less.
comprehension:
  - question: What makes a clip better?
    options: [The pendulum swings faster, The pendulum is higher up]
    right: The pendulum is higher up
pause: Look out of the window for a moment.
thanks: Paste the code where you signed up.
"""


def pushing(obs: NDArray) -> NDArray:
    """Torques at random, the same for the same observations; who acts in what is compared."""
    return np.stack([np.random.default_rng(list(row.tobytes())).uniform(-2, 2, 1) for row in obs])


class Server(labelling_load.Server):
    """`prefloop label`, and what is done to it by the command line.

    Attributes:
        out: the folder of all that is written.
    """

    def __init__(self, out: Path) -> None:
        super().__init__(out / "server", "")
        self.out = out
        self.start()

    def start(self) -> None:
        """Starts it, and waits until it answers; what it says its token is, is kept."""
        super().start()
        kept = self.out / "token"
        if self.token:
            kept.write_text(self.token)
        self.token = kept.read_text()

    def client(self) -> LabellingClient:
        """A client of a trainer."""
        return LabellingClient(self.url, token=self.token, patience=60)

    def prefloop(self, *words: str) -> str:
        """What a command says."""
        here = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
        told = {"PREFLOOP_SERVER": self.url, "PREFLOOP_TOKEN": self.token, "OMP_NUM_THREADS": "1", "PYTHONPATH": here}  # fmt: skip
        done = subprocess.run([*PREFLOOP, *words], env={**os.environ, **told}, capture_output=True, text=True, cwd=self.out)  # fmt: skip
        assert done.returncode == 0, f"prefloop {' '.join(words)}: {done.stdout}{done.stderr}"
        return done.stdout


def prepare(server: Server, client: LabellingClient) -> Returns:
    """Runs to compare, with known answers where they are needed, and the study's links."""
    returns = Returns(client)
    for name, pairs, seed in ((RUN, PAIRS, 0), (f"{RUN}-practice", PRACTICE, 1), (f"{RUN}-checks", KNOWN, 2)):  # fmt: skip
        more = ["--repeats", str(REPEATS)] if name == RUN else []
        server.prefloop(
            "collect", "--name", name, "--env", ENV, "--policies", "scripted_study:pushing", "--pairs", str(pairs),
            "--episodes", str(EPISODES), "--segment_length", str(LENGTH), "--seed", str(seed), *more,
        )  # fmt: skip
        server.prefloop("runs", "set", name, "rendered_queue_size", str(pairs))
    for name in (f"{RUN}-practice", f"{RUN}-checks"):
        session = uuid.uuid4()
        while given := client.lease(name, "researcher", session, 1).queries:
            (query,) = given
            left, right = returns.of([query.left.segment, query.right.segment], name)
            client.answer(uuid.uuid4(), query.lease, "left" if left > right else "right")
    (server.out / "study.yaml").write_text(STUDY_YAML)
    print(server.prefloop("study", "new", STUDY, "--file", "study.yaml", "--address", server.url))
    drawn, clips = -1, server.out / "server" / "clips"
    while drawn < (drawn := len(list(clips.rglob("*.mp4")))):  # until all are there
        time.sleep(15)
    return returns


def require_nothing_lost(client: LabellingClient, people: Sequence[Person]) -> int:
    """Compares what is stored with what was pressed; how many answers there are.

    Raises:
        AssertionError: one is missing, is there twice, or is more than a link was for.
    """
    of_pairs = list(client.all_labels(RUN))
    events = [*of_pairs, *client.all_labels(f"{RUN}-checks")]
    pairs = {event.query for event in of_pairs}
    undone: set[UUID] = {event.undoes for event in events if event.undoes is not None}
    for person in people:
        theirs = [e for e in events if e.annotator == f"{STUDY}-{person.ref}" and e.kind != "undo"]
        stands = [event for event in theirs if event.id not in undone]
        assert {str(event.id) for event in theirs} >= person.sent, person.ref
        assert len({(event.query, event.repeat) for event in stands}) == len(stands), person.ref
        assert len(theirs) - len(stands) == person.undone, person.ref
        if person.kind == "revoked":
            # what was pressed after that was refused
            assert len(theirs) == len(person.sent) <= person.pressed, person.ref
        else:
            assert len(theirs) == len(person.sent) == person.pressed, person.ref
            assert len([e for e in stands if e.query in pairs]) == OF_EACH, person.ref
    return len(events)


def named(server: Server) -> list[str]:
    """Whom the study's table marks."""
    print(server.prefloop("study", "show", STUDY))
    (server.out / "study.csv").unlink(missing_ok=True)
    server.prefloop("study", "show", STUDY, "--csv", "study.csv")
    with (server.out / "study.csv").open() as file:
        return [row["participant"] for row in csv.DictReader(file) if row["doubts"]]


def accuracies(server: Server, name: str, seeds: int, *flags: str) -> NDArray:
    """Of rewards that `prefloop reward` fits, on clean pairs of other episodes; [seeds]."""
    env, found = make_vector_env(ENV, 1), []
    judged = [clean(pool(OTHER_EPISODES + i)[0], CLEAN, np.random.default_rng(i)) for i in range(2)]
    for seed in range(seeds):
        out = server.out / f"reward-{name}-{seed}"
        if not (out / run_files.REWARD).exists():
            server.prefloop("reward", "--run", RUN, "--out", str(out), "--seed", str(seed), *flags)
        model = reward_model.load(out, env)
        right = []
        for pairs in judged:
            returns = model.returns(pairs.segments).mean(axis=0)
            prefers_second = returns[pairs.second] > returns[pairs.first]
            right.append((prefers_second == (pairs.labels > 0.5)).mean())
        found.append(np.mean(right))
    return np.array(found)


def report(server: Server, client: LabellingClient, people: Sequence[Mapping[str, Any]], seeds: int) -> None:  # fmt: skip
    """Who is named, and what rewards learn with and without them."""
    careless = sorted(one["ref"] for one in people if one["kind"] in ("careless", "left"))
    marked = sorted(named(server))
    print(f"careless: {', '.join(careless)}; named: {', '.join(marked)}")
    assert marked == careless, "not the careless alone are named"
    print(server.prefloop("runs", "show", RUN))
    for ref in marked:
        server.prefloop("runs", "include", RUN, f"{STUDY}-{ref}")
    rows = {
        "all, as they are": accuracies(server, "all", seeds),
        "all, `--annotator_errors learned`": accuracies(server, "learned", seeds, "--annotator_errors", "learned"),
    }  # fmt: skip
    for ref in marked:
        server.prefloop("runs", "exclude", RUN, f"{STUDY}-{ref}")
    rows["without those named"] = accuracies(server, "without", seeds)
    plain = next(iter(rows.values()))
    print("| answers | accuracy on clean pairs | less all, as they are |\n|---|---|---|")
    for what, values in rows.items():
        mean, gain = mean_estimate(values), mean_estimate(values - plain)
        said = "" if values is plain else f"{gain.mean:+.3f} ({gain.low:+.3f} to {gain.high:+.3f})"
        print(f"| {what} | {mean.mean:.3f} ({mean.low:.3f} to {mean.high:.3f}) | {said} |")


def main() -> None:
    """The study, and what came of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("benchmark_runs/scripted_study"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--at_once", type=int, default=6)
    parser.add_argument("--fits", type=int, default=8)
    parser.add_argument("--report", action="store_true", help="only what came of an earlier run")
    arguments = parser.parse_args()
    out = arguments.out.resolve()
    out.mkdir(parents=True, exist_ok=arguments.report)
    server = Server(out)
    try:
        client = server.client()
        if not arguments.report:
            returns = prepare(server, client)
            people = people_of(out / f"{STUDY}-links.csv", arguments.seed)
            spread = float(pool(0)[0].returns.std())
            begin = time.monotonic()
            asyncio.run(Crowd(server, returns, 0.15 * spread, arguments.at_once).run(people))
            stored = require_nothing_lost(client, people)
            print(f"{stored} events in {(time.monotonic() - begin) / 60:.0f} min; nothing is lost, nothing is there twice.")  # fmt: skip
            codes = {person.ref: person.code for person in client.study(STUDY).participants}
            assert all(codes[p.ref] == p.code for p in people if p.kind != "revoked")
            kinds = [{"ref": person.ref, "kind": person.kind} for person in people]
            (out / "people.json").write_text(json.dumps(kinds))
        report(server, client, json.loads((out / "people.json").read_text()), arguments.fits)
    finally:
        server.kill()


if __name__ == "__main__":
    main()
