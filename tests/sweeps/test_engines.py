"""The boundary: jobs of this test, which a worker imports from here."""

import os
import signal
import time
from pathlib import Path

import pytest

from prefloop.errors import UserError
from prefloop.sweeps.engines import ThisMachine

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")


def write(path: Path) -> None:
    path.write_text(str(os.getpid()))


def refuse(path: Path) -> None:
    raise UserError(f"{path.name} can't be done.")


def die(path: Path) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def wait(path: Path) -> None:
    write(path)
    time.sleep(600)


def test_a_job_that_fails_or_kills_its_process_takes_no_other_with_it(tmp_path):
    files = [tmp_path / str(i) for i in range(4)]
    with ThisMachine(1) as engine:
        first, refused, killed, last = (
            engine.submit(function, file)
            for function, file in zip((write, refuse, die, write), files, strict=True)
        )
        assert str(refused.exception(60)) == "1 can't be done."
        assert "Its process was killed" in str(killed.exception(60))
        assert last.result(60) is None and first.result(60) is None
    # one process did what it could, another came in its place
    assert files[0].read_text() != files[3].read_text() != str(os.getpid())


def test_an_error_of_who_waits_ends_what_runs(tmp_path):
    with pytest.raises(KeyboardInterrupt), ThisMachine(2) as engine:
        running = engine.submit(wait, tmp_path / "a")
        while not (tmp_path / "a").exists() or not (tmp_path / "a").read_text():
            time.sleep(0.01)
        raise KeyboardInterrupt
    assert "killed" in str(running.exception(60))
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "a").read_text()), 0)
