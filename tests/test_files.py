import subprocess
import sys
from pathlib import Path

import pytest

from prefloop.errors import UserError
from prefloop.files import claimed_directory, read_json, write_atomically, write_csv

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


def test_a_directory_is_not_overwritten(tmp_path):
    (tmp_path / "file").mkdir()
    with pytest.raises(UserError, match="Can't write"):
        write_atomically(tmp_path / "file", b"x")
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]


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
