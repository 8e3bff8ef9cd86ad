import uuid
from dataclasses import replace

import numpy as np
import pytest
import sqlalchemy
from people import FACTS, RUN, SESSION, label_one, make_run, make_segment, segment_ids
from standing import ids

from prefloop.labelling.server.storage.errors import ConflictError, NotFoundError
from prefloop.labelling.server.storage.records import NewQuery


def test_a_segment_is_stored_once_and_comes_back(store):
    store.runs.put(RUN, FACTS)
    segment = replace(make_segment(0), replay={"replay_seed": np.int64(7)})
    first = store.segments.add(RUN, [segment, make_segment(1), segment])
    assert first[0] == first[2] != first[1]
    assert store.segments.add(RUN, [make_segment(1), make_segment(0)]) == [first[1], first[0]]
    back = store.segments.get(first[0])
    np.testing.assert_array_equal(back.obs, segment.obs)
    np.testing.assert_array_equal(back.actions, segment.actions)
    assert back.replay["replay_seed"] == 7
    with pytest.raises(NotFoundError):
        store.segments.get(uuid.uuid4())


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"obs_shape": (3,)}, r"observations of \[3\], not \[4\]"),
        ({"obs_dtype": "uint8"}, "observations in uint8 in stacks of 1, not float32"),
        ({"discrete": False}, "actions are vectors"),
        ({"action_dim": 1}, "actions are 0 to 0"),
    ],
)
def test_segments_of_other_sizes_are_refused(store, facts, words):
    store.runs.put(RUN, replace(FACTS, spaces=replace(FACTS.spaces, **facts)))
    with pytest.raises(ConflictError, match=words):
        store.segments.add(RUN, [make_segment(i) for i in range(4)])
    assert segment_ids(store, RUN) == []


def test_the_same_queries_are_stored_once(store):
    store.runs.put(RUN, FACTS)
    a, b, c = store.segments.add(RUN, [make_segment(i) for i in range(3)])
    new = [NewQuery(uuid.uuid4(), a, b), NewQuery(uuid.uuid4(), b, c)]
    store.queue.add(RUN, [*new, new[0]], 0)
    store.queue.add(RUN, new, 1)
    assert list(store.export(RUN).queries.values()) == [(a, b, 0), (b, c, 0)]
    with pytest.raises(ConflictError, match="stands for another query"):
        store.queue.add(RUN, [replace(new[0], second=c)], 0)


def test_a_query_about_another_runs_segments_is_refused(store):
    make_run(store, "other")
    theirs = next(iter(segment_ids(store, "other")))
    store.runs.put(RUN, FACTS)
    (mine,) = store.segments.add(RUN, [make_segment(100)])
    with pytest.raises(ConflictError, match="does not have"):
        store.queue.add(RUN, [NewQuery(uuid.uuid4(), mine, theirs)], 0)
    assert store.runs.get(RUN).counts.queries == 0


def test_more_queries_than_one_statement_takes(store):
    store.runs.put(RUN, FACTS)
    made = store.segments.add(RUN, [make_segment(i, length=1) for i in range(1200)])
    new = [NewQuery(uuid.uuid4(), first, made[0]) for first in made[1:]]
    store.queue.add(RUN, new, 0)
    store.queue.add(RUN, new, 0)
    assert store.runs.get(RUN).counts.queries == 1199
    assert ids(store.queue.lease(RUN, "ada", SESSION, 8)) == [query.id for query in new[:8]]


def test_what_is_looked_at_next_is_rendered_first(store):
    make_run(store, num_queries=4)
    export = store.export(RUN)
    order = [side for first, second, _ in export.queries.values() for side in (first, second)]
    assert [shown.segment for shown in store.queue.ahead(1)] == order[:2]
    store.queue.lease(RUN, "ada", SESSION, 1)
    assert [shown.segment for shown in store.queue.ahead(1)] == order[:4]
    store.segments.set_clip(order[0], "a" * 64, sent=False)
    store.segments.set_clip_error(order[1], "No picture.")
    shown = store.queue.ahead(1)
    assert [(s.segment, s.clip, s.clip_error) for s in shown[:3]] == [
        (order[0], "a" * 64, None),
        (order[1], None, "No picture."),
        (order[2], None, None),
    ]
    store.segments.set_clip(order[1], "b" * 64, sent=False)
    assert (store.queue.ahead(1)[1].clip, store.queue.ahead(1)[1].clip_error) == (
        "b" * 64,
        "No picture.",
    )
    label_one(store)
    lease = store.queue.lease(RUN, "ada", SESSION, 1)
    assert {lease.queries[0].left.segment, lease.queries[0].right.segment} == set(order[2:4])


def test_an_annotator_far_ahead_of_the_others_has_clips_too(store):
    """Each query wants two: those that one has labelled stay open for the other."""
    queries = make_run(store, num_queries=9, annotators_per_query=2)
    for _ in range(5):
        label_one(store)
    (lease,) = store.queue.lease(RUN, "ada", SESSION, 1).queries
    assert lease.query == queries[5]
    export = store.export(RUN).queries
    order = [set(export[query][:2]) for query in queries]
    ahead = [shown.segment for shown in store.queue.ahead(4)]
    pairs = [set(ahead[i : i + 2]) for i in range(0, len(ahead), 2)]
    # the leased one, the three that nobody has labelled, and then the first that somebody has
    assert pairs == [order[5], *order[6:], order[0]]


def test_what_is_leased_of_a_newer_run_comes_before_what_is_drawn_ahead_of_an_older(store):
    make_run(store, "older")
    make_run(store, "newer")
    (lease,) = store.queue.lease("newer", "ada", SESSION, 1).queries
    ahead = [shown.segment for shown in store.queue.ahead(4)]
    assert set(ahead[:2]) == {lease.left.segment, lease.right.segment}
    assert len(ahead) == len(set(ahead)) == 16
    store.runs.archive("newer")
    assert not set(ahead[:2]) & {shown.segment for shown in store.queue.ahead(4)}


def test_segments_to_show_by_name(store):
    make_run(store, num_queries=1, frames_per_second=25.0)
    first, second = (shown.segment for shown in store.queue.ahead(1))
    store.segments.set_clip(second, "a" * 64, sent=True)
    found = store.queue.to_show([second, uuid.uuid4(), first, second])
    assert [(s.segment, s.clip, s.clip_was_sent) for s in found] == [
        (second, "a" * 64, True),
        (first, None, False),
    ]
    assert {(s.env.env, s.frames_per_second) for s in found} == {("CartPole-v1", 25.0)}


def test_a_clip_that_was_sent_is_not_replaced_by_a_rendered_one(store):
    make_run(store, num_queries=1)
    side = store.queue.ahead(1)[0].segment
    store.segments.set_clip(side, "a" * 64, sent=True)
    store.segments.set_clip(side, "b" * 64, sent=False)
    store.segments.set_clip_error(side, "No picture.")
    assert next((s.clip, s.clip_was_sent) for s in store.queue.ahead(1)) == ("a" * 64, True)
    with pytest.raises(NotFoundError):
        store.segments.set_clip(uuid.uuid4(), "a" * 64, sent=True)


def test_a_segment_is_not_compared_with_itself(store, clock):
    make_run(store)
    one = segment_ids(store)[0]
    with pytest.raises(ConflictError, match="compares a segment with itself"):
        store.queue.add(RUN, [NewQuery(uuid.uuid4(), one, one)], iteration=0)
    assert store.runs.get(RUN).counts.queries == 4
    # one of an earlier version stays, and whoever sends it again goes on
    old = sqlalchemy.text("UPDATE queries SET second = first WHERE position = 1")
    store._database.write(lambda connection: connection.execute(old))
    ((known, one),) = ((id, a) for id, (a, b, _) in store.export(RUN).queries.items() if a == b)
    store.queue.add(RUN, [NewQuery(known, one, one)], iteration=0)
