"""People as those who answer: asked through the client, read on by cursor."""

import uuid
from collections import Counter
from dataclasses import replace
from datetime import datetime, timezone
from types import SimpleNamespace

import numpy as np
import pytest
from made_up import random_segments

from prefloop.data import dataset
from prefloop.data.preferences import Queries
from prefloop.data.segments import STATES, concatenate
from prefloop.data.trajectories import Trajectories
from prefloop.envs.spaces import Spaces
from prefloop.labelling.client.calling import RefusedError
from prefloop.labelling.client.people import People
from prefloop.rewards.settings import RewardSettings
from prefloop.rewards.training import make_model
from prefloop.training.settings import QuerySettings
from prefloop.training.taught_reward import TaughtReward


class FakeServer:
    """Keeps what it is told, and what people say."""

    def __init__(self):
        self.kept, self.queries, self.events = {}, {}, []
        self.round, self.page_size, self.looks, self.sent = 1, 2, 0, 0
        self.annotators_per_query = 1
        self.knows_next_up, self.is_next_up = True, []

    def add_segments(self, name, segments):
        ids = []
        for i in range(len(segments)):
            key = uuid.uuid5(uuid.NAMESPACE_OID, segments.obs[i].tobytes().hex())
            self.kept.setdefault(key, segments[i : i + 1])
            ids.append(key)
        return ids

    def segments(self, name, ids, with_replay=False):
        self.sent += len(ids)
        return concatenate([self.kept[id] for id in ids])

    def add_queries(self, name, queries, iteration=0, next_up=False):
        if next_up and not self.knows_next_up:
            raise RefusedError(422, "next_up: not permitted")
        self.is_next_up.append(next_up)
        for id, first, second in queries:
            facts = {"first": first, "second": second, "iteration": iteration}
            known = SimpleNamespace(id=id, position=len(self.queries) + 1, **facts)
            self.queries.setdefault(id, known)

    def run(self, name):
        said = Counter(event.query for event in self.events)
        left = sum(said[query] < self.annotators_per_query for query in self.queries)
        counts = SimpleNamespace(queries=len(self.queries), skipped=0, left=left)
        return SimpleNamespace(
            name=name, env="CartPole-v1", env_changes={}, instructions="", counts=counts
        )

    def labels(self, name, after=0):
        self.looks += 1
        events = [event for event in self.events if event.number > after]
        some = events[: self.page_size]
        about = {event.query: self.queries[event.query] for event in some}
        return SimpleNamespace(
            events=some, queries=list(about.values()), round=self.round,
            next=some[-1].number if some else after, more=len(events) > len(some),
            excluded=[], forgotten=0,
        )  # fmt: skip

    def say(self, query, label, kind="answer", **more):
        facts = {"undoes": None, "trim": None, "repeat": False, "annotator": "ada"} | more
        event = SimpleNamespace(
            id=uuid.uuid4(), number=len(self.events) + 1, query=query, kind=kind, label=label,
            first_was_left=True, seconds=1.5, created_at=datetime.now(timezone.utc), **facts,
        )  # fmt: skip
        self.events.append(event)
        return event


def make_queries(num=4, seed=0):
    segments = random_segments(2 * num, 6, np.random.default_rng(seed))
    order = np.arange(2 * num)
    return Queries(segments, order[:num], order[num:])


@pytest.fixture
def server():
    return FakeServer()


@pytest.fixture
def people(server, tmp_path):
    return People(server, "r", tmp_path / "preferences")


def test_what_was_said_is_there_and_nothing_else_is_fetched_again(server, people):
    queries = make_queries()
    people.ask(queries, iteration=3)
    assert people.current() is None
    ids = list(server.queries)
    for id, label in zip(ids[:3], (0.0, 1.0, None), strict=True):
        server.say(id, label, "skip" if label is None else "answer")
    said = people.current()
    np.testing.assert_array_equal(said.labels, [0.0, 1.0, np.nan])
    for side in ("first", "second"):
        shown = said.segments.obs[getattr(said, side)]
        np.testing.assert_array_equal(shown, queries.segments.obs[getattr(queries, side)[:3]])
    assert server.sent == 6
    server.say(ids[3], 0.5)
    looks = server.looks
    assert people.current().labels[3] == 0.5
    assert (server.sent, server.looks - looks) == (8, 1)  # two segments more, one page
    assert people.current() is not None
    assert server.sent == 8


@pytest.mark.parametrize("order", [[3, 1, 0, 2], [2, 3, 1, 0]])
def test_who_was_the_quickest_changes_nothing(tmp_path, order):
    queries, labels, said = make_queries(), [0.0, 1.0, np.nan, 0.5], []
    for answered in (range(4), order):
        server = FakeServer()
        people = People(server, "cp", tmp_path / str(len(said)))
        people.ask(queries, 0)
        asked = list(server.queries)
        for i in answered:
            server.say(asked[i], None if np.isnan(labels[i]) else labels[i])
            people.current()  # looks in between change nothing either
        said.append(people.current())
    for name in ("first", "second", "labels"):
        np.testing.assert_array_equal(getattr(said[0], name), getattr(said[1], name))
    np.testing.assert_array_equal(said[0].labels, labels)
    np.testing.assert_array_equal(said[0].segments.obs, said[1].segments.obs)


def test_they_are_kept_as_a_dataset(server, people):
    people.ask(make_queries(), iteration=3)
    ids = list(server.queries)
    wrong = server.say(ids[0], 1.0)
    server.say(ids[1], 0.0)
    people.current()
    server.say(ids[0], None, "undo", undoes=wrong.id)
    server.say(ids[2], 0.5, annotator="ben")
    said, kept = people.current(), dataset.read(people.folder)
    np.testing.assert_array_equal(kept.labels, said.labels)
    np.testing.assert_array_equal(kept.segments.obs[kept.first], said.segments.obs[said.first])
    assert len(dataset.shards(people.folder)) == 2
    lines = (people.folder / "preferences.jsonl").read_text().splitlines()
    assert len(lines) == 2
    assert '"annotator": "ben"' in lines[1] and '"iteration": 3' in lines[1]


def test_a_second_trainer_meets_the_answers_of_the_first(server, people, tmp_path):
    queries = make_queries()
    people.ask(queries, 0)
    for id in list(server.queries):
        server.say(id, 1.0)
    first = people.current()
    again = People(server, "r", tmp_path / "preferences")
    again.ask(queries, 1)
    assert len(server.queries) == 4
    np.testing.assert_array_equal(again.current().labels, first.labels)
    np.testing.assert_array_equal(again.current().segments.obs, first.segments.obs)
    assert len(dataset.shards(people.folder)) == 1  # nothing is stored twice


def test_an_undo_takes_a_label_back(server, people):
    people.ask(make_queries(num=2), 0)
    id = next(iter(server.queries))
    event = server.say(id, 1.0)
    assert people.current().labels.tolist() == [1.0]
    server.say(id, None, "undo", undoes=event.id)
    assert people.current() is None
    server.say(id, 0.0)
    assert people.current().labels.tolist() == [0.0]


def test_several_people_and_repeats(server, people):
    people.ask(make_queries(num=2), 0)
    id = next(iter(server.queries))
    for label in (1.0, 0.5):
        server.say(id, label)
    server.say(id, 0.0, repeat=True)  # measures consistency, and is no more evidence
    assert people.current().labels.tolist() == [1.0, 0.5]


def test_a_new_round_drops_all_labels(server, people):
    people.ask(make_queries(num=2), 0)
    server.say(next(iter(server.queries)), 1.0)
    assert len(people.current()) == 1
    server.events, server.round = [], 2
    assert people.current() is None


def test_only_what_is_asked_about_is_sent(server, people):
    queries = make_queries(num=4)
    people.ask(Queries(queries.segments, queries.first[:1], queries.second[:1]), 3)
    sent = [segment.obs[0] for segment in server.kept.values()]
    np.testing.assert_array_equal(sent, queries.segments.obs[[0, 4]])
    assert next(iter(server.queries.values())).iteration == 3


def test_the_same_pair_twice_is_one_query(server, people):
    queries = make_queries()
    people.ask(Queries(queries.segments, queries.first[[0, 0, 1]], queries.second[[0, 0, 1]]), 0)
    assert len(server.queries) == 2


def test_each_label_holds_for_the_part_that_was_compared(server, people):
    queries = make_queries(num=2)
    people.ask(queries, 0)
    ids = list(server.queries)
    server.say(ids[0], 1.0, trim=SimpleNamespace(start=2, stop=5))
    server.say(ids[0], 0.0)
    server.say(ids[1], 0.5)
    said = people.current()
    assert said.labels.tolist() == [1.0, 0.0, 0.5]
    assert said.segments.lengths[said.first].tolist() == [3, 6, 6]
    np.testing.assert_array_equal(
        said.segments.obs[said.second[0], :3], queries.segments.obs[queries.second[0], 2:5]
    )
    assert said.segments.first_step[said.first[0]] == 2


def test_what_is_missing_counts_what_is_asked_and_not_answered_yet(server, people):
    people.ask(make_queries(num=4), 0)
    server.say(next(iter(server.queries)), 1.0)
    assert people.missing(10) == 6
    assert people.shown == 4


@pytest.mark.parametrize("annotators", [1, 2, 3])
def test_a_queue_is_kept_full_of_questions_however_many_answer_each(server, people, annotators):
    """With two to a question each session asked twice as much as the one before: 10, 20, 40, 80."""
    rng, own = np.random.default_rng(0), RewardSettings(hidden_sizes=(8,), epochs=1)
    model = make_model(Spaces((3,), "float32", True, 2), own, 0)
    questions = QuerySettings(labels=14, queue=4, segment_length=5)
    taught = TaughtReward(model, people, questions, own, 0, wait=False)
    taught.fitted = True
    server.annotators_per_query, server.page_size = annotators, 100
    asked = []
    for session in range(5):
        obs, actions = rng.normal(size=(200, 3)).astype(np.float32), rng.integers(2, size=200)
        ends = np.array([False] * 4), np.array([True] * 4)
        columns = obs, actions, np.zeros(200, np.float32), obs, np.full(4, 50), *ends
        taught.ask(lambda columns=columns: Trajectories(*columns), 0, session)
        asked.append(len(server.queries))
        for query in list(server.queries)[: asked[-1] - (session == 0)]:
            for _ in range(annotators - sum(event.query == query for event in server.events)):
                server.say(query, 1.0)
    # one of the first was left open
    assert asked == [4, 7, 11, 14, 14]


def test_what_shows_segments_again_is_kept_with_them(server, people):
    segments = random_segments(6, 6, np.random.default_rng(0))
    states = np.arange(6 * 6 * 2, dtype=np.float64).reshape(6, 6, 2)
    recorded = replace(segments, replay={STATES: states})
    people.ask(Queries(recorded, np.arange(3), np.arange(3, 6)), 0)
    ids = list(server.queries)
    server.say(ids[0], 1.0)
    people.current()
    server.say(ids[0], 0.0, trim=SimpleNamespace(start=2, stop=5))
    server.say(ids[2], 0.0)
    said = people.current()
    kept = dataset.read(people.folder)
    np.testing.assert_array_equal(kept.labels, said.labels)
    shards = dataset.read_shards(people.folder)
    of_place = [shard.replay[STATES][i] for shard in shards for i in range(len(shard))]
    for first, second, (begin, end), of in (
        (kept.first[0], kept.second[0], (0, 6), (0, 3)),
        (kept.first[1], kept.second[1], (2, 5), (0, 3)),
        (kept.first[2], kept.second[2], (0, 6), (2, 5)),
    ):
        for place, segment in zip((first, second), of, strict=True):
            np.testing.assert_array_equal(
                of_place[place][: end - begin], states[segment, begin:end]
            )


@pytest.mark.parametrize("knows_next_up", [True, False])
def test_whoever_wishes_to_be_asked_sees_what_was_done_now_also_where_the_queue_is_full(
    server, people, knows_next_up
):
    """The button did nothing, in silence, where old pairs waited: for whom it is there."""
    rng, own = np.random.default_rng(0), RewardSettings(hidden_sizes=(8,), epochs=1)
    model = make_model(Spaces((3,), "float32", True, 2), own, 0)
    questions = QuerySettings(labels=14, queue=4, segment_length=5)
    taught = TaughtReward(model, people, questions, own, 0, wait=False)
    taught.fitted = True
    server.knows_next_up = knows_next_up

    def episodes():
        obs, actions = rng.normal(size=(200, 3)).astype(np.float32), rng.integers(2, size=200)
        ends = np.array([False] * 4), np.array([True] * 4)
        return Trajectories(obs, actions, np.zeros(200, np.float32), obs, np.full(4, 50), *ends)

    asked = []
    for again, wished in enumerate([False, False, True, True, True, True]):
        taught.ask(episodes, 0, 0, again, wished)
        asked.append(len(server.queries))
    assert asked == [4, 4, 8, 12, 14, 14]  # labels that are to come
    assert server.is_next_up == [False] + 3 * [knows_next_up]


def test_a_label_agrees_with_the_return_that_the_agent_climbs(server, people, monkeypatch):
    """As metrics.csv has it: by the mean of the members' probabilities the same labels had another accuracy."""
    queries, told = make_queries(num=3), []
    people.ask(queries, 0)
    for id, label in zip(list(server.queries), (1.0, 0.0, 0.5), strict=True):
        server.say(id, label)
    said = people.current()
    model = make_model(Spaces((3,), "float32", True, 2), RewardSettings(hidden_sizes=(8,)), 0)
    members = np.zeros((3, len(said.segments)))
    members[:, said.second] = np.array([[10.0], [-2.0], [-2.0]])
    monkeypatch.setattr(model, "returns", lambda segments: members)
    monkeypatch.setattr(people.client, "put_traces", lambda *_: None, raising=False)
    monkeypatch.setattr(
        people.client, "put_reward_report", lambda *said: told.append(said), raising=False
    )
    assert (model.probabilities(said).mean(axis=0) < 0.5).all()
    people.report(model, said)
    _, accuracy, judged, hardest, _ = told[0]
    assert (accuracy, judged) == (0.5, 2)
    assert [(hard["label"], hard["probability"] > 0.5) for hard in hardest] == [
        (0, True),
        (1, True),
    ]


@pytest.mark.parametrize("are_people", [True, False])
def test_people_see_no_single_steps(server, people, are_people):
    """Beside 15 steps of a pole stood one of 1 step; what a program is asked stays what it was."""
    rng, own = np.random.default_rng(0), RewardSettings(hidden_sizes=(8,), epochs=1)
    model = make_model(Spaces((3,), "float32", True, 2), own, 0)
    asked = []
    answers = people
    if not are_people:
        ask = lambda queries, iteration, next_up: asked.append(queries)  # noqa: E731
        answers = SimpleNamespace(
            are_watched=False, missing=lambda labels: labels, ask=ask, wait=lambda: None
        )
    taught = TaughtReward(model, answers, QuerySettings(labels=20, segment_length=30), own, 0)
    obs, actions = rng.normal(size=(400, 3)).astype(np.float32), rng.integers(2, size=400)
    ends = np.array([True] * 10), np.array([False] * 10)
    columns = obs, actions, np.zeros(400, np.float32), obs, np.full(10, 40), *ends
    taught.ask(lambda: Trajectories(*columns), 20, 0, again=1)
    if are_people:
        lengths = [int(segment.lengths[0]) for segment in server.kept.values()]
    else:
        queries = asked[0]
        lengths = queries.segments.lengths[[*queries.first, *queries.second]].tolist()
    assert (min(lengths) >= 6) == are_people
