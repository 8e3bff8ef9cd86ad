"""Atari's games: one and many of them are the same games, and what was played can be seen again."""

import importlib
from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest
from conftest import assert_one_sentence

from prefloop.data.recording import RecordedEnvs, record_episodes
from prefloop.data.rollouts import collect_one_each
from prefloop.data.segments import ACTIONS, SEED, cut
from prefloop.envs import atari
from prefloop.envs.make import make_env, make_vector_env, reset
from prefloop.envs.registered import time_limit
from prefloop.envs.settings import EnvSettings, from_facts
from prefloop.envs.spaces import spaces_of
from prefloop.envs.steps import steps_of
from prefloop.errors import UserError
from prefloop.evaluation.evaluate import evaluate
from prefloop.labelling.arrays import from_archive, to_archive
from prefloop.labelling.server.rendering import Renderer
from prefloop.policies import FunctionPolicy
from prefloop.tuned import flags_of

pytest.importorskip("ale_py")
PONG = EnvSettings(env="ALE/Pong-v5", pixels=42)
SHORT = EnvSettings(env="ALE/Breakout-v5", pixels=42, horizon=60)


def at_random(num_actions, seed=0):
    rng = np.random.default_rng(seed)
    return lambda obs: rng.integers(num_actions, size=len(obs))


def played(env, steps, num_envs=3, seed=0):
    """What many of them observe and pay, and the seeds of their episodes, step by step."""
    envs = make_vector_env(env, num_envs)
    act = at_random(spaces_of(envs).num_actions)
    obs, _ = reset(envs, seed, 0)
    rows = []
    for _ in range(steps):
        actions = act(obs)
        seeds = envs.unwrapped.episode_seeds.copy()
        obs, rewards, terminated, truncated, _ = envs.step(actions)
        rows.append((seeds, actions, obs, rewards, terminated, truncated))
    return rows


def test_what_a_step_is_can_be_seen():
    for changes, steps in (({}, (4, 0.25)), ({"action_repeat": 2, "sticky": 0.0}, (2, 0))):
        env = EnvSettings(env="ALE/Pong-v5", **changes)
        for made in (make_env(env), make_vector_env(env, 2), make_vector_env(replace(env, termination="absorb"), 1)):  # fmt: skip
            assert steps_of(made) == dict(zip(("action_repeat", "sticky"), steps, strict=True))


def test_what_is_usual_is_said_and_read_back():
    env = EnvSettings(env="ALE/Pong-v5")
    usual = {"action_repeat": 4, "frame_stack": 4, "sticky": 0.25, "pixels": 84, "noop_max": 30}
    assert env.changes == usual and env.described == "ALE/Pong-v5"
    assert from_facts(env.facts) == env
    plain = EnvSettings(env="ALE/Pong-v5", sticky=0, noop_max=0, frame_stack=1)
    assert from_facts(plain.facts) == plain and plain.sticky == 0
    assert plain.described == "ALE/Pong-v5 (frame_stack 1, sticky 0, noop_max 0)"
    masked = EnvSettings(env="ALE/Pong-v5", pixels=42, mask_score=True, mask_rows=(0, 9))
    assert flags_of(masked) == "--env ALE/Pong-v5 --pixels 42 --mask_score --mask_rows 0 9"


@pytest.mark.parametrize(
    ("env", "shape"),
    [
        (PONG, (4, 42, 42)),
        (EnvSettings(env="ALE/Pong-v5"), (4, 84, 84)),
        (EnvSettings(env="ALE/Pong-v5", colour=True, frame_stack=2, pixels=30), (2, 30, 30, 3)),
        (EnvSettings(env="ALE/Pong-v5", frame_stack=1), (84, 84)),
    ],
)
def test_one_and_many_observe_alike(env, shape):
    one, many = spaces_of(make_env(env)), spaces_of(make_vector_env(env, 2))
    assert one == many and one.obs_shape == shape and one.frame_stack == env.frame_stack
    assert time_limit(env) == 27_000


def test_same_seed_same_bytes_and_another_seed_others():
    one, again, other = played(PONG, 40), played(PONG, 40), played(PONG, 40, seed=1)
    for row, same in zip(one, again, strict=True):
        for left, right in zip(row, same, strict=True):
            np.testing.assert_array_equal(left, right)
    assert any((row[2] != another[2]).any() for row, another in zip(one, other, strict=True))


@pytest.mark.parametrize("termination", ["own", "restart", "life"])
def test_an_episode_is_played_again_from_its_seed(termination):
    """One after the end of another, in the middle of a game of three, frame by frame."""
    env = EnvSettings(env="ALE/Breakout-v5", pixels=42, horizon=150, termination=termination)
    rows = played(env, 260)
    ends = [i for i, row in enumerate(rows) if (row[4] | row[5])[1]]
    assert (termination == "restart") == (ends == [149])
    begin = ends[0] + 1  # the step that only resets
    single = make_env(env)
    obs, _ = single.reset(seed=int(rows[begin + 1][0][1]))
    np.testing.assert_array_equal(obs, rows[begin][2][1])
    assert (rows[begin][3][1], rows[begin][4][1], rows[begin][5][1]) == (0, False, False)
    for _, actions, seen, rewards, terminated, truncated in rows[begin + 1 : begin + 100]:
        obs, reward, ended, cut_off, _ = single.step(actions[1])
        np.testing.assert_array_equal(obs, seen[1])
        assert (reward, ended, cut_off) == (rewards[1], terminated[1], truncated[1])
        if ended:
            break


def test_a_game_that_begins_anew_tells_nobody():
    env = EnvSettings(env="ALE/Breakout-v5", pixels=42, horizon=400, termination="restart")
    rows = played(env, 400)
    assert not any(row[4].any() for row in rows)
    assert [i for i, row in enumerate(rows) if row[5].any()] == [399] and rows[399][5].all()


def test_clips_show_what_was_played_in_full_size():
    recorded = RecordedEnvs.make(PONG, 2)
    assert recorded.way == "seed"
    act = at_random(6)
    episodes = collect_one_each(recorded.envs, act, [3, 4], recorded.record, limit=80)
    segments = cut(episodes, 10, 4, np.random.default_rng(0))
    assert segments.replay[SEED].tolist() == sorted(segments.replay[SEED].tolist())
    renderer = Renderer(PONG)
    assert renderer.fps == 15
    twin = make_env(PONG, "rgb_array")
    shown = from_archive(to_archive(segments))
    for segment in [*shown, shown[0]]:  # of the game before nothing is left
        frames = list(renderer.frames(segment))
        assert len(frames) == 10 and frames[0].shape == (210, 160, 3)
        twin.reset(seed=int(segment.replay[SEED]))
        for action in segment.replay[ACTIONS][: segment.first_step]:
            twin.step(action)
        for frame, action in zip(frames, segment.actions, strict=True):
            np.testing.assert_array_equal(frame, twin.render())
            twin.step(action)


def test_actions_that_were_not_taken_are_seen_to_be_others():
    recorded = RecordedEnvs.make(PONG, 1)
    episodes = collect_one_each(recorded.envs, at_random(6), [3], recorded.record, limit=60)
    (segment, *_) = from_archive(to_archive(cut(episodes, 20, 1, np.random.default_rng(5))))
    others = {**segment.replay, ACTIONS: np.full_like(segment.replay[ACTIONS], 2)}
    segment = replace(segment, replay=others)
    with pytest.raises(UserError, match="does not agree with what was recorded"):
        list(Renderer(PONG).frames(segment))


def test_the_score_is_masked():
    seen = [
        np.concatenate([row[2] for row in played(env, 30)])
        for env in (PONG, EnvSettings(env="ALE/Pong-v5", pixels=42, mask_score=True))
    ]
    rows = slice(0, 5)  # 23 of 210 rows of the picture
    assert seen[0][:, :, rows].max() > 0 and seen[1][:, :, rows].max() == 0
    np.testing.assert_array_equal(seen[0][:, :, 5:], seen[1][:, :, 5:])
    (masked,) = {spaces_of(make_env(EnvSettings(env=f"ALE/{name}-v5", mask_score=True))).obs_shape
                 for name in ("Freeway", "DonkeyKong")}  # fmt: skip
    assert masked == (4, 84, 84)
    with pytest.raises(UserError, match=r"--mask_rows 0 20 .* Known are asterix"):
        make_env(EnvSettings(env="ALE/Venture-v5", mask_score=True))


def test_wrappers_and_absorbed_ends_go_around_one_game():
    env = EnvSettings(env="ALE/Breakout-v5", pixels=42, horizon=90, termination="absorb")
    episodes = record_episodes(env, at_random(4), 2, seed=0)
    assert episodes.lengths.tolist() == [90, 90] and not episodes.terminated.any()
    wrapped = EnvSettings(
        env="ALE/Pong-v5", pixels=42, wrappers=("gymnasium.wrappers:PassiveEnvChecker",)
    )
    assert spaces_of(make_vector_env(wrapped, 2)).obs_shape == (4, 42, 42)


def test_an_evaluation_keeps_no_pictures_and_repeats():
    policy = FunctionPolicy(at_random(4, seed=1), "random")
    one = evaluate(policy, SHORT, 4, seed=5)
    assert one.shape == (4,)
    policy = FunctionPolicy(at_random(4, seed=1), "random")
    np.testing.assert_array_equal(one, evaluate(policy, SHORT, 4, seed=5))


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("ppo --env ALE/Pongg-v5", ["did you mean 'ALE/Pong-v5'?"]),
        ("ppo --env Pong-v5", ["did you mean 'ALE/Pong-v5'?"]),
        ("ppo --env ALE/Pong-v5 --termination never", ["--termination restart"]),
        ("ppo --env ALE/Venture-v5 --mask_score", ["--mask_rows"]),
        ("sac --env ALE/Pong-v5", ["discrete actions", "pref-ppo"]),
        ("pebble --env ALE/Pong-v5", ["pref-ppo"]),
    ],
)
def test_what_can_not_be(run, tmp_path, line, words):
    assert_one_sentence(run(f"prefloop.cli {line} --out x"), *words)
    assert not (tmp_path / "x").exists()


def test_without_ale_py_the_extra_is_named(monkeypatch):
    def nothing(name):
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", nothing)
    with pytest.raises(UserError, match=r"pip install 'prefloop\[atari\]'"):
        atari.register()


def test_games_are_learned_and_asked_about(run, tmp_path):
    short = "--steps 1024 --iteration_steps 512 --num_envs 2 --rollout_steps 64 --update_epochs 1 --horizon 50"
    for line in (
        f"ppo --env ALE/Pong-v5 --pixels 42 {short} --out p",
        f"pref-ppo --env ALE/Breakout-v5 --pixels 42 {short} --labels 12 --segment_length 30 --reward_epochs 2 --out q",
        "evaluate p/final_policy.params --episodes 2 --video",
    ):
        assert (outcome := run(f"prefloop.cli {line}")).code == 0, (line, outcome)
    assert len(list((tmp_path / "evaluation").glob("*.mp4"))) == 1


def test_an_episode_of_one_life_ends_where_it_is_lost():
    lengths = {}
    for termination in ("own", "life"):
        env = EnvSettings(env="ALE/Breakout-v5", pixels=42, termination=termination)
        played_to_the_end = record_episodes(env, at_random(4), 2, seed=3)
        assert played_to_the_end.terminated.all()
        lengths[termination] = played_to_the_end.lengths
    assert lengths["life"].sum() * 2 < lengths["own"].sum()  # one of five lives


class Emulator:
    """Stands for ale-py's: a game in which so many lives are left after each step."""

    single_observation_space = gym.spaces.Box(0, 255, (4, 84, 84), np.uint8)
    single_action_space = gym.spaces.Discrete(4)

    def __init__(self, *lives):
        self.lives = iter(lives)
        self.seen, self.no = np.zeros((1, 4, 84, 84), np.uint8), np.zeros(1, bool)

    def reset(self, **kwargs):
        return self.seen, {"lives": np.array([3])}

    def step(self, actions):
        return self.seen, np.zeros(1), self.no, self.no, {"lives": np.array([next(self.lives)])}


def test_a_life_that_was_won_can_be_lost_too(monkeypatch):
    monkeypatch.setattr(atari, "_load", lambda *a, **k: Emulator(3, 4, 4, 3, 2, 3, 2))
    env = EnvSettings(env="ALE/Seaquest-v5", termination="life")
    games = atari.AtariGames(env, 1, limit=None)
    games.reset(seed=[0])
    # the step after the end begins anew, with the lives that the game begins with
    ended = [games.step(np.zeros(1, np.int64))[2].item() for _ in range(7)]
    assert ended == [False, False, False, True, False, False, True]
