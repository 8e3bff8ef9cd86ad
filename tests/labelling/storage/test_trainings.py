import uuid

import pytest
from people import RUN, make_run

from prefloop.labelling.server.storage.errors import ConflictError, NotFoundError
from prefloop.labelling.server.storage.trainings import ALIVE, NOTHING_WISHED

ONE, OTHER = uuid.UUID(int=1), uuid.UUID(int=2)
STATE = {"phase": "learning", "steps": 100}


def test_a_trainer_is_heard_and_told_what_is_wished(store, clock):
    make_run(store)
    assert store.trainings.get(RUN) is None
    with pytest.raises(NotFoundError, match="No program trains"):
        store.trainings.wish(RUN, "pause")
    assert store.trainings.tell(RUN, ONE, STATE).wishes == NOTHING_WISHED
    for wish, expected in [
        ("pause", {"paused": True, "stop": False, "asks": 0}),
        ("ask", {"paused": True, "stop": False, "asks": 1}),
        ("go-on", {"paused": False, "stop": False, "asks": 1}),
        ("ask", {"paused": False, "stop": False, "asks": 2}),
        ("pause", {"paused": True, "stop": False, "asks": 2}),
        ("stop", {"paused": False, "stop": True, "asks": 2}),
    ]:
        assert store.trainings.wish(RUN, wish).wishes == expected
        assert store.trainings.tell(RUN, ONE, STATE).wishes == expected
    clock.go(3)
    found = store.trainings.get(RUN)
    assert (found.state, found.heard.total_seconds(), found.is_there) == (STATE, 3, True)


def test_one_trainer_at_a_time_and_the_next_one_begins_without_wishes(store, clock):
    make_run(store)
    store.trainings.tell(RUN, ONE, STATE)
    store.trainings.wish(RUN, "pause")
    with pytest.raises(ConflictError, match="Another program trains on the run cartpole-01"):
        store.trainings.tell(RUN, OTHER, STATE)
    clock.go(ALIVE.total_seconds())  # it was killed
    assert not store.trainings.get(RUN).is_there
    with pytest.raises(NotFoundError, match="No program trains"):
        store.trainings.wish(RUN, "go-on")
    assert store.trainings.tell(RUN, OTHER, STATE).wishes == NOTHING_WISHED
    with pytest.raises(ConflictError):  # it was only slow, and is no longer the one
        store.trainings.tell(RUN, ONE, STATE)
    store.trainings.wish(RUN, "stop")
    store.trainings.tell(RUN, OTHER, {**STATE, "phase": "ended"})
    assert not store.trainings.get(RUN).is_there
    assert store.trainings.tell(RUN, ONE, STATE).wishes == NOTHING_WISHED  # at once


def test_who_is_at_work(store, clock):
    make_run(store)
    make_run(store, "other")
    store.trainings.tell(RUN, ONE, STATE)
    store.trainings.tell("other", OTHER, {**STATE, "phase": "ended"})
    found = store.trainings.at_work()
    assert {id: training.state for id, training in found.items()} == {store.runs.get(RUN).id: STATE}
    clock.go(ALIVE.total_seconds())
    assert store.trainings.at_work() == {}


def test_a_trainer_that_was_killed_and_starts_again_is_the_same(store):
    make_run(store)
    store.trainings.tell(RUN, ONE, STATE)
    store.trainings.wish(RUN, "stop")
    assert store.trainings.tell(RUN, ONE, STATE, begins=True).wishes == NOTHING_WISHED


def test_the_video_of_a_policy_is_the_latest(store):
    make_run(store)
    with pytest.raises(NotFoundError, match="No program trains"):
        store.trainings.put_video(RUN, "a" * 64)
    store.trainings.tell(RUN, ONE, STATE)
    assert store.trainings.put_video(RUN, "a" * 64) is None
    assert store.trainings.put_video(RUN, "a" * 64) is None
    assert store.trainings.put_video(RUN, "b" * 64) == "a" * 64
    assert store.trainings.videos() == {"b" * 64}
    store.trainings.tell(RUN, ONE, STATE)
    assert store.trainings.get(RUN).video == "b" * 64
    store.runs.delete(RUN)
    assert store.trainings.videos() == set()


def test_a_trainer_that_is_gone_is_not_kept_by_a_clock_that_is_set_back(store, clock):
    make_run(store)
    store.trainings.tell(RUN, uuid.uuid4(), {"phase": "learning", "steps": 1})
    clock.go(-7200)
    assert not store.trainings.get(RUN).is_there
    again = store.trainings.tell(RUN, uuid.uuid4(), {"phase": "learning", "steps": 0})
    assert again.is_there
