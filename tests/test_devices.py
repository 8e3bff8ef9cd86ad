"""Metal has no numbers of 64 bits; here PyTorch's device without any numbers stands for it."""

import numpy as np
import pytest
import torch
from made_up import make_segments, random_segments
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from prefloop import devices
from prefloop.agents.sac import SAC
from prefloop.agents.settings import AIRLSettings, PPOSettings, SACSettings
from prefloop.devices import to_tensor
from prefloop.envs.spaces import Spaces
from prefloop.evaluation.judgement import sensitivity
from prefloop.networks import mlp
from prefloop.policies import GaussianPolicy, make_policy, with_normalised_input
from prefloop.rewards.reward_model import RewardModel
from prefloop.training.airl import AIRL
from prefloop.training.exploration import state_entropy
from prefloop.training.on_policy import make_ppo, stepping_in
from prefloop.training.plans import Plan
from prefloop.training.settings import ExperienceSettings

ATEN = torch.ops.aten


class NoFloat64(TorchDispatchMode):
    """Refuses float64 on the device; what is read from it is zeros, and what is asked of it is not so."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func is ATEN._to_copy.default and args[0].is_meta and str(kwargs.get("device")) == "cpu":
            return torch.zeros(args[0].shape, dtype=kwargs.get("dtype") or args[0].dtype)
        if func is ATEN._local_scalar_dense.default and args[0].is_meta:
            return False
        out = func(*args, **kwargs)
        for x in tree_leaves(out):
            if isinstance(x, torch.Tensor) and x.is_meta and x.dtype == torch.float64:
                raise TypeError(f"float64 on the device: {func}")
        return out


@pytest.fixture(autouse=True)
def metal(monkeypatch):
    monkeypatch.setattr(devices, "WITHOUT_FLOAT64", ("meta",))


CALLS = {
    "reward": lambda model, x: model.reward(x.obs, x.actions),
    "members_rewards": lambda model, x: model.members_rewards(x.obs, x.actions),
    "disagreement": lambda model, x: model.disagreement(x.obs, x.actions),
    "returns": lambda model, x: model.returns(x),
    "set_scale": lambda model, x: model.set_scale(x),
    "standardise_inputs": lambda model, x: model.standardise_inputs(
        torch.zeros(4, device="meta"), torch.ones(4, device="meta")
    ),
    "sensitivity": lambda model, x: sensitivity(model, x.obs[0], x.actions[0]),
    "float64 observations": lambda model, x: model.reward(x.obs.astype(np.float64), x.actions),
    "state_entropy": lambda model, x: state_entropy(x.obs[0], x.obs[1], 2, "meta"),
}


@pytest.mark.parametrize("call", CALLS)
def test_a_reward_is_computed_in_float32_on_the_device(call):
    model = RewardModel(Spaces((3,), "float32", False, 1, (-1.0,), (1.0,)), (8,), 3).to("meta")
    segments = random_segments(4, 6, np.random.default_rng(0), discrete=False)
    with NoFloat64():
        found = CALLS[call](model, segments)
    for array in found if isinstance(found, tuple) else (found,):
        assert array is None or array.dtype == np.float64


def test_arrays_arrive_in_float32_where_there_is_nothing_else():
    for dtype in (np.float64, np.float32, np.int64, np.uint8, bool):
        with NoFloat64():
            arrived = to_tensor(np.zeros(3, dtype), "meta")
        there = np.float32 if dtype is np.float64 else dtype
        assert arrived.dtype == torch.as_tensor(np.zeros(0, there)).dtype
        assert to_tensor(np.zeros(3, dtype), "cpu").numpy().dtype == dtype
    with NoFloat64():
        assert to_tensor(np.float64(0.5), "meta").dtype == torch.float32


def test_a_policy_of_normalised_observations_is_made_on_the_device():
    spaces = Spaces((3,), "float32", False, 2, (-1.0, 0.0), (1.0, 3.0))
    policy = make_policy(spaces, (8,)).to("meta")
    with NoFloat64():
        made = with_normalised_input(policy, np.zeros(3), np.ones(3))
        GaussianPolicy(mlp([3, 2]).to("meta"), policy.low, policy.high)
    assert made.scale.is_meta


def test_what_sac_has_seen_arrives():
    spaces = Spaces((3,), "float32", False, 1, (-1.0,), (1.0,))
    agent = SAC(SACSettings(network="residual"), spaces, torch.device("cpu"))
    agent.begin(0)
    agent.act(np.ones((2, 3)))
    agent.device = torch.device("meta")
    with NoFloat64():
        for seen in (agent._obs_moments.mean, agent._obs_moments.std):
            assert seen.dtype == np.float64 and agent._tensor(seen).dtype == torch.float32


def test_what_airl_pays_is_read_in_float32(monkeypatch):
    plan = Plan.of(ExperienceSettings(num_envs=2, rollout_steps=8, iteration_steps=16, steps=16))
    stepping, cpu = stepping_in("Pendulum-v1", 2), torch.device("cpu")
    ppo = make_ppo(stepping, PPOSettings(), 0, cpu)
    shown = make_segments(np.zeros((2, 4, 3)), np.zeros((2, 4, 1)))
    airl = AIRL(ppo, stepping, "Pendulum-v1", shown, AIRLSettings(), plan, 0, cpu)
    stepping.begin(seed=0)
    ppo.begin(seed=0)
    rollout = stepping.act(ppo.act, 8)
    logits = airl._logits
    monkeypatch.setattr(airl, "_update", lambda *_: (0.0, 0.0))
    monkeypatch.setattr(airl, "_logits", lambda steps: logits(steps).to("meta"))
    with NoFloat64():
        assert airl._learn_and_reward(rollout).dtype == np.float64
