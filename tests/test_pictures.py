"""Environments that are observed in pictures: what they show, and that everything learns from it."""

import json
from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest
import torch
from conftest import assert_one_sentence
from gymnasium.spaces import Box, Discrete

from prefloop import policies, policy_files
from prefloop.agents.behaviour_cloning import BehaviourCloning
from prefloop.agents.ppo import PPO
from prefloop.agents.settings import BCSettings, PPOSettings
from prefloop.data.preferences import Preferences
from prefloop.data.recording import record_episodes
from prefloop.data.segments import cut
from prefloop.encoder_kinds import ENCODERS_OF_PICTURES
from prefloop.encoders import ENCODERS, SpatialSoftmax, make_encoder
from prefloop.envs.dot import ENV_ID, SIDE
from prefloop.envs.make import make_env, make_vector_env
from prefloop.envs.settings import EnvSettings
from prefloop.envs.spaces import Spaces, spaces_of
from prefloop.errors import UserError
from prefloop.evaluation.evaluate import play
from prefloop.rewards import reward_model
from prefloop.rewards.settings import RewardSettings
from prefloop.rewards.training import fit, make_model

CPU = torch.device("cpu")
DOT = EnvSettings(env=ENV_ID, frame_stack=2)


def pictures(*shape, frame_stack=1):
    return Spaces(shape, "uint8", True, 3, frame_stack=frame_stack)


class Shows(gym.Env):
    """Observes what it is told to, in its lower half brighter than above."""

    metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012 - Gymnasium's way

    def __init__(self, shape=(60, 80, 3), render_mode=None):
        self.observation_space, self.action_space = Box(0, 255, shape, np.uint8), Discrete(2)
        self.render_mode = render_mode

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.seen(), {}

    def step(self, action):
        return self.seen(), 0.0, False, False, {}

    def seen(self):
        obs = np.zeros(self.observation_space.shape, np.uint8)
        obs[len(obs) // 2 :] = 200
        return obs


@pytest.fixture
def shows():
    gym.register("Shows-v0", Shows, max_episode_steps=5)
    yield "Shows-v0"
    del gym.registry["Shows-v0"]


def test_pictures_that_are_observed_are_scaled(shows):
    obs, _ = make_env(EnvSettings(env=shows, pixels=20)).reset(seed=0)
    assert (obs.shape, obs.dtype) == ((20, 20), np.uint8)
    assert obs[:10].max() == 0 and obs[10:].min() == 200
    obs, _ = make_env(EnvSettings(env=shows, pixels=20, colour=True, mask_rows=(30, 45))).reset(
        seed=0
    )
    assert obs.shape == (20, 20, 3)
    assert obs[10:15].max() == 0 and obs[15:].min() == 200, "15 of 60 rows are 5 of 20"


def test_what_is_drawn_is_observed_where_nothing_else_is(monkeypatch):
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    env = EnvSettings(env="CartPole-v1", pixels=42, frame_stack=2)
    made = make_env(env)
    first, _ = made.reset(seed=0)
    seen = [made.step(1)[0] for _ in range(6)]
    assert first.shape == (2, 42, 42) and np.ptp(first) > 0
    assert (seen[5][0] == seen[4][1]).all() and (seen[5] != first).any()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"colour": True}, "--colour does nothing without --pixels"),
        ({"mask_rows": (0, 9)}, "--mask_rows does nothing without --pixels"),
        ({"pixels": 3000}, "at most 256"),
        ({"pixels": 42, "mask_rows": (9, 3)}, "a first row and the one after the last"),
        ({"pixels": 42, "mask_score": True}, "is for Atari's games"),
        ({"sticky": 1.0}, "at least 0 and below 1"),
        ({"sticky": float("nan")}, "at least 0 and below 1"),
        ({"noop_max": 5}, "is for Atari's games"),
    ],
)
def test_pictures_that_can_not_be(changes, words):
    with pytest.raises(ValueError, match=words):
        EnvSettings(env="CartPole-v1", **changes)


def test_the_dot_pays_by_how_near_it_is():
    env = make_env(ENV_ID)
    obs, _ = env.reset(seed=3)
    assert obs.shape == (SIDE, SIDE) and set(np.unique(obs)) == {0, 120, 255}
    returns = []
    for _ in range(100):
        (y, x), target = np.argwhere(obs == 255)[0], np.argwhere(obs == 120).mean(axis=0)
        dy, dx = target - (y, x)
        action = (4 if dx > 0 else 3) if abs(dx) > abs(dy) else (2 if dy > 0 else 1)
        obs, reward, terminated, truncated, _ = env.step(action)
        returns.append(reward)
    assert truncated and not terminated
    assert np.mean(returns[30:]) > 0.75, "whoever follows the target is paid"
    random = play(lambda_policy(), ENV_ID, 20, seed=0).returns
    assert random.mean() < 30


def lambda_policy():
    rng = np.random.default_rng(0)
    return policies.FunctionPolicy(lambda obs: rng.integers(5, size=len(obs)), "random")


@pytest.mark.parametrize("kind", ENCODERS_OF_PICTURES)
@pytest.mark.parametrize(
    ("shape", "frame_stack"),
    [((84, 84), 1), ((4, 84, 84), 4), ((84, 84, 3), 1), ((2, 84, 84, 3), 2), ((3, 84, 84), 1)],
)
def test_every_encoder_sees_every_kind_of_picture(kind, shape, frame_stack):
    spaces = pictures(*shape, frame_stack=frame_stack)
    encoder = ENCODERS[kind](spaces)
    obs = torch.randint(0, 256, (2, 3, *shape), dtype=torch.uint8)
    seen = encoder(obs)
    assert seen.shape == (2, 3, encoder.features) and seen.dtype == torch.float32
    torch.testing.assert_close(seen[1, 2], encoder(obs[1, 2]), rtol=1e-3, atol=1e-3)
    changed = obs.clone()
    changed[1, 2] = 255 - changed[1, 2]
    assert not torch.allclose(encoder(changed)[1, 2], seen[1, 2])


def test_a_keypoint_is_where_its_map_is_bright():
    maps = torch.zeros(1, 2, 5, 9)
    maps[0, 0, 4, 0], maps[0, 1, 2, 6] = 9.0, 9.0
    columns_then_rows = torch.tensor([[-1.0, 0.5, 1.0, 0.0]])
    torch.testing.assert_close(SpatialSoftmax(2)(maps), columns_then_rows, atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("shape", "frame_stack"), [((16, 16), 1), ((2, 16, 16), 2), ((16, 16, 3), 1)]
)
def test_a_picture_is_moved_before_it_is_looked_at(shape, frame_stack):
    encoder = make_encoder(pictures(*shape, frame_stack=frame_stack))
    obs = torch.randint(0, 256, (3, *shape), dtype=torch.uint8)
    down, right = (0, 1) if shape[-1] == 3 or len(shape) == 2 else (1, 2)
    moved = obs.clone()
    moved[1] = moved[1].roll((2, -1), dims=(down, right))
    edge = [slice(None)] * len(shape)
    for axis, rows, kept in (
        (down, slice(0, 2), slice(2, 3)),
        (right, slice(-1, None), slice(-2, -1)),
    ):
        there, from_there = edge.copy(), edge.copy()
        there[axis], from_there[axis] = rows, kept
        moved[1][tuple(there)] = moved[1][tuple(from_there)]
    shifts = torch.tensor([[0, 0], [2, -1], [0, 0]])
    torch.testing.assert_close(encoder(obs, shifts), encoder(moved), rtol=1e-4, atol=1e-4)


def test_settings_name_all_encoders_of_pictures():
    assert {"vectors", *ENCODERS_OF_PICTURES} == set(ENCODERS)


def test_the_usual_encoder_follows_from_the_size():
    assert make_encoder(pictures(84, 84)).kind == "nature"
    assert make_encoder(pictures(42, 42)).kind == make_encoder(pictures(16, 16)).kind == "small"
    assert make_encoder(Spaces((3,), "float32", True, 2)).kind == "vectors"
    with pytest.raises(UserError, match="too small for --encoder nature"):
        make_encoder(pictures(16, 16), "nature")
    with pytest.raises(UserError, match="in float32"):
        make_encoder(Spaces((8, 8), "float32", True, 2))


@pytest.mark.parametrize("env", [DOT, EnvSettings(env="Pendulum-v1", pixels=24, frame_stack=2)])
def test_a_policy_of_pictures_is_read_back(tmp_path, env):
    envs = make_vector_env(env, 2)
    policy = policies.make_policy(spaces_of(envs), (8,))
    path = tmp_path / "final_policy.params"
    policy_files.checkpoints.save(path, policy.state_dict())
    facts = {**env.facts, "activation": "relu", "policy": policy.description()}
    (tmp_path / "run.json").write_text(json.dumps(facts))
    obs = envs.reset(seed=0)[0]
    again = policy_files.load(path, envs)
    assert again.description() == policy.description()
    rng = (np.random.default_rng(1), np.random.default_rng(1))
    np.testing.assert_array_equal(policy.act(obs, rng[0]), again.act(obs, rng[1]))
    with pytest.raises(UserError, match="is none for"):
        policy_files.load(
            path, make_vector_env(EnvSettings(env=env.env, pixels=36, frame_stack=3), 1)
        )


def test_acting_and_evaluating_agree():
    envs = make_vector_env(DOT, 3)
    policy = policies.make_policy(spaces_of(envs), (8,))
    obs = envs.reset(seed=0)[0]
    with torch.no_grad():
        greedy = policy(torch.from_numpy(obs)).argmax(-1).numpy()
        actions, seen = torch.zeros(3).long(), torch.from_numpy(obs)
        log_prob, _ = policy.evaluate_actions(policy.features(seen), actions)
        alone = policy.log_prob(seen, actions)
    np.testing.assert_array_equal(policy.act(obs, np.random.default_rng(0), greedy=True), greedy)
    torch.testing.assert_close(log_prob, alone)


def test_ppo_evaluates_pictures_alike_in_parts_and_whole(monkeypatch):
    from prefloop.agents import ppo
    from prefloop.training.on_policy import stepping_in

    stepping = stepping_in(DOT, 3)
    torch.manual_seed(0)
    agent = PPO(PPOSettings(), stepping.spaces, CPU)
    stepping.begin(0)
    agent.begin(0)
    rollout = stepping.act(agent.act, 10)
    obs, actions = agent._observed(rollout.obs), torch.from_numpy(rollout.actions)
    assert obs.dtype == torch.uint8
    whole = agent._evaluate(rollout, obs, actions)
    monkeypatch.setattr(ppo, "CHUNK_NUMBERS", 2 * SIDE * SIDE * 3 * 4)
    for one, other in zip(whole, agent._evaluate(rollout, obs, actions), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
    assert whole[0].shape == (10, 3) and whole[1].shape == (11, 3)


def test_segments_hold_single_frames():
    act = policies.acting(lambda_policy(), np.random.default_rng(0))
    episodes = record_episodes(DOT, act, 3, seed=0)
    segments = cut(episodes, 10, 5, np.random.default_rng(0))
    assert segments.obs.shape == (5, 10, 2, SIDE, SIDE) and segments.frames.shape[1] == 11
    np.testing.assert_array_equal(segments.obs[:, 1:, 0], segments.obs[:, :-1, 1])


@pytest.mark.parametrize("packed", [False, True])
def test_steps_of_segments_hold_each_frame_once(packed):
    act = policies.acting(lambda_policy(), np.random.default_rng(0))
    episodes = record_episodes(DOT, act, 3, seed=0)
    segments = cut(episodes, 10, 5, np.random.default_rng(0))
    segments = replace(segments, mask=np.arange(10) < np.array([10, 3, 7, 10, 1])[:, None])
    segments = segments.packed if packed else segments
    index = np.array([3, 1, 3, 4])
    obs, actions = segments.steps(index)
    assert len(obs) == len(actions) == 10 + 3 + 10 + 1
    assert len(obs.frames) == 3 * 11  # of three segments, though one stands there twice
    np.testing.assert_array_equal(obs, segments[index].obs[segments.mask[index]])
    np.testing.assert_array_equal(actions, segments.actions[index][segments.mask[index]])


def test_cloning_judges_pictures_a_batch_at_a_time(monkeypatch):
    act = policies.acting(lambda_policy(), np.random.default_rng(0))
    segments = cut(record_episodes(DOT, act, 3, seed=0), 10, 6, np.random.default_rng(0)).packed
    policy, sizes = policies.make_policy(spaces_of(make_env(DOT)), (8,)), []
    log_prob = type(policy).log_prob

    def watched(self, obs, actions):
        sizes.append(len(obs))
        return log_prob(self, obs, actions)

    monkeypatch.setattr(type(policy), "log_prob", watched)
    settings = BCSettings(held_out=0.5, batch_size=7)
    cloning = BehaviourCloning(policy, segments, np.arange(6), settings, 0, CPU)
    row = cloning.iterate(0)
    assert max(sizes) == 7 and sum(sizes) == 60
    with torch.no_grad():
        whole = -log_prob(cloning.policy, *cloning._held_out[torch.arange(30)]).mean()
    assert row["held_out_loss"] == pytest.approx(whole.item())


def test_members_with_an_encoder_each_learn_apart(tmp_path):
    spaces = spaces_of(make_env(DOT))
    settings = RewardSettings(ensemble=2, encoders="apart", held_out=0.0, hidden_sizes=(8,))
    model = make_model(spaces, settings, seed=0)
    episodes = record_episodes(
        DOT, policies.acting(lambda_policy(), np.random.default_rng(0)), 3, seed=0
    )
    segments = cut(episodes, 10, 4, np.random.default_rng(0))
    rewards = model.members_rewards(segments.obs, segments.actions)
    first = [p.clone() for p in model.encoder.of(0).parameters()]
    second = [p.clone() for p in model.encoder.of(1).parameters()]
    assert not torch.equal(first[0], second[0])
    obs, actions = torch.tensor(segments.obs[0]), torch.tensor(segments.actions[0])
    loss = model.networks[0](model.inputs(obs, actions)).sum()
    loss.backward()
    assert all(p.grad is not None and p.grad.any() for p in model.encoder.of(0).parameters())
    assert not any(p.grad is not None and p.grad.any() for p in model.encoder.of(1).parameters())
    prefs = Preferences(segments, np.array([0, 2]), np.array([1, 3]), np.array([1.0, 0.0]))
    fitted, _ = fit(model, prefs, replace(settings, epochs=2), seed=0)
    assert not np.allclose(fitted.members_rewards(segments.obs, segments.actions), rewards)
    # and is read back as it was written
    reward_model.save(tmp_path, fitted)
    (tmp_path / "run.json").write_text(json.dumps({"env": ENV_ID, "reward_model": fitted.facts()}))
    read = reward_model.load(tmp_path, make_env(DOT))
    np.testing.assert_array_equal(
        read.members_rewards(segments.obs, segments.actions),
        fitted.members_rewards(segments.obs, segments.actions),
    )


def test_vectors_have_no_encoders_to_be_apart():
    with pytest.raises(UserError, match="apart is for rewards of pictures"):
        make_model(spaces_of(make_env("CartPole-v1")), RewardSettings(encoders="apart"), seed=0)


def test_every_command_learns_from_pictures(run, tmp_path):
    short = "--steps 2048 --iteration_steps 1024 --num_envs 4 --rollout_steps 64 --update_epochs 1"
    for line in (
        f"prefloop.cli ppo --env {ENV_ID} {short} --out p",
        f"prefloop.cli ppo --env {ENV_ID} {short} --init p/final_policy.params --kl_coef 0.1 --out q",
        f"prefloop.cli pref-ppo --env {ENV_ID} {short} --labels 20 --reward_epochs 2 --surf --out pp",
        f"prefloop.cli pairs --env {ENV_ID} --frame_stack 2 --policies p/final_policy.params q/final_policy.params "
        "--pairs 20 --segment_length 8 --episodes 4 --out pairs",
        "prefloop.cli reward --preferences pairs --reward_epochs 2 --ensemble 2 --reward_encoders apart --out reward",
        "prefloop.cli reward-report reward --preferences pairs",
        f"prefloop.cli ppo --env {ENV_ID} {short} --reward reward --out r",
        "prefloop.cli dpo --preferences pairs --reference p/final_policy.params --dpo_updates 2 --out dpo",
        "prefloop.cli bc --preferences pairs --bc_epochs 2 --out bc",
        "prefloop.cli evaluate r/final_policy.params dpo/final_policy.params bc/final_policy.params --episodes 3",
    ):
        assert (outcome := run(line)).code == 0, (line, outcome)
    facts = json.loads((tmp_path / "r/run.json").read_text())
    assert facts["env_changes"] == {"frame_stack": 2} and facts["policy"]["encoder"] == "keypoints"


def test_large_pictures_are_refused_before_there_are_many_and_scaled(monkeypatch, shows):
    gym.register("Large-v0", lambda: Shows((300, 80)), max_episode_steps=5)
    try:
        monkeypatch.setattr(gym.vector.SyncVectorEnv, "reset", None)  # nothing is done in them
        for changes in ({}, {"frame_stack": 2}, {"sticky": 0.1}):
            with pytest.raises(UserError, match=r"300 x 80, and nothing .* 256 .*--pixels 84"):
                make_vector_env(EnvSettings(env="Large-v0", **changes), 100)
    finally:
        del gym.registry["Large-v0"]
    assert make_vector_env(shows, 2).single_observation_space.shape == (60, 80, 3)


def test_an_encoder_of_pictures_takes_no_vectors():
    with pytest.raises(UserError, match="can't see observations of 4 and 2 discrete actions"):
        make_encoder(Spaces((4,), "float32", True, 2), "small")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("sac --env Pendulum-v1 --pixels 24", ["SAC's policy observes vectors", "pref-ppo"]),
        (f"pref-ppo --env {ENV_ID} --labels 20 --reed", ["--reed is for rewards of vectors"]),
        (f"ppo --env {ENV_ID} --encoder nature", ["too small for --encoder nature"]),
        (f"ppo --env {ENV_ID} --normalise_obs", ["--normalise_obs is for vectors"]),
        ("ppo --env Pendulum-v1 --pixels 999", ["--pixels must be at most 256"]),
    ],
)
def test_what_is_not_for_pictures(run, tmp_path, line, words):
    assert_one_sentence(run(f"prefloop.cli {line} --out x"), *words)
    assert not (tmp_path / "x").exists()
