import io
import os
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from prefloop import tracking
from prefloop.errors import UserError
from prefloop.video_files import write_video

ROWS = [{"loss": 0.5, "return": 10.0}, {"loss": 0.25, "return": float("nan")}]


def log(names, directory, rows=ROWS):
    with warnings.catch_warnings():
        # of the packages, at import
        warnings.simplefilter("ignore", DeprecationWarning)
        with tracking.opened(names, directory, {"seed": 3, "hidden_sizes": (8, 8)}) as trackers:
            for step, row in enumerate(rows):
                for tracker in trackers:
                    tracker.log(row, step=step)


@pytest.fixture
def offline(monkeypatch, tmp_path):
    """Weights & Biases without an account, a network or a trace outside of the test's folder."""
    pytest.importorskip("wandb")
    variables = {"MODE": "offline", "SILENT": "true", "CONSOLE": "off", "DISABLE_GIT": "true"}
    variables |= {"CACHE_DIR": str(tmp_path / "cache"), "CONFIG_DIR": str(tmp_path / "config")}
    for name, value in variables.items():
        monkeypatch.setenv(f"WANDB_{name}", value)


def test_without_trackers_nothing_happens(tmp_path):
    log((), tmp_path)
    assert not list(tmp_path.iterdir())


def test_tensorboard_reads_what_was_logged(tmp_path):
    pytest.importorskip("tensorboard")
    log(("tensorboard",), tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        events = EventAccumulator(str(tmp_path / "tensorboard"))
        events.Reload()
    assert set(events.Tags()["scalars"]) == {"loss", "return"}
    assert [(e.step, e.value) for e in events.Scalars("loss")] == [(0, 0.5), (1, 0.25)]
    assert events.Scalars("return")[0].value == 10


def test_weights_and_biases_stays_in_the_runs_folder(tmp_path, offline):
    log(("wandb",), tmp_path / "run")
    (run,) = (tmp_path / "run" / "wandb").glob("offline-run-*")
    (file,) = run.glob("run-*.wandb")
    words = (b"hidden_sizes", b"loss", b"return", b"prefloop")
    give_up = time.monotonic() + 10  # a process of its own writes the file
    while not all(word in file.read_bytes() for word in words) and time.monotonic() < give_up:
        time.sleep(0.05)
    for word in words:
        assert word in file.read_bytes()


def show(name, directory):
    """A video of five frames, 32 x 20, after row 4."""
    video = directory / "a video.mp4"
    frames = (np.full((20, 32, 3), shade) for shade in np.arange(5, dtype=np.uint8) * 60)
    write_video(video, frames, fps=10)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        with tracking.opened((name,), directory, {}) as (tracker,):
            tracker.log({"loss": 1.0}, step=4)
            tracker.show(video, step=4)
    return video


def test_tensorboard_plays_a_video(tmp_path, capsys):
    pytest.importorskip("tensorboard")
    show("tensorboard", tmp_path)
    assert "no more rows" not in capsys.readouterr().err
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        events = EventAccumulator(str(tmp_path / "tensorboard"))
        events.Reload()
    (shown,) = events.Images("video")
    gif = Image.open(io.BytesIO(shown.encoded_image_string))
    assert shown.step == 4 and gif.size == (shown.width, shown.height) == (32, 20)
    assert gif.n_frames == 5


def test_weights_and_biases_has_a_video(tmp_path, offline, capsys):
    video = show("wandb", tmp_path)
    assert "no more rows" not in capsys.readouterr().err
    (copied,) = tmp_path.glob("wandb/offline-run-*/files/media/videos/video_4_*.mp4")
    assert copied.read_bytes() == video.read_bytes()


@pytest.mark.skipif(sys.platform != "linux", reason="names of files are text there")
@pytest.mark.parametrize("name", tracking.TRACKERS)
def test_a_folder_whose_name_is_no_text(tmp_path, offline, name):
    pytest.importorskip("tensorboard")
    with pytest.raises(UserError, match=f"--track {name} can't write to .* no UTF-8"):
        log((name,), tmp_path / os.fsdecode(b"caf\xe9"))


def test_both_at_once(tmp_path, offline):
    pytest.importorskip("tensorboard")
    log(("tensorboard", "wandb"), tmp_path)
    assert list((tmp_path / "tensorboard").iterdir())
    assert list((tmp_path / "wandb").iterdir())


def test_weights_and_biases_refuses(tmp_path, offline, monkeypatch):
    import wandb

    def refuse(**kwargs):
        raise wandb.errors.UsageError("No API key configured.\nUse `wandb login`.")

    monkeypatch.setattr(wandb, "init", refuse)
    with pytest.raises(UserError, match=r"No API key configured\. \(WANDB_MODE=offline needs"):
        log(("wandb",), tmp_path)


@pytest.mark.parametrize("name", tracking.TRACKERS)
def test_a_missing_package_is_named(tmp_path, monkeypatch, name):
    # PyTorch's own module imports the package once
    monkeypatch.delitem(sys.modules, "torch.utils.tensorboard", raising=False)
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UserError) as caught:
        log((name,), tmp_path)
    assert f"needs {name}: pip install 'prefloop[tracking]'" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_was_opened_is_closed_when_the_next_is_missing(tmp_path, monkeypatch):
    closed = []

    class Noting:
        def __init__(self, directory: Path, config: dict, first_step: int):
            pass

        def close(self):
            closed.append(True)

    monkeypatch.setitem(tracking.TRACKERS, "tensorboard", Noting)
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(UserError, match="wandb"):
        log(("tensorboard", "wandb"), tmp_path)
    assert closed == [True]


def test_a_resumed_run_goes_on_with_its_curves(tmp_path, offline):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        for first_step in (0, 1):  # stopped in step 1, which is done again
            names = ("tensorboard", "wandb")
            with tracking.opened(names, tmp_path, {"seed": 3}, first_step) as trackers:
                for tracker in trackers:
                    tracker.log({"loss": 1.0}, step=first_step)
                    tracker.log({"loss": 2.0 + first_step}, step=first_step + 1)
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        events = EventAccumulator(str(tmp_path / "tensorboard"))
        events.Reload()
    assert [(e.step, e.value) for e in events.Scalars("loss")] == [(0, 1), (1, 1), (2, 3)]
    # both halves are one run of Weights & Biases
    halves = [half.name for half in (tmp_path / "wandb").glob("offline-run-*")]
    assert len(halves) == 2
    assert all((tmp_path / "wandb_id").read_text() in name for name in halves)


class Broken:
    """Fails when it is told to, and counts what reaches it."""

    def __init__(self, fails_at=10**9, fails_at_close=False):
        self.fails_at, self.fails_at_close = fails_at, fails_at_close
        self.calls, self.closed = 0, 0

    def log(self, row, step):
        self.calls += 1
        if step >= self.fails_at:
            raise ConnectionError("The server is gone.\nGood luck.")

    def close(self):
        self.closed += 1
        if self.fails_at_close:
            raise SystemExit


class Hanging:
    """Blocks for ever."""

    def __init__(self):
        self.never = threading.Event()

    def log(self, row, step):
        self.never.wait()

    def close(self):
        self.never.wait()


def opened_as(monkeypatch, tracker, directory, rows):
    """What `opened` does with a tracker that stands in for TensorBoard's."""
    monkeypatch.setitem(tracking.TRACKERS, "tensorboard", lambda *_: tracker)
    log(("tensorboard",), directory, rows)


def test_a_tracker_that_fails_is_told_of_once_and_left_alone(tmp_path, monkeypatch, capsys):
    tracker = Broken(fails_at=3)
    opened_as(monkeypatch, tracker, tmp_path, ROWS * 50)
    assert (tracker.calls, tracker.closed) == (4, 1)  # what came before is still written
    assert capsys.readouterr().err == (
        "--track tensorboard gets no more rows (ConnectionError: The server is gone); training goes "
        "on, and metrics.csv has everything.\n"
    )


@pytest.mark.parametrize("fails_at", [10**9, 1])
def test_a_tracker_that_fails_when_it_is_closed(tmp_path, monkeypatch, capsys, fails_at):
    opened_as(monkeypatch, Broken(fails_at, fails_at_close=True), tmp_path, ROWS)
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 1
    assert ("SystemExit" if fails_at > 1 else "ConnectionError") in err


@pytest.mark.parametrize(("rows", "words"), [(1, "within 0.2 s"), (40, "is 10 rows behind")])
def test_a_tracker_that_hangs_blocks_nobody(tmp_path, monkeypatch, capsys, rows, words):
    monkeypatch.setattr(tracking, "SECONDS_TO_CLOSE", 0.2)
    monkeypatch.setattr(tracking, "MOST_ROWS", 10)
    start = time.monotonic()
    opened_as(monkeypatch, Hanging(), tmp_path, ROWS[:1] * rows)
    assert time.monotonic() - start < 5
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 1 and words in err


def test_a_tracker_that_was_behind_is_closed(tmp_path, monkeypatch, capsys):
    tracker, go_on = Broken(fails_at=10**9), threading.Event()
    log = tracker.log
    monkeypatch.setattr(tracker, "log", lambda row, step: (go_on.wait(), log(row, step)))
    monkeypatch.setattr(tracking, "MOST_ROWS", 3)
    guarded = tracking.InBackground("tensorboard", tracker)
    for step in range(10):
        guarded.log(ROWS[0], step)
    go_on.set()
    guarded.close()
    assert "is 3 rows behind" in capsys.readouterr().err
    assert 3 <= tracker.calls <= 4 and tracker.closed == 1


def test_a_program_ends_though_a_tracker_hangs():
    code = (
        "from prefloop import tracking; import test_tracking as t; tracking.SECONDS_TO_CLOSE = 0.1; "
        "b = tracking.InBackground('x', t.Hanging()); b.log({}, 0); b.close()"
    )
    root = Path(__file__).resolve().parents[1]
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(root), str(root / "tests")])},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0 and "--track x gets no more rows" in done.stderr


def test_rows_stand_where_their_steps_are():
    assert tracking.position([{"loss": 1.0}, {"loss": 0.5}]) == 1
    assert tracking.position([{"steps": 2500.0}, {"steps": 5000.0}]) == 5000
