import dataclasses
import json

import numpy as np
import pytest
import torch
from conftest import assert_one_sentence

from prefloop import checkpoints, policies, run_files
from prefloop.agents.settings import PPOSettings
from prefloop.data import dataset
from prefloop.errors import UserError
from prefloop.files import read_csv
from prefloop.rewards.settings import RewardSettings
from prefloop.teachers.settings import TeacherSettings
from prefloop.teachers.simulated import SimulatedTeacher
from prefloop.training import methods, taught_reward
from prefloop.training.answers import SimulatedAnswers
from prefloop.training.settings import ExperienceSettings, PrefPPOSettings, QuerySettings

CPU = torch.device("cpu")
ENV = "Pendulum-v1"
SETTINGS = PrefPPOSettings(
    experience=ExperienceSettings(
        steps=4 * 1200, iteration_steps=1200, num_envs=4, rollout_steps=150
    ),
    questions=QuerySettings(labels=30, segment_length=20, candidates=4, schedule="constant"),
    agent=PPOSettings(hidden_sizes=(16,)),
    reward=RewardSettings(ensemble=2, epochs=5, hidden_sizes=(8,)),
)


class CountingTeacher:
    """Notes how many queries it was asked each time."""

    def __init__(self, teacher=None):
        self.teacher, self.asked = teacher or SimulatedTeacher(), []

    def label(self, queries):
        self.asked.append(len(queries))
        return self.teacher.label(queries)


def make(writer, settings=SETTINGS, teacher=None, seed=0):
    answers = SimulatedAnswers(teacher or CountingTeacher(), writer)
    stepping = methods.stepping_in(ENV, settings.experience.num_envs)
    _, learner = methods.pref_ppo(ENV, stepping, answers, settings, seed, CPU)
    return learner


def writing(path):
    return dataset.writing(path, {"env": "Pendulum-v1"})


def train(path, settings=SETTINGS, teacher=None):
    with writing(path) as writer:
        learner = make(writer, settings, teacher)
        learner.teacher = learner.taught.answers._teacher
        rows = [learner.iterate(i) for i in range(learner.plan.iterations)]
    return learner, rows


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    path = tmp_path_factory.mktemp("unbroken") / "preferences"
    return (*train(path), path)


def same(first, second):
    states = [learner.state_dict() for learner in (first, second)]
    for part in (lambda state: state["ppo"]["policy"], lambda state: state["model"]):
        for a, b in zip(*(part(state).values() for state in states), strict=True):
            if not torch.equal(a, b):
                return False
    return True


def lines(path):
    return [json.loads(line) for line in (path / "preferences.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("env_id", ["HalfCheetah-v5", "dm_control/cartpole-swingup-v0"])
def test_an_episode_in_which_the_simulator_diverged_is_dropped_and_counted(run, tmp_path, env_id):
    pytest.importorskip("dm_control")
    outcome = run(
        f"prefloop.cli pref-ppo --env {env_id} --wrappers dice:Diverges --horizon 12 --steps 300 "
        "--rollout-steps 25 --num-envs 2 --iteration-steps 100 --labels 12 --segment-length 5 "
        "--hidden-sizes 8 --reward-hidden-sizes 8 --reward-epochs 2 --out p"
    )
    assert outcome.code == 0, outcome.err
    rows = read_csv(tmp_path / "p/metrics.csv")
    assert len(rows) == 3 and all(int(row["diverged"]) > 0 for row in rows)
    asked = dataset.read(tmp_path / "p/preferences").segments
    assert np.abs(asked.obs).max() < 1e6


def test_it_spends_exactly_its_labels(unbroken):
    learner, rows, path = unbroken
    assert [row["labels"] for row in rows] == [10, 20, 30, 30]
    assert [row["shown"] for row in rows] == [10, 20, 30, 30]
    assert learner.teacher.asked == [10, 10, 10]
    assert [line["iteration"] for line in lines(path)] == [0] * 10 + [1] * 10 + [2] * 10
    assert len(dataset.read(path).answered) == 30


def test_the_first_iteration_only_acts(unbroken):
    _, rows, _ = unbroken
    assert np.isnan([rows[0]["reward"], rows[0]["policy_loss"]]).all()
    for row in rows[1:]:
        assert np.isfinite([row["reward"], row["policy_loss"], row["reward_correlation"]]).all()
    assert rows[-1]["reward_epochs"] == 0  # no session after the last
    assert [row["steps"] for row in rows] == [1200, 2400, 3600, 4800]
    assert all(row.keys() == rows[0].keys() for row in rows)


def test_questions_are_about_what_was_just_done(unbroken):
    _, _, path = unbroken
    prefs = dataset.read(path)
    assert set(prefs.segments.lengths) == {20}
    assert (prefs.first != prefs.second).all()
    # an oracle's answers
    returns = prefs.segments.returns
    assert ((returns[prefs.second] > returns[prefs.first]) == (prefs.labels == 1)).all()


def test_the_learned_reward_follows_the_true_one(tmp_path):
    settings = dataclasses.replace(
        SETTINGS,
        experience=dataclasses.replace(SETTINGS.experience, steps=2 * 1200),
        questions=dataclasses.replace(SETTINGS.questions, labels=200),
        reward=RewardSettings(ensemble=2, epochs=60, hidden_sizes=(32,), learning_rate=0.01),
    )
    _, rows = train(tmp_path / "preferences", settings)
    assert rows[0]["held_out_accuracy"] > 0.8
    assert rows[0]["reward_correlation"] > 0.7


def test_refits_about_what_is_new_go_on_after_a_stop_as_without_it(tmp_path):
    settings = dataclasses.replace(
        SETTINGS, questions=dataclasses.replace(SETTINGS.questions, refit="new")
    )
    finished, rows = train(tmp_path / "whole", settings)
    with writing(tmp_path / "preferences") as writer:
        learner = make(writer, settings)
        learner.iterate(0)
        learner.iterate(1)
        checkpoints.save(tmp_path / "state.pt", learner.state_dict())
    with writing(tmp_path / "preferences") as writer:
        resumed = make(writer, settings)
        resumed.load_state_dict(checkpoints.load(tmp_path / "state.pt"))
        again = [resumed.iterate(i) for i in range(2, 4)]
    for row, expected in zip(again, rows[2:], strict=True):
        np.testing.assert_equal(row, expected)
    assert same(resumed, finished)
    assert not same(finished, train(tmp_path / "all")[0]), "it is another fit"


@pytest.mark.parametrize("stopped_in", [0, 1])
@pytest.mark.parametrize("lost", [0, 4])
def test_answers_of_a_stopped_iteration_are_not_asked_again(
    tmp_path, monkeypatch, unbroken, stopped_in, lost
):
    finished, rows, whole = unbroken
    path, teacher = tmp_path / "preferences", CountingTeacher()

    def stop(*args):
        raise KeyboardInterrupt

    with writing(path) as writer:
        learner = make(writer, teacher=teacher)
        for i in range(stopped_in):
            learner.iterate(i)
        checkpoints.save(tmp_path / "state.pt", learner.state_dict())
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(taught_reward, "fit", stop)
            learner.iterate(stopped_in)
    if lost:  # the kill came while the answers were written
        file = path / "preferences.jsonl"
        kept = file.read_text().splitlines(keepends=True)[:-lost]
        file.write_text("".join(kept) + '{"first": 1, "sec')
    with writing(path) as writer:
        resumed = make(writer, teacher=teacher, seed=0)
        resumed.load_state_dict(checkpoints.load(tmp_path / "state.pt"))
        again = [resumed.iterate(i) for i in range(stopped_in, 4)]
    assert lines(path) == lines(whole)
    for row, expected in zip(again, rows[stopped_in:], strict=True):
        np.testing.assert_equal(row, expected)
    assert same(resumed, finished)
    if not lost:
        assert teacher.asked == [10, 10, 10]


def test_skipped_queries_are_shown_but_not_answered(tmp_path, unbroken):
    typical = float(np.median(dataset.read(unbroken[2]).segments.returns))
    teacher = CountingTeacher(SimulatedTeacher(skip_below=typical))
    learner, rows = train(tmp_path / "preferences", teacher=teacher)
    prefs = dataset.read(tmp_path / "preferences")
    skipped = int(np.isnan(prefs.labels).sum())
    assert skipped > 3
    assert rows[-1]["shown"] == len(prefs) == sum(teacher.asked) == learner.taught.answers.shown
    assert rows[-1]["labels"] == len(prefs) - skipped <= 30
    # what was skipped in one session is made up for in the next
    answered = [row["labels"] for row in rows]
    assert teacher.asked == [10, 20 - answered[0], 30 - answered[1]]


def test_a_teacher_who_sees_no_difference_teaches_nothing(tmp_path):
    with writing(tmp_path / "preferences") as writer:
        learner = make(writer, teacher=CountingTeacher(SimulatedTeacher(equal_within=1e9)))
        rows = [learner.iterate(i) for i in range(learner.plan.iterations - 1)]
        assert not learner.taught.fitted
        assert rows[-1]["labels"] == 30
        assert np.isnan([row["reward"] for row in rows]).all()
        # all has been asked: from here on there is nothing to improve on
        with pytest.raises(UserError, match="of 30 queries 30 were answered with a tie"):
            learner.iterate(learner.plan.iterations - 1)


@pytest.mark.parametrize("name", ["skip", "equal"])
def test_thresholds_are_set_also_where_no_first_episode_is_as_long_as_a_segment(tmp_path, name):
    stepping = methods.stepping_in("CartPole-v1", 4)
    falls = policies.make_policy(stepping.spaces, (8,))
    with methods.simulated_answers(
        "CartPole-v1",
        stepping,
        TeacherSettings(teacher=name),
        400,
        lambda: falls,
        0,
        tmp_path,
        "test",
    ):
        pass
    teacher = dataset.read_metadata(tmp_path / run_files.PREFERENCES)["teacher"]
    assert 0 < teacher["skip_below" if name == "skip" else "equal_within"] < 60


def test_same_seed_same_run(tmp_path, unbroken):
    learner, rows = train(tmp_path / "again")
    np.testing.assert_equal(rows, unbroken[1])
    assert same(learner, unbroken[0])


def test_with_a_queue_so_many_are_asked_each_time_until_the_labels_are_spent(tmp_path):
    questions = dataclasses.replace(SETTINGS.questions, queue=8, labels=20)
    learner, rows = train(tmp_path / "p", dataclasses.replace(SETTINGS, questions=questions))
    # after the first answers at once, so that nobody waits for the next session
    assert learner.teacher.asked == [8, 8, 4]
    assert [row["labels"] for row in rows] == [16, 20, 20, 20]
    # and where no answer is new nothing is fitted
    assert [row["reward_epochs"] for row in rows] == [5, 5, 0, 0]
    assert np.isnan([row["held_out_accuracy"] for row in rows]).tolist() == [False] * 2 + [True] * 2
    learner.save(tmp_path)
    assert not (tmp_path / "schedule.png").exists()  # there is no plan to draw


@pytest.mark.parametrize("refit", ["all", "new"])
def test_a_session_that_brings_no_answer_fits_anew_unless_what_is_new_is_learned_from(
    tmp_path, refit
):
    class Tiring(CountingTeacher):
        def label(self, queries):
            labels = super().label(queries)
            return labels if len(self.asked) == 1 else np.full_like(labels, np.nan)

    questions = dataclasses.replace(SETTINGS.questions, refit=refit)
    settings = dataclasses.replace(SETTINGS, questions=questions)
    _, rows = train(tmp_path / "p", settings, Tiring())
    assert [row["labels"] for row in rows] == [10, 10, 10, 10]
    assert [row["reward_epochs"] for row in rows[:2]] == [5, 5 if refit == "all" else 0]


def test_asked_in_the_middle_it_asks_about_what_it_did_last(tmp_path):
    questions = dataclasses.replace(SETTINGS.questions, queue=8, labels=100)
    with writing(tmp_path / "p") as writer:
        learner = make(writer, dataclasses.replace(SETTINGS, questions=questions))
        learner.ask_now()  # there is nothing yet
        assert learner.taught.answers.shown == 0 and learner.labels_left == 100
        learner.iterate(0)
        shown = learner.taught.answers.shown
        learner.ask_now()
        assert learner.taught.answers.shown == shown + 8
        assert learner.labels_left == 100 - (shown + 8)
        assert learner.mean_predicted_rewards(1) is None


def test_steps_are_named_as_they_were_asked_for(run):
    line = "prefloop.cli pref-ppo --env Pendulum-v1 --steps 5000 --iteration_steps 5000 --labels 20"
    outcome = run(f"{line} --out p")
    assert_one_sentence(outcome, "The 5000 steps of the run are too few; --steps 6144 is enough")


def test_one_iteration_is_too_few(tmp_path):
    short = dataclasses.replace(SETTINGS.experience, steps=1200)
    settings = dataclasses.replace(SETTINGS, experience=short)
    with (
        writing(tmp_path / "preferences") as writer,
        pytest.raises(UserError, match="1200 steps of the run are too few; --steps 1800 is enough"),
    ):
        make(writer, settings)
