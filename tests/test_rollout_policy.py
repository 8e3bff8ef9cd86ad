import dataclasses
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ROOT, assert_one_sentence
from torch import nn

import rollout_policy
from prefloop import checkpoints
from prefloop.evaluation.evaluate import evaluate
from prefloop.networks import mlp
from prefloop.policies import CategoricalPolicy
from utils import Net


@pytest.fixture
def good(tmp_path):
    """A policy that balances the pole for as long as it is asked to."""
    policy = mlp([4, 4, 2])
    with torch.no_grad():
        push_right = torch.tensor([0.1, 0.3, 3.0, 1.0]) * 50
        policy[0].weight.copy_(
            torch.stack([push_right, -push_right, push_right * 0, push_right * 0])
        )
        policy[0].bias.zero_()
        policy[2].weight.copy_(torch.tensor([[0.0, 1, 0, 0], [1, 0, 0, 0]]))
        policy[2].bias.zero_()
    path = tmp_path / "good.params"
    checkpoints.save(path, policy.state_dict())
    return path


@pytest.fixture
def poor(tmp_path):
    torch.manual_seed(0)
    path = tmp_path / "poor.params"
    checkpoints.save(path, mlp([4, 32, 2]).state_dict())
    return path


def test_one_checkpoint(run, poor):
    outcome = run("rollout_policy.py --checkpoint poor.params --num_rollouts 5")
    assert outcome.code == 0
    lines = outcome.out.splitlines()
    returns = [float(line.rpartition(" ")[2]) for line in lines[:5]]
    assert f"average return {np.mean(returns):.1f} over 5 rollouts" in lines[5]
    assert "standard error" in lines[5]
    assert "95 % interval" in lines[5]
    assert run("rollout_policy.py --checkpoint poor.params --num_rollouts 5").out == outcome.out
    assert run("rollout_policy.py --checkpoint poor.params --seed 1").out != outcome.out


def test_one_rollout_has_no_interval(run, poor):
    out = run("rollout_policy.py --checkpoint poor.params --num_rollouts 1 --json r.json").out
    assert "over 1 rollout" in out
    assert "nan" not in out


def test_one_rollout_each_has_no_interval_in_the_table(run, good, poor):
    out = run("rollout_policy.py --checkpoint poor.params good.params --num_rollouts 1").out
    assert "nan" not in out
    assert "200.0" in out


def test_greedy(run, poor):
    sampled, greedy = (
        run(f"rollout_policy.py --checkpoint poor.params {flag}").out for flag in ("", "--greedy")
    )
    assert sampled != greedy


def test_many_in_the_order_given(run, good, poor, tmp_path):
    (tmp_path / "code.params").write_bytes(b"junk")
    outcome = run(
        "rollout_policy.py --checkpoint poor.params good.params code.params missing.params "
        "--num_rollouts 20 --min_return 195 --json all.json --gradescope results.json"
    )
    assert outcome.code == 1
    table = [line.split()[0] for line in outcome.out.splitlines()]
    assert table == ["checkpoint", "poor.params", "good.params", "code.params", "missing.params"]
    assert "truncated" in outcome.out
    for reason in ("Below 195: poor", "Could not be run: code", "Could not be run: missing"):
        assert reason in outcome.err
    assert "good.params" not in outcome.err

    everything = json.loads((tmp_path / "all.json").read_text())
    assert [r["error"] is None for r in everything["results"]] == [True, True, False, False]
    assert everything["results"][1]["mean"] == 200
    assert len(everything["results"][0]["returns"]) == 20

    tests = json.loads((tmp_path / "results.json").read_text())["tests"]
    assert [t["score"] for t in tests] == [0, 1, 0, 0]
    assert [t["status"] for t in tests] == ["failed", "passed", "failed", "failed"]


def test_exit_codes(run, good, poor):
    assert run("rollout_policy.py --checkpoint good.params --min_return 195").code == 0
    assert run("rollout_policy.py --checkpoint poor.params --min_return 195").code == 1
    assert run("rollout_policy.py --checkpoint poor.params good.params").code == 0
    assert run("rollout_policy.py --checkpoint poor.params nothing.params").code == 1
    assert run("rollout_policy.py --checkpoint no.params nothing.params").code == 2


def test_json_of_a_single_failure_is_written(run, tmp_path):
    assert (
        run("rollout_policy.py --checkpoint no.params --json r.json --gradescope g.json").code == 2
    )
    assert json.loads((tmp_path / "g.json").read_text())["tests"][0]["score"] == 0
    assert "does not exist" in json.loads((tmp_path / "r.json").read_text())["results"][0]["error"]


def test_folders_and_patterns(run, good, poor, tmp_path):
    for name, epochs in (("ada", (0, 9, 10)), ("bob", (3,))):
        (tmp_path / "submissions" / name / "rlhf").mkdir(parents=True)
        for epoch in epochs:
            path = tmp_path / "submissions" / name / "rlhf" / f"policy_checkpoint{epoch}.params"
            path.write_bytes(good.read_bytes() if epoch == 10 else poor.read_bytes())
    (tmp_path / "submissions" / "eve" / "rlhf").mkdir(parents=True)
    out = run(
        "rollout_policy.py --checkpoint 'submissions/*/rlhf' --num_rollouts 3"
    ).out.splitlines()
    assert [line.split()[0].replace("\\", "/") for line in out[1:]] == [
        "submissions/ada/rlhf/policy_checkpoint10.params",
        "submissions/bob/rlhf/policy_checkpoint3.params",
        "submissions/eve/rlhf",
    ]
    assert "200.0" in out[1]
    assert "without a policy checkpoint" in out[3]


def test_render_without_a_display_saves_videos(run, poor, tmp_path, monkeypatch):
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    monkeypatch.delenv("DISPLAY", raising=False)
    outcome = run("rollout_policy.py --checkpoint poor.params --num_rollouts 2 --render")
    assert outcome.code == 0
    videos = sorted((tmp_path / "videos").iterdir())
    assert len(videos) == 2
    assert all(video.name in outcome.out for video in videos)
    # of a class, whose folders and files have the same names, each keeps their own
    for student in ("ada", "bob"):
        (tmp_path / "class" / student / "rlhf").mkdir(parents=True)
        shutil.copy(poor, tmp_path / "class" / student / "rlhf" / "final_policy.params")
    line = "rollout_policy.py --checkpoint 'class/*/rlhf' --num_rollouts 1 --render --video_dir all"
    assert run(line).code == 0
    names = sorted(video.name for video in (tmp_path / "all").iterdir())
    assert names == [f"{i}-rlhf_final_policy_rollout0.mp4" for i in range(2)]


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ("--checkpoint poor.params --num_rollouts 0", ["--num_rollouts"]),
        ("--checkpoint poor.params --seed -1", ["--seed"]),
        ("--checkpoint poor.params --env Nowhere-v0", ["Nowhere"]),
        ("--checkpoint poor.params --env Acrobot-v1", ["4 observations and 2 actions", "6 and 3"]),
        ("--checkpoint poor.params --env Pendulum-v1", ["Pendulum-v1", "Box"]),
        ("--checkpoint .", ["without a policy checkpoint"]),
        ("--checkpoint reward.params", ["reward network"]),
        ("--checkpoint poor.params --json no/where.json", ["Can't write no"]),
        ("--checkpoint poor.params --min_return nan", ["--min_return"]),
        ("", ["--checkpoint"]),
    ],
)
def test_misuse(run, poor, tmp_path, flags, words):
    checkpoints.save(tmp_path / "reward.params", Net().state_dict())
    assert_one_sentence(run(f"rollout_policy.py {flags}"), *words)


def test_what_can_not_be_written_is_told_before_anything_is_run(run, poor, monkeypatch):
    runs = []
    monkeypatch.setattr("prefloop.evaluation.evaluate.evaluate", lambda *of, **_: runs.append(of))
    for flag in ("json", "gradescope"):
        line = f"rollout_policy.py --checkpoint poor.params --min_return 9 --{flag} no/where.json"
        assert_one_sentence(run(line), "Can't write no")
    assert not runs
    run("rollout_policy.py --checkpoint poor.params")
    assert len(runs) == 1


def test_no_interval_above_what_cartpole_pays(poor):
    settings = rollout_policy.Settings(checkpoint=(str(poor),))
    ran = rollout_policy.roll_out(poor, (4, 2), settings)
    assert "to 200.0)" in dataclasses.replace(ran, returns=[200.0] * 9 + [185.0]).summary()


def test_the_activation_that_is_named_is_taken(run, tmp_path):
    torch.manual_seed(0)
    policy = CategoricalPolicy(*mlp([4, 16, 2], nn.Tanh))
    with torch.no_grad():
        policy[0].weight.mul_(20)  # so that the activations differ
    checkpoints.save(tmp_path / "p.params", policy.state_dict())
    line = "rollout_policy.py --checkpoint p.params --num_rollouts 20"
    assumed, named = run(line), run(f"{line} --activation tanh")
    assert "ReLU is assumed" in assumed.err and not named.err
    returns = evaluate(policy, "CartPole-v0", 20, seed=0)
    assert f"average return {returns.mean():.1f}" in named.out
    assert f"average return {returns.mean():.1f}" not in assumed.out


def test_brackets_in_names_are_no_pattern_where_they_exist(run, good, tmp_path):
    for folder in ("class [a]", "class a"):
        (tmp_path / folder / "ada" / "rlhf").mkdir(parents=True)
        shutil.copy(good, tmp_path / folder / "ada" / "rlhf" / "final_policy.params")
    shutil.copy(good, tmp_path / "p[1].params")
    for name in ("p[1].params", "class [a]/*/rlhf", "class [a]/ada/rlhf"):
        outcome = run(f"rollout_policy.py --checkpoint '{name}' --num_rollouts 2")
        assert "average return 200.0" in outcome.out, outcome
    for pattern in (
        "class [a]/*/rlhf",
        "./class [a]/a*/rlhf/*.params",
        str(tmp_path / "class [a]/*/rlhf"),
    ):
        (path,) = rollout_policy.find_checkpoints([pattern])
        assert path.parts[-4] == "class [a]"  # and not the one that it would be as a pattern
    assert len(rollout_policy.find_checkpoints(["class*/ada/rlhf"])) == 2
    assert len(rollout_policy.find_checkpoints(["class [abc]/ada/rlhf"])) == 1
    assert rollout_policy.find_checkpoints(["none/[a]*"]) == [Path("none/[a]*")]


@pytest.mark.skipif(sys.platform != "linux", reason="names are text there")
@pytest.mark.parametrize("encoding", ["ascii", "utf-8", "cp1252"])
def test_names_and_terminals_that_are_no_utf8(good, tmp_path, encoding):
    # half Latin-1, half UTF-8, and a formula
    name = os.fsdecode(b"caf\xe9-\xe2\x82\xac$x_1$.params")
    shutil.copy(good, tmp_path / name)
    for line in (
        ["rollout_policy.py", "--checkpoint", name, "--num_rollouts", "2", "--json", "all.json"],
        ["-m", "prefloop", "evaluate", name, str(good), "--env", "CartPole-v0", "--episodes", "2"],
        ["rollout_policy.py", "--checkpoint", "missing-" + name],
    ):
        environment = {**os.environ, "PYTHONIOENCODING": encoding, "PYTHONPATH": str(ROOT)}
        command = [
            sys.executable,
            *([str(ROOT / line[0])] if line[0] != "-m" else ["-m"]),
            *line[1:],
        ]
        result = subprocess.run(
            command, cwd=tmp_path, capture_output=True, env=environment, check=False
        )
        assert b"Traceback" not in result.stderr, result.stderr
        assert result.returncode == (2 if "missing" in line[-1] else 0), result
    assert (tmp_path / "evaluation" / "evaluation.png").exists()
