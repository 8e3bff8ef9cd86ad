"""What tests share: running a script as its user would, and small trained things to run it on."""

import contextlib
import importlib
import importlib.util
import io
import os
import runpy
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO
from unittest import mock

import hypothesis
import pytest

from prefloop import errors
from prefloop.startup import multiply_on_one_thread

multiply_on_one_thread()  # before NumPy is there, which comes with PyTorch

import torch  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402
from PIL import Image  # noqa: E402

# PyTorch's compiler, which some tests meet, and what Mesa draws by each bring an LLVM of their own; the compiler's comes
# with builds for CUDA, and ends the process where it comes second
if importlib.util.find_spec("triton"):
    importlib.import_module("triton")

if TYPE_CHECKING:
    from people import Clock

    from prefloop.labelling.server.storage.store import Store

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
torch.set_num_threads(1)
# how long an example takes is the machine's affair
hypothesis.settings.register_profile("prefloop", deadline=None)
hypothesis.settings.load_profile("prefloop")
# a shell that starts tests in the background has them, and what they start, ignore Ctrl-C
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


_SAVEFIG = Figure.savefig


def _hardly_drawn(figure: Figure, file: BinaryIO, **kwargs: object) -> None:
    """A PNG of one pixel, where drawing takes a third of a small run: tests/evaluation/test_plots.py draws."""
    if kwargs["format"] == "png":
        Image.new("L", (1, 1)).save(file, "png")
    else:
        _SAVEFIG(figure, file, **kwargs)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Outcome:
    """How a command ended."""

    code: int
    out: str
    err: str


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Outcome]:
    """Runs `script.py --flags` or `package.module --flags` in a temporary directory.

    In this process, where PyTorch is loaded already.
    """
    monkeypatch.chdir(tmp_path)

    def command(line: str) -> Outcome:
        script, *arguments = shlex.split(line, posix=os.name != "nt")
        out, err, code = io.StringIO(), io.StringIO(), 0
        with (
            mock.patch.object(sys, "argv", [script, *arguments]),
            mock.patch.object(errors, "_noted", set()),  # once a process, and this stands for one
            mock.patch.object(Figure, "savefig", _hardly_drawn),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            try:
                if script.endswith(".py"):
                    runpy.run_path(str(ROOT / script), run_name="__main__")
                else:
                    importlib.import_module(script).main()
            except SystemExit as stop:
                code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
        return Outcome(code, out.getvalue(), err.getvalue())

    return command


def start(*arguments: str, cwd: Path, **kwargs: object) -> subprocess.Popen:
    """Starts a script as a process of its own."""
    command = [sys.executable, str(ROOT / arguments[0]), *arguments[1:]]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, cwd=cwd, **(pipes | kwargs))  # type: ignore[call-overload]


def assert_one_sentence(outcome: Outcome, *words: str) -> None:
    """A user's mistake: exit code 2, no traceback, and one line that names what is wrong."""
    assert outcome.code == 2, outcome
    assert "Traceback" not in outcome.err
    last = outcome.err.strip().splitlines()[-1]
    for word in words:
        assert word in last, last


@pytest.fixture(scope="session")
def demonstrators(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with Part 1's ten checkpoints, from short epochs."""
    import vpg

    directory = tmp_path_factory.mktemp("part1") / "synthetic"
    settings = vpg.Settings(batch_size=500, checkpoint=True, checkpoint_dir=str(directory))
    with contextlib.redirect_stdout(io.StringIO()):
        vpg.train(settings)
    return directory


def _postgres_programs() -> Path | None:
    """The folder of initdb and postgres; Debian keeps them off the PATH."""
    found = shutil.which("initdb")
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    candidates = [Path(found).resolve().parent] if found else folders
    return next((folder for folder in candidates if (folder / "postgres").exists()), None)


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """A PostgreSQL server of its own, on a socket in a temporary folder; its address."""
    programs = _postgres_programs()
    if programs is None:
        pytest.skip("PostgreSQL is not installed: no initdb on the PATH or in /usr/lib/postgresql")
    folder = Path(tempfile.mkdtemp(prefix="prefloop-postgres-"))
    identity: dict[str, object] = {}
    if os.getuid() == 0:  # which PostgreSQL refuses to run as
        import pwd

        names = {entry.pw_name for entry in pwd.getpwall()}
        user = "postgres" if "postgres" in names else "nobody"
        shutil.chown(folder, user)
        identity = {"user": user, "extra_groups": []}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": "/"}
    initdb = [programs / "initdb", "-D", folder / "data", "-U", "tests", "-A", "trust", "-N"]
    subprocess.run(initdb, check=True, **quiet, **identity)  # type: ignore[call-overload]
    server = subprocess.Popen(  # type: ignore[call-overload]
        [programs / "postgres", "-D", folder / "data", "-k", folder, "-c", "listen_addresses=",
         "-c", "fsync=off", "-c", "max_connections=200"],
        **quiet, **identity,
    )  # fmt: skip
    try:
        for _ in range(600):
            ready = [programs / "pg_isready", "-q", "-h", folder]
            if subprocess.run(ready, check=False).returncode == 0:
                break
            assert server.poll() is None, "PostgreSQL did not start"
            time.sleep(0.05)
        address = f"postgresql://tests@/postgres?host={folder}"
        _make_template(address)
        yield address
    finally:
        server.send_signal(signal.SIGQUIT)  # without a checkpoint: nothing is kept
        server.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _make_template(address: str) -> None:
    """A database with the newest schema, of which others are copies: its migrations take half a second."""
    psycopg = pytest.importorskip("psycopg")
    from prefloop.labelling.server.storage.store import Store

    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute("CREATE DATABASE made")
    Store(address.replace("/postgres?", "/made?")).close()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The address of an empty database; a test that asks for it runs on SQLite and PostgreSQL.

    With tables where it is for `store`, without any where the test makes what it needs.
    """
    if request.param == "sqlite":
        file = tmp_path / "labels.sqlite3"
        if "store" in request.fixturenames:
            from empty_stores import empty_sqlite

            empty_sqlite(file)
        yield f"sqlite:///{file}"
        return
    psycopg = pytest.importorskip("psycopg")
    address = request.getfixturevalue("postgres")
    name = f"test_{uuid.uuid4().hex}"
    with psycopg.connect(address, autocommit=True) as connection:
        made = "made" if "store" in request.fixturenames else "template1"
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {made}")
        yield address.replace("/postgres?", f"/{name}?")
        # before it is on the disk: to remove hundreds from there takes minutes
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def clock() -> "Clock":
    """A clock that goes when it is told to."""
    from people import Clock

    return Clock()


@pytest.fixture
def store(database_url: str, clock: "Clock") -> "Iterator[Store]":
    """A store of labels that draws from a seed; on SQLite and on PostgreSQL."""
    from people import seeded

    from prefloop.labelling.server.storage.store import Store

    store = Store(database_url, clock, seeded())
    yield store
    store.close()


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """The address of an empty SQLite file."""
    return f"sqlite:///{tmp_path / 'labels.sqlite3'}"


# what is skipped for want of it, by a word of the reason, and how it comes
BROUGHT_BY = {
    "chromium": "apt-get install chromium-headless-shell (Debian; elsewhere any Chromium on the PATH)",
    "postgresql": "apt-get install postgresql (Debian; elsewhere initdb on the PATH)",
    "egl": "apt-get install libegl1",
    "could not import": "make test, which installs all extras",
}


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """One more than there are cores: a quarter of the time tests wait, for a browser or a process."""
    return (os.cpu_count() or 1) + 1


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Says what was not tested for want of a program, and how to bring it."""
    reasons = [
        str(report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr)
        for report in terminalreporter.stats.get("skipped", [])
    ]
    for word, command in BROUGHT_BY.items():
        skipped = sum(word in reason.lower() for reason in reasons)
        if skipped:
            terminalreporter.write_line(f"{skipped} tests skipped; this brings them: {command}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo) -> Iterator[None]:
    """Reports go from process to process as UTF-8, and some tests print names that are no text."""
    report = yield
    report.sections = [
        (name, text.encode(errors="backslashreplace").decode()) for name, text in report.sections
    ]
    return report
