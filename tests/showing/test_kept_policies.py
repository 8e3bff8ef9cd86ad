"""What is found of runs that are to be shown."""

import shutil
from pathlib import Path

import pytest
from kept_runs import make_run

from prefloop.envs.settings import EnvSettings
from prefloop.errors import UserError
from prefloop.files import read_json, write_csv, write_json
from prefloop.showing.kept_policies import (
    KeptPolicy,
    Point,
    chosen,
    common_env,
    names,
    read_curve,
    read_runs,
)


def test_policies_are_found_in_their_order(tmp_path):
    run = make_run(tmp_path / "run", kept=(10, 2, 0), rows=12, labels=True)
    (read,) = read_runs([run], most_policies=9)
    assert [kept.path.stem.removeprefix("policy_checkpoint") for kept in read.policies] == [
        "0", "2", "10", "final_policy",
    ]  # fmt: skip
    assert [kept.number for kept in read.policies] == [0, 2, 10, 11]
    assert read.policies[1].at == Point(3000, 30, -1000.0)
    assert len(read.curve) == 12


def test_policies_of_an_earlier_and_longer_run_are_not_shown(tmp_path):
    run = make_run(tmp_path / "run", kept=(0, 1, 2, 3), rows=2)
    facts = read_json(run / "run.json")
    facts["settings"] = {**facts.get("settings", {}), "epochs": 2}
    write_json(run / "run.json", facts)
    (read,) = read_runs([run], most_policies=9)
    assert "policy_checkpoint0.params" in [kept.path.name for kept in read.policies]
    assert not {2, 3} & {kept.number for kept in read.policies}


def test_the_last_checkpoint_is_shown_once(tmp_path):
    run = make_run(tmp_path / "run", kept=(0, 2), rows=3)  # after row 2 it was at its end
    (read,) = read_runs([run], most_policies=9)
    assert [kept.path.name for kept in read.policies] == [
        "policy_checkpoint0.params",
        "final_policy.params",
    ]


def test_a_run_that_goes_on_after_its_end_is_shown_as_it_is_now(tmp_path):
    """--stop_at ended it after row 0, and its policy of then stands there as the last one."""
    run = make_run(tmp_path / "run", kept=(0, 1, 2), rows=3)
    shutil.copyfile(run / "policy_checkpoint0.params", run / "final_policy.params")
    (read,) = read_runs([run], most_policies=9)
    assert [(kept.path.name, kept.number) for kept in read.policies] == [
        (f"policy_checkpoint{number}.params", number) for number in range(3)
    ]


def test_a_run_under_way_has_checkpoints_alone(tmp_path):
    run = make_run(tmp_path / "run", kept=(0, 1), rows=2)
    (run / "final_policy.params").unlink()
    (read,) = read_runs([run], most_policies=9)
    assert [kept.number for kept in read.policies] == [0, 1]


def test_without_metrics_policies_have_no_steps(tmp_path):
    (read,) = read_runs([make_run(tmp_path / "run", rows=0)], most_policies=9)
    assert [kept.number for kept in read.policies] == [0, 2, None]
    assert {kept.at for kept in read.policies} == {Point(None, None, None)}


def test_a_single_policy_is_a_run_of_one(tmp_path, capsys):
    run = make_run(tmp_path / "run")
    (read,) = read_runs([run / "policy_checkpoint2.params"], most_policies=9)
    assert [kept.at.steps for kept in read.policies] == [3000]
    assert read.name == "run/policy_checkpoint2" and read.curve == []
    assert "checkpoint_every" not in capsys.readouterr().err  # nobody asked for more


def test_a_run_without_checkpoints_is_shown_and_said(tmp_path, capsys):
    (read,) = read_runs([make_run(tmp_path / "lonely", kept=())], most_policies=9)
    assert len(read.policies) == 1
    assert "lonely has kept one policy alone" in capsys.readouterr().err


def test_so_many_evenly_apart():
    kept = [KeptPolicy(Path(str(i)), i) for i in range(10)]
    assert [policy.number for policy in chosen(kept, 4)] == [0, 3, 6, 9]
    assert [policy.number for policy in chosen(kept, 1)] == [9]
    assert chosen(kept, 99) == kept


def test_names_tell_runs_apart():
    paths = [Path("/a/one/run"), Path("/a/two/run"), Path("/a/sac.v2")]
    assert names(paths) == ["one/run", "two/run", "sac.v2"]


def test_what_a_curve_does_not_say_is_none(tmp_path):
    path = tmp_path / "metrics.csv"
    write_csv(path, [{"steps": 5, "true_return": "nan"}, {"steps": 9, "true_return": -2.5}])
    assert read_curve(path) == [Point(5, None, None), Point(9, None, -2.5)]
    # vpg.py's steps are those of the epoch
    write_csv(path, [{"epoch": i, "steps": 100, "true_return": 1.0} for i in range(3)])
    assert [point.steps for point in read_curve(path)] == [100, 200, 300]
    write_csv(path, [{"steps": "many", "true_return": 1.0}])
    with pytest.raises(UserError, match="is damaged: it holds something else than numbers"):
        read_curve(path)
    # a column of one's own may hold words, and a row may end in a comma
    path.write_text("steps,true_return,note\n100,1.5,slow,\n200,2,\n")
    assert read_curve(path) == [Point(100, None, 1.5), Point(200, None, 2.0)]


def test_one_environment_for_all(tmp_path, capsys):
    made = iter("abcdefghi")

    def runs(*changes):
        folders = [
            make_run(tmp_path / next(made), kept=(), env_changes=change) for change in changes
        ]
        return read_runs(folders, 1)

    alike = common_env(runs({}, {}))
    assert alike == EnvSettings(env="Pendulum-v1")
    assert common_env(runs({}, {}, {}), steps=50).horizon == 50
    capsys.readouterr()
    ends = runs({"termination": "absorb"}, {"horizon": 300})
    assert common_env(ends) == alike
    assert "differ in how episodes end" in capsys.readouterr().err
    with pytest.raises(
        UserError, match=r"action_repeat 2.*side by side stand policies of one environment"
    ):
        common_env(runs({"action_repeat": 2}, {}))
