"""Clips are ready before anybody asks for them: what goes between the store and the worker."""

import logging
import threading
from uuid import UUID

from prefloop.errors import UserError
from prefloop.labelling.arrays import pack
from prefloop.labelling.clips import ClipStore
from prefloop.labelling.config import SettingsFile
from prefloop.labelling.records import ToShow
from prefloop.labelling.store import NotFoundError, Store
from prefloop.labelling.worker import Job, RenderWorker, Result

PAUSE = 0.5  # seconds between two looks at the queue
_log = logging.getLogger(__name__)


class ClipsAhead:
    """Has clips made of the segments that will be looked at soon, and the oldest others removed.

    Where an environment can't be drawn, its observations and actions are plotted instead.
    """

    def __init__(
        self, store: Store, clips: ClipStore, settings: SettingsFile, pause: float = PAUSE
    ) -> None:
        self._store, self._clips, self._settings, self._pause = store, clips, settings, pause
        self._worker = RenderWorker(clips.directory, self._take)
        self._asked: dict[str, Job] = {}  # what the worker has not finished
        self._undrawable: set[str] = set()  # environments that nobody need try again
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._look, name="clips-ahead", daemon=True)

    def start(self) -> None:
        """Begins to look at the queue."""
        self._worker.start()
        self._thread.start()

    def close(self) -> None:
        """Ends the work; clips that are missing are made another time."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join(timeout=10)
        self._worker.close()

    def _look(self) -> None:
        while not self._closing.wait(self._pause):
            try:
                self.look_once()
            except Exception:  # a database that is away comes back; clips are still wanted then
                _log.exception("Clips could not be looked after")

    def look_once(self) -> None:
        """Asks for what is missing, and keeps the folder within its limit."""
        settings = self._settings.current
        ahead = self._store.ahead(settings.rendered_queue_size)
        for segment in ahead:
            gone = segment.clip is not None and self._clips.path(segment.clip) is None
            # a clip that was sent and is gone is nobody's to make again
            if (segment.clip is None or gone) and not segment.clip_was_sent:
                self._ask(segment, settings.frames_per_second)
        self._clips.max_bytes = settings.cache_size_mb * 10**6
        shown = {segment.clip for segment in ahead if segment.clip is not None}
        self._clips.trim(shown | self._store.sent_clips())

    def _ask(self, wanted: ToShow, frames_per_second: float | None) -> None:
        key = str(wanted.segment)
        with self._lock:
            if key in self._asked:
                return
        try:
            segment = pack(self._store.segment(wanted.segment))
        except NotFoundError:
            return  # its run was deleted in between
        fps = frames_per_second or wanted.frames_per_second
        self._submit(Job(key, wanted.env, segment, fps, trace=wanted.env in self._undrawable))

    def _submit(self, job: Job) -> None:
        with self._lock:
            self._asked[job.key] = job
            if not self._worker.submit(job):
                del self._asked[job.key]  # it is asked for again at the next look

    def _take(self, result: Result) -> None:
        """Takes what the worker made; called in a thread of the worker's."""
        with self._lock:
            job = self._asked.pop(result.key, None)
        segment = UUID(result.key)
        try:
            if result.clip is not None:
                self._store.set_clip(segment, result.clip, sent=False)
            elif job is not None and not job.trace:
                _log.warning("%s Its segments are shown as plots.", result.error)
                self._undrawable.add(job.env)
                self._submit(Job(job.key, job.env, job.segment, job.fps, trace=True))
            else:
                _log.warning("%s", result.error)
                self._store.set_clip_error(segment, result.error or "It can't be shown.")
        except UserError:
            _log.info("The segment %s is gone", segment)  # deleted while its clip was made
