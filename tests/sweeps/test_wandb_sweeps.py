"""Sweeps of Weights & Biases: the file that begins one, and trials as its agents call them, offline."""

import csv
import json
import os
import re
import shutil
import sys
import time
from pathlib import Path

import pytest
from conftest import ROOT
from given import as_given
from inline import Inline

from prefloop import cli
from prefloop.errors import UserError
from prefloop.files import write_json
from prefloop.sweeps import engines, running, wandb_sweeps
from prefloop.sweeps.jobs import Job
from prefloop.sweeps.search_file import read_search
from prefloop.sweeps.searching import tune
from prefloop.sweeps.trials import Trials
from prefloop.sweeps.wandb_sweeps import run_trial, write_sweep
from prefloop.yaml_files import read_values

pytest.importorskip("optuna")
STUDY = """
out: {root}/c
env: CartPole-v1
methods: [true-reward]
labels: 20
seeds: 0-1
steps: 20000
search:
  trials: 6
  ranges:
    learning_rate: {{low: 1e-4, high: 1e-2, log: true}}
    clip: {{low: 0.1, high: 0.3}}
    update_epochs: {{low: 3, high: 10, step: 2}}
    minibatch_size: {{low: 16, high: 256, log: true}}
    rollout_steps: {{low: 128, high: 512}}
    hidden_sizes: [[64, 64], [32]]
    value_coef: {{low: 0.25, high: 0.85, step: 0.1}}
"""
DRAWN = {
    "learning_rate": 0.00212345,
    "clip": 0.2,
    "update_epochs": 5,
    "minibatch_size": 64.0,  # as W&B draws from q_log_uniform_values
    "rollout_steps": 256,
    "hidden_sizes": "32",
    "value_coef": 0.35,
}


@pytest.fixture
def study(tmp_path):
    file = tmp_path / "study.yaml"
    file.write_text(STUDY.format(root=tmp_path))
    return file


@pytest.fixture
def done(monkeypatch):
    """The runs that were done, which take no time."""
    found = []

    def run_cell(settings, what):
        job = Job("run_cell", settings, what)
        found.append(job)
        write_json(job.folder / "result.json", {"mean_return": 100.0 + what.seed})

    def prepare(settings, what):
        write_json(Job("prepare", settings, what).folder / "prepared.json", {})

    monkeypatch.setattr(running, "run_cell", run_cell)
    monkeypatch.setattr(running, "prepare", prepare)
    monkeypatch.setattr(engines, "ThisMachine", Inline)
    return found


@pytest.fixture
def agent(monkeypatch, tmp_path):
    """What W&B's agent says to what it calls; offline, and without a trace outside of the test's folder."""
    wandb = pytest.importorskip("wandb")
    variables = {"MODE": "offline", "SILENT": "true", "CONSOLE": "off", "DISABLE_GIT": "true"}
    variables |= {"CACHE_DIR": str(tmp_path / "cache"), "CONFIG_DIR": str(tmp_path / "config")}
    variables |= {"SWEEP_ID": "sweep7", "RUN_ID": "run5", "DIR": str(tmp_path)}
    for name, value in variables.items():
        monkeypatch.setenv(f"WANDB_{name}", value)
    wandb.teardown()  # it reads variables once
    yield
    wandb.teardown()


def rows(folder):
    with (folder / "trials.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def logged(folder, *words):
    """What stands in the one offline run of a folder: written by a process of its own, with these words in it."""
    (file,) = folder.glob("wandb/offline-run-*-run5/run-run5.wandb")
    give_up, before = time.monotonic() + 30, b""
    while (found := file.read_bytes()) != before or not all(word in found for word in words):
        assert time.monotonic() < give_up, f"{words} did not come"
        before = found
        time.sleep(0.3)
    return found


def test_what_the_sweep_draws_from_is_what_optuna_would(study, tmp_path):
    optuna = pytest.importorskip("wandb.sdk.sweeps.scheduler.optuna")
    write_sweep(as_given(study), tmp_path / "sweep.yaml", "bayes")
    sweep, _ = read_values(tmp_path / "sweep.yaml")
    search = read_search(as_given(study))
    search.root.mkdir()
    with Trials(search) as trials:
        ours = trials.ask().distributions
    # W&B's own reading of the file; a step is a list there, since its q_uniform begins at multiples of q
    theirs = {f: optuna.sweep_parameter_to_distribution(p) for f, p in sweep["parameters"].items()}
    assert sweep["parameters"].keys() == ours.keys()
    for flag in set(ours) - {"update_epochs", "value_coef"}:
        assert theirs[flag] == ours[flag]
    assert theirs["update_epochs"].choices == (3, 5, 7, 9)
    assert theirs["value_coef"].choices == (0.25, 0.35, 0.45, 0.55, 0.65, 0.75, 0.85)
    assert sweep["metric"] == {"name": "return", "goal": "maximize"} and sweep["run_cap"] == 6


def test_all_that_a_grid_draws(study, tmp_path):
    text = study.read_text()
    for flag in ("learning_rate", "clip", "minibatch_size"):
        text = re.sub(rf"    {flag}: .*\n", "", text)
    study.write_text(text)
    write_sweep(as_given(study), tmp_path / "sweep.yaml", "grid")
    sweep, _ = read_values(tmp_path / "sweep.yaml")
    parameters = sweep["parameters"]
    assert parameters["rollout_steps"] == {"values": list(range(128, 513))}
    assert parameters["hidden_sizes"] == {"values": ["64 64", "32"]} and "run_cap" not in sweep


def test_a_trial_is_one_of_the_search(study, done, agent, tmp_path):
    run_trial(as_given(study), json.dumps(DRAWN))
    assert [job.what.seed for job in done] == [0, 1]
    changes = dict(done[0].what.changes)
    assert changes["learning_rate"] == 0.002123 and changes["hidden_sizes"] == (32,)
    assert changes["minibatch_size"] == 64 and isinstance(changes["minibatch_size"], int)
    (row,) = rows(tmp_path / "c")
    assert (row["state"], row["return"], row["runs"]) == ("done", "100.5", "2")
    # logged in the agent's run, under the metric's name
    assert re.search(rb"return.{1,8}100\.5", logged(tmp_path / "c", b"100.5"), re.DOTALL)
    assert "sweep sweep7 of Weights & Biases drew" in " ".join(
        (tmp_path / "c" / "best.yaml").read_text().split()
    )
    # Optuna goes on from what W&B drew
    tune(as_given(study))
    table = rows(tmp_path / "c")
    assert len(table) == 6 and table[0] == row


def test_a_run_that_fails_is_said_to_both(study, done, agent, tmp_path, monkeypatch):
    def refuse(settings, what):
        raise UserError("All answers are ties.")

    monkeypatch.setattr(running, "run_cell", refuse)
    with pytest.raises(UserError, match=r"seed 0: All answers are ties\."):
        run_trial(as_given(study), json.dumps(DRAWN))
    (trial,) = Trials(read_search(as_given(study))).all
    assert trial.state.name == "FAIL" and "ties" in trial.user_attrs["reason"]
    assert b"return" not in logged(tmp_path / "c", b"_runtime")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"ensemble": 3}, "ensemble is not among the ranges of"),
        ({"clipp": 3}, "did you mean clip?"),
        ({"clip": 0.4}, "clip is 0.1 to 0.3, and can't be 0.4"),
        ({"clip": float("nan")}, "clip is 0.1 to 0.3, and can't be nan"),
        ({"clip": "0.2"}, "can't be '0.2'"),
        ({"update_epochs": 4}, "update_epochs is 3 to 9, in steps of 2, and can't be 4"),
        ({"rollout_steps": 200.5}, "can't be 200.5"),
        ({"rollout_steps": True}, "can't be True"),
        ({"hidden_sizes": "16"}, "hidden_sizes is 64 64 or 32, and can't be '16'"),
        ({"hidden_sizes": [32]}, "can't be [32]"),
    ],
)
def test_what_the_study_has_no_range_for(study, done, agent, tmp_path, capsys, change, words):
    with pytest.raises(SystemExit) as stop:
        cli.main(["tune", str(study), "--trial", json.dumps(DRAWN | change)])
    assert stop.value.code == 2 and words in capsys.readouterr().err
    assert not done and not (tmp_path / "c").exists()


def test_what_is_no_trial(study, done, agent, tmp_path):
    for text in ("{", "3", "--", '"clip"'):
        with pytest.raises(UserError, match="--trial takes settings as JSON"):
            run_trial(as_given(study), text)
    with pytest.raises(UserError, match="--trial says nothing of value_coef"):
        run_trial(
            as_given(study), json.dumps({k: v for k, v in DRAWN.items() if k != "value_coef"})
        )
    assert not (tmp_path / "c").exists()


def test_settings_that_cannot_stand_beside_each_other(study, done, agent, tmp_path):
    text = study.read_text().partition("  ranges:")[0].replace("true-reward", "pref-ppo")
    study.write_text(f"{text}  ranges: {{ensemble: [1, 3], queries: [uniform, disagreement]}}\n")
    with pytest.raises(
        UserError, match=r"trial can't be meant \(ensemble 1, .* of 2 or more, not 1"
    ):
        run_trial(as_given(study), '{"ensemble": 1, "queries": "disagreement"}')
    assert not (tmp_path / "c").exists()


def test_without_the_package_the_extra_is_named(study, done, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(UserError, match=r"--trial needs wandb: pip install 'prefloop\[tracking\]'"):
        run_trial(as_given(study), json.dumps(DRAWN))
    assert not (tmp_path / "c").exists()


def test_what_no_sweep_can_be_of(study, tmp_path, monkeypatch, capsys):
    sweep = tmp_path / "sweep.yaml"
    with pytest.raises(
        UserError, match="a grid needs a step or a list of values for learning_rate"
    ):
        write_sweep(as_given(study), sweep, "grid")
    monkeypatch.setattr(wandb_sweeps, "MOST_VALUES", 6)
    with pytest.raises(UserError, match="value_coef has 7 of them, more than 6"):
        write_sweep(as_given(study), sweep, "random")
    text = study.read_text()
    study.write_text(text.replace("true-reward]", "ppo-rlhf]\npolicies: [a.params, b.params]"))
    with pytest.raises(UserError, match=r"so a\.params needs its whole path"):
        write_sweep(as_given(study), sweep, "bayes")
    study.write_text(text)
    assert not sweep.exists()
    with pytest.raises(UserError, match="is there already"):  # a slip that would cost the study
        write_sweep(as_given(study), study, "bayes")
    for line in (["--dry-run"], ["--trial", "{}"]):
        with pytest.raises(SystemExit) as stop:
            cli.main(["tune", str(study), "--wandb", str(sweep), *line])
        assert stop.value.code == 2 and "does nothing with --wandb" in capsys.readouterr().err


@pytest.mark.slow
def test_weights_and_biases_own_agent_runs_a_trial(study, agent, tmp_path, monkeypatch):
    """The agent itself, to which this test is the server: macros, variables, a process of its own."""
    wandb_agent = pytest.importorskip("wandb.wandb_agent")
    if shutil.which("prefloop", path=str(Path(sys.executable).parent)) is None:
        pytest.skip("the command prefloop is not installed beside this Python")
    text = study.read_text().replace("steps: 20000", "steps: 2000\nevaluation_episodes: 5")
    study.write_text(text)
    monkeypatch.chdir(tmp_path)
    write_sweep(as_given(Path("study.yaml"), processes=1), tmp_path / "sweep.yaml", "bayes")
    sweep, _ = read_values(tmp_path / "sweep.yaml")
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    # the last one is the agent's to write, and is to be gone afterwards
    variables = {"PATH": path, "PYTHONPATH": str(ROOT), "WANDB_SWEEP_PARAM_PATH": ""}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    server = wandb_agent.Agent(api=None, queue=None, sweep_id="sweep7")
    server._sweep_command = sweep["command"]
    for drawn, code in ((DRAWN, 0), (DRAWN | {"clip": 0.4}, 2)):
        args = {flag: {"value": value} for flag, value in drawn.items()}
        server._command_run({"run_id": "run5", "program": sweep["program"], "args": args})
        assert server._run_processes["run5"].wait(600) == code
    (row,) = rows(tmp_path / "c")
    assert row["state"] == "done" and float(row["return"]) > 5
    data = logged(tmp_path / "c", row["return"].encode())
    assert re.search(rb"return.{1,8}" + re.escape(row["return"].encode()), data, re.DOTALL)
    assert b"0.00212345" in data  # the agent's own settings of its run
