import json
import os
import pickle
import zipfile

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete
from torch import nn

from prefloop import checkpoints, policies, policy_files
from prefloop.envs.settings import MAX_PIXELS
from prefloop.envs.spaces import Spaces, spaces_of
from prefloop.errors import UserError
from prefloop.networks import mlp
from prefloop.rewards.settings import RewardSettings
from prefloop.rewards.training import make_model
from prefloop.squashed_gaussian import SquashedGaussianPolicy


class Bomb:
    """A pickle that leaves a trace when it is run."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.fixture
def policy():
    torch.manual_seed(0)
    return mlp([4, 32, 2])


def test_round_trip_and_same_bytes(tmp_path, policy):
    for name in ("a.params", "b.params"):
        checkpoints.save(tmp_path / name, policy.state_dict())
    assert (tmp_path / "a.params").read_bytes() == (tmp_path / "b.params").read_bytes()
    again = policy_files.load_mlp(tmp_path / "a.params", 4, 2)
    assert torch.equal(again(torch.ones(4)), policy(torch.ones(4)))


def test_files_of_the_original_scripts_load(tmp_path, policy):
    torch.save(policy.state_dict(), tmp_path / "new.params")
    torch.save(policy.state_dict(), tmp_path / "old.params", _use_new_zipfile_serialization=False)
    for name in ("new.params", "old.params"):
        again = policy_files.load_mlp(tmp_path / name, 4, 2)
        assert isinstance(again[1], nn.ReLU)
        assert torch.equal(again(torch.ones(4)), policy(torch.ones(4)))


def test_activation_comes_from_the_run(tmp_path):
    tanh = mlp([4, 8, 2], nn.Tanh)
    checkpoints.save(tmp_path / "p.params", tanh.state_dict())
    (tmp_path / "run.json").write_text(json.dumps({"activation": "tanh"}))
    again = policy_files.load_mlp(tmp_path / "p.params", 4, 2)
    assert torch.equal(again(torch.ones(4)), tanh(torch.ones(4)))


def test_an_activation_that_nothing_names_is_said_to_be_assumed(tmp_path, policy, capsys):
    checkpoints.save(tmp_path / "p.params", policy.state_dict())
    for _ in range(2):
        assert isinstance(policy_files.load_mlp(tmp_path / "p.params", 4, 2)[1], nn.ReLU)
    said = capsys.readouterr().err
    assert said.count("ReLU is assumed") == 1 and str(tmp_path) in said
    assert isinstance(policy_files.load_mlp(tmp_path / "p.params", 4, 2, "tanh")[1], nn.Tanh)
    (tmp_path / "run.json").write_text(json.dumps({"activation": "tanh"}))
    assert isinstance(policy_files.load_mlp(tmp_path / "p.params", 4, 2)[1], nn.Tanh)
    assert isinstance(policy_files.load_mlp(tmp_path / "p.params", 4, 2, "relu")[1], nn.ReLU)
    assert not capsys.readouterr().err


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "module._orig_mod."])
def test_names_of_wrappers_and_other_orders(tmp_path, policy, prefix):
    weights = {f"{prefix}{k}": v for k, v in reversed(policy.state_dict().items())}
    checkpoints.save(tmp_path / "p.params", weights)
    again = policy_files.load_mlp(tmp_path / "p.params", 4, 2)
    assert torch.equal(again(torch.ones(4)), policy(torch.ones(4)))


@pytest.mark.parametrize(
    "text", ['{"activation": "swish"}', '{"activation": ["tanh"]}', "[1]", "{"]
)
def test_a_damaged_description_is_named(tmp_path, policy, text):
    checkpoints.save(tmp_path / "p.params", policy.state_dict())
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(UserError, match=r"run\.json"):
        policy_files.load_mlp(tmp_path / "p.params", 4, 2)


def test_a_pickle_with_code_is_not_run(tmp_path):
    trace = tmp_path / "trace"
    torch.save({"0.weight": Bomb(trace)}, tmp_path / "zip.params")
    (tmp_path / "plain.params").write_bytes(pickle.dumps(Bomb(trace)))
    # the second is not even in PyTorch's format
    for name, reason in (("zip.params", "more than weights"), ("plain.params", "no PyTorch")):
        with pytest.raises(UserError, match=reason):
            policy_files.load_mlp(tmp_path / name, 4, 2)
    assert not trace.exists()


def test_large_files_are_not_read(tmp_path):
    with (tmp_path / "huge.params").open("wb") as file:
        file.truncate(2 * 2**30)
    with zipfile.ZipFile(tmp_path / "bomb.params", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(200 * 2**20))
    for name in ("huge.params", "bomb.params"):
        assert name == "huge.params" or (tmp_path / name).stat().st_size < 2**20
        with pytest.raises(UserError, match="too large"):
            checkpoints.load(tmp_path / name)


def test_what_the_largest_pictures_need_is_read_again(tmp_path, monkeypatch):
    monkeypatch.setattr(nn.init, "orthogonal_", lambda weight, gain: weight)  # takes seconds here
    env = gym.Env()
    env.observation_space = Box(0, 255, (MAX_PIXELS, MAX_PIXELS), np.uint8)
    env.action_space = Discrete(2)
    policy = policies.make_policy(spaces_of(env), ())  # by DQN's encoder, the largest
    checkpoints.save(tmp_path / "p.params", policy.state_dict())
    assert (tmp_path / "p.params").stat().st_size > checkpoints.MAX_BYTES
    (tmp_path / "run.json").write_text(
        json.dumps({"policy": policy.description(), "activation": "relu"})
    )
    again = policy_files.load(tmp_path / "p.params", env).state_dict()
    assert all(torch.equal(again[name], value) for name, value in policy.state_dict().items())
    with pytest.raises(UserError, match="too large"):  # what strangers hand in
        policy_files.load_mlp(tmp_path / "p.params", 4, 2)


@pytest.mark.parametrize(
    "make",
    [
        lambda spaces: policies.make_policy(spaces, (512, 512)),
        lambda spaces: SquashedGaussianPolicy(spaces, (512, 512)),
        lambda spaces: make_model(spaces, RewardSettings(hidden_sizes=(512, 512)), seed=0),
    ],
    ids=["ppo", "sac", "reward"],
)
def test_what_could_not_be_read_again_is_not_begun_with(monkeypatch, make):
    spaces = Spaces((3,), "float32", False, 1, (-1.0,), (1.0,))
    make(spaces)
    monkeypatch.setattr(checkpoints, "LARGEST", 2**20 + 2**19)
    with pytest.raises(UserError, match="could not be read again"):
        make(spaces)


def test_a_tensor_that_claims_to_be_larger_than_it_is(tmp_path):
    weights = mlp([4, 32, 2]).state_dict() | {"0.weight": torch.zeros(1).expand(2**20, 2**12)}
    checkpoints.save(tmp_path / "p.params", weights)
    with pytest.raises(UserError, match="values of"):
        policy_files.load_mlp(tmp_path / "p.params", 4, 2)


def test_truncated_empty_missing_and_a_directory(tmp_path, policy):
    checkpoints.save(tmp_path / "whole.params", policy.state_dict())
    whole = (tmp_path / "whole.params").read_bytes()
    for size in (0, 10, len(whole) // 2, len(whole) - 1):
        (tmp_path / "part.params").write_bytes(whole[:size])
        with pytest.raises(UserError, match="truncated"):
            checkpoints.load(tmp_path / "part.params")
    with pytest.raises(UserError, match="does not exist"):
        checkpoints.load(tmp_path / "missing.params")
    with pytest.raises(UserError, match=r"is a directory, not a checkpoint\.$"):
        checkpoints.load(tmp_path)
    (tmp_path / "final_policy.params").write_bytes(whole)
    with pytest.raises(UserError, match=r"checkpoint; its policy is .*final_policy\.params\.$"):
        checkpoints.load(tmp_path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({}, "no weights"),
        ([1, 2], "no state_dict"),
        (torch.zeros(3), "no state_dict"),
        ({"0.weight": 3}, "no state_dict"),
        ({"0.weight": torch.zeros(2, 2, dtype=torch.int64)}, "values of"),
        ({0: torch.zeros(2, 2)}, "no state_dict: 0 is no name"),
        ({"model": mlp([4, 8, 2]).state_dict()}, "no state_dict: 'model' is a"),
        ({"0.weight": torch.zeros(2, 2).to_sparse()}, "no state_dict"),
        ({"0.weight": torch.zeros(2, 2, device="meta")}, "no state_dict"),
        ({"0.weight": torch.zeros(2, 2).to(torch.float8_e4m3fn)}, "values of"),
        ({"0.weight": torch.full((2, 2), 1e300, dtype=torch.float64)}, "NaN or infinite"),
        ({"0.weight": torch.zeros(3, 4), "0.bias": torch.zeros(5)}, "no policy"),
        ({"0.weight": torch.zeros(4), "0.bias": torch.zeros(4)}, "no policy"),
        (mlp([4, 8, 1]).state_dict(), "reward network"),
        ({f"network.{k}": v for k, v in mlp([4, 8, 1]).state_dict().items()}, "reward network"),
        (
            {f"actor.{k}": v for k, v in mlp([4, 8, 2]).state_dict().items()},
            r"'actor\.0\.weight' is none of 0\.weight, 0\.bias, 2\.weight, 2\.bias;",
        ),
        (mlp([6, 8, 3]).state_dict(), "6 observations and 3 actions"),
    ],
)
def test_what_is_no_policy_for_this_environment(tmp_path, content, reason):
    torch.save(content, tmp_path / "p.params")
    with pytest.raises(UserError, match=reason):
        policy_files.load_mlp(tmp_path / "p.params", 4, 2)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_no_numbers(tmp_path, policy, value):
    weights = policy.state_dict()
    weights["2.bias"][1] = value
    checkpoints.save(tmp_path / "p.params", weights)
    with pytest.raises(UserError, match="NaN or infinite"):
        policy_files.load_mlp(tmp_path / "p.params", 4, 2)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes are of Unix")
def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "p.params")
    with pytest.raises(UserError, match="no regular file"):
        checkpoints.load(tmp_path / "p.params")
