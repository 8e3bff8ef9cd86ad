import errno
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from prefloop import files
from prefloop.errors import UserError
from prefloop.files import (
    LOCK,
    ClaimedError,
    claimed_directory,
    is_claimed,
    read_csv,
    read_json,
    require_writable,
    whole_folder,
    write_atomically,
    write_csv,
)
from prefloop.video_files import write_video

ROOT = Path(__file__).resolve().parents[1]


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_atomically(path, b"old")

    def full_disk(self, data):
        with self.open("wb") as file:
            file.write(data[:2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full_disk)
    with pytest.raises(UserError, match="No space left on device"):
        write_atomically(path, b"new one")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_is_held_open_is_waited_for(tmp_path, monkeypatch):
    """As on Windows, where what others read can't be replaced."""
    path, replace, held = tmp_path / "metrics.csv", Path.replace, [True, True]
    path.write_text("old")

    def replace_when_free(self, target):
        if held and held.pop():
            raise PermissionError(errno.EACCES, "Permission denied")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", replace_when_free)
    with pytest.raises(UserError, match="Permission denied"):
        write_atomically(path, b"new")
    assert path.read_text() == "old" and len(held) == 1
    monkeypatch.setattr(files, "HELD_SECONDS", 60)
    write_atomically(path, b"new")
    assert path.read_text() == "new" and not held and list(tmp_path.iterdir()) == [path]


def test_processes_of_one_number_write_each_by_itself(tmp_path, monkeypatch):
    """As in containers that share a folder, in each of which the first process is 1."""
    path, video, write_bytes = tmp_path / "x.json", tmp_path / "x.mp4", Path.write_bytes
    pictures = [np.zeros((16, 16, 3), dtype=np.uint8)] * 2
    written = []

    def slowly(self, data):
        written.append(self)
        write_bytes(self, data[:2])
        if len(written) == 1:  # meanwhile another one does the same from begin to end
            write_atomically(path, b"another")
        assert self.read_bytes() == data[:2]
        return write_bytes(self, data)

    def frames():
        yield pictures[0]
        write_video(video, iter(pictures), 30)
        assert video.exists()
        yield pictures[1]

    monkeypatch.setattr(os, "getpid", lambda: 1)
    monkeypatch.setattr(Path, "write_bytes", slowly)
    write_atomically(path, b"this one")
    write_video(video, frames(), 30)
    assert path.read_bytes() == b"this one" and len(set(written)) == 2
    assert sorted(tmp_path.iterdir()) == [path, video]


def test_what_a_killed_process_left_is_removed(tmp_path):
    left = [".a.json.12.tmp", "..a.12.34.mp4", files.unfinished(tmp_path / "a.json", "tmp").name]
    left.append(files.unfinished(files.unfinished(tmp_path / "a", "mp4"), "mp4").name)
    for name in (*left, "a.json", ".a.tmp", "a.12.tmp"):
        (tmp_path / name).write_text("half")
    files.remove_unfinished(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"a.json", ".a.tmp", "a.12.tmp"}


def test_a_directory_is_not_overwritten(tmp_path):
    (tmp_path / "file").mkdir()
    with pytest.raises(UserError, match="Can't write"):
        write_atomically(tmp_path / "file", b"x")
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]


def anything_goes(path):
    """What may be replaced by `whole_folder`."""


def test_a_folder_is_whole_or_as_it_was(tmp_path, monkeypatch):
    folder = tmp_path / "page"
    with whole_folder(folder) as unfinished:
        (unfinished / "a").write_text("old")
        assert not folder.exists()
    with pytest.raises(KeyboardInterrupt), whole_folder(folder, anything_goes) as unfinished:
        (unfinished / "b").write_text("half")
        raise KeyboardInterrupt
    rename = Path.rename

    def fails(self, target):
        if self.suffix == ".tmp":
            raise OSError(28, "No space left on device")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fails)
    with (
        pytest.raises(UserError, match="No space left"),
        whole_folder(folder, anything_goes) as unfinished,
    ):
        (unfinished / "c").write_text("new")
    assert list(tmp_path.rglob("*")) == [folder, folder / "a"]
    monkeypatch.undo()
    with whole_folder(folder, anything_goes) as unfinished:
        (unfinished / "d").write_text("new")
    assert list(tmp_path.rglob("*")) == [folder, folder / "d"]


def test_what_came_to_a_folder_meanwhile_stays(tmp_path):
    folder = tmp_path / "page"
    for come, there in ((folder / "theirs", [folder, folder / "theirs"]), (folder, [folder])):
        with pytest.raises(UserError, match="holds something by now"), whole_folder(folder) as made:
            (made / "mine").write_text("x")
            come.parent.mkdir(exist_ok=True)
            come.write_text("y")
        assert list(tmp_path.rglob("*")) == there and come.read_text() == "y"
        shutil.rmtree(folder, ignore_errors=True)
    folder.unlink()
    with whole_folder(folder) as made:
        (made / "mine").write_text("x")
        folder.mkdir()  # nothing is lost with it
    assert list(tmp_path.rglob("*")) == [folder, folder / "mine"]


def test_a_folder_that_a_kill_left_unfinished_blocks_nobody(tmp_path):
    code = (
        "import os, sys; from prefloop.files import Path, whole_folder; os.getpid = lambda: 1\n"
        "with whole_folder(Path('out')) as unfinished:\n"
        "    (unfinished / 'a').write_text('whole')\n"
        "    if sys.argv[1] == 'killed': os._exit(9)\n"
    )
    codes = []
    for how in ("killed", "whole"):  # by processes of one number, as in containers
        line = [sys.executable, "-c", code, how]
        codes.append(subprocess.run(line, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}))
    assert [one.returncode for one in codes] == [9, 0]
    assert (tmp_path / "out" / "a").read_text() == "whole"


def test_what_can_not_be_written_is_told_before(tmp_path):
    (tmp_path / "there.json").write_text("old")
    for name in ("there.json", "new.json"):
        require_writable(tmp_path / name)
    assert list(tmp_path.iterdir()) == [tmp_path / "there.json"]
    assert (tmp_path / "there.json").read_text() == "old"
    for path in (tmp_path, tmp_path / "no" / "a.json", tmp_path / "there.json" / "a", Path()):
        with pytest.raises(UserError, match="Can't write"):
            require_writable(path)


def test_csv(tmp_path):
    write_csv(tmp_path / "m.csv", [{"epoch": 0, "loss": 0.5}, {"epoch": 1, "loss": 0.25}])
    assert (tmp_path / "m.csv").read_bytes() == b"epoch,loss\n0,0.5\n1,0.25\n"


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "[" * 100_000])
def test_json_that_is_no_object(tmp_path, text):
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(UserError, match="damaged"):
        read_json(tmp_path / "run.json")


def test_one_process_at_a_time(tmp_path):
    program = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
        "from prefloop.files import claimed_directory\n"
        f"from pathlib import Path\nwith claimed_directory(Path({str(tmp_path)!r})): pass"
    )
    command = [sys.executable, "-c", program]
    with claimed_directory(tmp_path):
        second = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "Another process is writing" in second.stderr
    assert subprocess.run(command, check=False).returncode == 0


def test_a_file_in_the_way(tmp_path):
    (tmp_path / "file").write_text("")
    for path, reason in (
        (tmp_path / "file", "is a file"),
        (tmp_path / "file" / "sub", "in the way"),
    ):
        with pytest.raises(UserError, match=reason), claimed_directory(path):
            pytest.fail("the directory can't be had")


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege, and modes are others")
def test_a_link_and_a_mode_are_kept(tmp_path):
    real, link = tmp_path / "real" / "file", tmp_path / "link"
    real.parent.mkdir()
    real.write_bytes(b"old")
    real.chmod(0o640)
    link.symlink_to(Path("real") / "file")
    write_atomically(link, b"new")
    assert link.is_symlink() and real.read_bytes() == b"new"
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    write_atomically(tmp_path / "made", b"x")
    (tmp_path / "plain").write_bytes(b"x")  # as the umask has it
    assert (tmp_path / "made").stat().st_mode == (tmp_path / "plain").stat().st_mode
    dangling = tmp_path / "dangling"
    dangling.symlink_to("later")
    write_atomically(dangling, b"there")
    assert (tmp_path / "later").read_bytes() == b"there" and dangling.is_symlink()
    circle = tmp_path / "circle"
    circle.symlink_to("circle")
    for write in (
        lambda: write_atomically(circle, b"x"),
        lambda: write_video(circle, iter([np.zeros((16, 16, 3), dtype=np.uint8)]), 30),
    ):
        with pytest.raises(UserError, match="leads round in a circle"):
            write()
    assert circle.is_symlink()


@pytest.mark.skipif(os.name == "nt", reason="modes are others")
def test_what_is_written_can_at_no_time_be_read_by_more(tmp_path, monkeypatch):
    secret = tmp_path / "secret"
    secret.write_bytes(b"old")
    secret.chmod(0o600)
    seen = []
    write_bytes = Path.write_bytes

    def spying(path, data):
        written = write_bytes(path, data)
        seen.append(stat.S_IMODE(path.stat().st_mode))
        return written

    monkeypatch.setattr(Path, "write_bytes", spying)
    write_atomically(secret, b"new")
    assert seen == [0o600] and stat.S_IMODE(secret.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "saved",
    [
        b"epoch,loss,policy\n0,0.5,a b\n1,0.25,\"c,d\"\n",
        b"\xef\xbb\xbfepoch;loss;policy\r\n0;0,5;a b\r\n1;0,25;c,d\r\n",
        b"sep=;\r\nepoch;loss;policy\r\n0;0,5;a b\r\n1;0,25;c,d\r\n",
        "epoch\tloss\tpolicy\r\n0\t0,5\ta b\r\n1\t0,25\tc,d\r\n".encode("utf-16"),
    ],
    ids=["ours", "semicolons", "with sep", "unicode text"],
)  # fmt: skip
def test_csv_that_a_spreadsheet_saved(tmp_path, saved):
    (tmp_path / "m.csv").write_bytes(saved)
    rows = read_csv(tmp_path / "m.csv")
    assert [(row["epoch"], row["loss"]) for row in rows] == [("0", "0.5"), ("1", "0.25")]
    assert [row["policy"] for row in rows] == ["a b", "c,d"]


@pytest.mark.parametrize("name", ["a\u2028b", "a\x85b", "a\x0cb", "a\nb", 'a"b', "a;b", "1,5", ""])
def test_csv_gives_back_what_was_written(tmp_path, name):
    write_csv(tmp_path / "m.csv", [{"policy": name, "episodes": 3}] * 2)
    assert read_csv(tmp_path / "m.csv") == [{"policy": name, "episodes": "3"}] * 2


def test_csv_with_a_name_that_is_no_text(tmp_path):
    write_csv(tmp_path / "m.csv", [{"policy": "caf\udce9"}])
    assert read_csv(tmp_path / "m.csv") == [{"policy": "caf\\udce9"}]


@pytest.mark.skipif(os.name == "nt", reason="a file that is in use can't be deleted there")
def test_a_deleted_lock_lets_nobody_in(tmp_path):
    with claimed_directory(tmp_path):
        (tmp_path / LOCK).unlink()
        assert is_claimed(tmp_path)
        with (
            pytest.raises(ClaimedError, match="Another process is writing"),
            claimed_directory(tmp_path),
        ):
            raise AssertionError("two are in it")
    assert not is_claimed(tmp_path)
    with claimed_directory(tmp_path):
        assert is_claimed(tmp_path)


@pytest.mark.skipif(os.name == "nt", reason="a folder's own rules hold there")
def test_what_is_private_is_its_owner_s_alone(tmp_path):
    before = os.umask(0)
    try:
        write_atomically(tmp_path / "new", b"1", private=True)
        (tmp_path / "old").write_bytes(b"0")
        write_atomically(tmp_path / "old", b"1", private=True)
    finally:
        os.umask(before)
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("new", "old")]
    assert modes == [0o600, 0o600]
