import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from made_up import preferences, random_segments

from prefloop import cli
from prefloop.data import dataset

ABOUT = {"env": "CartPole-v0", "settings": {"pairs": 4}}


@pytest.fixture
def prefs(tmp_path, monkeypatch):
    """A dataset in the current folder: four queries, one of them skipped, one a tie."""
    pytest.importorskip("pyarrow")
    monkeypatch.chdir(tmp_path)
    segments = random_segments(5, 6, np.random.default_rng(0), lengths=np.array([6, 2, 3, 1, 5]))
    answers = (0, 1, 1.0), (2, 1, 0.5), (3, 4, float("nan")), (4, 0, 0.0)
    with dataset.writing(tmp_path / "prefs", ABOUT) as writer:
        writer.append(preferences(segments, *answers))
    return writer.preferences


def refused(capsys, *arguments):
    """What it says instead of converting."""
    with pytest.raises(SystemExit) as stop:
        cli.main(["convert", *map(str, arguments)])
    assert stop.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    return err.strip().splitlines()[-1]


def test_there_and_back(prefs, tmp_path, capsys):
    cli.main(["convert", "prefs", "out/prefs.parquet"])
    assert capsys.readouterr().out == (
        "Wrote out/prefs.parquet: 4 queries, 3 answered (1 tie), 1 skipped.\n"
        "Next: prefloop convert out/prefs.parquet FOLDER makes a preference dataset of it again\n"
    )
    cli.main(["convert", "out/prefs.parquet", "new/again"])
    assert capsys.readouterr().out == (
        "Wrote new/again: 4 queries, 3 answered (1 tie), 1 skipped.\n"
        "Next: prefloop reward --preferences new/again --out reward\n"
    )
    again = dataset.read(tmp_path / "new" / "again")
    np.testing.assert_array_equal(again.labels, prefs.labels)
    for side in ("first", "second"):
        was, now = (x.segments[getattr(x, side)] for x in (prefs, again))
        for name in ("obs", "actions", "rewards", "mask"):
            np.testing.assert_array_equal(
                getattr(was, name)[was.mask], getattr(now, name)[now.mask]
            )
    assert dataset.read_metadata(tmp_path / "new" / "again") == {"schema": 2, **ABOUT}
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["again"]
    with dataset.writing(tmp_path / "new" / "again", ABOUT) as writer:  # it can be added to
        writer.append(prefs)
        assert len(writer.preferences) == 8


@pytest.mark.parametrize("direction", ["to a file", "to a folder"])
def test_nothing_is_overwritten(prefs, tmp_path, capsys, direction):
    cli.main(["convert", "prefs", "prefs.parquet"])
    capsys.readouterr()
    if direction == "to a file":
        (tmp_path / "mine.parquet").write_text("precious")
        said = refused(capsys, "prefs", "mine.parquet")
        assert (tmp_path / "mine.parquet").read_text() == "precious"
    else:
        (tmp_path / "mine").mkdir()
        said = refused(capsys, "prefs.parquet", "mine")
        assert list((tmp_path / "mine").iterdir()) == []
    assert said.startswith("prefloop convert: error: mine")
    assert "exists already; choose another destination." in said


@pytest.mark.parametrize("names", [("prefs", "again"), ("a.parquet", "b.parquet")])
def test_one_of_the_two_is_a_file(prefs, capsys, names):
    said = refused(capsys, *names)
    assert "one of SOURCE and DESTINATION must be a file that ends in .parquet" in said


def test_what_can_not_be_converted(prefs, tmp_path, capsys):
    assert "There is no preference dataset missing." in refused(capsys, "missing", "a.parquet")
    assert "There is no file missing.parquet." in refused(capsys, "missing.parquet", "a")
    (tmp_path / "text.parquet").write_text("label\n1\n")
    assert "Can't read text.parquet as Parquet: " in refused(capsys, "text.parquet", "new/a")
    (tmp_path / "prefs" / "segments-0000.npz").write_text("")
    assert "segments-0000.npz is damaged: " in refused(capsys, "prefs", "a.parquet")
    assert not (tmp_path / "a.parquet").exists()
    assert not (tmp_path / "new").exists()


def test_pictures_are_not_converted(prefs, tmp_path, capsys):
    segments = random_segments(2, 4, np.random.default_rng(0))
    segments = replace(segments, obs=np.zeros((2, 4, 16, 16), np.uint8))
    with dataset.writing(tmp_path / "pictures", ABOUT) as writer:
        writer.append(preferences(segments, (0, 1, 1.0)))
    said = refused(capsys, "pictures", "new/a.parquet")
    assert "Parquet holds observations that are vectors in float32" in said
    assert "these are 16 x 16 numbers in uint8" in said
    assert not (tmp_path / "new").exists()


def test_a_place_that_can_not_be_written(prefs, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert "Can't write file/a.parquet: " in refused(capsys, "prefs", "file/a.parquet")


def test_a_full_disk_leaves_nothing(prefs, tmp_path, capsys, monkeypatch):
    cli.main(["convert", "prefs", "prefs.parquet"])
    capsys.readouterr()

    def full_disk(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full_disk)
    assert "No space left on device" in refused(capsys, "prefs.parquet", "new/again")
    assert list((tmp_path / "new").iterdir()) == []


def test_pyarrow_is_missing(prefs, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    said = refused(capsys, "prefs", "a.parquet")
    assert said.endswith("Writing Parquet needs pyarrow: pip install 'prefloop[data]'.")
    (tmp_path / "b.parquet").write_text("")
    said = refused(capsys, "b.parquet", "b")
    assert said.endswith("Reading Parquet needs pyarrow: pip install 'prefloop[data]'.")


def test_ctrl_c(prefs, tmp_path, capsys, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("prefloop.data.parquet.write_parquet", interrupted)
    with pytest.raises(SystemExit) as stop:
        cli.main(["convert", "prefs", "a.parquet"])
    assert stop.value.code == 130
    assert capsys.readouterr().err == "\nStopped; nothing was written.\n"


def test_pytorch_is_not_imported(prefs):
    program = (
        "import sys; from prefloop import cli\n"
        "cli.main(['convert', 'prefs', 'prefs.parquet'])\n"
        "cli.main(['convert', 'prefs.parquet', 'again'])\n"
        "assert not {'torch', 'gymnasium', 'minari'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_help(capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(["convert", "--help"])
    assert stop.value.code == 0
    out = capsys.readouterr().out
    assert "prefloop convert prefs prefs.parquet" in " ".join(out.split())
    assert "SOURCE DESTINATION" in out
