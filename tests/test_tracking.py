import os
import sys
import time
import warnings
from pathlib import Path

import pytest

from prefloop import tracking
from prefloop.errors import UserError

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
        def __init__(self, directory: Path, first_step: int):
            pass

        def close(self):
            closed.append(True)

    monkeypatch.setattr(tracking, "TensorBoard", Noting)
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
