import copy

import numpy as np
import pytest
import torch
from conftest import assert_one_sentence
from small_pebble import assert_absorbed

from prefloop import checkpoints, policy_files, run_files
from prefloop.agents.settings import SACSettings
from prefloop.envs.make import make_env
from prefloop.envs.settings import EnvSettings
from prefloop.evaluation.evaluate import evaluate
from prefloop.files import read_csv
from prefloop.training import methods
from prefloop.training.on_policy import true_reward
from prefloop.training.settings import ReplaySettings

CPU = torch.device("cpu")
AGENT = SACSettings(hidden_sizes=(8,), batch_size=16, random_steps=50)
SMALL = (
    "prefloop.cli sac --env Pendulum-v1 --steps 900 --iteration-steps 300 --hidden-sizes 8 "
    "--batch-size 16 --random-steps 100 --updates-per-step 0.2 --evaluation-episodes 2 --out"
)
FROM_POLICY = SMALL.replace("--random-steps 100 ", "")  # which acts from the first step on


def sac(tmp_path, env="Pendulum-v1", agent=AGENT, seed=0, **experience):
    settings = ReplaySettings(
        **{
            "steps": 500,
            "iteration_steps": 250,
            "evaluation_episodes": 2,
            "updates_per_step": 0.2,
            **experience,
        }
    )
    return methods.sac(env, lambda _: true_reward, agent, settings, seed, CPU, tmp_path)


def turn(method):
    return [method.learner.iterate(i) for i in range(method.iterations)]


def test_episodes_end_where_the_environment_or_the_iteration_ends_them(tmp_path):
    method = sac(tmp_path)
    turn(method)
    replay = method.learner.replay
    # two iterations of 250 steps and a row that closes each; Pendulum's episodes take 200, and one resets
    assert replay.size == 2 * 251
    drawn = replay.sample(3000, np.random.default_rng(0))
    assert not drawn.terminated.any()
    env = make_env("Pendulum-v1")
    env.reset()
    for i in range(0, 3000, 100):  # what each led to is what the simulator makes of it
        angle = np.arctan2(drawn.obs[i, 1], drawn.obs[i, 0])
        env.unwrapped.state = np.array([angle, drawn.obs[i, 2]])
        obs, reward, *_ = env.step(drawn.actions[i])
        np.testing.assert_allclose(drawn.next_obs[i], obs, atol=1e-4)
        assert drawn.rewards[i] == pytest.approx(reward, abs=1e-3)


@pytest.mark.parametrize(("updates_per_step", "num_envs"), [(0.25, 1), (1.0, 2), (0.3, 3)])
def test_updates_are_as_many_as_were_asked_for(tmp_path, updates_per_step, num_envs):
    method = sac(
        tmp_path, steps=600, iteration_steps=300, num_envs=num_envs,
        updates_per_step=updates_per_step,
    )  # fmt: skip
    first, second = turn(method)
    assert first["steps"] == 300 and second["steps"] == 600
    assert second["updates"] == pytest.approx(300 * updates_per_step, abs=num_envs)
    # none while actions are random
    assert first["updates"] == pytest.approx(250 * updates_per_step, abs=num_envs)


def test_a_learner_goes_on_from_its_state(tmp_path):
    whole, first = (sac(tmp_path / name, steps=750, seed=3) for name in ("whole", "parts"))
    rows = turn(whole)
    first.learner.iterate(0)
    state = copy.deepcopy(first.learner.state_dict())
    (tmp_path / "parts" / run_files.STATE).touch()
    first.learner.iterate(1)  # and is killed before its state was written
    second = sac(tmp_path / "parts", steps=750, seed=3)
    second.learner.load_state_dict(state)
    assert [second.learner.iterate(i) for i in (1, 2)] == rows[1:]
    for name, weights in whole.policy().state_dict().items():
        assert torch.equal(weights, second.policy().state_dict()[name])


@pytest.mark.parametrize("network", ["mlp", "residual"])
def test_a_policy_is_read_back_and_is_judged_by_its_mean_action(run, tmp_path, network):
    assert run(f"{SMALL} p --network {network}").code == 0
    envs = make_env("Pendulum-v1")
    policy = policy_files.load(tmp_path / "p/final_policy.params", envs)
    row = read_csv(tmp_path / "p/metrics.csv")[-1]
    assert float(row["lowest_return"]) <= float(row["true_return"]) < 0
    assert len(set(evaluate(policy, "Pendulum-v1", 3, 0, greedy=True))) == 3
    outcome = run("prefloop.cli evaluate p/final_policy.params --episodes 20")
    assert outcome.code == 0, outcome.err
    assert "mean actions" in outcome.out and "drawn actions" in outcome.out
    mean, drawn = read_csv(tmp_path / "evaluation/evaluation.csv")
    assert (mean["greedy"], drawn["greedy"]) == ("True", "False")
    returns = np.sort(evaluate(policy, "Pendulum-v1", 20, 0, greedy=True))
    assert float(mean["lowest_tenth"]) == pytest.approx(returns[:2].mean())
    assert float(mean["mean_return"]) == pytest.approx(returns.mean())
    outcome = run("prefloop.cli evaluate p/final_policy.params --episodes 20 --greedy")
    assert outcome.code == 0, outcome.err
    assert len(read_csv(tmp_path / "evaluation/evaluation.csv")) == 2


def test_what_is_changed_about_an_environment_stands_beside_its_returns(run, tmp_path):
    assert run(f"{SMALL} p --horizon 40").code == 0
    outcome = run("prefloop.cli evaluate p/final_policy.params --episodes 2 --greedy")
    assert "2 episodes of Pendulum-v1 (horizon 40), 95" in outcome.out


def test_from_a_policy_and_on_a_learned_reward(run, tmp_path):
    assert run(f"{SMALL} p").code == 0
    pairs = (
        "prefloop.cli pairs --env Pendulum-v1 --policies p/final_policy.params --pairs 20 "
        "--episodes 4 --segment_length 10 --out prefs"
    )
    assert run(pairs).code == 0
    assert run("prefloop.cli reward --preferences prefs --reward_epochs 3 --out reward").code == 0
    outcome = run(f"{FROM_POLICY} q --reward reward --init p/final_policy.params")
    assert outcome.code == 0, outcome.err
    begins = checkpoints.load_weights(tmp_path / "p/final_policy.params")
    ends = checkpoints.load_weights(tmp_path / "q/final_policy.params")
    assert begins.keys() == ends.keys()
    learned = np.load(tmp_path / "q/replay/rewards.npy")[:250, 0]
    assert len(set(learned.tolist())) > 200 and learned.min() > -8  # no reward of Pendulum's


def test_mistakes_end_in_sentences(run, tmp_path):
    ppo = "--num-envs 4 --rollout-steps 32 --steps 128 --iteration-steps 128"
    discrete = run(f"{SMALL.replace('Pendulum-v1', 'CartPole-v1')} p")
    assert_one_sentence(discrete, "SAC needs continuous actions", "pref-ppo")
    assert not (tmp_path / "p/run.json").exists()
    assert run(f"prefloop.cli ppo --env Pendulum-v1 {ppo} --out gaussian").code == 0
    outcome = run(f"{FROM_POLICY} p --init gaussian/final_policy.params")
    assert_one_sentence(outcome, "no policy that SAC trains")
    assert_one_sentence(
        run(f"{SMALL} p --updates-per-step 0"), "--updates_per_step must be above 0"
    )
    outcome = run(f"{SMALL} p --random-steps 900")
    assert_one_sentence(outcome, "All 900 steps would be random (--random_steps 900)")
    assert run(f"{SMALL} p").code == 0
    # the other way round it is no better
    for line in (
        f"ppo --env Pendulum-v1 {ppo}",
        "pref-ppo --env Pendulum-v1 --steps 600 --iteration-steps 200 --num-envs 2 --rollout-steps 50 "
        "--labels 6 --segment-length 10",
    ):
        outcome = run(f"prefloop.cli {line} --init p/final_policy.params --out other")
        assert_one_sentence(outcome, "p/final_policy.params is a policy of prefloop sac or pebble")
    assert_one_sentence(run(f"{SMALL} p"), "p holds a run already", "--resume")
    assert_one_sentence(run(f"{SMALL} p --resume --gamma 0.5"), "gamma")
    longer = run(f"{SMALL.replace('--steps 900', '--steps 1200')} p --resume")
    assert_one_sentence(longer, "p holds a run with steps 900, not 1200")
    # where there is no state, and nothing else to keep, what lies there counts for nothing
    for name in ("training_state.pt", "metrics.csv", "final_policy.params"):
        (tmp_path / "p" / name).unlink()
    assert run(f"{SMALL.replace('--steps 900', '--steps 600')} p").code == 0


def test_what_ends_early_is_absorbed_in_learning_alone(run, tmp_path):
    pytest.importorskip("mujoco")
    outcome = run(f"{SMALL.replace('Pendulum-v1', 'Hopper-v5')} p --absorb-termination")
    assert outcome.code == 0, outcome.err
    assert_absorbed(tmp_path / "p")
    assert float(read_csv(tmp_path / "p/metrics.csv")[0]["episode_length"]) < 1000


def test_a_run_that_can_not_go_on_is_kept_and_says_where_to_start_anew(run, tmp_path):
    assert run(f"{SMALL} p").code == 0
    state = tmp_path / "p/training_state.pt"
    state.write_bytes(state.read_bytes()[:1000])
    anew = "so the run can't go on; start anew in another directory"
    assert_one_sentence(run(f"{SMALL} p --resume"), "training_state.pt", anew)
    state.unlink()
    before = {path: path.read_bytes() for path in (tmp_path / "p").rglob("*") if path.is_file()}
    assert_one_sentence(run(f"{SMALL} p --resume"), "without its training_state.pt", anew)
    assert_one_sentence(run(f"{SMALL} p"), "which can't go on; choose another --out")
    assert {path: path.read_bytes() for path in before} == before
    assert run(f"{SMALL} q").code == 0


@pytest.mark.parametrize("env_id", ["HalfCheetah-v5", "dm_control/cartpole-swingup-v0"])
def test_an_episode_in_which_the_simulator_diverged_is_dropped_and_counted(tmp_path, env_id):
    pytest.importorskip("dm_control")
    env = EnvSettings(env=env_id, wrappers=("dice:Diverges",), horizon=12)
    agent = SACSettings(hidden_sizes=(8,), batch_size=16, random_steps=6)
    method = sac(tmp_path, env, agent, steps=100, iteration_steps=50, updates_per_step=1.0)
    rows = turn(method)
    assert all(row["diverged"] > 0 for row in rows)
    assert all(np.isfinite(row["critic_loss"]) for row in rows)
    episodes = method.learner.replay.trajectories()
    assert len(episodes) > 3 and not (episodes.lengths == 4).any()
    assert np.isfinite(episodes.next_obs).all() and np.abs(episodes.next_obs).max() < 1e6


@pytest.mark.parametrize(
    "name", ["replay/mine.txt", "metrics.csv", "final_policy.params", "reward.params"]
)
def test_what_is_of_no_run_is_left_alone(run, tmp_path, name):
    file = tmp_path / "p" / name
    file.parent.mkdir(parents=True)
    file.write_text("precious", encoding="utf-8")
    assert_one_sentence(run(f"{SMALL} p"), f"{name} is of no run", "choose another --out")
    assert file.read_text(encoding="utf-8") == "precious"
