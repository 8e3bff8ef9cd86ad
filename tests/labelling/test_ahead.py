import time

from people import make_run, make_segment

from prefloop.labelling.ahead import ClipsAhead
from prefloop.labelling.clips import ClipStore
from prefloop.labelling.config import LabellingConfig
from prefloop.labelling.database import sqlite_url
from prefloop.labelling.records import NewQuery, RunFacts
from prefloop.labelling.store import Store


class Settings:
    """What ClipsAhead needs of a settings file."""

    def __init__(self, **values):
        self.current = LabellingConfig(**values)


def wait_until(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


def made(store, count=10):
    return [segment for segment in store.ahead(count) if segment.clip is not None]


def opened(tmp_path, **settings):
    store = Store(sqlite_url(tmp_path / "labels.sqlite3"))
    clips = ClipStore(tmp_path / "clips", 10**9)
    return store, clips, ClipsAhead(store, clips, Settings(**settings), pause=0.05)


def test_clips_of_the_next_queries_are_made_and_made_again_when_they_are_gone(tmp_path):
    store, clips, ahead = opened(tmp_path, rendered_queue_size=2)
    make_run(store, num_queries=4)
    ahead.start()
    try:
        wait_until(lambda: len(made(store, 2)) == 4)
        assert len(made(store)) == 4  # the other two queries are not needed yet
        first = made(store)[0]
        path = clips.path(first.clip)
        path.unlink()
        wait_until(lambda: clips.path(first.clip) is not None)
    finally:
        ahead.close()
        store.close()


def test_what_can_not_be_drawn_is_plotted(tmp_path):
    store, clips, ahead = opened(tmp_path)
    store.put_run("toy", RunFacts(env="Nowhere-v0", obs_dim=4, action_dim=2, discrete=True))
    ids = store.add_segments("toy", [make_segment(0), make_segment(1)])
    store.add_queries("toy", [NewQuery(ids[0], ids[0], ids[1])], iteration=0)
    ahead.start()
    try:
        wait_until(lambda: len(made(store)) == 2)
        assert all(clips.path(segment.clip) is not None for segment in made(store))
    finally:
        ahead.close()
        store.close()


def test_the_folder_keeps_within_its_limit(tmp_path):
    store, clips, ahead = opened(tmp_path, rendered_queue_size=1, cache_size_mb=10)
    make_run(store, num_queries=1)
    ahead.start()
    try:
        wait_until(lambda: len(made(store)) == 2)
        old = clips.directory / f"{'0' * 64}.mp4"
        old.write_bytes(b"x" * 10**7)  # used least recently, and wanted by nobody
        wait_until(lambda: not old.exists())
        assert all(clips.path(segment.clip) is not None for segment in made(store))
    finally:
        ahead.close()
        store.close()


def test_a_segment_whose_run_is_deleted_meanwhile_does_no_harm(tmp_path):
    store, _, ahead = opened(tmp_path)
    make_run(store, num_queries=1)
    wanted = store.ahead(1)[0]
    store.delete("cartpole-01")
    ahead._ask(wanted, None)
    assert ahead._asked == {}
    store.close()
