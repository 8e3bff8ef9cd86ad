import contextlib
import copy
import re
import tracemalloc
from types import SimpleNamespace

import gymnasium as gym
import numpy as np
import pytest
import torch
from conftest import assert_one_sentence
from made_up import preferences, random_segments
from small_pebble import SMALL, assert_absorbed

from prefloop import run_files
from prefloop.agents.settings import SACSettings
from prefloop.data import dataset
from prefloop.data.segments import Segments
from prefloop.envs.spaces import Spaces
from prefloop.files import read_csv, read_json, write_json
from prefloop.rewards.settings import (
    AuxiliarySettings,
    ReedSettings,
    RewardSettings,
    RuneSettings,
    SurfSettings,
)
from prefloop.rewards.training import make_model
from prefloop.teachers.settings import TeacherSettings
from prefloop.training import methods
from prefloop.training.on_policy import stepping_in
from prefloop.training.settings import (
    ExplorationSettings,
    PebbleSettings,
    QuerySettings,
    ReplaySettings,
)
from prefloop.training.taught_reward import TaughtReward, moving

CPU, ENV = torch.device("cpu"), "Pendulum-v1"


@pytest.fixture
def pebble(tmp_path):
    """Makes a learner, and its replay buffer, in a folder."""
    with contextlib.ExitStack() as stack:
        opened = {}

        def make(folder="run", teacher="oracle", resume=False, seed=0, init=None, **settings):
            own = PebbleSettings(
                **{
                    "experience": ReplaySettings(
                        steps=1000,
                        iteration_steps=250,
                        evaluation_episodes=2,
                        updates_per_step=0.2,
                    ),
                    "exploration": ExplorationSettings(steps=500, states=64),
                    "questions": QuerySettings(labels=20, segment_length=20),
                    "agent": SACSettings(hidden_sizes=(8,), batch_size=16, random_steps=100),
                    "reward": RewardSettings(hidden_sizes=(8,), epochs=3),
                    **settings,
                }
            )
            stepping, place = stepping_in(ENV, 1), tmp_path / folder
            if folder in opened:  # by a run that was killed
                opened[folder].close()
            opened[folder] = stack.enter_context(contextlib.ExitStack())
            answers = opened[folder].enter_context(
                methods.simulated_answers(
                    ENV, stepping, TeacherSettings(teacher=teacher), 20, None, seed, place,
                    "prefloop pebble", resume,
                )
            )  # fmt: skip
            return methods.pebble(ENV, stepping, answers, own, seed, CPU, place, init)[1]

        yield make


def test_it_explores_and_then_spends_its_labels_exactly(pebble):
    learner = pebble()
    rows = [learner.iterate(i) for i in range(4)]
    assert [row["labels"] for row in rows] == [0, 0, 15, 20]
    assert np.isnan([rows[0]["reward"], rows[1]["reward"]]).all()
    assert np.isfinite([rows[2]["reward"], rows[3]["reward"]]).all()
    assert learner.labels_per_session.tolist() == [15, 5]
    assert rows[0]["updates"] == 30 and rows[2]["updates"] == 50


def test_every_step_of_the_past_is_worth_what_the_reward_says_now(pebble):
    learner = pebble()
    for i in range(4):
        learner.iterate(i)
    episodes = learner.replay.trajectories()
    stored = learner.replay.sample(2000, np.random.default_rng(0))
    np.testing.assert_allclose(
        stored.rewards,
        learner.taught.model.reward(stored.obs, stored.actions),
        rtol=1e-4,
        atol=1e-4,
    )
    # teachers go by the true reward all the same
    angle = np.arctan2(episodes.obs[:, 1], episodes.obs[:, 0])
    true = -(angle**2 + 0.1 * episodes.obs[:, 2] ** 2 + 0.001 * episodes.actions[:, 0] ** 2)
    np.testing.assert_allclose(episodes.rewards, true, rtol=1e-3, atol=1e-3)


def test_an_iteration_that_is_cut_short_is_judged_by_its_own_steps(pebble):
    experience = ReplaySettings(
        steps=850, iteration_steps=250, evaluation_episodes=1, updates_per_step=0.1
    )
    learner = pebble(experience=experience)
    rows = [learner.iterate(i) for i in range(4)]
    predicted = learner.mean_predicted_rewards(4)
    assert np.isfinite(predicted).all()
    assert predicted[-1] == pytest.approx(rows[-1]["reward"], rel=1e-4)


def test_without_relabelling_the_past_keeps_the_first_reward(pebble):
    learner = pebble(relabel=False)
    for i in range(3):
        learner.iterate(i)
    first = learner.replay.sample(3000, np.random.default_rng(0))
    learner.iterate(3)
    now = learner.taught.model.reward(first.obs, first.actions)
    assert np.abs(now - first.rewards).max() > 1e-3
    stored = learner.replay._columns["rewards"][:500, 0]
    assert set(first.rewards.tolist()) & set(stored.tolist())


def test_the_critics_begin_anew_at_the_first_reward(pebble):
    learner = pebble(critic_updates=0)
    for i in range(2):
        learner.iterate(i)
    before = copy.deepcopy(learner.agent.critic.state_dict())
    steps = learner.agent._critic_optimizer.state_dict()["state"][0]["step"].item()
    assert steps == 30 + 50
    learner.iterate(2)
    after = learner.agent._critic_optimizer.state_dict()["state"][0]["step"].item()
    assert after == 50
    name, weight = next(iter(learner.agent.critic.named_parameters()))
    assert not torch.equal(before[name], weight)


def test_it_asks_about_the_newest_episodes_if_told_so(pebble):
    for recent in (1, None):
        learner = pebble(folder=f"recent{recent}", recent_episodes=recent)
        for i in range(3):
            learner.iterate(i)
        shown = learner.taught.answers.current().segments
        steps = learner.replay.trajectories().obs
        where = [
            int(np.flatnonzero((steps == shown.obs[i, 0]).all(1))[0]) for i in range(len(shown))
        ]
        # two iterations of 250 steps were there, in episodes of 200 and less
        assert (min(where) >= 400) is (recent == 1)


def test_stopped_anywhere_it_goes_on_as_never_stopped(pebble, tmp_path):
    whole = pebble("whole")
    rows = [whole.iterate(i) for i in range(4)]
    for stopped_after in (0, 1, 2):  # in the exploration, at its end, and while it learns
        folder = f"parts{stopped_after}"
        first = pebble(folder)
        for i in range(stopped_after + 1):
            first.iterate(i)
        state = copy.deepcopy(first.state_dict())
        (tmp_path / folder / run_files.STATE).touch()
        first.iterate(stopped_after + 1)  # and was killed before its state was written
        second = pebble(folder, resume=True)
        second.load_state_dict(state)
        rest = [second.iterate(i) for i in range(stopped_after + 1, 4)]
        np.testing.assert_equal(rest, rows[stopped_after + 1 :])
        for name, weights in whole.agent.policy.state_dict().items():
            assert torch.equal(weights, second.agent.policy.state_dict()[name])


def test_the_command_leaves_policy_reward_answers_and_pictures(run, tmp_path):
    outcome = run(f"{SMALL} p")
    assert outcome.code == 0, outcome.err
    for name in (
        "final_policy.params", "reward.params", "run.json", "metrics.csv", "learning_curve.png",
        "schedule.png", "preferences/preferences.jsonl", "replay/obs.npy",
    ):  # fmt: skip
        assert (tmp_path / "p" / name).stat().st_size > 0
    assert read_csv(tmp_path / "p/metrics.csv")[-1]["labels"] == "20"
    # what it learned can be learned from again
    assert (
        run("prefloop.cli reward --preferences p/preferences --reward_epochs 2 --out r").code == 0
    )
    sac = (
        "prefloop.cli sac --env Pendulum-v1 --reward p --init p/final_policy.params --steps 200 "
        "--iteration_steps 100 --evaluation_episodes 2 --out q"
    )
    outcome = run(sac)
    assert outcome.code == 0, outcome.err


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ("--env CartPole-v1", ["SAC needs continuous actions", "pref-ppo"]),
        ("--segment-length 400", ["--segment_length 400 is longer than any episode"]),
        (
            "--steps 500",
            [
                "500 steps of the run are too few; --steps 501 is enough",
                "2 of the iterations of 250",
                "to explore in",
            ],
        ),
        ("--labels 100000", ["--labels 100000 are more than"]),
        ("--exploration-steps 0", ["--exploration_steps must be above 0"]),
        ("--recent-episodes 0", ["--recent_episodes must be above 0"]),
        ("--ensemble 1", ["--queries disagreement needs an --ensemble of 2"]),
        (
            "--ensemble 1 --queries uniform --surf --surf_selection disagreement",
            ["--surf_selection disagreement needs an --ensemble of 2"],
        ),
        ("--queue 5 --schedule constant", ["--schedule does nothing with --queue"]),
        ("--teacher human", ["--teacher human and --run NAME go together"]),
    ],
)
def test_mistakes_end_in_sentences_before_anything_is_written(run, tmp_path, flags, words):
    assert_one_sentence(run(f"{SMALL} p {flags}"), *words)
    assert not (tmp_path / "p/run.json").exists()


@pytest.mark.parametrize("command", ["pebble", "sac"])
def test_episodes_that_may_never_end_are_refused_before_they_are_played(run, tmp_path, command):
    gym.register("Endless-v0", entry_point="gymnasium.envs.classic_control:PendulumEnv")
    flags = "--steps 200 --iteration-steps 100 --random-steps 50 --hidden-sizes 8 --batch-size 16"
    if command == "pebble":
        flags = SMALL.split("Pendulum-v1")[1].removesuffix("--out")
    line = f"prefloop.cli {command} --env Endless-v0 {flags} --out p"
    try:
        assert_one_sentence(run(line), "Endless-v0 has no time limit", "--horizon")
        assert not (tmp_path / "p/run.json").exists()
        assert run(f"{line} --horizon 50 --evaluation-episodes 1").code == 0
    finally:
        del gym.registry["Endless-v0"]


def test_where_there_is_too_little_to_ask_about_another_folder_takes_what_helps(run, tmp_path):
    line = SMALL.removesuffix(" --out")
    outcome = run(f"{line} --segment-length 200 --out p")
    assert_one_sentence(
        outcome, "gives only 1, of 2 segments", "(--iteration_steps), in another --out."
    )
    outcome = run(f"{line} --out p")
    assert_one_sentence(outcome, "choose another --out")
    outcome = run(f"{line} --out q")
    assert outcome.code == 0, outcome.err


@pytest.mark.parametrize("command", ["pebble", "sac", "pref-ppo"])
@pytest.mark.parametrize("steps", ["1", "100000"])
@pytest.mark.parametrize(
    ("env_id", "words"),
    [
        ("HalfCheetah-v3", "moved to the gymnasium-robotics"),
        ("dm_control/lqr-lqr_2_1-v0", "actions without bounds"),
    ],
)
def test_what_no_flag_mends_is_told_first(run, tmp_path, command, steps, env_id, words):
    """Neither has a time limit."""
    pytest.importorskip("dm_control")
    outcome = run(f"prefloop.cli {command} --env {env_id} --steps {steps} --out p")
    assert_one_sentence(outcome, words)
    assert not (tmp_path / "p").exists()


def test_a_teacher_who_never_decides_leaves_no_policy(run, tmp_path):
    outcome = run(f"{SMALL} p --teacher oracle --equal-within 1e9")
    assert_one_sentence(
        outcome, "No reward could be learned: of 20 queries 20 were answered with a tie"
    )
    assert not (tmp_path / "p/final_policy.params").exists()


def test_where_nothing_happens_little_is_asked(run, tmp_path):
    """An inverted pendulum stays where it fell, for most of each episode."""
    pytest.importorskip("mujoco")
    line = SMALL.replace("Pendulum-v1", "InvertedPendulum-v5")
    outcome = run(f"{line} p")
    assert outcome.code == 0, outcome.err
    asked = dataset.read(tmp_path / "p/preferences")
    moves = (np.ptp(asked.segments.obs, axis=1) > 0).any(axis=1)
    assert 0 < (~moves).sum() <= moves.sum() / 2  # they say what it is worth to have fallen
    assert asked.num_ties < len(asked) / 2
    said = read_json(tmp_path / "p/run.json")["learned_in"]["env_changes"]
    assert said == {"termination": "absorb", "absorbing_steps": 50}
    # where there is too little else, the rest is asked about, too: no run ends for it
    outcome = run(f"{line} q --termination absorb --labels 300")
    assert outcome.code == 0, outcome.err
    assert len(dataset.read(tmp_path / "q/preferences")) == 300


def test_actions_that_are_all_random_are_refused(run, tmp_path):
    outcome = run(f"{SMALL.replace('--random-steps 100', '--random-steps 5000')} p")
    assert_one_sentence(outcome, "steps would be random (--random_steps 5000)")


def test_many_ties_are_said(run, tmp_path):
    outcome = run(f"{SMALL} p --teacher oracle --equal-within 30")
    assert outcome.code == 0, outcome.err
    ties, answers = re.search(r"Note: (\d+) of (\d+) answers were ties", outcome.out).groups()
    assert int(answers) == 20 and 10 <= int(ties) < 20


def test_more_pairs_than_there_are_is_a_sentence(run, tmp_path):
    outcome = run(f"{SMALL} p --segment-length 200 --labels 20")
    assert_one_sentence(outcome, "fewer --labels, a shorter --segment_length")


def test_what_ends_early_goes_on_in_learning_and_not_in_evaluation(run, tmp_path):
    pytest.importorskip("mujoco")
    line = f"{SMALL.replace('Pendulum-v1', 'Hopper-v5 --no-absorb-termination')}"
    outcome = run(f"{line} p")
    assert outcome.code == 0, outcome.err
    assert "Learning in Hopper-v5 without early ends" in outcome.out
    assert not np.load(tmp_path / "p/replay/terminated.npy").any()
    assert float(read_csv(tmp_path / "p/metrics.csv")[0]["episode_length"]) < 1000
    goes_on = {"termination": "never", "fallen_steps": 100}
    assert dataset.read_metadata(tmp_path / "p/preferences")["env_changes"] == goes_on
    facts = read_json(tmp_path / "p/run.json")
    assert facts["env"] == "Hopper-v5" and "env_changes" not in facts
    assert facts["learned_in"] == {"env": "Hopper-v5", "env_changes": goes_on}
    # runs of earlier versions did not say so, and go on
    del facts["learned_in"]
    write_json(tmp_path / "p/run.json", facts)
    again = run(f"{line} p --resume")
    assert again.code == 0, again.err
    # what is evaluated later is the standard one, too
    assert run("prefloop.cli evaluate p/final_policy.params --episodes 2").code == 0
    kept = run(f"{line} q --keep-termination")
    assert kept.code == 0, kept.err
    assert "may then teach to survive or to give up" in kept.out
    assert np.load(tmp_path / "q/replay/terminated.npy").any()
    assert "learned_in" not in read_json(tmp_path / "q/run.json")


def test_what_ends_early_is_absorbed_in_learning_alone(run, tmp_path):
    pytest.importorskip("mujoco")
    line = f"{SMALL.replace('Pendulum-v1', 'Hopper-v5')} p --absorb-termination"
    outcome = run(line)
    assert outcome.code == 0, outcome.err
    assert_absorbed(tmp_path / "p")
    outcome = run(f"{line} --keep-termination")
    assert_one_sentence(outcome, "give either --keep_termination or --absorb_termination")
    outcome = run(f"{line} --termination never")
    assert_one_sentence(outcome, "--absorb_termination does nothing with --termination never")


def test_episodes_that_it_learns_from_are_cut_and_judged_whole(run, tmp_path):
    line = f"{SMALL} p --learning-horizon 50"
    outcome = run(line)
    assert outcome.code == 0, outcome.err
    assert "cut after 50 steps (--learning_horizon)" in outcome.out
    # four in each of four iterations; the fifth is cut with the iteration
    assert np.load(tmp_path / "p/replay/ends.npy").sum() == 16
    rows = read_csv(tmp_path / "p/metrics.csv")
    assert float(rows[-1]["episode_length"]) == 200
    # those four, not those alone that could have lasted 200 steps
    assert [row["episodes"] for row in rows] == ["4"] * 4
    facts = read_json(tmp_path / "p/run.json")
    assert "env_changes" not in facts
    assert facts["learned_in"] == {"env": "Pendulum-v1", "env_changes": {"horizon": 50}}
    assert_one_sentence(run(f"{line} --resume --learning-horizon 60"), "learning_horizon")
    assert_one_sentence(
        run(f"{SMALL} q --learning-horizon 10"), "--segment_length 20", "at most 10"
    )
    assert_one_sentence(
        run(f"{SMALL} q --learning-horizon 0"), "--learning_horizon must be above 0"
    )
    assert not (tmp_path / "q").exists()


def test_episodes_that_it_learns_from_may_be_longer_than_those_it_is_judged_by(run, tmp_path):
    line = SMALL.replace("--iteration-steps 250", "--iteration-steps 500 --learning-horizon 400")
    outcome = run(f"{line} p --segment-length 300")
    assert outcome.code == 0, outcome.err
    said = "Episodes that it learns from go on beyond 200 steps, to 400 steps (--learning_horizon)."
    assert said in outcome.out and " cut " not in outcome.out
    assert set(dataset.read(tmp_path / "p/preferences").segments.lengths) == {300}
    rows = read_csv(tmp_path / "p/metrics.csv")
    assert [(row["episodes"], row["episode_length"]) for row in rows] == [("1", "200.0")] * 2
    outcome = run(f"{line} q --segment-length 401")
    assert_one_sentence(outcome, "--segment_length 401 is longer", "at most 400 steps")


def test_without_exploration_actions_are_random_until_the_first_questions(pebble):
    exploration = ExplorationSettings(steps=500, states=64, explores=False)
    learner = pebble(exploration=exploration)
    rows = [learner.iterate(i) for i in range(3)]
    assert [row["updates"] for row in rows] == [0, 0, 50]


def test_or_a_policy_that_was_given_acts_as_it_is_until_then(pebble, run, tmp_path):
    outcome = run(f"{SMALL} given")
    assert outcome.code == 0, outcome.err
    exploration = ExplorationSettings(steps=500, states=64, explores=False)
    init = tmp_path / "given" / "final_policy.params"
    learner = pebble(exploration=exploration, init=init)
    before = copy.deepcopy(learner.agent.policy.state_dict())
    rows = [learner.iterate(i) for i in range(2)]
    assert [row["updates"] for row in rows] == [0, 0]
    assert learner.agent.is_ready  # none of its steps was random
    for name, weights in learner.agent.policy.state_dict().items():
        assert torch.equal(weights, before[name])
    assert learner.iterate(2)["updates"] == 50


def test_asked_for_before_there_are_enough_pairs_it_asks_about_those(pebble):
    learner = pebble(questions=QuerySettings(labels=20, segment_length=20, queue=10))
    learner.stepping.begin(0, 0)
    learner.agent.begin(0, 0)
    asked = []
    for _ in range(60):
        made = learner.stepping.act(learner.agent.act, 1)
        learner.replay.add(
            made.obs[0], made.applied[0], made.rewards[0], made.terminated[0], made.truncated[0],
            ~made.valid[0], true_rewards=made.rewards[0],
        )  # fmt: skip
        learner.ask_now()
        asked.append(learner.taught.answers.shown)
    # segments of 20 steps from one episode: a single one makes no pair
    assert asked[19] == 0 < asked[30] and asked[-1] == 20
    assert learner.labels_left == 0


SURF = SurfSettings(surf=True, confidence=0.5, unlabelled_selection="disagreement")
REED = ReedSettings(reed=True, reed_updates=2, reed_batch_size=16)


@pytest.mark.parametrize(
    "switch",
    [
        {"auxiliary": AuxiliarySettings(surf=SURF)},
        {"auxiliary": AuxiliarySettings(reed=REED)},
        {"rune": RuneSettings(rune_beta=1.0)},
    ],
)
def test_each_switch_changes_what_is_learned_and_goes_on_from_a_state(pebble, tmp_path, switch):
    plain, learner = pebble("plain"), pebble("switched", **switch)
    for i in range(3):
        plain.iterate(i), learner.iterate(i)
    state = copy.deepcopy(learner.state_dict())
    rows = plain.iterate(3), learner.iterate(3)
    assert rows[0]["critic_loss"] != rows[1]["critic_loss"]
    (tmp_path / "switched" / run_files.STATE).touch()
    again = pebble("switched", resume=True, **switch)
    again.load_state_dict(state)
    assert again.iterate(3) == pytest.approx(rows[1], nan_ok=True, abs=0)
    for a, b in zip(
        learner.taught.model.parameters(), again.taught.model.parameters(), strict=True
    ):
        assert torch.equal(a, b)


def test_where_nothing_new_was_said_a_resumed_run_does_not_fit_either(pebble, tmp_path):
    questions = QuerySettings(labels=20, segment_length=20, queue=20)
    learner = pebble(questions=questions)
    for i in range(3):
        learner.iterate(i)
    state = copy.deepcopy(learner.state_dict())
    row = learner.iterate(3)
    assert row["labels"] == 20 and row["reward_epochs"] == 0
    (tmp_path / "run" / run_files.STATE).touch()
    again = pebble(questions=questions, resume=True)
    again.load_state_dict(state)
    assert again.iterate(3) == pytest.approx(row, nan_ok=True, abs=0)


def test_the_reward_is_on_a_scale_of_one_over_all_that_was_done(pebble):
    learner = pebble()
    for i in range(3):
        learner.iterate(i)
    stored = learner.replay.sample(5000, np.random.default_rng(0)).rewards
    # drawn when there were 500 of the 750 steps
    assert abs(stored.mean()) < 0.4 and 0.6 < stored.std() < 1.5
    asked = pebble("asked", scale="asked")
    for i in range(3):
        asked.iterate(i)
    assert asked.taught.model.reward_std != learner.taught.model.reward_std


def test_whether_pictures_move_is_looked_at_without_copies_of_all():
    frames = np.zeros((40, 13, 32, 32), np.uint8)
    frames[7, 9] = 1
    obs = np.moveaxis(np.lib.stride_tricks.sliding_window_view(frames, 4, axis=1), -1, 2)
    segments = Segments(
        obs=obs,
        actions=np.zeros((40, 10), np.int64),
        mask=np.ones((40, 10), bool),
        rewards=np.zeros((40, 10), np.float32),
        policy=np.zeros(40, np.int64),
        first_step=np.zeros(40, np.int64),
        frame_stack=4,
    )
    tracemalloc.start()
    try:
        found = moving(segments)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert np.flatnonzero(found).tolist() == [7]
    assert peak < frames.nbytes / 2  # where each frame was copied four times, and compared


def test_what_was_skipped_does_not_say_that_lengths_differ():
    """Its segments are not fitted, and a reward of segments of one length has mean 0."""
    rng = np.random.default_rng(0)
    segments = random_segments(3, 4, rng, lengths=np.array([4, 4, 2]))
    said = preferences(segments, (0, 1, 1.0), (2, 0, np.nan))
    answers = SimpleNamespace(shown=2, current=lambda: said)
    own = RewardSettings(hidden_sizes=(8,), epochs=3, held_out=0)
    model = make_model(Spaces((3,), "float32", True, 2), own, 0)
    taught = TaughtReward(model, answers, QuerySettings(segment_length=4), own, 0)
    taught.fit()
    steps = rng.normal(size=(500, 3)).astype(np.float32) + 1, np.zeros(500, np.int64)
    taught.rescale(*steps)
    rewards = taught.model.reward(*steps)
    assert rewards.mean() == pytest.approx(0, abs=1e-4)
    assert rewards.std() == pytest.approx(1, abs=1e-4)
