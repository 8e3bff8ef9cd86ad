"""Clips are made ahead of need, in a process of their own: drawing would hold up the server.

A crash of that process (a graphics driver's, say) costs at most one segment its clip.
"""

import contextlib
import logging
import queue
import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from numpy.typing import NDArray

from prefloop.envs.settings import EnvSettings
from prefloop.errors import UserError
from prefloop.labelling.server.helper_process import DiedError, HelperProcess, TookTooLongError

MAX_ENVS = 4  # that are kept for the next segment
MAX_JOBS = 4  # that wait: what is needed sooner, and turns up later, waits for them
ATTEMPTS = 2  # to draw a segment: a crash may have had nothing to do with it
RENDER_SECONDS = 300.0  # after which drawing one segment counts as hung


@dataclass(frozen=True)
class Job:
    """A segment that needs a clip.

    Attributes:
        key: whatever the caller knows it by; comes back with the result.
        env: the environment.
        segment: as `prefloop.labelling.arrays.pack` writes it.
        fps: frames per second; None: as the environment's makers show it.
        trace: plot its observations and actions, and don't draw the environment.
    """

    key: str
    env: EnvSettings
    segment: bytes
    fps: float | None = None
    trace: bool = False


@dataclass(frozen=True)
class Result:
    """What became of a job: a clip's name, or a sentence that says why there is none.

    Attributes:
        may_come: the disk was full, say: the same job may succeed later.
    """

    key: str
    clip: str | None
    error: str | None
    may_come: bool = False


class RenderWorker:
    """Makes clips one after the other, in the order in which they were asked for.

    Its process ends with this one, however this one ends.
    """

    def __init__(
        self,
        directory: Path,
        on_result: Callable[[Result], None],
        max_jobs: int = MAX_JOBS,
        render_seconds: float = RENDER_SECONDS,
        may_import: bool = True,
    ) -> None:
        """Starts nothing yet.

        Args:
            directory: the folder of a `ClipStore`; the worker adds to it and removes nothing.
            on_result: is told what became of each job, in a thread of the worker's.
            max_jobs: how many may wait.
            render_seconds: how long one may take.
            may_import: whether an environment's id, `module:Env-v0`, may name a module to import;
                where strangers name environments, it may not.
        """
        self._on_result = on_result
        self._render_seconds = render_seconds
        self._jobs: queue.Queue[Job | None] = queue.Queue(max_jobs)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._feed, name="render-worker", daemon=True)
        # clips are written atomically: there is nothing to tidy up where it is ended
        self._process = HelperProcess(
            _work, directory, may_import, name="prefloop-clips", closing=self._closing
        )

    @property
    def pid(self) -> int | None:
        """Id of the process that draws; None while there is none."""
        return self._process.pid

    def start(self) -> None:
        """Lets work begin; the process starts with the first job."""
        self._thread.start()

    def submit(self, job: Job) -> bool:
        """Asks for a clip; returns at once.

        Returns:
            False where as many as may wait are waiting: ask again later.
        """
        try:
            self._jobs.put_nowait(job)
        except queue.Full:
            return False
        return True

    def close(self) -> None:
        """Ends the process; what is waiting is dropped, and can be asked for another time."""
        self._closing.set()
        with contextlib.suppress(queue.Full):
            self._jobs.put_nowait(None)  # wakes the thread where it waits for a job
        if self._thread.is_alive() and threading.current_thread() is not self._thread:
            self._thread.join(timeout=10)
        self._process.end()

    def _feed(self) -> None:
        while not self._closing.is_set():
            job = self._jobs.get()
            if job is None:
                return
            result = self._render(job)
            if self._closing.is_set():
                return
            try:
                self._on_result(result)
            except Exception:  # a database that is locked, say; other clips are still wanted
                logging.getLogger(__name__).exception("What became of a clip was not taken")

    def _render(self, job: Job) -> Result:
        """Has one segment drawn; by a new process where the last one has died."""
        for _ in range(ATTEMPTS):
            try:
                result: Result = self._process.ask(job, self._render_seconds)
            except DiedError:
                continue
            except TookTooLongError:
                sentence = f"Drawing {job.env} took longer than {self._render_seconds:g} seconds."
                return Result(job.key, None, sentence)
            return result
        return Result(job.key, None, f"Drawing {job.env} crashed.")


def _work(pipe: Connection, directory: Path, may_import: bool) -> None:
    """Makes clips until the other end of the pipe is gone; runs in a process of its own."""
    from prefloop.labelling.server.rendering import Renderer

    renderers: dict[EnvSettings, Renderer] = {}
    while True:
        job: Job = pipe.recv()
        try:
            _require_no_import(job, may_import)
            result = Result(job.key, _make_clip(job, directory, renderers), None)
        except _DiskError as error:
            result = Result(job.key, None, str(error), may_come=True)
        except UserError as error:
            result = Result(job.key, None, str(error))
        except Exception as error:  # one segment must not stop the others
            reason = f"{type(error).__name__}: {error}".splitlines()[0][:200]
            result = Result(job.key, None, f"Drawing {job.env} failed: {reason}")
        pipe.send(result)


def _require_no_import(job: Job, may_import: bool) -> None:
    names_modules = ":" in job.env.env or job.env.wrappers
    if names_modules and not job.trace and not may_import:
        raise UserError(
            f"{job.env} can't be drawn: a server that other machines reach imports no module that "
            "they name. A plotted trace of its observations and actions is shown instead."
        )


class _DiskError(UserError):
    """A clip could be drawn and not be stored."""


class _DrawingError(Exception):
    """What went wrong was the environment's, whatever its kind."""

    def __init__(self, reason: Exception) -> None:
        super().__init__(str(reason))
        self.reason = reason


def _marked(frames: Iterator[NDArray]) -> Iterator[NDArray]:
    try:
        yield from frames
    except Exception as error:
        raise _DrawingError(error) from error


def _make_clip(job: Job, directory: Path, renderers: dict) -> str:
    from prefloop.labelling.arrays import unpack
    from prefloop.labelling.server.clips import ClipStore
    from prefloop.labelling.server.rendering import Renderer, write_clip

    segment = unpack(job.segment)
    if job.trace:
        from prefloop.labelling.server.traces import trace_frames

        frames, fps = trace_frames(segment), job.fps or 30.0
    else:
        renderer = renderers.pop(job.env, None) or Renderer(job.env)
        renderers[job.env] = renderer  # last in line to be closed
        while len(renderers) > MAX_ENVS:
            renderers.pop(next(iter(renderers))).close()
        frames, fps = renderer.frames(segment), job.fps or renderer.fps
    path = directory / f".{uuid.uuid4().hex}.mp4"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        write_clip(path, _marked(frames), fps)
        # nothing is trimmed here: which clips must stay is for the server to say
        return ClipStore(directory, max_bytes=0).put_file(path)
    except _DrawingError as error:
        raise error.reason from None
    except (UserError, OSError) as error:
        if isinstance(error, OSError) or isinstance(error.__context__, OSError):
            raise _DiskError(f"A clip can't be stored: {error}") from None
        raise
    finally:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
