import uuid
from types import SimpleNamespace

import numpy as np
import pytest
from made_up import random_segments

from prefloop.data.preferences import Queries
from prefloop.teachers.human import HumanTeacher


class FakeServer:
    """Keeps what it is told; `people` does something at each look for labels."""

    def __init__(self, people=None):
        self.segments, self.queries, self.events = {}, {}, []
        self.round, self.wanted, self.page = 1, 1, 2
        self.people = people
        self.looks = 0

    def add_segments(self, name, segments, replay=None):
        self.replay = replay
        ids = []
        for i in range(len(segments)):
            key = segments.obs[i].tobytes()
            ids.append(self.segments.setdefault(key, uuid.uuid4()))
        return ids

    def add_queries(self, name, queries, iteration=0):
        for id, first, second in queries:
            self.queries.setdefault(id, (first, second, iteration))

    def labels(self, name, after=0):
        self.looks += 1
        if self.people is not None:
            self.people(self)
        events = [event for event in self.events if event.number > after]
        some = events[: self.page]
        return SimpleNamespace(
            events=some, next=some[-1].number if some else after, more=len(events) > len(some),
            round=self.round, annotators_per_query=self.wanted,
        )  # fmt: skip

    def say(self, query, label, kind="answer", **more):
        facts = {"undoes": None, "trim": None, "repeat": False} | more
        kind = "skip" if label is None and kind == "answer" else kind
        event = SimpleNamespace(
            id=uuid.uuid4(),
            number=len(self.events) + 1,
            query=query,
            kind=kind,
            label=label,
            **facts,
        )
        self.events.append(event)
        return event


def make_queries(num=4, seed=0):
    segments = random_segments(2 * num, 6, np.random.default_rng(seed))
    order = np.arange(2 * num)
    return Queries(segments, order[:num], order[num:])


def answering(*labels):
    """People who answer one query at each look, in the order of the queue."""

    def people(server):
        open_queries = [q for q in server.queries if q not in {e.query for e in server.events}]
        if open_queries:
            server.say(open_queries[0], labels[len(server.events)])

    return people


def test_it_waits_for_all_and_says_how_far_it_is():
    server, progress, pauses = FakeServer(answering(0.0, 1.0, None, 0.5)), [], []
    teacher = HumanTeacher(
        server, "r", pause=3.0, sleep=pauses.append, on_progress=lambda *x: progress.append(x)
    )
    labels = teacher.label(make_queries())
    np.testing.assert_array_equal(labels, [0.0, 1.0, np.nan, 0.5])
    assert progress == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert pauses == [3.0] * 3


def test_a_second_trainer_gets_the_answers_of_the_first():
    server = FakeServer(answering(0.0, 1.0, 0.5, 1.0))
    queries = make_queries()
    first = HumanTeacher(server, "r", sleep=lambda _: None).label(queries)
    looks = server.looks
    again = HumanTeacher(server, "r", sleep=lambda _: None).label(queries)
    np.testing.assert_array_equal(first, again)
    assert server.looks - looks == 2  # two pages, no wait
    assert len(server.queries) == 4


def test_the_same_pair_twice_is_one_query():
    queries = make_queries()
    twice = Queries(queries.segments, queries.first[[0, 0, 1]], queries.second[[0, 0, 1]])
    server = FakeServer(answering(1.0, 0.0))
    labels = HumanTeacher(server, "r", sleep=lambda _: None).label(twice)
    np.testing.assert_array_equal(labels, [1.0, 1.0, 0.0])


def test_an_undo_takes_a_label_back():
    server = FakeServer()
    teacher = HumanTeacher(server, "r")
    ids = teacher.ask(make_queries(num=2))
    event = server.say(ids[0], 1.0)
    assert teacher.finished(ids).tolist() == [True, False]
    server.say(ids[0], None, kind="undo", undoes=event.id)
    assert teacher.finished(ids).tolist() == [False, False]
    server.say(ids[0], 0.0)
    teacher.finished(ids)
    np.testing.assert_array_equal(teacher.labels(ids), [0.0, np.nan])


def test_several_people_and_repeats():
    server = FakeServer()
    server.wanted = 3
    teacher = HumanTeacher(server, "r")
    ids = teacher.ask(make_queries(num=2))
    for label in (1.0, 0.5):
        server.say(ids[0], label)
    server.say(ids[0], 0.0, repeat=True)
    assert not teacher.finished(ids)[0]
    server.say(ids[0], None)
    assert teacher.finished(ids)[0]
    assert teacher.labels(ids)[0] == 0.75


def test_a_new_round_drops_all_labels():
    server = FakeServer()
    teacher = HumanTeacher(server, "r")
    ids = teacher.ask(make_queries(num=2))
    server.say(ids[0], 1.0)
    assert teacher.finished(ids)[0]
    server.events, server.round = [], 2
    assert not teacher.finished(ids).any()


def test_only_what_is_asked_about_is_sent():
    queries = make_queries(num=4)
    server = FakeServer()
    some = Queries(queries.segments, queries.first[:1], queries.second[:1])
    teacher = HumanTeacher(server, "r")
    teacher.iteration = 3
    teacher.ask(some, {"replay_seed": 10 * np.arange(8)})
    assert list(server.segments) == [queries.segments.obs[i].tobytes() for i in (0, 4)]
    assert server.replay["replay_seed"].tolist() == [0, 40]
    assert next(iter(server.queries.values()))[2] == 3


def test_each_label_holds_for_the_part_that_was_compared():
    server = FakeServer()
    server.wanted = 2
    queries = make_queries(num=2)
    teacher = HumanTeacher(server, "r")
    ids = teacher.ask(queries)
    server.say(ids[0], 1.0, trim=SimpleNamespace(start=2, stop=5))
    server.say(ids[0], 0.0)
    server.say(ids[1], None)
    server.say(ids[1], 0.5)
    preferences = teacher.preferences(queries)
    np.testing.assert_array_equal(preferences.labels, [1.0, 0.0, np.nan, 0.5])
    segments = preferences.segments
    assert segments.lengths[preferences.first].tolist() == [3, 6, 6, 6]
    np.testing.assert_array_equal(
        segments.obs[preferences.second[0], :3], queries.segments.obs[queries.second[0], 2:5]
    )
    assert segments.first_step[preferences.first[0]] == 2
    np.testing.assert_array_equal(preferences.second[1:], queries.second[[0, 1, 1]])


@pytest.mark.parametrize("num", [0, 1])
def test_few_queries(num):
    queries = make_queries(num=2)
    few = Queries(queries.segments, queries.first[:num], queries.second[:num])
    teacher = HumanTeacher(FakeServer(answering(1.0)), "r", sleep=lambda _: None)
    assert teacher.label(few).shape == (num,)
