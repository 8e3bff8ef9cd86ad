"""A run goes on with what it began with, whatever of it is said again."""

import re

import pytest
from conftest import assert_one_sentence

from prefloop.files import read_csv, read_json, write_json

SAC = (
    "prefloop.cli sac --env Pendulum-v1 --steps 900 --random-steps 100 --iteration-steps 300 "
    "--hidden-sizes 8 --batch-size 8 --evaluation-episodes 1 --seed 4"
)


def settings(folder):
    return read_json(folder / "run.json")["settings"]


def test_out_is_enough(run, tmp_path):
    assert run(f"{SAC} --out p").code == 0
    began, policy = settings(tmp_path / "p"), (tmp_path / "p/final_policy.params").read_bytes()
    outcome = run("prefloop.cli sac --out p --resume")
    assert outcome.code == 0, outcome.err
    assert settings(tmp_path / "p") == {**began, "resume": True}
    assert (tmp_path / "p/final_policy.params").read_bytes() == policy


def test_what_is_given_counts_and_what_watches_is_said_anew(run, tmp_path):
    assert run(f"{SAC} --checkpoint-every 1 --out p").code == 0
    assert_one_sentence(run("prefloop.cli sac --out p --resume --gamma 0.5"), "gamma 0.99, not 0.5")
    assert run("prefloop.cli sac --out p --resume").code == 0
    assert settings(tmp_path / "p")["checkpoint_every"] is None


def test_a_course_run_goes_on_likewise(run, tmp_path):
    line = "vpg.py --batch_size 200 --num_envs 4 --seed 3 --checkpoint_dir p"
    assert run(f"{line} --hidden_sizes 8 --epochs 2").code == 0
    outcome = run("vpg.py --checkpoint_dir p --resume --epochs 3")
    assert outcome.code == 0, outcome.err
    assert len(read_csv(tmp_path / "p/metrics.csv")) == 3
    assert settings(tmp_path / "p")["hidden_sizes"] == [8]


def test_so_does_a_dataset(run, tmp_path):
    assert run(f"{SAC} --out p").code == 0
    pairs = "prefloop.cli pairs --out q --pairs"
    assert (
        run(f"{pairs} 3 --env Pendulum-v1 --policies p/final_policy.params --episodes 4").code == 0
    )
    outcome = run(f"{pairs} 4 --resume")
    assert outcome.code == 0, outcome.err
    assert "q holds 4 queries" in outcome.out


@pytest.mark.parametrize("command", ["pebble", "pref-ppo", "ppo", "reward", "dpo", "bc", "airl"])
def test_another_programs_run_is_told_before_what_its_settings_would_do(run, tmp_path, command):
    assert run(f"{SAC} --out p").code == 0
    for flags in ("", "--steps 1" if command in ("pebble", "pref-ppo", "ppo") else "--seed 1"):
        outcome = run(f"prefloop.cli {command} --resume --out p {flags}")
        assert_one_sentence(outcome, f"p holds a run of prefloop sac, not of prefloop {command}")


def test_nothing_to_go_on_with_is_said(run, tmp_path):
    (tmp_path / "empty").mkdir()
    for folder in ("empty", "nowhere"):
        outcome = run(f"prefloop.cli sac --resume --out {folder}")
        assert_one_sentence(outcome, f"There is no run to resume in {folder}")
    outcome = run("prefloop.cli sac --resume")
    assert outcome.code == 2 and "required: --out, --env" in outcome.err


@pytest.mark.parametrize(
    ("flag", "value"), [("gamma", "x"), ("hidden_sizes", [["a"]]), ("env", {"a": 1}), ("seed", 0.5)]
)
def test_a_damaged_description_is_named(run, tmp_path, flag, value):
    assert run(f"{SAC} --out p").code == 0
    said = read_json(tmp_path / "p/run.json")
    write_json(tmp_path / "p/run.json", {**said, "settings": {**said["settings"], flag: value}})
    outcome = run("prefloop.cli sac --resume --out p")
    assert_one_sentence(outcome, f"damaged: {flag} can't be", re.escape("p"))
