import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefloop.queries.schedules import SCHEDULES, label_schedule


@given(st.sampled_from(list(SCHEDULES)), st.integers(1, 100_000), st.integers(1, 2000))
def test_no_label_is_lost_or_made_up(schedule, num_labels, num_sessions):
    labels = label_schedule(schedule, num_labels, num_sessions)
    assert labels.shape == (num_sessions,)
    assert labels.dtype == np.int64
    assert labels.sum() == num_labels
    assert (labels >= 0).all()


@given(st.sampled_from(list(SCHEDULES)), st.integers(1, 3000), st.integers(1, 300))
def test_shares_do_not_grow(schedule, num_labels, num_sessions):
    labels = label_schedule(schedule, num_labels, num_sessions)
    # rounding may move one label to a session's neighbour
    assert (labels - np.minimum.accumulate(labels)).max() <= 1


@pytest.mark.parametrize(
    "schedule, expected",
    [
        ("constant", [250, 250, 250, 250]),
        ("linear", [400, 300, 200, 100]),  # 1, 3/4, 1/2, 1/4
        # 1, 0.4724, 0.2231, 0.1054; their sum 1.8009
        ("exponential", [555, 263, 123, 59]),
        ("hyperbolic", [480, 240, 160, 120]),  # 1, 1/2, 1/3, 1/4; their sum 25/12
        ("harmonic", [480, 240, 160, 120]),  # the same, but of 4 sessions only
    ],
)
def test_shares_by_hand(schedule, expected):
    assert label_schedule(schedule, 1000, 4).tolist() == expected


@pytest.mark.parametrize(
    "schedule, last",
    [("constant", 1), ("linear", 0.001), ("exponential", 0.05), ("hyperbolic", 0.2)],
)
def test_where_each_ends(schedule, last):
    labels = label_schedule(schedule, 10**9, 1000)
    assert labels[-1] / labels[0] == pytest.approx(last, rel=0.01)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_fewer_labels_than_sessions(schedule):
    labels = label_schedule(schedule, 3, 10)
    assert labels.sum() == 3
    assert set(labels.tolist()) <= {0, 1}


def test_one_session_spends_all():
    assert [label_schedule(schedule, 7, 1).tolist() for schedule in SCHEDULES] == [[7]] * len(
        SCHEDULES
    )


def test_misuse():
    with pytest.raises(ValueError, match=r"must be one of constant, .*, not 'cosine'"):
        label_schedule("cosine", 10, 2)
    for num_labels, num_sessions in ((0, 2), (5, 0), (-1, 3)):
        with pytest.raises(ValueError, match=f"{num_labels} labels can't be divided"):
            label_schedule("linear", num_labels, num_sessions)


def test_in_a_longer_run_the_harmonic_one_begins_as_early():
    short, long = (label_schedule("harmonic", 1000, n) for n in (10, 100))
    # 1 / H(10) and 1 / H(100): half of what a share of the run would make a tenth
    assert (short[0], long[0]) == (341, 193)
    assert (short[1], long[1]) == (171, 96)
    hyperbolic = [label_schedule("hyperbolic", 1000, n)[0] for n in (10, 100)]
    assert hyperbolic[0] > 8 * hyperbolic[1]
