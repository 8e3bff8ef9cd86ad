"""An environment as a value: what is changed about it goes wherever it goes."""

import json
from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest
import torch
from conftest import assert_one_sentence

from prefloop import checkpoints
from prefloop.command_line import parse_settings
from prefloop.commands import answering, arena, pebble
from prefloop.data import dataset
from prefloop.data.recording import record_episodes
from prefloop.data.rollouts import collect_episodes
from prefloop.envs.make import make_env, make_vector_env
from prefloop.envs.registered import return_bounds, time_limit
from prefloop.envs.settings import EnvSettings, as_settings, from_facts
from prefloop.envs.spaces import spaces_of
from prefloop.errors import UserError
from prefloop.policies import make_policy
from prefloop.rewards import reward_model
from prefloop.rewards.reward_model import RewardModel
from prefloop.squashed_gaussian import SquashedGaussianPolicy


class Doubled(gym.RewardWrapper):
    """Pays twice."""

    def reward(self, reward):
        return 2 * reward


def falling(obs):
    return np.ones(len(obs), dtype=np.int64)


def fall(env, num=8):
    return collect_episodes(make_vector_env(env, 4), falling, num, seed=0)


def test_a_plain_id_is_an_environment_as_its_makers_have_it():
    env = as_settings("CartPole-v0")
    assert (env.changes, env.facts, str(env)) == ({}, {"env": "CartPole-v0"}, "CartPole-v0")
    assert from_facts(env.facts) == env
    assert from_facts({}) is None


def test_what_is_changed_is_said_and_read_back():
    env = EnvSettings(env="CartPole-v0", horizon=50, wrappers=("a:B",), termination="absorb")
    said = json.loads(json.dumps(env.facts))
    assert said["env_changes"] == {"horizon": 50, "wrappers": ["a:B"], "termination": "absorb"}
    assert from_facts(said) == env
    assert from_facts(said, "CartPole-v1") == EnvSettings(
        env="CartPole-v1", horizon=50, wrappers=("a:B",), termination="absorb"
    )


def test_what_is_given_is_told_from_what_is_not_until_it_is_known_which():
    assert EnvSettings(env="").changes == {}
    usual = {"action_repeat": 1, "frame_stack": 1}
    assert EnvSettings(env="", **usual).changes == usual
    assert EnvSettings(env="CartPole-v1", **usual) == EnvSettings(env="CartPole-v1")
    run = EnvSettings(
        env="Hopper-v5", wrappers=("a:B",), termination="never", fallen_steps=9, action_repeat=2
    )
    assert run.changed({}) == run.changed({"wrappers": ["a:B"]}) == run
    assert run.changed({"action_repeat": 1}) == replace(run, action_repeat=1)
    assert run.changed(usual) == replace(run, action_repeat=1)
    assert run.changed({"termination": "restart"}) == run.ending("restart")
    with pytest.raises(UserError, match="--termination life is for Atari's games"):
        run.changed({"termination": "life"})


class Known:
    """The server's word about a run that people label."""

    env, env_changes = "Pendulum-v1", {"action_repeat": 2, "frame_stack": 3}


@pytest.mark.parametrize("is_here", [False, True])
@pytest.mark.parametrize(
    ("flags", "changes"),
    [
        ("", Known.env_changes),
        ("--action_repeat 1", {"frame_stack": 3}),
        ("--frame_stack 1 --horizon 9", {"action_repeat": 2, "horizon": 9}),
    ],
)
def test_a_run_that_people_label_is_changed_by_what_is_given(
    tmp_path, monkeypatch, is_here, flags, changes
):
    monkeypatch.chdir(tmp_path)
    if is_here:
        (tmp_path / "r").mkdir()
        said = {"env": Known.env, "env_changes": Known.env_changes}
        (tmp_path / "r" / "run.json").write_text(json.dumps(said))
    line = ["--run", "r", "--teacher", "human", *flags.split()]
    settings = answering._of_the_run(parse_settings(pebble.Settings, line), lambda name: Known)
    assert settings.environment == EnvSettings(env=Known.env, **changes)


def make_policy_of(env, folder):
    """A folder with a policy that was never trained, for an environment that is changed."""
    policy = make_policy(spaces_of(make_env(env)), (8,))
    folder.mkdir()
    checkpoints.save(folder / "final_policy.params", policy.state_dict())
    facts = {**env.facts, "policy": policy.description(), "activation": "relu", "settings": {}}
    (folder / "run.json").write_text(json.dumps(facts))


def test_an_arena_is_changed_by_what_is_given(tmp_path):
    env = EnvSettings(env="Pendulum-v1", action_repeat=4)
    for name in ("a", "b"):
        make_policy_of(env, tmp_path / name)
    policies = [str(tmp_path / name) for name in ("a", "b")]
    line = ["--name", "x", "--policies", *policies]
    for flags, repeat in (([], 4), (["--action_repeat", "2"], 2), (["--action_repeat", "1"], 1)):
        settings = parse_settings(arena.Settings, [*line, *flags])
        found = arena._environment(settings, arena._named(settings.policies))
        assert found == replace(env, action_repeat=repeat)


@pytest.mark.parametrize("line", ["show a", "arena --name x --policies a b"])
def test_ends_that_an_environment_does_not_have_are_a_sentence(run, tmp_path, line):
    for name in ("a", "b"):
        make_policy_of(EnvSettings(env="Pendulum-v1"), tmp_path / name)
    outcome = run(f"prefloop.cli {line} --termination life")
    assert_one_sentence(
        outcome, "--termination life is for Atari's games, and Pendulum-v1 is none."
    )


def test_a_policy_that_meets_other_steps_than_it_learned_in_says_so(run, tmp_path):
    make_policy_of(EnvSettings(env="Pendulum-v1", action_repeat=4), tmp_path / "by-fours")
    line = (
        "prefloop.cli pairs --env Pendulum-v1 --horizon 40 --policies by-fours/final_policy.params "
        "--episodes 2 --pairs 2 --segment_length 5"
    )
    outcome = run(f"{line} --action_repeat 4 --out a")
    assert outcome.code == 0 and outcome.err == ""
    outcome = run(f"{line} --out b")
    assert outcome.code == 0
    assert outcome.err == (
        "Note: by-fours/final_policy.params was learned with --action_repeat 4 and is used with --action_repeat 1, "
        "where a step is another.\n"
    )


@pytest.mark.parametrize("num_envs", [0, 2])
def test_a_reward_that_meets_other_steps_than_it_learned_from_says_so(tmp_path, capsys, num_envs):
    def made(**changes):
        env = EnvSettings(env="Pendulum-v1", **changes)
        return make_vector_env(env, num_envs) if num_envs else make_env(env)

    model = RewardModel(spaces_of(made()), (8,), 2)
    reward_model.save(tmp_path, model)
    facts = EnvSettings(env="Pendulum-v1", sticky=0.5, horizon=9).facts
    facts["reward_model"] = model.facts()
    (tmp_path / "run.json").write_text(json.dumps(facts))
    reward_model.load(tmp_path, made(sticky=0.5))
    assert capsys.readouterr().err == ""
    reward_model.load(tmp_path, made(action_repeat=2, frame_stack=1, pixels=None))
    first, second = capsys.readouterr().err.splitlines()
    assert first.endswith("learned with --action_repeat 1 and is used with --action_repeat 2, where a step is another.")  # fmt: skip
    assert "learned with --sticky 0.5 and is used with --sticky 0" in second


@pytest.mark.parametrize("changes", [{"horizon": 0}, {"speed": 3}, {"frame_stack": "x"}, 5])
def test_changes_that_can_not_be(changes):
    with pytest.raises(UserError, match="can't be changed as is said"):
        from_facts({"env": "CartPole-v0", "env_changes": changes})


def test_what_begins_anew_goes_on_to_the_limit_and_tells_nobody():
    episodes = fall(EnvSettings(env="CartPole-v0", termination="restart", horizon=50))
    assert episodes.lengths.tolist() == [50] * 8 and episodes.returns.tolist() == [50.0] * 8
    assert episodes.truncated.all() and not episodes.terminated.any()
    one, again = (
        fall(EnvSettings(env="CartPole-v0", termination="restart", horizon=50)) for _ in range(2)
    )
    np.testing.assert_array_equal(one.obs, again.obs)


def test_sticky_actions_repeat_the_one_before():
    def alternating(sticky):
        env = make_env(EnvSettings(env="CartPole-v0", sticky=sticky))
        env.reset(seed=1)
        return [env.step(i % 2)[0][1] for i in range(8)]  # the cart's velocity

    assert min(alternating(0.99)) < min(alternating(0.0)), "the first again and again: to the left"
    assert alternating(0.5) == alternating(0.5) != alternating(0.0)


def test_a_horizon_cuts_and_is_no_terminal_state():
    episodes = fall(EnvSettings(env="CartPole-v0", horizon=5))
    assert episodes.lengths.tolist() == [5] * 8
    assert episodes.truncated.all() and not episodes.terminated.any()


def test_what_absorbs_makes_all_episodes_equally_long():
    plain, absorbed = (
        fall(EnvSettings(env="CartPole-v0", horizon=30, termination=how))
        for how in ("own", "absorb")
    )
    assert plain.terminated.all() and plain.lengths.max() < 30
    assert absorbed.lengths.tolist() == [30] * 8
    np.testing.assert_array_equal(absorbed.returns, plain.returns)  # no reward after the end
    first = absorbed.obs[: plain.lengths[0]]
    np.testing.assert_array_equal(first, plain.obs[: plain.lengths[0]])
    np.testing.assert_array_equal(absorbed.next_obs[29], plain.next_obs[plain.lengths[0] - 1])


def test_what_was_absorbed_for_long_enough_is_cut_and_is_no_terminal_state():
    plain, absorbed = (
        fall(EnvSettings(env="CartPole-v0", horizon=30, **how))
        for how in ({}, {"termination": "absorb", "absorbing_steps": 7})
    )
    assert plain.lengths.max() < 23
    np.testing.assert_array_equal(absorbed.lengths, plain.lengths + 7)
    np.testing.assert_array_equal(absorbed.returns, plain.returns)
    assert absorbed.truncated.all() and not absorbed.terminated.any()
    ended = plain.lengths[0]
    np.testing.assert_array_equal(absorbed.next_obs[ended - 1], plain.next_obs[ended - 1])
    assert (absorbed.obs[ended + 1 : ended + 7] == 0).all()
    with pytest.raises(ValueError, match="--absorbing_steps does nothing with --termination own"):
        EnvSettings(env="CartPole-v0", absorbing_steps=7)
    with pytest.raises(ValueError, match="--fallen_steps does nothing with --termination absorb"):
        EnvSettings(env="Hopper-v5", termination="absorb", fallen_steps=7)
    absorbing = EnvSettings(env="Hopper-v5", horizon=9, termination="absorb", absorbing_steps=7)
    assert absorbing.ending("own") == EnvSettings(env="Hopper-v5", horizon=9)


def test_actions_are_repeated_and_rewards_add_up():
    episodes = fall(EnvSettings(env="CartPole-v0", action_repeat=4))
    plain = fall(EnvSettings(env="CartPole-v0", horizon=200))  # copies, as the others are
    assert episodes.lengths.tolist() == [-(-length // 4) for length in plain.lengths]
    np.testing.assert_array_equal(episodes.returns, plain.returns)
    assert time_limit(EnvSettings(env="CartPole-v0", action_repeat=4)) == 50


def test_frames_are_stacked():
    env = EnvSettings(env="CartPole-v0", frame_stack=3)
    spaces = spaces_of(make_env(env))
    assert (spaces.obs_shape, spaces.frame_stack) == ((3, 4), 3)
    assert spaces_of(make_vector_env(env, 2)) == spaces


def test_wrappers_are_found_by_their_names():
    episodes = fall(EnvSettings(env="CartPole-v0", wrappers=(f"{__name__}:Doubled",)))
    np.testing.assert_array_equal(episodes.returns, 2 * episodes.lengths)


@pytest.mark.parametrize(
    "name", ["nowhere:Doubled", f"{__name__}:Tripled", "Doubled", "json:loads"]
)
def test_wrappers_that_are_none(name):
    with pytest.raises(UserError, match="wrapper"):
        make_env(EnvSettings(env="CartPole-v0", wrappers=(name,)))


def test_without_any_limit_nothing_can_be_absorbed():
    gym.register("Endless-v0", entry_point="gymnasium.envs.classic_control:CartPoleEnv")
    try:
        with pytest.raises(UserError, match="needs a --horizon"):
            make_env(EnvSettings(env="Endless-v0", termination="absorb"))
    finally:
        del gym.registry["Endless-v0"]


def test_bounds_follow_the_changes():
    assert return_bounds("CartPole-v0") == (1, 200)
    assert return_bounds(EnvSettings(env="CartPole-v0", horizon=30)) == (1, 30)
    assert return_bounds(EnvSettings(env="CartPole-v0", action_repeat=4)) == (1, 200)
    assert return_bounds(EnvSettings(env="CartPole-v0", wrappers=("a:B",))) == (-np.inf, np.inf)


def test_what_was_changed_is_recorded_and_can_be_shown_again(monkeypatch):
    from prefloop.data.segments import whole_episodes
    from prefloop.labelling.arrays import from_archive, to_archive
    from prefloop.labelling.server.rendering import Renderer

    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    env = EnvSettings(env="CartPole-v1", action_repeat=2, horizon=6)
    episodes = record_episodes(env, falling, 2, seed=0)
    renderer = Renderer(env)
    for segment in from_archive(to_archive(whole_episodes(episodes))):
        assert len(list(renderer.frames(segment))) == segment.length


def test_a_policy_is_judged_in_what_it_was_trained_in(run, tmp_path):
    small = "--num_envs 4 --rollout_steps 32 --steps 256 --iteration_steps 256"
    changes = "--horizon 25 --termination absorb"
    outcome = run(f"prefloop.cli ppo --env CartPole-v1 {changes} {small} --out p")
    assert outcome.code == 0, outcome.err
    said = json.loads((tmp_path / "p" / "run.json").read_text())
    assert said["env_changes"] == {"horizon": 25, "termination": "absorb"}
    outcome = run("prefloop.cli evaluate p/final_policy.params --episodes 5")
    assert outcome.code == 0, outcome.err
    assert "of 5 episodes of CartPole-v1" in outcome.out
    flags = "--episodes 5 --pairs 4 --segment_length 20 --out d"
    outcome = run(
        f"prefloop.cli pairs --env CartPole-v1 {changes} --policies p/final_policy.params {flags}"
    )
    assert outcome.code == 0, outcome.err
    assert dataset.read_metadata(tmp_path / "d")["env_changes"]["horizon"] == 25
    assert set(dataset.read(tmp_path / "d").segments.lengths) == {20}
    outcome = run("prefloop.cli bc --preferences d --bc_epochs 2 --out b")
    assert outcome.code == 0, outcome.err
    assert json.loads((tmp_path / "b" / "run.json").read_text())["env_changes"]["horizon"] == 25


class Narrow(gym.Env):
    """Its actions are between numbers that no float32 is."""

    observation_space = gym.spaces.Box(-1, 1, (2,), np.float32)
    action_space = gym.spaces.Box(np.array([-1.3, -0.1]), np.array([0.2, 0.1]), dtype=np.float64)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(2, np.float32), {}

    def step(self, action):
        assert self.action_space.contains(np.asarray(action, np.float64))
        return np.ones(2, np.float32), 1.0, False, False, {}


@pytest.mark.parametrize("kind", ["gaussian", "squashed"])
def test_actions_stay_within_bounds_that_no_float32_is(kind):
    spaces = spaces_of(Narrow())
    low, high = spaces.bounds
    assert (low.astype(np.float64) >= Narrow.action_space.low).all()
    assert (high.astype(np.float64) <= Narrow.action_space.high).all()
    assert high[0] == pytest.approx(0.2) and low[1] == pytest.approx(-0.1)
    policy = (
        make_policy(spaces, (4,)) if kind == "gaussian" else SquashedGaussianPolicy(spaces, (4,))
    )
    env, rng = Narrow(), np.random.default_rng(0)
    for sign in (-1e4, 1e4):
        with torch.no_grad():
            for parameter in policy.parameters():
                parameter.fill_(sign)
        for action in policy.act(np.ones((20, 2), np.float32), rng):
            env.step(action)


def test_bounds_that_are_too_large_for_a_float32_are_none():
    env = Narrow()
    env.action_space = gym.spaces.Box(-1e300, 1e300, (1,), np.float64)
    with pytest.raises(UserError, match="actions without bounds"):
        _ = spaces_of(env).finite_bounds
