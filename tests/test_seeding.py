"""What figures rest on: no two seeds share anything, and no two streams of one seed."""

import ast
import importlib

import dice
import gymnasium as gym
import numpy as np
import pytest
from conftest import ROOT
from inline import Inline

from prefloop.cli import COMMANDS
from prefloop.envs.make import make_env, make_vector_env, reset
from prefloop.envs.spaces import spaces_of
from prefloop.evaluation.evaluate import acting_in_episode, env_seed, evaluate, play
from prefloop.policies import make_policy
from prefloop.seeding import RowGenerator, Stream, generator, integer, integers
from prefloop.settings import defaults_of

PPO = "--num_envs 8 --rollout_steps 24 --hidden_sizes 8 --minibatch_size 64 --update_epochs 2"
ACTS = {
    "vpg": "vpg.py --env {env} --epochs 3 --batch_size 500 --num_envs 8 --checkpoint_dir {out}",
    "offline_reward_learning": "offline_reward_learning.py --env {env} --checkpoint_dir vpg "
    "--num_checkpoints 2 --demos_per_checkpoint 30 --num_iter 2 --reward_params {out}.params",
    "rollout_policy": "rollout_policy.py --env {env} --checkpoint policy/final_policy.params "
    "--num_rollouts 130 --json {out}.json",
    "evaluate": "prefloop.cli evaluate policy/final_policy.params --episodes 130 --out {out}",
    "show": "prefloop.cli show policy/final_policy.params --env Dice-{noise}-v1 --episodes 130 "
    "--clips 1 --export {out}",
    "ppo": f"prefloop.cli ppo --env {{env}} --steps 1600 --iteration_steps 400 {PPO} --out {{out}}",
    "sac": "prefloop.cli sac --env {env} --steps 1600 --iteration_steps 400 --num_envs 8 "
    "--random_steps 800 --hidden_sizes 8 --batch_size 16 --updates_per_step 0.1 "
    "--evaluation_episodes 3 --out {out}",
    "pebble": "prefloop.cli pebble --env {env} --steps 1600 --iteration_steps 400 --num_envs 8 "
    "--random_steps 400 --hidden_sizes 8 --batch_size 16 --updates_per_step 0.1 --labels 20 "
    "--exploration_steps 400 --exploration_states 32 --segment_length 6 --reward_hidden_sizes 8 "
    "--reward_epochs 2 --teacher skip --evaluation_episodes 3 --no_keep_exploration --out {out}",
    "pref-ppo": "prefloop.cli pref-ppo --env {env} --steps 1600 --iteration_steps 400 --labels 20 "
    f"--segment_length 6 --queries uniform --ensemble 1 --reward_epochs 2 --teacher skip {PPO} --out {{out}}",
    "airl": "prefloop.cli airl --preferences pairs --steps 1600 --iteration_steps 400 "
    f"--airl_updates 1 {PPO} --out {{out}}",
    "pairs": "prefloop.cli pairs --env {env} --policies policy/final_policy.params --episodes 130 "
    "--pairs 30 --out {out}",
    "collect": "prefloop.cli collect --name {out} --env {env} --episodes 130 --pairs 9 --trace "
    "--segment_length full --policies policy/final_policy.params",
    "arena": "prefloop.cli arena --name {out} --env {env} --starts 70 --trace --segment_length full "
    "--policies one=policy/final_policy.params other=policy/final_policy.params",
    "compare": "prefloop.cli compare --env {env} --methods airl true-reward --labels 6 "
    "--policies policy/final_policy.params policy/final_policy.params --steps 4096 "
    "--evaluation_episodes 20 --seeds {seed} --out {out}",
}  # fmt: skip
LEARNS = {  # without acting
    "bc": "prefloop.cli bc --preferences pairs --bc_epochs 2 --hidden_sizes 8 --out {out}",
    "dpo": "prefloop.cli dpo --preferences pairs --reference policy/final_policy.params "
    "--dpo_updates 9 --dpo_batch_size 4 --out {out}",
    "reward": "prefloop.cli reward --preferences pairs --reward_epochs 2 --out {out}",
}  # fmt: skip
WITH_PEOPLE = {"teach"}  # which hands its seed to pebble or pref-ppo; nobody says the same again
SCRIPTS = ("vpg", "offline_reward_learning", "rollout_policy")
CONTINUOUS = ("sac", "pebble")  # have no discrete actions


@pytest.fixture
def command(run, monkeypatch, tmp_path):
    """Runs an entry point on dice, and gives the episodes that were played."""

    class Nobody:
        """A labelling server that takes everything."""

        def __enter__(self):
            return self

        def __exit__(self, *_):
            return False

        def __getattr__(self, name):
            return lambda *_, **__: self

        counts = type("Counts", (), dict.fromkeys(("queries", "answered", "skipped", "left"), 0))

    monkeypatch.setattr("prefloop.sweeps.engines.ThisMachine", Inline)
    monkeypatch.setattr("prefloop.labelling.client.connecting.connected", lambda *_: Nobody())
    monkeypatch.setattr("prefloop.labelling.client.asking.ask", lambda *_: Nobody())
    monkeypatch.setattr("prefloop.labelling.client.contests.ask_contests", lambda *_: {})

    def on_dice(line, noise, seed):
        env = f"Dice-{noise}-v0"
        policy = f"{PPO} --env {env} --steps 192 --seed 7"
        first = [f"prefloop.cli ppo {policy} --out policy"] * (not (tmp_path / "policy").exists())
        if "pairs " in line and not (tmp_path / "pairs").exists():
            first += [ACTS["pairs"].format(env=env, out="pairs")]
        if "--checkpoint_dir vpg" in line and not (tmp_path / "vpg").exists():
            first += [ACTS["vpg"].format(env=env, out="vpg") + " --checkpoint"]
        seeded = line if "{seed}" in line else line + " --seed {seed}"
        dice.EPISODES.clear()
        for text in (*first, seeded):
            dice.EPISODES.clear()
            out = f"{noise}-{seed}-{len(list(tmp_path.iterdir()))}"
            outcome = run(text.format(env=env, noise=noise, seed=seed, out=out))
            assert outcome.code == 0, outcome.err
        # those that were reset and never acted in are of no account
        return [episode for episode in dice.EPISODES if episode.actions], tmp_path / out

    return on_dice


def actions(episodes):
    """What was done in each whole episode: of near-uniform policies no two are alike."""
    return {str(episode.actions) for episode in episodes if len(episode.actions) == dice.STEPS}


def takes_a_seed(name):
    module = name if name in SCRIPTS else f"prefloop.commands.{name.replace('-', '_')}"
    names = defaults_of(importlib.import_module(module).Settings)
    return bool(names.keys() & {"seed", "seeds"})


def test_every_entry_point_that_takes_a_seed_is_tried_here():
    assert {name for name in (*COMMANDS, *SCRIPTS) if takes_a_seed(name)} == {
        *ACTS, *LEARNS, *WITH_PEOPLE,
    }  # fmt: skip


@pytest.mark.parametrize("name", ACTS)
def test_no_two_seeds_share_a_start_or_an_action_stream(command, name):
    noise = "normal" if name in CONTINUOUS else "gumbel"
    (first, _), (second, _), (again, _) = (command(ACTS[name], noise, s) for s in (0, 1, 0))
    assert {e.start for e in first}.isdisjoint(e.start for e in second)
    assert len(actions(first)) >= 30
    assert actions(first).isdisjoint(actions(second))
    # the same seed, though, is the same run
    assert [(e.start, e.actions) for e in first] == [(e.start, e.actions) for e in again]


@pytest.mark.parametrize("noise", ["uniform", "gumbel", "normal"])
@pytest.mark.parametrize("name", ACTS)
def test_environment_and_policy_are_independent(command, name, noise):
    if noise == "normal" and name in SCRIPTS:
        pytest.skip("the course's scripts have discrete actions")
    if noise != "normal" and name in CONTINUOUS:
        pytest.skip("it has continuous actions")
    # one environment, and seeded anew for every episode: where dice are shared, they part at a reset
    line = ACTS[name]
    for many, few in {
        "--num_envs 8 --random_steps": "--num_envs 1 --random_steps",
        "--num_envs 8 --rollout_steps 24": f"--num_envs 1 --rollout_steps {dice.STEPS}",
        "--steps 1600 --iteration_steps 400": f"--steps 1200 --iteration_steps {dice.STEPS}",
        "--epochs 3 --batch_size 500 --num_envs 8": "--epochs 100 --batch_size 12 --num_envs 1",
    }.items():
        line = line.replace(many, few)
    played = [e for seed in range(2) for e in command(line, noise, seed)[0]]
    hits = np.concatenate([episode.hits for episode in played])
    chance = 0.5 if noise == "normal" else 1 / dice.SIDES
    # the eight guesses of a continuous action stand in one mean
    spread = np.sqrt(chance * (1 - chance) / (dice.SIDES if noise == "normal" else 1))
    assert len(hits) >= 2000
    assert hits.mean() == pytest.approx(chance, abs=4 * spread / np.sqrt(len(hits)))


@pytest.mark.parametrize("name", LEARNS)
def test_what_learns_without_acting_follows_its_seed(command, name):
    kept = ("*.params", "metrics.csv")
    first, second, again = (
        [p.read_bytes() for kind in kept for p in sorted(command(LEARNS[name], "gumbel", s)[1].rglob(kind))]
        for s in (0, 1, 0)
    )  # fmt: skip
    assert first == again
    assert len(first) >= 2 and all(a != b for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("env_id", ["Pendulum-v1", "Acrobot-v1", "MountainCar-v0", "CartPole-v0"])
def test_neighbouring_evaluation_seeds_share_no_start(env_id):
    policy = make_policy(spaces_of(make_vector_env(env_id, 1)), (4,))
    episodes = [play(policy, env_id, 20, seed, observed=True) for seed in (0, 1)]
    starts = [
        {tuple(obs) for obs in e.obs[np.cumsum(e.lengths) - e.lengths].tolist()} for e in episodes
    ]
    assert len(starts[0]) == len(starts[1]) == 20
    assert starts[0].isdisjoint(starts[1])


@pytest.mark.parametrize("env_id", ["CartPole-v0", "Pendulum-v1"])
def test_a_smaller_evaluation_is_the_beginning_of_a_larger_one(env_id):
    policy = make_policy(spaces_of(make_vector_env(env_id, 1)), (4,))
    largest = evaluate(policy, env_id, 140, seed=3)
    assert len(set(largest.tolist())) > 20
    for size in (1, 2, 64, 65, 139):
        assert evaluate(policy, env_id, size, seed=3).tolist() == largest[:size].tolist()


def test_two_policies_meet_the_same_beginnings():
    envs = make_vector_env("Pendulum-v1", 1)
    episodes = [
        play(make_policy(spaces_of(envs), (4,)), "Pendulum-v1", 20, seed=5, observed=True)
        for _ in range(2)
    ]
    assert (episodes[0].obs[::200] == episodes[1].obs[::200]).all()
    assert (episodes[0].actions != episodes[1].actions).any()


def test_streams_of_one_seed_and_seeds_of_one_stream_differ():
    draws = [
        generator(seed, *stream).random()
        for seed in (0, 1, 2**32 - 1)
        for stream in [*([s] for s in Stream), [0, 0], [0, 1], [1, 0]]
    ]
    assert len(set(draws)) == len(draws)
    assert generator(3, Stream.POLICY).random() == generator(3, Stream.POLICY).random()


def test_integers_are_the_beginning_of_more_and_fit_simulators():
    few, many = (integers(5, Stream.ENVIRONMENTS, num=n) for n in (3, 2000))
    assert many[:3] == few and many[0] == integer(5, Stream.ENVIRONMENTS)
    assert len(set(many)) == 2000 and min(many) >= 0 and max(many) < 2**31


def test_copies_that_step_together_begin_alone():
    envs = [make_vector_env("Pendulum-v1", n) for n in (2, 5)]
    few, many = (reset(e, 0, Stream.ENVIRONMENTS)[0] for e in envs)
    assert (many[:2] == few).all() and len(np.unique(many, axis=0)) == 5


@pytest.mark.parametrize("kind", ["gumbel", "standard_normal"])
def test_a_rows_numbers_do_not_depend_on_the_others(kind):
    def rows(*numbers):
        drawn = RowGenerator([generator(0, Stream.POLICY, i) for i in numbers])
        return np.stack([getattr(drawn, kind)((len(numbers), 3)) for _ in range(150)])

    alone, together = rows(4), rows(2, 4, 7)
    assert (alone[:, 0] == together[:, 1]).all()
    # they are those of a plain generator, drawn a step at a time
    plain = generator(0, Stream.POLICY, 4)
    assert (alone == np.stack([getattr(plain, kind)(size=(1, 3)) for _ in range(150)])).all()


def test_rows_are_drawn_for_all_environments_in_one_way():
    drawn = RowGenerator([generator(0, i) for i in range(2)])
    drawn.gumbel((2, 3))
    for wrong in (lambda: drawn.gumbel((3, 3)), lambda: drawn.standard_normal((2, 3))):
        with pytest.raises(ValueError, match="rows"):
            wrong()


def sources():
    yield from (ROOT / f"{name}.py" for name in SCRIPTS)
    # dm_control's tasks have dice of their own, which whoever resets them seeds, as in Gymnasium's
    others = {"seeding.py", "dm_control.py"}
    yield from (p for p in (ROOT / "prefloop").rglob("*.py") if p.name not in others)


@pytest.mark.parametrize("path", list(sources()), ids=lambda path: path.name)
def test_random_numbers_come_from_one_module(path):
    """Except those that nothing repeats, which are drawn from nowhere in particular."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        name, arguments = ast.unparse(node.func), [ast.unparse(x) for x in node.args]
        if name.endswith(("default_rng", "SeedSequence", "random.seed", "random.Random")):
            assert not arguments, f"{path}:{node.lineno} seeds a generator of its own"
        if name == "torch.manual_seed":
            assert arguments[0].startswith("integer("), f"{path}:{node.lineno} takes a bare seed"


def test_environments_of_gymnasium_take_neighbouring_seeds_alike():
    """Why none is given `seed + i`: should Gymnasium ever change, this tells."""
    envs = gym.make_vec("Pendulum-v1", num_envs=3)
    first, second = envs.reset(seed=0)[0], envs.reset(seed=1)[0]
    assert (first[1:] == second[:2]).all()


@pytest.mark.parametrize("env_id", ["CartPole-v0", "Pendulum-v1"])
def test_an_episode_that_is_watched_is_the_one_that_was_counted(env_id):
    envs = make_vector_env(env_id, 1)
    policy = make_policy(spaces_of(envs), (4,))
    counted = evaluate(policy, env_id, 66, seed=2)
    for i in (0, 3, 65):
        env, act, total = make_env(env_id), acting_in_episode(policy, 2, i), 0.0
        obs, done = env.reset(seed=env_seed(2, i))[0], False
        while not done:
            obs, reward, terminated, truncated, _ = env.step(act(obs[None])[0])
            total, done = total + reward, terminated or truncated
        assert total == pytest.approx(counted[i], rel=1e-12)
