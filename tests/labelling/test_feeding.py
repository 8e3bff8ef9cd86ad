import uuid

import pytest
from people import SESSION, label_one, make_run

from prefloop.envs.settings import EnvSettings
from prefloop.labelling.server import feeding
from prefloop.labelling.server.clips import ClipStore
from prefloop.labelling.server.config import SettingsFile
from prefloop.labelling.server.feeding import ClipFeeder
from prefloop.labelling.server.worker import Result

pytest_plugins = ["store_fixtures"]

RUN = "cartpole-01"


class FakeWorker:
    """Keeps what it is asked for."""

    def __init__(self, directory, on_result, room=100):
        self.on_result, self.jobs, self.room = on_result, [], room

    def start(self):
        pass

    def submit(self, job):
        if len(self.jobs) >= self.room:
            return False
        self.jobs.append(job)
        return True

    def close(self):
        pass


@pytest.fixture
def feeder(store, tmp_path, monkeypatch):
    monkeypatch.setattr(feeding, "SENDING_SECONDS", 0.0)
    (tmp_path / "labelling.yaml").write_text("rendered_queue_size: 2\ncache_size_mb: 10\n")
    clips = ClipStore(tmp_path / "clips", 10**7)
    clips.directory.mkdir()
    return ClipFeeder(store, clips, SettingsFile(tmp_path / "labelling.yaml"), FakeWorker)


def put_file(feeder, digest, content=b"clip"):
    """A clip's file; what is in it matters to nobody here."""
    (feeder._clips.directory / f"{digest}.mp4").write_bytes(content)


def test_what_is_needed_next_is_asked_for_once(store, feeder):
    make_run(store, num_queries=4, frames_per_second=50.0)
    feeder.look()
    feeder.look()
    jobs = feeder._worker.jobs
    needed = [str(shown.segment) for shown in store.queue.ahead(2)]
    assert [job.key for job in jobs] == needed
    assert len(jobs) == 4
    assert {(job.env, job.fps, job.trace) for job in jobs} == {
        (EnvSettings(env="CartPole-v1"), 50.0, False)
    }
    feeder._settings.change({"frames_per_second": 10.0})
    store.queue.lease(RUN, "ada", SESSION, 1)
    feeder.look()
    assert [job.fps for job in jobs[4:]] == [10.0, 10.0]
    store.runs.set_own(RUN, {"frames_per_second": 20.0})
    store.queue.lease(RUN, "bob", SESSION, 1)
    feeder.look()
    assert [job.fps for job in jobs[6:]] == [20.0, 20.0]


def test_a_clip_reaches_the_page(store, feeder):
    make_run(store)
    feeder.look()
    job = feeder._worker.jobs[0]
    put_file(feeder, "a" * 64)
    feeder.take(Result(job.key, "a" * 64, None))
    (lease,) = store.queue.lease(RUN, "ada", SESSION, 1).queries
    assert "a" * 64 in (lease.left.clip, lease.right.clip)
    feeder.look()
    assert [j.key for j in feeder._worker.jobs].count(job.key) == 1
    # the folder was over its limit
    (feeder._clips.directory / ("a" * 64 + ".mp4")).unlink()
    feeder.look()
    assert [j.key for j in feeder._worker.jobs].count(job.key) == 2


def test_what_somebody_looks_at_is_made_again_and_stays(store, feeder, monkeypatch):
    make_run(store, num_queries=1)
    (first, second) = (shown.segment for shown in store.queue.ahead(1))
    store.segments.set_clip(first, "a" * 64, sent=False)
    store.segments.set_clip(second, "b" * 64, sent=True)  # nobody can make it again
    label_one(store)
    feeder.look()
    assert feeder._worker.jobs == []
    feeder.want({first, second, uuid.uuid4()})
    feeder.look()
    feeder.look()
    (job,) = feeder._worker.jobs
    assert job.key == str(first)
    put_file(feeder, "a" * 64, b"x" * 12_000_000)  # more than 10 MB
    feeder.trim()
    assert feeder._clips.path("a" * 64) is not None
    # and when nobody looks any more
    monkeypatch.setattr(feeding, "WANTED_SECONDS", -1.0)
    feeder.want({first})
    feeder.trim()
    assert feeder._clips.path("a" * 64) is None


def test_a_rate_that_is_changed_while_clips_wait_is_not_lost(store, feeder):
    make_run(store, num_queries=1, frames_per_second=50.0)
    feeder.look()
    jobs = list(feeder._worker.jobs)
    store.runs.set_own(RUN, {"frames_per_second": 10.0})
    for job in jobs:
        put_file(feeder, "a" * 64)
        feeder.take(Result(job.key, "a" * 64, None))
    assert [shown.clip for shown in store.queue.ahead(1)] == [None, None]
    feeder.look()
    again = feeder._worker.jobs[len(jobs) :]
    assert [(job.key, job.fps) for job in again] == [(job.key, 10.0) for job in jobs]
    put_file(feeder, "b" * 64)
    for job in again:
        feeder.take(Result(job.key, "b" * 64, None))
    assert [shown.clip for shown in store.queue.ahead(1)] == 2 * ["b" * 64]


def test_what_can_not_be_drawn_is_plotted_and_says_why(store, feeder):
    make_run(store)
    feeder.look()
    job = feeder._worker.jobs[0]
    feeder.take(Result(job.key, None, "It has no picture."))
    feeder.look()
    again = feeder._worker.jobs[-1]
    assert (again.key, again.trace) == (job.key, True)
    put_file(feeder, "b" * 64)
    feeder.take(Result(again.key, "b" * 64, None))
    (lease,) = store.queue.lease(RUN, "ada", SESSION, 1).queries
    sides = [(side.clip, side.clip_error) for side in (lease.left, lease.right)]
    assert ("b" * 64, "It has no picture.") in sides


def test_what_can_not_even_be_plotted_is_left_alone(store, feeder):
    make_run(store)
    feeder.look()
    key = feeder._worker.jobs[0].key
    for _ in range(3):
        feeder.take(Result(key, None, "No."))
        feeder.look()
    assert [job.key for job in feeder._worker.jobs].count(key) == 2


def test_a_full_worker_is_asked_again(store, feeder):
    make_run(store)
    feeder._worker.room = 1
    feeder.look()
    feeder._worker.room = 100
    feeder.look()
    keys = [job.key for job in feeder._worker.jobs]
    assert len(keys) == len(set(keys)) == 4


def test_a_disk_that_is_full_for_a_while_costs_no_clip(store, feeder):
    make_run(store, num_queries=1)
    feeder.look()
    job = feeder._worker.jobs.pop(0)
    feeder.take(Result(job.key, None, "A clip can't be stored.", may_come=True))
    feeder.look()
    assert job.key not in [other.key for other in feeder._worker.jobs]  # not at once
    feeder._not_before.clear()  # a while later
    feeder.look()
    again = next(other for other in feeder._worker.jobs if other.key == job.key)
    assert not again.trace
    assert store.queue.ahead(1)[0].clip_error is None


def test_a_clip_that_was_sent_is_not_drawn(store, feeder):
    make_run(store, num_queries=1)
    side = store.queue.ahead(1)[0].segment
    store.segments.set_clip(side, "c" * 64, sent=True)
    feeder.look()
    assert str(side) not in {job.key for job in feeder._worker.jobs}


def test_a_run_that_was_deleted_meanwhile(store, feeder):
    make_run(store)
    feeder.look()
    store.runs.delete(RUN)
    for job in list(feeder._worker.jobs):
        feeder.take(Result(job.key, "a" * 64, None))
    feeder.take(Result(str(uuid.uuid4()), None, "No."))
    feeder.look()
    assert store.queue.ahead(9) == []


def test_trimming_keeps_what_was_sent_and_what_is_needed(store, feeder):
    make_run(store, num_queries=4)
    order = [shown.segment for shown in store.queue.ahead(4)]
    store.segments.set_clip(order[0], "a" * 64, sent=False)  # needed next
    store.segments.set_clip(order[7], "b" * 64, sent=True)
    store.segments.set_clip(order[6], "c" * 64, sent=False)
    for digest in "abc":
        put_file(feeder, digest * 64, b"x" * 6_000_000)  # three are more than 10 MB
    feeder.trim()
    left = {path.stem[0] for path in feeder._clips.directory.glob("*.mp4")}
    assert left == {"a", "b"}


def test_what_is_being_sent_stays_though_nothing_names_it_yet(store, feeder, monkeypatch):
    monkeypatch.setattr(feeding, "SENDING_SECONDS", 60.0)
    make_run(store, num_queries=4)
    order = [shown.segment for shown in store.queue.ahead(4)]
    store.segments.set_clip(order[6], "a" * 64, sent=True)
    put_file(feeder, "a" * 64, b"x" * 12_000_000)  # more than 10 MB, and never too much
    put_file(feeder, "b" * 64)
    feeder.trim()
    store.segments.set_clip(order[7], "b" * 64, sent=True)
    assert feeder._clips.path("b" * 64) is not None


def test_it_goes_on_after_trouble(store, feeder, monkeypatch):
    monkeypatch.setattr(feeding, "LOOK_SECONDS", 0.001)
    looks = []

    def broken(count):
        looks.append(count)
        if len(looks) > 3:
            feeder._closing.set()
        raise RuntimeError("broken")

    monkeypatch.setattr(store.queue, "ahead", broken)
    with feeder:
        feeder._closing.wait()
    assert len(looks) > 3
