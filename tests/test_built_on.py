"""What others can add without touching the library: an agent, an environment, a policy, a reward."""

import json

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete
from torch import nn

from prefloop import checkpoints, policies, policy_files
from prefloop.agents.behaviour_cloning import BehaviourCloning
from prefloop.agents.dpo import DPO
from prefloop.agents.settings import BCSettings, DPOSettings
from prefloop.data import dataset
from prefloop.data.preferences import Preferences
from prefloop.data.rollouts import collect_episodes
from prefloop.data.segments import cut
from prefloop.envs.make import make_vector_env
from prefloop.envs.settings import EnvSettings
from prefloop.envs.spaces import Spaces, spaces_of
from prefloop.evaluation.evaluate import evaluate
from prefloop.rewards import reward_model
from prefloop.rewards.reward_model import RewardModel
from prefloop.rewards.settings import RewardSettings
from prefloop.rewards.training import fit
from prefloop.teachers.simulated import SimulatedTeacher
from prefloop.training.answers import SimulatedAnswers
from prefloop.training.methods import stepping_in
from prefloop.training.plans import Plan
from prefloop.training.pref_ppo import PrefPPO
from prefloop.training.settings import ExperienceSettings, QuerySettings
from prefloop.training.taught_reward import TaughtReward

CPU = torch.device("cpu")


class RandomSearch:
    """Keeps the weights with the best reward so far, and tries others near them."""

    metrics = ("best",)

    def __init__(self, spaces, seed=0):
        torch.manual_seed(seed)
        self.policy = policies.make_policy(spaces, ())
        self.best, self.kept = -np.inf, policies.copy_of(self.policy)

    def begin(self, seed, iteration=0):
        self.rng = np.random.default_rng([seed, iteration])

    def act(self, obs):
        return self.policy.act(obs, self.rng)

    def update(self, rollout, rewards, progress=0.0):
        score = rewards[rollout.valid].mean()
        if score >= self.best:
            self.best, self.kept = score, policies.copy_of(self.policy)
        self.policy = policies.copy_of(self.kept)
        for parameter in self.policy.parameters():
            noise = self.rng.normal(scale=0.3, size=parameter.shape)
            parameter.data += torch.as_tensor(noise, dtype=torch.float32)
        return {"best": float(self.best)}

    @property
    def acting_policy(self):
        return policies.copy_of(self.kept)

    def state_dict(self):
        return {"kept": self.kept.state_dict(), "best": self.best}

    def load_state_dict(self, state):
        self.best = state["best"]
        self.kept.load_state_dict(state["kept"])
        self.policy = policies.copy_of(self.kept)


def test_another_agent_under_the_loop_of_pref_ppo(tmp_path):
    env, seed = "CartPole-v0", 0
    plan = Plan.of(
        ExperienceSettings(steps=4 * 1200, iteration_steps=1200, num_envs=4, rollout_steps=100)
    )
    stepping = stepping_in(env, plan.num_envs)
    agent = RandomSearch(stepping.spaces)
    model = RewardModel(stepping.spaces, (16,), members=2)
    with dataset.writing(tmp_path / "preferences", {"env": env}) as kept:
        questions = QuerySettings(labels=30, segment_length=10)
        taught = TaughtReward(
            model, SimulatedAnswers(SimulatedTeacher(), kept), questions,
            RewardSettings(ensemble=2, epochs=5), seed,
        )  # fmt: skip
        learner = PrefPPO(agent, stepping, env, taught, plan, questions, seed)
        rows = [learner.iterate(i) for i in range(plan.iterations)]
    assert [row["labels"] for row in rows] == sorted(row["labels"] for row in rows)
    assert rows[-1]["labels"] == 30
    assert np.isnan(rows[0]["best"]) and np.isfinite(rows[-1]["best"])
    assert len(evaluate(agent.acting_policy, env, 5, seed=1)) == 5


class Dots(gym.Env):
    """A bright dot on a dark picture; action 1 moves it right, where the reward is."""

    def __init__(self):
        self.observation_space = Box(0, 255, (8, 8), np.uint8)
        self.action_space = Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.x = int(self.np_random.integers(8))
        return self.picture(), {}

    def step(self, action):
        self.x = int(np.clip(self.x + (1 if action else -1), 0, 7))
        return self.picture(), self.x / 7, False, False, {}

    def picture(self):
        picture = np.zeros((8, 8), np.uint8)
        picture[3, self.x] = 255
        return picture


@pytest.fixture
def dots():
    gym.register("Dots-v0", Dots, max_episode_steps=20)
    yield "Dots-v0"
    del gym.registry["Dots-v0"]


class Pictures(nn.Module):
    """A small convolution over the frames of a stack."""

    kind = "pictures"

    def __init__(self, spaces):
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(spaces.frame_stack, 4, 3, padding=1), nn.ReLU(), nn.Flatten()
        )
        self.features = 4 * 8 * 8

    def forward(self, obs):
        leading = obs.shape[:-3]
        x = obs.reshape(-1, *obs.shape[-3:]).float() / 255
        return self.net(x).reshape(*leading, -1)


def test_pictures_are_kept_as_they_come_and_a_convolution_learns_from_them(tmp_path, dots):
    env = EnvSettings(env=dots, frame_stack=3)
    envs = make_vector_env(env, 4)
    spaces = spaces_of(envs)
    assert spaces == Spaces((3, 8, 8), "uint8", True, 2, frame_stack=3)
    rng = np.random.default_rng(0)
    episodes = collect_episodes(envs, lambda obs: rng.integers(2, size=len(obs)), 12, seed=0)
    segments = cut(episodes, 6, 80, rng)
    assert segments.obs.dtype == np.uint8
    # a view of the single frames, whatever it looks like
    assert segments.obs.shape == (80, 6, 3, 8, 8)
    assert segments.frames.shape == (80, 8, 8, 8)
    for i in range(0, 80, 7):
        start = np.flatnonzero((episodes.obs == segments.obs[i, 0]).all(axis=(1, 2, 3)))
        assert any((episodes.obs[s : s + 6] == segments.obs[i]).all() for s in start)
    first, second = rng.permutation(80)[:60].reshape(2, 30)
    labels = (segments.returns[second] > segments.returns[first]).astype(float)
    labels[segments.returns[second] == segments.returns[first]] = 0.5
    with dataset.writing(tmp_path / "prefs", env.facts) as writer:
        writer.append(Preferences(segments, first, second, labels))
    preferences = dataset.read(tmp_path / "prefs")
    torch.manual_seed(0)
    model = RewardModel(spaces, (16,), members=2, uses_actions=False, encoder=Pictures(spaces))
    settings = RewardSettings(ensemble=2, epochs=40, held_out=0, label_noise=0)
    model, rows = fit(model, preferences, settings, seed=0)
    assert rows[-1]["accuracy"] > 0.85
    right, left = (np.repeat(picture[None], 3, axis=0) for picture in (dot_at(7), dot_at(0)))
    worth = model.reward(np.stack([right, left]), np.zeros(2, np.int64))
    assert worth[0] > worth[1]
    # on disk and back, where the description names the encoder
    reward_model.save(tmp_path, model)
    facts = {**env.facts, "reward_model": model.facts()}
    (tmp_path / "run.json").write_text(json.dumps(facts))
    again = reward_model.load(tmp_path, envs, encoders={Pictures.kind: Pictures})
    again_worth = again.reward(np.stack([right, left]), np.zeros(2, np.int64))
    np.testing.assert_array_equal(again_worth, worth)


def dot_at(x):
    env = Dots()
    env.x = x
    return env.picture()


class SmallSquashed(nn.Module):
    """Normal, then tanh, then the bounds; a kind of somebody's own."""

    kind = "small"
    evaluates_greedily = False

    def __init__(self, spaces, width=16):
        super().__init__()
        self.low, self.high = (torch.as_tensor(x) for x in spaces.bounds)
        self.width, size = width, spaces.action_dim
        self.trunk = nn.Sequential(nn.Linear(spaces.obs_size, width), nn.ReLU())
        self.mean, self.log_std = nn.Linear(width, size), nn.Linear(width, size)

    def normal(self, obs):
        x = self.trunk(obs)
        return torch.distributions.Normal(self.mean(x), self.log_std(x).clamp(-5, 2).exp())

    def log_prob(self, obs, actions):
        unit = (2 * (actions - self.low) / (self.high - self.low) - 1).clamp(-0.999, 0.999)
        density = self.normal(obs).log_prob(torch.atanh(unit))
        return (density - torch.log1p(-(unit**2))).sum(-1)

    @torch.no_grad()
    def act(self, obs, rng, greedy=False):
        normal = self.normal(torch.as_tensor(obs, dtype=torch.float32))
        noise = 0 if greedy else torch.as_tensor(rng.standard_normal(normal.mean.shape))
        unit = torch.tanh(normal.mean + normal.stddev * noise)
        return (self.low + (unit + 1) / 2 * (self.high - self.low)).float().numpy()

    def description(self):
        return {"kind": self.kind, "width": self.width}

    @classmethod
    def rebuilt(cls, weights, path, spaces, described):
        policy = cls(spaces, described["width"])
        policy.load_state_dict(weights)
        return policy


def test_a_squashed_policy_is_saved_judged_and_improved_on_preferences(tmp_path):
    envs = make_vector_env("Pendulum-v1", 4)
    torch.manual_seed(0)
    policy = SmallSquashed(spaces_of(envs))
    checkpoints.save(tmp_path / "p.params", policy.state_dict())
    facts = {"env": "Pendulum-v1", "policy": policy.description()}
    (tmp_path / "run.json").write_text(json.dumps(facts))
    kinds = {**policy_files.KINDS, SmallSquashed.kind: SmallSquashed.rebuilt}
    again = policy_files.load(tmp_path / "p.params", envs, kinds)
    before = evaluate(policy, "Pendulum-v1", 4, seed=0)
    np.testing.assert_array_equal(evaluate(again, "Pendulum-v1", 4, seed=0), before)
    rng = np.random.default_rng(0)
    episodes = collect_episodes(envs, lambda obs: policy.act(obs, rng), 8, seed=0)
    segments = cut(episodes, 20, 60, rng)
    first, second = np.arange(30), np.arange(30, 60)
    labels = (segments.returns[second] > segments.returns[first]).astype(float)
    preferences = Preferences(segments, first, second, labels)
    dpo = DPO(policy, preferences, DPOSettings(updates=40), 0, CPU)
    rows = [dpo.iterate(epoch) for epoch in range(dpo.num_epochs)]
    assert rows[-1]["margin"] > rows[0]["margin"]
    bc = BehaviourCloning(policy, segments, preferences.preferred, BCSettings(epochs=40), 0, CPU)
    losses = [bc.iterate(epoch)["loss"] for epoch in range(40)]
    assert losses[-1] < losses[0]
    with pytest.raises(Exception, match="of a kind that is not known here: 'small'"):
        policy_files.load(tmp_path / "p.params", envs)
