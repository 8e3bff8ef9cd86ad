import csv
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
from conftest import assert_one_sentence
from inline import Inline

from prefloop import policy_files, runs
from prefloop.agents.settings import SACSettings
from prefloop.data import dataset
from prefloop.envs.make import make_vector_env
from prefloop.envs.settings import EnvSettings
from prefloop.errors import UserError
from prefloop.evaluation.evaluate import evaluate
from prefloop.files import read_csv, read_json, write_json
from prefloop.rewards.settings import RewardSettings
from prefloop.sweeps import coordinating
from prefloop.sweeps.cells import Cell, Comparison, cells
from prefloop.sweeps.methods import METHODS, SACAlone
from prefloop.sweeps.remembering import remember
from prefloop.sweeps.running import prepare, run_cell
from prefloop.sweeps.settings import RESULT, CompareSettings, tuned_flags, with_shared
from prefloop.training.kept_exploration import KeptExploration
from prefloop.training.settings import ExplorationSettings, PebbleSettings, ReplaySettings

CARTPOLE = EnvSettings(env="CartPole-v0")
SMALL = (
    "compare --env CartPole-v0 --demonstrator-steps 8000 --episodes 4 --steps 1000 "
    "--evaluation-episodes 4 --processes 2 --out c"
)


@pytest.fixture
def line(demonstrators, monkeypatch):
    """A comparison whose demonstrators are there already, by this process, where neither is what is tested."""
    monkeypatch.setattr(coordinating, "ThisMachine", Inline)
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
    assert len({r["weak_return"] for r in table if r["seed"] == "0"}) == 1
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
        here.setattr(coordinating, "ThisMachine", Inline)
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
    assert_one_sentence(again, "1 of 1 runs could not be done", "--retry_failed")
    assert "1 of 2 runs are there already" in again.out
    assert failure.stat().st_mtime_ns == tried
    assert_one_sentence(run(f"{line} --retry-failed"), "all 5 answers are ties")
    assert failure.stat().st_mtime_ns > tried
    planned = run(f"{line} --dry-run")
    assert planned.code == 0 and "2 runs, 5 labels" in planned.out


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
    assert_one_sentence(
        run(missing), "demonstrators of seed 0", "policy_checkpoint0.params.missing does not exist"
    )
    assert not (tmp_path / "d" / "results.csv").exists()


def test_a_foreign_folder_is_left_alone(run, tmp_path):
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "thesis.txt").write_text("chapter one")
    assert_one_sentence(run(f"prefloop.cli {SMALL}"), "holds something else than a comparison")
    assert (tmp_path / "c" / "thesis.txt").read_text() == "chapter one"


def test_a_run_that_acts_goes_on_where_it_was_killed(tmp_path, monkeypatch):
    """On whatever machine takes it next; and ends where one ends that nobody stopped."""

    def of(out):
        return CompareSettings(
            environment=CARTPOLE, methods=("pref-ppo",), labels=(8,), seeds=("0",), steps=8000,
            demonstrator_steps=8000, episodes=4, segment_length=20, evaluation_episodes=4,
            out=str(tmp_path / out),
        )  # fmt: skip

    changes = (("iteration_steps", 1000), ("queries", "uniform"), ("reward_epochs", 2))
    cell = Cell("pref-ppo", 8, 0, changes)
    for out in "ab":
        prepare(of(out), 0)
    run_cell(of("a"), cell)
    save, saved = runs.save_state, []

    class Killed(BaseException):
        pass

    def killed_after_two(directory, state):
        save(directory, state)
        saved.append(len(state["rows"]))
        if len(saved) == 2:
            raise Killed

    monkeypatch.setattr(runs, "save_state", killed_after_two)
    with pytest.raises(Killed):
        run_cell(of("b"), cell)
    (tmp_path / "b").rename(tmp_path / "c")  # the folder is another one there
    run_cell(of("c"), cell)
    assert saved == [1, 2, 3, 4]  # nothing was done twice
    unbroken, broken = (read_json(tmp_path / out / cell.folder / RESULT) for out in "ac")
    assert {**unbroken, "seconds": 0} == {**broken, "seconds": 0}
    one, two = (read_csv(tmp_path / out / cell.folder / "metrics.csv") for out in "ac")
    assert one == two
    # what can't be gone on with is begun anew
    (tmp_path / "c" / cell.folder / "training_state.pt").write_bytes(b"damage")
    run_cell(of("c"), cell)
    assert saved == [1, 2, 3, 4, 1, 2, 3, 4]
    assert {**unbroken, "seconds": 0} == {
        **read_json(tmp_path / "c" / cell.folder / RESULT),
        "seconds": 0,
    }


ASKING = ("pebble", "pebble+surf", "pebble+rune", "pebble+reed")


@pytest.mark.parametrize(
    ("env", "methods"),
    [
        ("Pendulum-v1", (*ASKING, "sac-constant", "sac-flipped", "sac-random", "sac")),
        ("Hopper-v5", ("pebble", "sac-constant")),  # whose episodes end early
    ],
)
def test_methods_for_continuous_actions(tmp_path, env, methods, monkeypatch):
    if env == "Hopper-v5":
        pytest.importorskip("mujoco")
    # a table of these takes hours; here it is only that each of them is put together and ends
    small = {
        "experience": ReplaySettings(
            iteration_steps=250, updates_per_step=0.02, evaluation_episodes=1
        ),
        "exploration": ExplorationSettings(steps=250, states=64),
        "agent": SACSettings(hidden_sizes=(8,), batch_size=16, random_steps=100),
        "reward": RewardSettings(hidden_sizes=(8,), epochs=2),
    }
    asking = {name: m for name, m in METHODS.items() if isinstance(m.asks, PebbleSettings)}
    assert set(asking) == set(ASKING)
    alone = SACAlone(experience=small["experience"], agent=small["agent"])
    for name in ("sac-constant", "sac-flipped", "sac-random", "sac"):
        monkeypatch.setitem(METHODS, name, replace(METHODS[name], settings=alone))
    for name, method in asking.items():
        own = replace(method.asks, **small)
        monkeypatch.setitem(METHODS, name, replace(method, settings=own))
    settings = CompareSettings(
        environment=EnvSettings(env=env),
        methods=methods,
        labels=(8,),
        seeds=("0",),
        segment_length=20,
        demonstrator_steps=4000,
        episodes=4,
        steps=750,
        evaluation_episodes=2,
        processes=1,
        out=str(tmp_path / "c"),
    )
    begin, explored = KeptExploration.begin, []

    def watched(kept, *arguments):
        begun = begin(kept, *arguments)
        explored.append(begun is None)
        return begun

    monkeypatch.setattr(KeptExploration, "begin", watched)
    assert settings.has_demonstrators == (env == "Pendulum-v1")
    if settings.has_demonstrators:
        prepare(settings, 0)
    for cell in cells(settings):
        run_cell(settings, cell)
        folder = tmp_path / "c" / cell.folder
        result = read_json(folder / RESULT)
        assert np.isfinite(result["mean_return"])
        assert (result["weak_return"] is not None) == settings.has_demonstrators
        # what is read back is what was judged
        policy = policy_files.load(folder / "final_policy.params", make_vector_env(env, 1))
        assert evaluate(policy, env, 2, 0).mean() == pytest.approx(result["mean_return"])
        if env == "Hopper-v5":  # or a constant reward would teach to survive
            assert not np.load(folder / "replay/terminated.npy").any()
            changes = {
                "termination": "absorb",
                "absorbing_steps": 50,
            }  # which comes with the program
            assert read_json(folder / "run.json")["learned_in"]["env_changes"] == changes
        rows = read_csv(tmp_path / "c" / cell.folder / "metrics.csv")
        if cell.method in asking:
            assert rows[-1]["labels"] == "8" and cell.labels == 8
        else:
            assert "labels" not in rows[-1]
    # the variants explore alike, so once is enough
    assert explored == [True] + [False] * (len(explored) - 1)
    assert len(explored) == len(set(methods) & set(ASKING))


def test_methods_have_their_settings_for_the_environment(tmp_path):
    def of(env, **more):
        methods = ("dpo", "pref-ppo", "pebble", "sac")
        environment = EnvSettings(env=env)
        return CompareSettings(methods=methods, environment=environment, out=str(tmp_path), **more)

    walker = of("dm_control/walker-walk-v0")
    assert set(tuned_flags(walker)) == {
        "pebble",
        "sac",
    }  # none of PrefPPO's, none of demonstrators'
    assert tuned_flags(walker)["sac"] == {"network": "residual"}
    assert with_shared(METHODS["pebble"].asks, walker, 30).agent.network == "residual"
    assert with_shared(METHODS["pebble"].asks, walker, 30).questions.labels == 30
    assert not tuned_flags(of("dm_control/walker-walk-v0", untuned=True))
    assert not tuned_flags(of("Pendulum-v1"))
    swingup = tuned_flags(of("dm_control/cartpole-swingup-v0"))
    assert swingup["sac"] == swingup["pebble"] == {"updates_per_step": 2.0}
    # the weaker demonstrator, whom PrefPPO begins as, has observations of its own
    cheetah = of("HalfCheetah-v5")
    assert not with_shared(METHODS["pref-ppo"].asks, cheetah, 30).agent.normalise_obs
    assert tuned_flags(cheetah)["demonstrators"] == {"normalise_obs": True}


def test_a_comparison_of_other_settings_is_not_added_to(tmp_path):
    def of(env="dm_control/walker-walk-v0", **more):
        more = {"methods": ("dpo", "sac"), **more}
        environment = EnvSettings(env=env, action_repeat=2)
        return CompareSettings(environment=environment, out=str(tmp_path), **more)

    remember(Comparison(of()))
    known = read_json(tmp_path / "compare.json")
    assert known["by_method"]["sac"]["network"] == "residual"
    assert not known["by_method"]["demonstrators"]["normalise_obs"]
    assert remember(Comparison(of(seeds=("7",)))).settings.seeds == ("0-4", "7")
    # another version's settings, or none that it wrote down
    for sac in ({**known["by_method"]["sac"], "batch_size": 64}, None):
        write_json(tmp_path / "compare.json", {**known, "by_method": {"sac": sac} if sac else {}})
        with pytest.raises(UserError, match="in which sac had other settings, by an earlier"):
            remember(Comparison(of()))
        remember(Comparison(of(methods=("dpo",))))  # which has none of its own
    write_json(tmp_path / "compare.json", {**known, "by_method": 5})
    with pytest.raises(UserError, match=r"compare\.json is damaged"):
        remember(Comparison(of()))
    cheetah = {**known["settings"], "env": "HalfCheetah-v5"}
    write_json(tmp_path / "compare.json", {"settings": cheetah})
    with pytest.raises(UserError, match="in which demonstrators had other settings"):
        remember(Comparison(of("HalfCheetah-v5", methods=("dpo",))))
    with pytest.raises(UserError, match="a comparison with untuned False, not True"):
        remember(Comparison(of("HalfCheetah-v5", methods=("dpo",), untuned=True)))
