import dataclasses
import inspect
import json

import numpy as np
import pytest
from made_up import make_segments, random_segments

from prefloop.data.preferences import Queries
from prefloop.data.segments import concatenate
from prefloop.teachers import simulated
from prefloop.teachers.settings import TeacherSettings
from prefloop.teachers.simulated import PRESETS, SimulatedTeacher, preset
from prefloop.teachers.teacher import Teacher

NAN = float("nan")


def with_returns(*returns):
    """Segments of one step each; their observations tell them apart."""
    rewards = np.array(returns, dtype=np.float64)[:, None]
    obs = np.arange(len(returns), dtype=np.float64)[:, None, None]
    return make_segments(obs, np.zeros((len(returns), 1)), rewards=rewards)


def queries(segments, *pairs):
    return Queries(segments, *np.array(pairs).T)


def many(difference, num, rewards=0.0):
    """Distinct queries whose second return is higher by `difference`."""
    segments = with_returns(*[rewards] * num, *[rewards + difference] * num)
    return Queries(segments, np.arange(num), num + np.arange(num))


def test_it_is_a_teacher():
    teacher: Teacher = SimulatedTeacher()  # what a type checker holds it to
    asked, offered = (inspect.signature(cls.label) for cls in (Teacher, SimulatedTeacher))
    assert asked == offered
    labels = teacher.label(many(1.0, 3))
    assert (labels.dtype, labels.shape) == (np.float64, (3,))


def test_the_oracle_never_errs():
    segments = with_returns(-2, 1, 1, 1.001)
    labels = SimulatedTeacher().label(queries(segments, (0, 1), (1, 0), (1, 2), (2, 3), (3, 2)))
    assert labels.tolist() == [1, 0, 0.5, 1, 0]


def test_only_steps_count():
    segments = make_segments(
        np.zeros((2, 3, 1)), np.zeros((2, 3)), np.array([3, 1]), np.array([[1, 1, 1], [2, 9, 9]])
    )
    assert SimulatedTeacher().label(queries(segments, (0, 1), (1, 0))).tolist() == [0, 1]


@pytest.mark.parametrize("myopia, label", [(1.0, 0.0), (0.5, 1.0)])
def test_a_myopic_teacher_sees_the_end(myopia, label):
    # returns 6 and 5; with 0.5: 4/4 + 1/2 + 1 = 2.5 and 0 + 1/2 + 4 = 4.5
    segments = make_segments(
        np.zeros((2, 3, 1)), np.zeros((2, 3)), rewards=np.array([[4, 1, 1], [0, 1, 4]])
    )
    assert SimulatedTeacher(myopia=myopia).label(queries(segments, (0, 1))).tolist() == [label]


def test_myopia_begins_at_the_last_step_not_in_the_padding():
    # judged by 0.5: 3/2 + 2 = 3.5 (of 2 steps), and 3/4 + 2/2 + 1 = 2.75
    rewards = np.array([[3, 2, 0], [3, 2, 1]])
    segments = make_segments(
        np.zeros((2, 3, 1)), np.zeros((2, 3)), np.array([2, 3]), rewards=rewards
    )
    assert SimulatedTeacher(myopia=0.5).label(queries(segments, (0, 1))).tolist() == [0]
    assert SimulatedTeacher().label(queries(segments, (0, 1))).tolist() == [1]


@pytest.mark.parametrize(
    "rationality, difference, probability",
    [(1.0, 0.0, 0.5), (1.0, 2.0, 0.8808), (0.5, 2.0, 0.7311), (2.0, -1.0, 0.1192)],
)
def test_errors_follow_the_bradley_terry_model(rationality, difference, probability):
    labels = SimulatedTeacher(rationality=rationality).label(many(difference, 20_000))
    assert set(labels.tolist()) == {0, 1}
    assert labels.mean() == pytest.approx(probability, abs=4 * 0.5 / np.sqrt(20_000))


def test_large_differences_stay_finite():
    teacher = SimulatedTeacher(rationality=1.0)
    assert teacher.label(many(1e6, 50)).tolist() == [1] * 50
    assert teacher.label(many(-1e6, 50)).tolist() == [0] * 50


@pytest.mark.parametrize("mistakes", [0.0, 0.1, 0.5, 1.0])
def test_some_answers_are_turned_round(mistakes):
    labels = SimulatedTeacher(mistakes=mistakes).label(many(1.0, 20_000))
    assert (labels == 0).mean() == pytest.approx(mistakes, abs=4 * 0.5 / np.sqrt(20_000))


def test_a_mistake_makes_no_difference_to_ties_and_skips():
    teacher = SimulatedTeacher(mistakes=1.0, equal_within=1.0, skip_below=0.0)
    segments = with_returns(-5, -3, 2, 2.5, 9)
    labels = teacher.label(queries(segments, (0, 1), (2, 3), (2, 4), (4, 0)))
    np.testing.assert_array_equal(labels, [NAN, 0.5, 0, 1])


def test_two_bad_segments_are_skipped():
    segments = with_returns(-2, -1, 0, 1)
    labels = SimulatedTeacher(skip_below=0).label(
        queries(segments, (0, 1), (1, 0), (0, 2), (1, 3), (3, 0), (2, 3))
    )
    np.testing.assert_array_equal(labels, [NAN, NAN, 1, 1, 0, 1])


def test_similar_segments_are_equal():
    segments = with_returns(0, 1, 2, 3.5)
    labels = SimulatedTeacher(equal_within=1.5).label(
        queries(segments, (0, 1), (2, 1), (2, 3), (0, 2), (3, 0))
    )
    assert labels.tolist() == [0.5, 0.5, 1, 1, 0]  # 1.5 apart is not within 1.5


@pytest.mark.parametrize("knobs", [{"rationality": 1.0}, {"mistakes": 0.5}])
def test_the_same_queries_get_the_same_answers(knobs):
    asked = many(0.5, 200)
    fresh, old = SimulatedTeacher(**knobs, seed=3), SimulatedTeacher(**knobs, seed=3)
    for i in range(4):
        old.label(many(0.1 * i, 10 + i))
    labels = fresh.label(asked)
    np.testing.assert_array_equal(labels, old.label(asked))
    np.testing.assert_array_equal(labels, fresh.label(asked))
    assert 0 < labels.mean() < 1
    assert (labels != SimulatedTeacher(**knobs, seed=4).label(asked)).any()
    others = dataclasses.replace(asked.segments, obs=asked.segments.obs + 1)
    assert (labels != fresh.label(Queries(others, asked.first, asked.second))).any()


def test_padding_changes_no_answer():
    rng = np.random.default_rng(0)
    segments = random_segments(40, 5, rng)
    padded = concatenate([segments, random_segments(1, 9, rng)])
    teacher = SimulatedTeacher(rationality=0.5, mistakes=0.2, myopia=0.9)
    labels = [
        teacher.label(Queries(s, np.arange(20), 20 + np.arange(20))) for s in (segments, padded)
    ]
    np.testing.assert_array_equal(*labels)


def test_thresholds_stay_as_the_policy_gets_better():
    teacher = SimulatedTeacher(skip_below=1.0, equal_within=0.5)
    first_session = queries(with_returns(0.2, 0.9, 1.3, 2.0), (0, 1), (1, 2), (2, 3))
    before = teacher.label(first_session)
    np.testing.assert_array_equal(before, [NAN, 0.5, 1])
    for good in (10, 100, 1000):
        teacher.label(queries(with_returns(good, 2 * good), (0, 1)))
        np.testing.assert_array_equal(teacher.label(first_session), before)
    with pytest.raises(dataclasses.FrozenInstanceError):
        teacher.skip_below = 2.0


RETURNS = np.array([-10.0, 0.0, 30.0])  # a tenth of their range is 4


@pytest.mark.parametrize(
    "name, knobs",
    [
        ("oracle", {}),
        ("stoc", {"rationality": 1.0}),
        ("mistake", {"mistakes": 0.1}),
        ("skip", {"skip_below": -6.0}),
        ("equal", {"equal_within": 4.0}),
        ("myopic", {"myopia": 0.9}),
    ],
)
def test_presets(name, knobs):
    assert preset(name, RETURNS, seed=5) == SimulatedTeacher(**knobs, seed=5)


def test_every_preset_is_tested():
    assert set(PRESETS) == {"oracle", "stoc", "mistake", "skip", "equal", "myopic"}


def test_a_teacher_costs_one_entry(monkeypatch):
    more = {**PRESETS, "harsh": {"mistakes": 0.5}, "picky": lambda low, high: {"skip_below": high}}
    monkeypatch.setattr(simulated, "PRESETS", more)
    assert preset("harsh", seed=3) == SimulatedTeacher(mistakes=0.5, seed=3)
    assert preset("picky", RETURNS) == SimulatedTeacher(skip_below=30.0)
    with pytest.raises(ValueError, match=r"must be one of oracle, .*, harsh, picky, not 'human'"):
        preset("human")


def test_every_knob_can_be_set_by_hand():
    knobs = {field.name for field in dataclasses.fields(SimulatedTeacher)} - {"seed"}
    values = dict.fromkeys(knobs, 0.5)
    assert TeacherSettings(**values).overrides == values
    assert TeacherSettings().overrides == {}
    with pytest.raises(ValueError, match="--mistakes must be between 0 and 1, not 2"):
        TeacherSettings(mistakes=2)


@pytest.mark.parametrize("name", ["skip", "equal"])
@pytest.mark.parametrize("returns", [None, np.zeros(0)])
def test_presets_that_need_returns(name, returns):
    with pytest.raises(ValueError, match=f"teacher '{name}' needs returns"):
        preset(name, returns)


def test_no_such_preset():
    with pytest.raises(ValueError, match=r"must be one of oracle, .*, not 'human'"):
        preset("human")


@pytest.mark.parametrize(
    "knobs",
    [
        {"rationality": 0.0},
        {"rationality": -1.0},
        {"rationality": NAN},
        {"myopia": 0.0},
        {"myopia": 1.1},
        {"myopia": NAN},
        {"mistakes": -0.1},
        {"mistakes": 1.1},
        {"mistakes": NAN},
        {"equal_within": -1.0},
        {"equal_within": NAN},
        {"skip_below": NAN},
    ],
)
def test_teachers_that_can_not_be(knobs):
    ((name, value),) = knobs.items()
    with pytest.raises(ValueError, match=f"--{name} must be .*, not {value}"):
        SimulatedTeacher(**knobs)


def test_facts_are_json():
    facts = SimulatedTeacher(mistakes=0.1, seed=2).facts()
    assert json.loads(json.dumps(facts, allow_nan=False)) == {
        "rationality": "inf",
        "myopia": 1.0,
        "mistakes": 0.1,
        "skip_below": "-inf",
        "equal_within": 0.0,
        "seed": 2,
    }
