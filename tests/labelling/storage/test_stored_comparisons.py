import uuid

import pytest

from prefloop.labelling.server.storage.comparisons import UNFINISHED
from prefloop.labelling.server.storage.errors import NotFoundError

ONE, OTHER = uuid.UUID(int=1), uuid.UUID(int=2)
CLIPS = {"a" * 64, "b" * 64}


def about(*names, by=None):
    return {"env": "Hopper-v5", "by": by, "runs": [{"name": name} for name in names]}


def test_the_newest_stand_first_and_unfinished_ones_nowhere(store, clock):
    for id, names in ((ONE, ("pebble", "sac")), (OTHER, ("ppo",))):
        store.comparisons.put(id, about(*names, by="ada"), CLIPS)
        assert store.comparisons.has_clip(id, "a" * 64)
        with pytest.raises(NotFoundError, match="no such comparison"):
            store.comparisons.get(id)
        store.comparisons.complete(id)
        clock.go(1)
    store.comparisons.put(uuid.UUID(int=3), about("x"), {"c" * 64})
    found = store.comparisons.all()
    assert [(one.id, one.runs, one.by, one.clips) for one in found] == [
        (OTHER, ["ppo"], "ada", 2),
        (ONE, ["pebble", "sac"], "ada", 2),
    ]
    assert (found[0].created_at - found[1].created_at).total_seconds() == 1
    assert '"pebble"' in store.comparisons.get(ONE)
    assert store.sent_clips() == CLIPS | {"c" * 64}  # which are protected before they have come


def test_the_same_again_stays_and_another_takes_its_place(store):
    store.comparisons.put(ONE, about("ppo"), CLIPS)
    store.comparisons.complete(ONE)
    store.comparisons.put(ONE, about("ppo"), CLIPS)
    assert len(store.comparisons.all()) == 1
    store.comparisons.put(ONE, about("sac"), {"c" * 64})
    assert store.comparisons.all() == []
    assert store.comparisons.clips() == {"c" * 64}


def test_what_was_never_finished_is_forgotten(store, clock):
    store.comparisons.put(ONE, about("ppo"), CLIPS)
    clock.go(UNFINISHED.total_seconds() - 1)
    store.comparisons.put(OTHER, about("sac"), {"c" * 64})
    assert store.comparisons.clips() == CLIPS | {"c" * 64}
    store.comparisons.complete(OTHER)
    clock.go(2 * UNFINISHED.total_seconds())
    store.comparisons.put(uuid.UUID(int=3), about("x"), {"d" * 64})
    assert store.comparisons.clips() == {"c" * 64, "d" * 64}
    assert [one.id for one in store.comparisons.all()] == [OTHER]


def test_a_removed_one_is_gone(store):
    store.comparisons.put(ONE, about("ppo"), CLIPS)
    assert set(store.comparisons.remove(ONE)) == CLIPS
    assert store.comparisons.clips() == set()
    assert not store.comparisons.has_clip(ONE, "a" * 64)
    for act in (store.comparisons.remove, store.comparisons.complete, store.comparisons.get):
        with pytest.raises(NotFoundError, match="may have been removed"):
            act(ONE)
