import dataclasses
import io
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from made_up import ask, make_segments, preferences, random_segments

from prefloop.data import dataset
from prefloop.data.frames import stacked
from prefloop.data.preferences import Preferences
from prefloop.data.segments import concatenate
from prefloop.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
ABOUT = {"env": "CartPole-v0"}
NAN = float("nan")


def some(num=6, length=5, seed=0, **kwargs):
    rng = np.random.default_rng(seed)
    return ask(random_segments(6, length, rng, **kwargs), num, rng)


def written(path, *parts):
    for part in parts:
        with dataset.writing(path, ABOUT) as writer:
            writer.append(part)
    return path


def assert_same(a, b):
    """The same questions and answers, whatever they are padded to."""
    np.testing.assert_array_equal(a.labels, b.labels)
    for side in ("first", "second"):
        one, other = (x.segments[getattr(x, side)] for x in (a, b))
        np.testing.assert_array_equal(one.lengths, other.lengths)
        for name in ("obs", "actions", "rewards"):
            x, y = getattr(one, name), getattr(other, name)
            assert x.dtype == y.dtype
            np.testing.assert_array_equal(x[one.mask], y[other.mask])


def joined(a, b):
    both = concatenate([a.segments, b.segments])
    shift = len(a.segments)
    first, second = (
        np.concatenate([getattr(a, side), getattr(b, side) + shift]) for side in ("first", "second")
    )
    return Preferences(both, first, second, np.concatenate([a.labels, b.labels]))


@pytest.mark.parametrize("discrete", [True, False])
def test_round_trip(tmp_path, discrete):
    prefs = some(discrete=discrete, lengths=np.array([5, 1, 3, 2, 5, 4]))
    prefs.labels[:4] = [0.0, 0.5, NAN, 1 / 3]
    prefs.segments.policy[:] = prefs.segments.first_step[:] = np.arange(6)
    read = dataset.read(written(tmp_path / "d", prefs))
    assert_same(prefs, read)
    for name in ("policy", "first_step"):
        for side in ("first", "second"):
            was, now = (getattr(x.segments, name)[getattr(x, side)] for x in (prefs, read))
            np.testing.assert_array_equal(was, now)
    assert dataset.read_metadata(tmp_path / "d") == {"schema": 2, **ABOUT}


def test_what_lies_on_disk(tmp_path):
    segments = random_segments(3, 4, np.random.default_rng(0))
    with dataset.writing(tmp_path, ABOUT) as writer:
        writer.append(preferences(segments, (2, 1, 1.0), (1, 2, NAN)), teacher="oracle")
    lines = (tmp_path / "preferences.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [
        {"first": 1, "second": 0, "label": 1.0, "teacher": "oracle"},
        {"first": 0, "second": 1, "label": None, "teacher": "oracle"},
    ]
    with np.load(tmp_path / "segments-0000.npz") as archive:
        assert sorted(archive) == ["actions", "first_step", "mask", "obs", "policy", "rewards"]
        assert archive["obs"].shape == (2, 4, 3)  # the segment nobody asked about is not kept


def test_appends_add_up(tmp_path):
    first, second = some(seed=0), some(seed=1)
    with dataset.writing(tmp_path, ABOUT) as writer:
        assert writer.preferences is None
        writer.append(first)
        assert_same(writer.preferences, first)
        writer.append(second)
        assert_same(writer.preferences, joined(first, second))
    assert_same(dataset.read(tmp_path), joined(first, second))


def test_a_shard_is_never_written_again(tmp_path):
    first, second = some(seed=0), some(seed=1)
    written(tmp_path, first)
    before = (tmp_path / "segments-0000.npz").read_bytes()
    written(tmp_path, second)
    assert (tmp_path / "segments-0000.npz").read_bytes() == before
    assert [file.name for file in dataset.shards(tmp_path)] == [
        "segments-0000.npz", "segments-0001.npz"
    ]  # fmt: skip
    # what is there already needs none
    written(tmp_path, first)
    assert len(dataset.shards(tmp_path)) == 2
    assert_same(dataset.read(tmp_path), joined(joined(first, second), first))


def test_shards_are_counted_and_not_sorted_by_name(tmp_path):
    for number in (9999, 10000, 2, 0):
        (tmp_path / f"segments-{number:04}.npz").touch()
    names = [file.name for file in dataset.shards(tmp_path)]
    assert names == [f"segments-{number:04}.npz" for number in (0, 2, 9999, 10000)]


def test_datasets_of_schema_1_are_read_and_added_to(tmp_path):
    first, second = some(seed=0), some(seed=1)
    written(tmp_path, first)
    (tmp_path / "segments-0000.npz").rename(tmp_path / "segments.npz")
    (tmp_path / "metadata.json").write_text(json.dumps({"schema": 1, **ABOUT}))
    assert_same(dataset.read(tmp_path), first)
    old = (tmp_path / "segments.npz").read_bytes()
    written(tmp_path, second)
    assert_same(dataset.read(tmp_path), joined(first, second))
    assert (tmp_path / "segments.npz").read_bytes() == old
    assert dataset.read_metadata(tmp_path)["schema"] == 2  # an earlier prefloop would see a part


def test_the_lines_of_the_docs_read_such_a_dataset_in_its_order(tmp_path, monkeypatch, capsys):
    place = tmp_path / "prefs"
    written(place, some(seed=0))
    (place / "segments-0000.npz").rename(place / "segments.npz")
    (place / "metadata.json").write_text(json.dumps({"schema": 1, **ABOUT}))
    written(place, some(seed=1))
    text = (ROOT / "docs" / "data_format.md").read_text(encoding="utf-8")
    lines = text.partition("```python\n")[2].partition("```")[0]
    monkeypatch.chdir(tmp_path)
    exec(lines, {})
    assert capsys.readouterr().out == "12 shown, 12 answered, 100% as the true returns say\n"


def test_a_segment_that_stands_there_twice_shifts_nothing(tmp_path):
    first, second = some(seed=0), some(seed=1)
    path = written(tmp_path, first) / "segments-0000.npz"
    np.savez(path, **{name: np.concatenate([x, x]) for name, x in arrays(path).items()})
    assert_same(dataset.read(written(tmp_path, second)), joined(first, second))


def test_all_preferences_can_be_replaced(tmp_path):
    first, second = some(seed=0), some(seed=1)
    with dataset.writing(tmp_path, ABOUT) as writer:
        writer.append(first)
        writer.replace(second, teacher="human")
        assert_same(writer.preferences, second)
        assert len(writer) == len(second)
    assert_same(dataset.read(tmp_path), second)


def test_frames_are_kept_once_and_stacked_when_they_are_read(tmp_path):
    rng = np.random.default_rng(0)
    frames = rng.integers(256, size=(4, 5 + 3 - 1, 8, 8), dtype=np.uint8)
    plain = random_segments(4, 5, rng)
    segments = dataclasses.replace(plain, obs=stacked(frames, 3), frame_stack=3)
    assert segments.obs.shape == (4, 5, 3, 8, 8)
    np.testing.assert_array_equal(segments.obs[2, 3], frames[2, 3:6])
    prefs = preferences(segments, (0, 1, 1.0), (2, 3, 0.0))
    read = dataset.read(written(tmp_path, prefs))
    assert (read.segments.obs.dtype, read.segments.frame_stack) == (np.uint8, 3)
    np.testing.assert_array_equal(read.segments.obs, segments.obs)
    with np.load(tmp_path / "segments-0000.npz") as archive:
        assert archive["obs"].nbytes == frames.nbytes
    some_of_them = segments[np.array([3, 1])]
    np.testing.assert_array_equal(some_of_them.obs, segments.obs[[3, 1]])


def test_many_segments_stand_in_several_files(tmp_path, monkeypatch):
    prefs = some()
    monkeypatch.setattr(dataset, "SHARD_BYTES", 2 * prefs.segments.obs[0].nbytes)
    read = dataset.read(written(tmp_path, prefs))
    assert len(dataset.shards(tmp_path)) == len(prefs.segments) // 2
    assert_same(read, prefs)


def test_a_file_that_can_not_be_written_leaves_those_before_it(tmp_path, monkeypatch):
    prefs, write, left = some(), dataset._write_shard, [1]
    monkeypatch.setattr(dataset, "SHARD_BYTES", 2 * prefs.segments.obs[0].nbytes)

    def until_the_disk_is_full(*arguments):
        if not left:
            raise UserError("Can't write: No space left on device.")
        left.pop()
        write(*arguments)

    with dataset.writing(tmp_path, ABOUT) as writer:
        monkeypatch.setattr(dataset, "_write_shard", until_the_disk_is_full)
        with pytest.raises(UserError, match="No space"):
            writer.append(prefs)
        assert len(writer) == 0
        monkeypatch.setattr(dataset, "_write_shard", write)
        writer.append(prefs)
        assert_same(writer.preferences, prefs)
    assert_same(dataset.read(tmp_path), prefs)


def test_opened_again_it_goes_on(tmp_path):
    first, second = some(seed=0), some(seed=1)
    written(tmp_path, first)
    with dataset.writing(tmp_path, {**ABOUT, "program": "another"}) as writer:
        assert_same(writer.preferences, first)
        writer.append(second)
    assert_same(dataset.read(tmp_path), joined(first, second))
    assert "program" not in dataset.read_metadata(tmp_path)


def test_each_segment_is_stored_once(tmp_path):
    segments = random_segments(4, 5, np.random.default_rng(0))
    twice = concatenate([segments, segments])
    first = preferences(twice, (0, 1, 1.0), (4, 5, 0.0))
    longer = concatenate([segments, random_segments(1, 8, np.random.default_rng(1))])
    second = preferences(longer, (1, 2, 1.0), (0, 4, 1.0))
    read = dataset.read(written(tmp_path, first, second))
    assert_same(read, joined(first, second))
    assert len(read.segments) == 4  # 0, 1, 2 and the long one
    assert (read.first[0], read.second[0]) == (read.first[1], read.second[1])


def test_longer_segments_later(tmp_path):
    short = some(length=3, lengths=np.array([3, 1, 2, 3, 1, 2]))
    long = some(length=9, seed=1, lengths=np.array([9, 1, 4, 5, 9, 9]))
    read = dataset.read(written(tmp_path, short, long, short))
    assert read.segments.obs.shape[1] == 9
    assert_same(read, joined(joined(short, long), short))
    assert len(read.segments) == len(dataset.read(written(tmp_path / "b", short, long)).segments)


def test_appending_nothing(tmp_path):
    prefs = some()
    assert_same(dataset.read(written(tmp_path, prefs[:0], prefs, prefs[:0])), prefs)


@pytest.mark.parametrize(
    "torn", [b'{"first": 0, "seco', b'{"first": 0, "second": 1, "label": 1.0', b"1"]
)
def test_a_torn_line_is_dropped(tmp_path, torn):
    first, second = some(seed=0), some(seed=1)
    written(tmp_path, first)
    with (tmp_path / "preferences.jsonl").open("ab") as file:
        file.write(torn)  # it was never acknowledged
    assert_same(dataset.read(tmp_path), first)
    assert_same(dataset.read(written(tmp_path, second)), joined(first, second))


def test_a_last_line_that_lacks_only_its_newline_counts(tmp_path):
    first, second = some(seed=0), some(seed=1)
    written(tmp_path, first)
    lines = tmp_path / "preferences.jsonl"
    lines.write_bytes(lines.read_bytes()[:-1])  # as an editor may leave it
    assert_same(dataset.read(tmp_path), first)
    assert_same(dataset.read(written(tmp_path, second)), joined(first, second))


APPEND_FOR_EVER = """
import sys
import numpy as np
sys.path[:0] = sys.argv[2:4]
from pathlib import Path
from made_up import ask, random_segments
from prefloop.data import dataset
from prefloop.data.frames import stacked
with dataset.writing(Path(sys.argv[1]), {"env": "CartPole-v0"}) as writer:
    for i in range(10_000):
        rng = np.random.default_rng(i)
        writer.append(ask(random_segments(6, 5, rng), 6, rng), step=i)
        print(i, flush=True)
"""


@pytest.mark.skipif(os.name == "nt", reason="kill -9 is a POSIX signal")
@pytest.mark.parametrize("delay", [0.0, 0.003, 0.011])
def test_a_kill_loses_nothing_that_was_acknowledged(tmp_path, delay):
    arguments = (str(tmp_path / "d"), str(ROOT), str(ROOT / "tests"))
    command = [sys.executable, "-c", APPEND_FOR_EVER, *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        for _ in range(5):
            assert process.stdout.readline()
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        said = process.stdout.read().splitlines()
    assert process.returncode == -signal.SIGKILL
    acknowledged = 5 + len(said)
    read = dataset.read(tmp_path / "d")
    assert len(read) >= 6 * acknowledged
    expected = some(seed=0)
    for i in range(1, acknowledged):
        expected = joined(expected, some(seed=i))
    assert_same(read[: 6 * acknowledged], expected)
    with dataset.writing(tmp_path / "d", ABOUT) as writer:  # the lock died with its process
        before = len(writer.preferences)
        writer.append(some(seed=99))
    assert len(dataset.read(tmp_path / "d")) == before + 6
    assert not list((tmp_path / "d").glob("*.tmp"))


def test_what_a_kill_left_is_swept_away(tmp_path):
    (tmp_path / ".metadata.json.123.tmp").write_text("{")  # killed before there was anything
    prefs = some()
    written(tmp_path, prefs)
    (tmp_path / ".segments-0000.npz.123.tmp").write_bytes(b"PK")
    written(tmp_path, prefs)
    assert not (tmp_path / ".segments-0000.npz.123.tmp").exists()
    assert len(dataset.read(tmp_path)) == 12


def test_segments_without_lines(tmp_path):
    """Killed between the two."""
    first, second = some(seed=0), some(seed=1)
    written(tmp_path, first)
    (tmp_path / "preferences.jsonl").unlink()
    assert len(dataset.read(tmp_path)) == 0
    assert_same(dataset.read(written(tmp_path, second)), second)


def test_lines_without_segments(tmp_path):
    written(tmp_path, some())
    (tmp_path / "segments-0000.npz").unlink()
    lines = (tmp_path / "preferences.jsonl").read_bytes()
    with pytest.raises(UserError, match="holds no segments"):
        written(tmp_path, some(seed=1))  # the old lines would name the new segments
    assert (tmp_path / "preferences.jsonl").read_bytes() == lines


def test_full_disk_while_segments_are_written(tmp_path, monkeypatch):
    first, second = some(seed=0), some(seed=1)
    with dataset.writing(tmp_path, ABOUT) as writer:
        writer.append(first)
        before = {p: p.read_bytes() for p in tmp_path.iterdir()}

        def full_disk(descriptor):
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full_disk)
            with pytest.raises(UserError, match=r"Can't write .*: No space left on device"):
                writer.append(second)
        assert {p: p.read_bytes() for p in tmp_path.iterdir()} == before
        assert_same(writer.preferences, first)
        writer.append(second)  # once there is room again
    assert_same(dataset.read(tmp_path), joined(first, second))


def test_full_disk_while_lines_are_written(tmp_path, monkeypatch):
    first, second = some(seed=0), some(seed=1)
    with dataset.writing(tmp_path, ABOUT) as writer:
        writer.append(first)

        def half_written(descriptor):
            os.ftruncate(descriptor, os.fstat(descriptor).st_size - 10)
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", half_written)
            with pytest.raises(UserError, match="No space left on device"):
                writer.append(second)
        assert_same(dataset.read(tmp_path), first)
        assert_same(writer.preferences, first)
        writer.append(second)
    assert_same(dataset.read(tmp_path), joined(first, second))


def test_two_at_once(tmp_path):
    program = (
        "import sys; sys.path[:0] = sys.argv[2:]\n"
        "from pathlib import Path\nfrom prefloop.data import dataset\n"
        "with dataset.writing(Path(sys.argv[1]), {'env': 'CartPole-v0'}): pass"
    )
    command = [sys.executable, "-c", program, str(tmp_path), str(ROOT)]
    prefs = some()
    with dataset.writing(tmp_path, ABOUT) as writer:
        second = subprocess.run(command, capture_output=True, text=True, check=False)
        writer.append(prefs)
        assert_same(dataset.read(tmp_path), prefs)  # reading is never kept waiting
    assert "ClaimedError: Another process is writing to" in second.stderr
    assert subprocess.run(command, check=False).returncode == 0


def test_a_foreign_folder(tmp_path):
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(UserError, match="holds something else than a preference dataset"):
        written(tmp_path, some())
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]
    with pytest.raises(UserError, match=r"it has no metadata\.json"):
        dataset.read(tmp_path)


def test_a_file_in_the_way(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="is a file; a directory is needed"):
        written(tmp_path / "file", some())


def test_a_missing_folder(tmp_path):
    for read in (dataset.read, dataset.read_metadata):
        with pytest.raises(UserError, match="There is no preference dataset"):
            read(tmp_path / "d")
    assert not dataset.exists(tmp_path / "d")
    written(tmp_path / "a" / "b" / "d", some())  # made on the way
    assert dataset.exists(tmp_path / "a" / "b" / "d")


def test_no_preferences_yet(tmp_path):
    with dataset.writing(tmp_path, ABOUT):
        pass
    with pytest.raises(UserError, match="holds no segments yet"):
        dataset.read(tmp_path)
    assert_same(dataset.read(written(tmp_path, some())), some())


def test_another_environment(tmp_path):
    written(tmp_path, some())
    with (
        pytest.raises(UserError, match="holds preferences for CartPole-v0, not Pendulum-v1"),
        dataset.writing(tmp_path, {"env": "Pendulum-v1"}),
    ):
        pytest.fail("it is for another environment")


@pytest.mark.parametrize(
    "schema, words",
    [
        (3, "has schema 3, and this prefloop reads up to 2; install a newer one"),
        (None, "names no schema"),
        (True, "names no schema"),
        ("1", "names no schema"),
        (0, "names no schema"),
    ],
)
def test_another_schema(tmp_path, schema, words):
    written(tmp_path, some())
    (tmp_path / "metadata.json").write_text(json.dumps({**ABOUT, "schema": schema}))
    for job in (dataset.read, dataset.read_metadata, lambda path: written(path, some(seed=1))):
        with pytest.raises(UserError, match=words):
            job(tmp_path)


@pytest.mark.parametrize("name", ["obs", "actions", "rewards"])
@pytest.mark.parametrize("value", [NAN, float("inf")])
def test_nan_is_not_stored(tmp_path, name, value):
    good, bad = some(discrete=False), some(seed=1, discrete=False)
    getattr(bad.segments, name)[bad.first[0], 0] = value
    with dataset.writing(tmp_path, ABOUT) as writer:
        writer.append(good)
        with pytest.raises(UserError, match=f"Segments with NaN or infinite {name}"):
            writer.append(bad)
    assert_same(dataset.read(tmp_path), good)


@pytest.mark.parametrize(
    "other",
    [
        make_segments(np.ones((2, 5, 4)), np.zeros((2, 5))),
        make_segments(np.ones((2, 5, 3)), np.zeros((2, 5, 1))),
    ],
)
def test_segments_of_another_kind(tmp_path, other):
    good = some()
    with dataset.writing(tmp_path, ABOUT) as writer:
        writer.append(good)
        with pytest.raises(UserError, match="holds other segments"):
            writer.append(preferences(other, (0, 1, 1.0)))
    assert_same(dataset.read(tmp_path), good)


@pytest.mark.parametrize(
    "line, words",
    [
        (b'{"first": 0, "second": 1, "label": 1.5}', r"the label 1.5 is not in \[0, 1\]"),
        (b'{"first": 0, "second": 1, "label": NaN}', r"the label nan is not in \[0, 1\]"),
        (b'{"first": 0, "second": 1, "label": "1"}', "needs first, second and label"),
        (b'{"first": 0, "second": 1, "label": true}', "needs first, second and label"),
        (b'{"first": 0, "second": 1}', "needs first, second and label"),
        (b'{"first": 0.0, "second": 1, "label": 1}', "needs first, second and label"),
        (b'{"first": true, "second": 1, "label": 1}', "needs first, second and label"),
        (b'{"first": %d, "second": 1, "label": 1}' % 10**30, "needs first, second and label"),
        (b'{"first": 0, "second": 1, "label": %d}' % 10**400, "needs first, second and label"),
        (b"[]", "needs first, second and label"),
        (b"", "needs first, second and label"),
        (b"\xff\xfe", "needs first, second and label"),
        (b"[" * 100_000, "needs first, second and label"),
    ],
)
def test_a_damaged_line(tmp_path, line, words):
    written(tmp_path, some(num=3))
    path = tmp_path / "preferences.jsonl"
    path.write_bytes(path.read_bytes() + line + b"\n")
    with pytest.raises(UserError, match=rf"preferences.jsonl, line 4.*{words}"):
        dataset.read(tmp_path)


@pytest.mark.parametrize("place", [-1, 6])
def test_a_line_names_a_segment_that_is_not_there(tmp_path, place):
    written(tmp_path, preferences(some().segments, *[(i, (i + 1) % 6, 1.0) for i in range(6)]))
    with (tmp_path / "preferences.jsonl").open("a") as file:
        file.write(json.dumps({"first": 0, "second": place, "label": 1}) + "\n")
    with pytest.raises(
        UserError, match=r"is damaged: a query names a segment outside of 0 to 5\.$"
    ):
        dataset.read(tmp_path)


def arrays(path):
    with np.load(path) as archive:
        return dict(archive)


class Trap:
    """A stranger's pickle: it would make a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_a_pickled_array_is_refused(tmp_path):
    path = written(tmp_path / "d", some()) / "segments-0000.npz"
    trap = np.full((6, 5, 3), Trap(tmp_path / "sprung"), dtype=object)
    np.savez(path, **{**arrays(path), "obs": trap})
    with pytest.raises(
        UserError, match=r"segments-0000\.npz is damaged: Object arrays cannot be loaded"
    ):
        dataset.read(tmp_path / "d")
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    "change, words",
    [
        ({"obs": None}, "it holds no array obs"),
        ({"first_step": None}, "it holds no array first_step"),
        ({"rewards": np.zeros((1, 5), np.float32)}, "differ in shape"),
        ({"obs": np.zeros((6, 5, 3))}, "obs must be float32"),
        ({"obs": np.full((6, 5, 3), "x")}, "obs must be float32"),
        ({"obs": np.full((6, 5, 3), NAN, np.float32)}, "its obs are NaN or infinite"),
        ({"mask": np.zeros((6, 5), bool)}, "a segment has no steps"),
    ],
)
def test_arrays_that_can_not_be(tmp_path, change, words):
    prefs = preferences(some().segments, *[(i, (i + 1) % 6, 1.0) for i in range(6)])
    path = written(tmp_path, prefs) / "segments-0000.npz"
    kept = {k: v for k, v in {**arrays(path), **change}.items() if v is not None}
    np.savez(path, **kept)
    with pytest.raises(UserError, match=f"segments-0000.npz is damaged: .*{words}"):
        dataset.read(tmp_path)


def test_members_that_are_no_arrays(tmp_path):
    path = written(tmp_path, some()) / "segments-0000.npz"
    with zipfile.ZipFile(path, "w") as archive:
        for field in dataclasses.fields(some().segments):
            archive.writestr(f"{field.name}.npy", "hello")
    with pytest.raises(UserError, match=r"segments-0000\.npz is damaged"):
        dataset.read(tmp_path)


def test_an_archive_too_large_to_unpack(tmp_path, monkeypatch):
    written(tmp_path, some())
    monkeypatch.setattr(dataset, "MAX_BYTES", 100)
    with pytest.raises(UserError, match="is too large"):
        dataset.read(tmp_path)


def test_any_damage_to_the_segments_ends_in_one_sentence(tmp_path):
    prefs = some()
    path = written(tmp_path, prefs) / "segments-0000.npz"
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    for i, place in enumerate(rng.integers(len(whole), size=300)):
        bit = 1 << int(rng.integers(8))
        damaged = whole[:place] + bytes([whole[place] ^ bit]) + whole[place + 1 :]
        path.write_bytes(damaged if i % 3 else whole[:place])
        try:
            read = dataset.read(tmp_path)
        except UserError as error:
            assert "\n" not in str(error)
            refused += 1
        else:
            assert_same(read, prefs)  # what was hit says nothing
    assert refused > 200


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"hello", None])
def test_no_archive(tmp_path, content):
    path = written(tmp_path, some()) / "segments-0000.npz"
    if content is None:
        buffer = io.BytesIO()
        np.save(buffer, np.zeros(3))
        content = buffer.getvalue()
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"segments-0000\.npz is damaged: [^\n]+\.$"):
        dataset.read(tmp_path)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
def test_files_that_can_not_be_read(tmp_path):
    for name in ("segments-0000.npz", "preferences.jsonl"):
        path = written(tmp_path / name, some()) / name
        path.unlink()
        path.mkdir()  # which root can't read as a file either
        for job in (dataset.read, lambda folder: written(folder, some(seed=1))):
            with pytest.raises(UserError, match=r"Can't (read|write) "):
                job(tmp_path / name)
