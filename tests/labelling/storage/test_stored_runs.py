import uuid
from dataclasses import replace

import pytest
from people import FACTS, RUN, SESSION, label_one, make_run, segment_ids

from prefloop.envs.settings import EnvSettings
from prefloop.labelling.server.storage.errors import ConflictError, NotFoundError


def test_a_run_is_made_once_and_continued(store):
    run = store.runs.put(RUN, replace(FACTS, instructions="Watch the pole."), repeats=0.25)
    assert (run.env.env, run.round, run.annotators_per_query, run.repeats) == (
        "CartPole-v1",
        1,
        1,
        0.25,
    )
    again = store.runs.put(RUN, replace(FACTS, annotators_per_query=2))
    assert again.id == run.id
    assert (again.instructions, again.annotators_per_query) == ("Watch the pole.", 2)
    assert [run.name for run in store.runs.all()] == [RUN]


@pytest.mark.parametrize(
    "other",
    [
        {"env": EnvSettings(env="Acrobot-v1")},
        {"env": EnvSettings(env="CartPole-v1", horizon=50)},
        {"spaces": replace(FACTS.spaces, obs_shape=(3,))},
        {"spaces": replace(FACTS.spaces, discrete=False)},
    ],
)
def test_a_run_of_something_else_is_not_overwritten(store, other):
    store.runs.put(RUN, FACTS)
    with pytest.raises(ConflictError, match=f"exists and its {next(iter(other))} is"):
        store.runs.put(RUN, replace(FACTS, **other))


def test_an_environment_is_the_same_with_the_module_that_registers_it(store):
    plain, full = (replace(FACTS, env=EnvSettings(env=env)) for env in ("Pole-v0", "poles:Pole-v0"))
    assert store.runs.put(RUN, plain).env.env == "Pole-v0"
    for facts in (full, plain):  # whoever draws clips has to import the module
        assert store.runs.put(RUN, facts).env.env == "poles:Pole-v0"
    with pytest.raises(ConflictError, match="its env is"):
        store.runs.put(RUN, replace(FACTS, env=EnvSettings(env="poles:Pole-v1")))


def test_renaming(store):
    make_run(store)
    store.runs.put("other", FACTS)
    with pytest.raises(ConflictError, match="a run other already"):
        store.runs.rename(RUN, "other")
    assert store.runs.rename(RUN, "better").counts.queries == 4
    assert store.runs.rename("better", "better").name == "better"
    with pytest.raises(NotFoundError, match=f"no run {RUN}"):
        store.runs.get(RUN)


def test_deleting_removes_one_run_and_names_the_clips_that_nobody_shows_any_more(store):
    make_run(store, num_queries=10)
    make_run(store, "other")
    label_one(store)
    label_one(store, "other")
    mine, theirs = (segment_ids(store, name) for name in (RUN, "other"))
    for segment, clip in zip(list(mine)[:2], ("a" * 64, "b" * 64), strict=True):
        store.segments.set_clip(segment, clip, sent=True)
    store.segments.set_clip(next(iter(theirs)), "b" * 64, sent=True)
    assert store.runs.delete(RUN) == ["a" * 64]
    assert [run.name for run in store.runs.all()] == ["other"]
    assert len(store.labels.current("other")) == 1
    with pytest.raises(NotFoundError):
        store.runs.delete(RUN)


def test_counts(store):
    make_run(store, num_queries=5, annotators_per_query=2)
    label_one(store, annotator="ada")
    label_one(store, annotator="bob")
    label_one(store, annotator="ada", choice="skip")
    counts = store.runs.get(RUN).counts
    assert (counts.queries, counts.answered, counts.skipped, counts.left) == (5, 1, 1, 4)
    assert (counts.labels, counts.annotators) == (3, 2)
    assert store.runs.all()[0].counts == counts


def test_an_archived_run_asks_nobody_until_it_is_brought_back(store):
    make_run(store)
    label_one(store)
    assert store.runs.get(RUN).archived_at is None
    since = store.runs.archive(RUN).archived_at
    assert since is not None
    assert store.runs.archive(RUN).archived_at == since
    with pytest.raises(ConflictError, match=f"{RUN} is archived"):
        label_one(store)
    assert store.queue.ahead(10) == []  # nothing is drawn for it
    assert len(store.labels.current(RUN)) == 1
    assert store.runs.archive(RUN, False).archived_at is None
    assert label_one(store) is not None
    with pytest.raises(NotFoundError):
        store.runs.archive("gone")


def test_an_answer_to_what_was_shown_before_the_run_was_archived_is_stored(store):
    make_run(store)
    (lease,) = store.queue.lease(RUN, "ada", SESSION, 1).queries
    store.runs.archive(RUN)
    store.labels.answer(uuid.uuid4(), lease.id, "left")
    assert store.runs.get(RUN).counts.labels == 1


def test_whoever_goes_on_with_an_archived_run_brings_it_back(store):
    make_run(store)
    store.runs.archive(RUN)
    assert store.runs.put(RUN, FACTS).archived_at is None


def test_settings_of_a_run_stay_its_own(store):
    make_run(store)
    make_run(store, "other")
    assert store.runs.own_settings(RUN) == {}
    store.runs.set_own(RUN, {"playback_speed": 0.5, "pairs_ahead": 2})
    store.runs.set_own(RUN, {"playback_speed": None, "rendered_queue_size": 1})
    assert store.runs.own_settings(RUN) == {"pairs_ahead": 2, "rendered_queue_size": 1}
    assert store.runs.get(RUN).own_settings == {"pairs_ahead": 2, "rendered_queue_size": 1}
    assert store.runs.get("other").own_settings == {}
    assert len(store.queue.ahead(3)) == 2 * (1 + 3)
    with pytest.raises(NotFoundError):
        store.runs.own_settings("gone")


def test_another_frame_rate_has_clips_drawn_again_but_not_those_that_were_sent(store):
    make_run(store)
    drawn, sent, *_ = segment_ids(store)
    store.segments.set_clip(drawn, "a" * 64, sent=False)
    store.segments.set_clip(sent, "b" * 64, sent=True)
    clips = lambda: {s.segment: s.clip for s in store.queue.to_show([drawn, sent])}  # noqa: E731
    store.runs.set_own(RUN, {"playback_speed": 2.0})
    assert clips() == {drawn: "a" * 64, sent: "b" * 64}
    store.runs.set_own(RUN, {"frames_per_second": 10.0})
    assert clips() == {drawn: None, sent: "b" * 64}
    assert {s.own_rate for s in store.queue.to_show([drawn])} == {10.0}
