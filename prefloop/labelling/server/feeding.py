"""Sees to it that what people look at has a clip, and that clips keep within their limit."""

import logging
import threading
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Protocol
from uuid import UUID

from prefloop.errors import UserError
from prefloop.labelling.arrays import pack
from prefloop.labelling.server.clips import ClipStore
from prefloop.labelling.server.config import SettingsFile
from prefloop.labelling.server.storage.records import ToShow
from prefloop.labelling.server.storage.store import Store
from prefloop.labelling.server.worker import Job, RenderWorker, Result

logger = logging.getLogger(__name__)

LOOK_SECONDS = 0.5  # between two looks at what is needed
LOOKS_PER_TRIM = 120  # looks between two tidyings of the folder
AGAIN_SECONDS = 30.0  # after which a clip is asked for again that could not be stored
# between the file of a clip that somebody sends and the row that names it, at most
SENDING_SECONDS = 60.0
WANTED_SECONDS = 30.0  # that a wish lasts; a page that is open says it again every few seconds


class Worker(Protocol):
    """What a feeder needs of `RenderWorker`."""

    def start(self) -> None:
        """Lets work begin."""
        ...

    def submit(self, job: Job) -> bool:
        """Asks for a clip; False: later."""
        ...

    def close(self) -> None:
        """Ends it."""
        ...


class ClipFeeder:
    """Asks the worker for the clips that are needed next, in a thread of its own.

    A segment that can't be drawn gets a plot of its observations and actions, and the sentence
    that says why.
    """

    def __init__(
        self,
        store: Store,
        clips: ClipStore,
        settings: SettingsFile,
        make_worker: Callable[[Path, Callable[[Result], None]], Worker] = RenderWorker,
    ) -> None:
        self._store = store
        self._clips = clips
        self._settings = settings
        self._worker = make_worker(clips.directory, self.take)
        self._asked: dict[UUID, Job] = {}
        self._hopeless: set[UUID] = set()  # not even plotted; asked for again by the next server
        self._wanted: dict[UUID, float] = {}  # until when, by the monotonic clock
        self._not_before: dict[UUID, float] = {}  # by the same clock
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="clip-feeder", daemon=True)

    def __enter__(self) -> "ClipFeeder":
        self._worker.start()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._thread.join(timeout=10)
        self._worker.close()

    def want(self, segments: Collection[UUID]) -> None:
        """Says that somebody looks at segments that need not be in a queue, as those of results are."""
        until = time.monotonic() + WANTED_SECONDS
        with self._lock:
            self._wanted.update(dict.fromkeys(segments, until))

    def look(self) -> None:
        """Asks for the clips that are missing, in the order of need."""
        for shown in self._needed():
            if shown.clip_was_sent or self._has_clip(shown) or shown.segment in self._hopeless:
                continue
            with self._lock:
                if shown.segment in self._asked:
                    continue
                if self._not_before.get(shown.segment, 0.0) > time.monotonic():
                    continue
                self._not_before.pop(shown.segment, None)
            job = self._job(shown, trace=shown.clip_error is not None)
            with self._lock:
                if not self._worker.submit(job):
                    return
                self._asked[shown.segment] = job

    def take(self, result: Result) -> None:
        """Stores what became of a job."""
        segment = UUID(result.key)
        with self._lock:
            job = self._asked.get(segment)
        try:
            if result.clip is not None:
                if not self._is_stale(job, segment):
                    self._store.segments.set_clip(segment, result.clip, sent=False)
            elif job is not None:
                # a plot takes its place, which is nothing to be warned of
                will_be_plotted = not (job.trace or result.may_come)
                level = logging.INFO if will_be_plotted else logging.WARNING
                logger.log(level, "no clip of a segment of %s: %s", job.env, result.error)
                if result.may_come:
                    with self._lock:
                        self._not_before[segment] = time.monotonic() + AGAIN_SECONDS
                elif job.trace:
                    self._hopeless.add(segment)
                else:
                    self._store.segments.set_clip_error(
                        segment, result.error or "It can't be drawn."
                    )
        except UserError as error:
            # its run was deleted meanwhile, or the database is away: the next look asks again
            logger.info("a clip was not taken: %s", error)
        finally:
            # last, or a look meanwhile would ask for what is about to be stored
            with self._lock:
                self._asked.pop(segment, None)

    def trim(self) -> None:
        """Keeps the folder within its limit; what nobody can draw again stays, and what is being sent just now."""
        self._clips.max_bytes = self._settings.current.cache_size_mb * 10**6
        protected = self._store.sent_clips()
        protected |= {shown.clip for shown in self._needed() if shown.clip is not None}
        self._clips.trim(protected, fresh_seconds=SENDING_SECONDS)

    def _needed(self) -> list[ToShow]:
        ahead = self._store.queue.ahead(self._settings.current.rendered_queue_size)
        now = time.monotonic()
        with self._lock:
            self._wanted = {id: until for id, until in self._wanted.items() if until > now}
            wanted = list(self._wanted)
        return ahead + self._store.queue.to_show(wanted)

    def _has_clip(self, shown: ToShow) -> bool:
        return shown.clip is not None and self._clips.path(shown.clip) is not None

    def _job(self, shown: ToShow, trace: bool) -> Job:
        segment = pack(self._store.segments.get(shown.segment))
        return Job(str(shown.segment), shown.env, segment, self._rate(shown), trace)

    def _rate(self, shown: ToShow) -> float | None:
        """Frames per second that a clip is drawn at; None: as the environment's makers show it."""
        everywhere = self._settings.current.frames_per_second
        return shown.own_rate or everywhere or shown.frames_per_second

    def _is_stale(self, job: Job | None, segment: UUID) -> bool:
        """Whether the rate was changed while a clip waited to be drawn; the next look asks for another."""
        now = self._store.queue.to_show([segment])
        return job is not None and any(self._rate(shown) != job.fps for shown in now)

    def _run(self) -> None:
        looks = 0
        while not self._closing.wait(LOOK_SECONDS):
            try:
                self.look()
                looks += 1
                if looks % LOOKS_PER_TRIM == 0:
                    self.trim()
            except UserError as error:
                logger.warning("clips can't be asked for now: %s", error)
            except Exception:  # whatever it was: people still label
                logger.exception("clips can't be asked for now")
