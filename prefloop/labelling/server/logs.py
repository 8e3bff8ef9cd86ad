"""The log: on the terminal and in a file of limited size, where what repeats is counted."""

import contextlib
import copy
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler
from pathlib import Path

from prefloop.errors import UserError

FORMAT = "%(asctime)s %(levelname)s %(message)s"
MAX_BYTES, OLD_FILES = 5 * 2**20, 3
_MAX_KINDS = 500  # of lines that are counted; the one that was said longest ago is forgotten


@dataclass
class _Kind:
    """Lines that say the same of different things."""

    first: logging.LogRecord
    since: float
    said: int = 0
    left_out: int = 0


class CountingHandler(logging.Handler):
    """Lets so many lines of a kind through in a while, and says later how many more there were.

    Lines are of one kind that one place in the code writes: what they are made of (paths, names), and
    how often, is what strangers choose.
    """

    def __init__(
        self,
        handlers: Sequence[logging.Handler],
        lines: int = 20,
        seconds: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Hands on to `handlers` at most `lines` of a kind in so many seconds."""
        super().__init__()
        self._handlers = handlers
        self._lines, self._seconds, self._clock = lines, seconds, clock
        self._kinds: OrderedDict[tuple[object, ...], _Kind] = OrderedDict()

    def emit(self, record: logging.LogRecord) -> None:
        """Writes a line, or counts it."""
        now, key = self._clock(), _key(record)
        for old in [key for key, kind in self._kinds.items() if now - kind.since > self._seconds]:
            self._sum_up(self._kinds.pop(old))
        kind = self._kinds.setdefault(key, _Kind(record, now))
        if len(self._kinds) > _MAX_KINDS:
            self._sum_up(self._kinds.popitem(last=False)[1])
        if kind.said < self._lines:
            kind.said += 1
            self._write(record)
        else:
            kind.left_out += 1

    def close(self) -> None:
        """Says what was left out so far."""
        with self.lock or contextlib.nullcontext():
            for kind in self._kinds.values():
                self._sum_up(kind)
            self._kinds.clear()
        super().close()

    def _sum_up(self, kind: _Kind) -> None:
        if kind.left_out:
            said = copy.copy(kind.first)
            said.created = time.time()
            said.msg = f"{kind.left_out} more like this were left out: {kind.first.getMessage()}"
            said.args, said.exc_info, said.exc_text = None, None, None
            self._write(said)

    def _write(self, record: logging.LogRecord) -> None:
        for handler in self._handlers:
            handler.handle(record)


def _key(record: logging.LogRecord) -> tuple[object, ...]:
    template = str(record.msg).partition("\n")[0][:100]
    error = record.exc_info[1] if record.exc_info else None
    trace = error.__traceback__ if error else None
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = (type(error), trace.tb_frame.f_code, trace.tb_lineno) if trace else None
    return record.name, record.levelno, template, place


class _PrivateFile(RotatingFileHandler):
    """A log that its owner alone can read: it says who asked for what."""

    def _open(self) -> TextIOWrapper:
        Path(self.baseFilename).touch(mode=0o600)
        return super()._open()


@contextlib.contextmanager
def logging_to(path: Path) -> Iterator[None]:
    """Writes the log to the terminal and to a file.

    Raises:
        UserError: the file can't be written.
    """
    try:
        file = _PrivateFile(path, maxBytes=MAX_BYTES, backupCount=OLD_FILES, encoding="utf-8")
    except OSError as error:
        raise UserError(f"Can't write {path}: {error.strerror}.") from None
    handlers: list[logging.Handler] = [logging.StreamHandler(), file]
    for handler in handlers:
        handler.setFormatter(logging.Formatter(FORMAT))
    root, own = logging.getLogger(), logging.getLogger("prefloop")
    levels = root.level, own.level
    counting = CountingHandler(handlers)
    root.addHandler(counting)
    root.setLevel(logging.WARNING)
    own.setLevel(logging.INFO)
    try:
        yield
    finally:
        root.removeHandler(counting)
        root.setLevel(levels[0])
        own.setLevel(levels[1])
        counting.close()
        file.close()
