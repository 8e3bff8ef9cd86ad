import csv
import os
import re
import shlex
import signal
import subprocess
import sys
import time

import pytest
from conftest import assert_one_sentence
from inline import Inline

from prefloop.data import dataset
from prefloop.envs.settings import EnvSettings
from prefloop.files import read_json, write_json
from prefloop.sweeps import engines
from prefloop.sweeps.cells import Cell, cells
from prefloop.sweeps.merging import merge
from prefloop.sweeps.settings import CompareSettings

CARTPOLE = EnvSettings(env="CartPole-v0")
SMALL = (
    "compare --env CartPole-v0 --demonstrator-steps 8000 --episodes 4 --steps 1000 "
    "--evaluation-episodes 4 --processes 2 --out c"
)


@pytest.fixture
def line(demonstrators, monkeypatch):
    """A comparison whose demonstrators are there already, by this process, where neither is what is tested."""
    monkeypatch.setattr(engines, "ThisMachine", Inline)
    given = " ".join(f"{demonstrators}/policy_checkpoint{epoch}.params" for epoch in (9, 0))
    return (
        f"compare --env CartPole-v0 --policies {given} --episodes 4 --steps 1000 "
        "--evaluation-episodes 4 --out c"
    )


def rows(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def test_what_is_run():
    settings = CompareSettings(
        environment=CARTPOLE,
        methods=("dpo", "constant"),
        labels=(50, 20),
        seeds=("0-1", "7"),
        out="c",
    )
    assert settings.seed_numbers == [0, 1, 7]
    assert cells(settings) == [
        *(Cell("dpo", labels, seed) for labels in (20, 50) for seed in (0, 1, 7)),
        *(Cell("constant", 0, seed) for seed in (0, 1, 7)),
    ]


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ("--seeds 3-1", "runs upwards"),
        ("--seeds 4294967296", "below 2**32"),
        ("--seeds 0-99999", "more than 10000 seeds"),
        ("--methods dpo pref-ppo", "steps of the run are too few"),
        (
            "--methods pref-ppo --steps 40000 --segment-length 300",
            "longer than any episode here",
        ),
        ("--env FrozenLake-v1", "FrozenLake-v1 has observations in Discrete(16)"),
        ("--device cuda:99", "--device cuda:99 can't be used here"),
        ("--seeds x", "invalid seed or range value: 'x'"),
        ("--labels 0", "--labels must be above 0"),
        ("--methods bogus", "invalid choice: 'bogus'"),
        ("--policies one.params", "--policies takes two"),
        ("--policies a b --methods sac", "--policies does nothing with --methods sac"),
        ("--weaker 1.5", "--weaker must be below 1"),
        ("--segment-length half", "invalid full or a number value"),
    ],
)
def test_wrong_flags(run, tmp_path, flags, words):
    assert_one_sentence(run(f"prefloop.cli {SMALL} {flags}"), words)
    assert not (tmp_path / "c").exists()


def test_a_comparison_is_made_once_and_grows(run, line, tmp_path):
    outcome = run(f"prefloop.cli {line} --methods dpo constant flipped --labels 5 --seeds 0-1")
    assert outcome.code == 0, outcome.err
    folder = tmp_path / "c"
    table = rows(folder / "results.csv")
    assert [(r["method"], r["labels"], r["seed"]) for r in table] == [
        ("dpo", "5", "0"), ("dpo", "5", "1"), ("constant", "0", "0"), ("constant", "0", "1"),
        ("flipped", "5", "0"), ("flipped", "5", "1"),
    ]  # fmt: skip
    # every method of a seed has the same demonstrators
    shown = {r["weak_return"] for r in table if r["seed"] == "0"}
    judged = read_json(folder / "seeds" / "seed-0" / "prepared.json")["weak"]
    assert shown == {str(judged["mean_return"])}
    assert "| dpo | 5 | 2 |" in outcome.out
    for name in ("return_against_labels.png", "learning_curves.png"):
        assert (folder / name).read_bytes().startswith(b"\x89PNG")
    page = (folder / "index.html").read_text()
    assert "<td class=words>flipped</td>" in page and "return_against_labels.png" in page
    times = {p: p.stat().st_mtime_ns for p in folder.rglob("result.json")}
    before = dataset.read(folder / "seeds" / "seed-0" / "preferences")

    fewer = run(f"prefloop.cli {line} --methods dpo --labels 5 --seeds 0")
    assert fewer.code == 0 and "1 of 1 runs are there already." in fewer.out
    assert rows(folder / "results.csv") == table  # nothing that was done is left out

    grown = run(f"prefloop.cli {line} --methods dpo constant --labels 5 8 --seeds 0-1")
    assert grown.code == 0, grown.err
    assert "4 of 6 runs are there already." in grown.out
    assert {p: p.stat().st_mtime_ns for p in times} == times
    after = dataset.read(folder / "seeds" / "seed-0" / "preferences")
    assert len(rows(folder / "results.csv")) == 8
    assert len(before) == 5 and len(after) == 8
    assert (after.labels[:5] == before.labels).all()  # a small budget begins a larger one
    assert_one_sentence(
        run(f"prefloop.cli {line} --teacher mistake --seeds 0"),
        "a comparison with teacher 'oracle'",
    )


def test_a_grown_comparison_is_one_that_was_made_at_once(run, tmp_path, monkeypatch):
    """And one made in many processes is the one made in a single one."""
    line = f"prefloop.cli {SMALL} --methods ppo-rlhf random --seeds 0"
    with monkeypatch.context() as here:
        here.setattr(engines, "ThisMachine", Inline)
        for budgets in ("5", "5 9"):
            assert run(f"{line} --labels {budgets}").code == 0
    assert run(f"{line} --labels 5 9 --out d --processes 2").code == 0
    grown, at_once = (rows(tmp_path / out / "results.csv") for out in "cd")
    assert len(grown) == 3
    for row in (*grown, *at_once):
        del row["seconds"]
    assert grown == at_once


def test_what_fails_does_not_hide_what_is_done(run, line, tmp_path):
    # whoever sees no difference below 1e9 answers with ties, from which only controls can learn
    line = f"prefloop.cli {line} --methods dpo constant --labels 5 --seeds 0 --equal-within 1e9"
    outcome = run(line)
    assert_one_sentence(
        outcome,
        "1 of 2 runs could not be done",
        "dpo with 5 labels, seed 0",
        "all 5 answers are ties",
    )
    assert [row["method"] for row in rows(tmp_path / "c" / "results.csv")] == ["constant"]
    assert (tmp_path / "c" / "index.html").exists()
    # it is not tried again in vain, and still said
    failure = tmp_path / "c" / "runs" / "dpo" / "labels-5" / "seed-0" / "failed.json"
    tried = failure.stat().st_mtime_ns
    again = run(line)
    assert_one_sentence(again, "1 of 1 run could not be done", "--retry_failed")
    assert "1 of 2 runs are there already" in again.out
    assert failure.stat().st_mtime_ns == tried
    assert_one_sentence(run(f"{line} --retry-failed"), "all 5 answers are ties")
    assert failure.stat().st_mtime_ns > tried
    planned = run(f"{line} --dry-run")
    assert planned.code == 0 and "2 runs, 5 labels" in planned.out


def test_runs_without_demonstrators_are_named(run, line, tmp_path):
    line = line.replace("checkpoint0.params", "checkpoint{seed}.params")
    line = f"prefloop.cli {line} --methods bc constant --labels 5 --seeds 0 77"
    missing = "policy_checkpoint77.params does not exist"
    assert_one_sentence(run(line), "2 of 4 runs", "the demonstrators of seed 77", missing)
    page = (tmp_path / "c" / "index.html").read_text()
    named = page.partition("Could not be done")[2]
    assert "bc with 5 labels, seed 77" in named and "constant, seed 77" in named
    assert named.count(missing) == 2 and "seeds/seed-77" in named
    planned = run(f"{line} --dry-run").out
    assert re.search(r" bc +2 +1 +1 ", planned) and re.search(r" constant +2 +1 +1 ", planned)
    # a queue begins a run also where what it waited for has failed
    failure = tmp_path / "c" / "runs" / "bc" / "labels-5" / "seed-77" / "failed.json"
    failure.parent.mkdir(parents=True)
    write_json(failure, {"reason": "c/seeds/seed-77/weak/final_policy.params does not exist."})
    assert_one_sentence(run(line), "2 of 2 runs", missing)
    page = (tmp_path / "c" / "index.html").read_text()
    assert page.partition("Could not be done")[2].count(missing) == 2
    merge([tmp_path / "c"], tmp_path / "d")
    page = (tmp_path / "d" / "index.html").read_text()
    assert page.partition("Could not be done")[2].count(missing) == 2


def test_what_scores_are_told_by_does_not_fail_in_silence(run, line, tmp_path):
    line = f"prefloop.cli {line} --methods constant --labels 5 --seeds 0"
    assert run(line).code == 0
    place = tmp_path / "c" / "random" / "seed-0"
    (place / "result.json").unlink()
    (place / "failed.json").write_text('{"reason": "It rained."}')
    outcome = run(line)
    assert_one_sentence(outcome, "actions at random with seed 0", "It rained.", "--retry_failed")
    assert (tmp_path / "c" / "index.html").exists()
    assert run(f"{line} --retry-failed").code == 0 and (place / "result.json").exists()


def test_killed_and_started_again_does_what_is_missing(run, line, tmp_path):
    line += " --methods constant random true-reward --labels 5 --seeds 0-1"
    started = [sys.executable, "-m", "prefloop", *shlex.split(line), "--processes", "1"]
    process = subprocess.Popen(started, cwd=tmp_path, stderr=subprocess.DEVNULL)
    while not (done := list(tmp_path.glob("c/runs/*/*/*/result.json"))):
        assert process.poll() is None
        time.sleep(0.05)
    process.kill()
    process.wait()
    time.sleep(2.5)  # its worker notices within a second
    times = {p: p.stat().st_mtime_ns for p in done}
    outcome = run(f"prefloop.cli {line}")
    assert outcome.code == 0, outcome.err
    there = re.search(r"(\d) of 6 runs are there already", outcome.out)
    assert there and int(there[1]) >= 1
    assert {p: p.stat().st_mtime_ns for p in times} == times
    assert len(rows(tmp_path / "c" / "results.csv")) == 6


@pytest.mark.skipif(os.name == "nt", reason="Windows has no process groups to interrupt")
def test_ctrl_c_says_how_to_go_on(tmp_path):
    line = [sys.executable, "-m", "prefloop", *SMALL.split(), "--seeds", "0", "--labels", "5"]
    process = subprocess.Popen(
        line, cwd=tmp_path, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    while not (tmp_path / "c" / "seeds").exists():
        assert process.poll() is None
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "The same command does what is missing" in err and "Traceback" not in err


def test_given_policies_and_what_is_wrong_with_them(run, line, tmp_path):
    line = f"prefloop.cli {line} --methods bc --seeds 0 --labels 5"
    outcome = run(line)
    assert outcome.code == 0, outcome.err
    missing = line.replace("0.params", "{seed}.params.missing").replace("--out c", "--out d")
    missing = run(missing.replace("--seeds 0", "--seeds 0-10"))
    assert_one_sentence(
        missing, "demonstrators of seed 0", "policy_checkpoint0.params.missing does not exist"
    )
    assert "And 1 more.\n" in missing.out
    assert not (tmp_path / "d" / "results.csv").exists()


def test_a_foreign_folder_is_left_alone(run, tmp_path):
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "thesis.txt").write_text("chapter one")
    assert_one_sentence(run(f"prefloop.cli {SMALL}"), "holds something else than a comparison")
    assert (tmp_path / "c" / "thesis.txt").read_text() == "chapter one"
