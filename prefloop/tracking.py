"""Where the numbers and videos of a run go besides its folder: TensorBoard, Weights & Biases."""

import contextlib
import queue
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from prefloop.errors import UserError, first_line
from prefloop.files import write_atomically
from prefloop.progress import say
from prefloop.startup import import_optional

PROJECT = "prefloop"  # of W&B's, where nobody names another
VIDEO = "video"  # what videos are called beside the names of metrics
MOST_ROWS = 1000  # that wait for a tracker; one that is so far behind hangs
SECONDS_TO_CLOSE = 60.0  # what is under way may have to cross a slow network


def position(rows: Sequence[Mapping[str, float]]) -> int:
    """Where the last row of metrics.csv stands on a tracker's axis: after how many steps, or else as which row.

    By steps, runs with rows of different lengths can be laid over one another.
    """
    return int(rows[-1].get("steps", len(rows) - 1))


class Tracker(Protocol):
    """Somewhere that takes rows of numbers, and videos."""

    def log(self, row: Mapping[str, float], step: int) -> None:
        """Takes the row of one iteration; `step` is its `position`."""
        ...

    def show(self, video: Path, step: int) -> None:
        """Takes a video (MP4) of the policy after one iteration."""
        ...

    def close(self) -> None:
        """Writes what is still under way."""
        ...


class TensorBoard:
    """Event files in the run's folder: `tensorboard --logdir RUN/tensorboard`."""

    def __init__(self, directory: Path, config: Mapping[str, Any], first_step: int) -> None:
        names = ("tensorboard", "torch.utils.tensorboard")
        _, tensorboard = import_optional("--track tensorboard", "tracking", *names)
        self._writer = tensorboard.SummaryWriter(
            str(directory / "tensorboard"), purge_step=first_step or None
        )

    def log(self, row: Mapping[str, float], step: int) -> None:
        """Adds a point to every curve."""
        for name, value in row.items():
            self._writer.add_scalar(name, value, step)

    def show(self, video: Path, step: int) -> None:
        """Adds it to its pictures, small: TensorBoard plays GIFs and nothing else."""
        from tensorboard.compat.proto.summary_pb2 import Summary  # type: ignore[import-untyped]

        from prefloop.video_files import as_gif

        gif, width, height = as_gif(video)
        picture = Summary.Image(encoded_image_string=gif, width=width, height=height, colorspace=3)
        summary = Summary(value=[Summary.Value(tag=VIDEO, image=picture)])
        self._writer.file_writer.add_summary(summary, step)

    def close(self) -> None:
        """Writes what is still under way."""
        self._writer.close()


def begin_run(wandb: Any, **settings: Any) -> Any:
    """Begins a run of W&B's.

    Args:
        wandb: the package.
        settings: what its `init` takes.

    Raises:
        UserError: it refuses.
    """
    try:
        return wandb.init(**settings)
    except wandb.errors.Error as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"Weights & Biases can't be used: {reason} (WANDB_MODE=offline needs no account.)"
        ) from None


class WeightsAndBiases:
    """A run of the project `prefloop`; with WANDB_MODE=offline it stays in the run's folder.

    `wandb_id` in that folder is how a resumed run finds itself again.
    """

    def __init__(self, directory: Path, config: Mapping[str, Any], first_step: int) -> None:
        (self._wandb,) = (wandb,) = import_optional("--track wandb", "tracking", "wandb")
        known = directory / "wandb_id"
        resumed = first_step > 0 and known.exists()
        self._run = begin_run(
            wandb,
            project=PROJECT,
            dir=str(directory),
            config=dict(config),
            id=known.read_text(encoding="utf-8") if resumed else None,
            resume="allow" if resumed else None,
        )
        write_atomically(known, self._run.id.encode())

    def log(self, row: Mapping[str, float], step: int) -> None:
        """Adds a point to every curve."""
        self._run.log(dict(row), step=step)

    def show(self, video: Path, step: int) -> None:
        """Adds it as it is."""
        self._run.log({VIDEO: self._wandb.Video(str(video), format="mp4")}, step=step)

    def close(self) -> None:
        """Writes what is still under way."""
        self._run.finish()


# by the names that --track takes: made with the run's directory, its settings and its first step
TRACKERS: dict[str, Callable[[Path, Mapping[str, Any], int], Tracker]] = {
    "tensorboard": TensorBoard,
    "wandb": WeightsAndBiases,
}


class InBackground:
    """A tracker in a thread of its own: one that fails or hangs never stops who learns.

    What went wrong is said once; after that the tracker gets nothing more.
    """

    def __init__(self, name: str, tracker: Tracker) -> None:
        """Takes a tracker over.

        Args:
            name: what it is called in sentences.
        """
        self._name, self._tracker = name, tracker
        self._waiting: queue.Queue[Callable[[], None] | None] = queue.Queue(MOST_ROWS)
        self._is_given_up = False
        # a daemon: Python does not wait for it at the end, so one that hangs holds nothing up
        self._thread = threading.Thread(target=self._work, name=f"tracker {name}", daemon=True)
        self._thread.start()

    def log(self, row: Mapping[str, float], step: int) -> None:
        """Hands a row over; returns at once."""
        row = dict(row)
        self._put(lambda: self._tracker.log(row, step=step))

    def show(self, video: Path, step: int) -> None:
        """Hands a video over; returns at once."""
        self._put(lambda: self._tracker.show(video, step=step))

    def close(self) -> None:
        """Waits for what is still under way, but not for ever."""
        self._put(None)
        self._thread.join(SECONDS_TO_CLOSE)
        if self._thread.is_alive():
            self._give_up(f"it did not finish within {SECONDS_TO_CLOSE:g} s")

    def _put(self, item: Callable[[], None] | None) -> None:
        if self._is_given_up:
            return
        try:
            self._waiting.put_nowait(item)
        except queue.Full:
            self._give_up(f"it is {MOST_ROWS} rows behind")

    def _next(self) -> Callable[[], None] | None:
        """What is to be done; None at the end, which one that is behind is told by nobody: there is no room to."""
        while True:
            try:
                return self._waiting.get(timeout=1)
            except queue.Empty:
                if self._is_given_up:
                    return None

    def _work(self) -> None:
        try:
            while (item := self._next()) is not None:
                item()
        except BaseException as error:  # whatever it is: nobody else would hear of it
            self._give_up(_in_a_line(error))
        try:
            self._tracker.close()  # also after a failure: what came before it is worth keeping
        except BaseException as error:
            self._give_up(_in_a_line(error))

    def _give_up(self, why: str) -> None:
        if self._is_given_up:
            return
        self._is_given_up = True
        say(
            f"--track {self._name} gets no more rows ({why}); training goes on, and metrics.csv has "
            "everything."
        )


def _in_a_line(error: BaseException) -> str:
    """An error as a part of a sentence."""
    kind, reason = type(error).__name__, first_line(error)
    return kind if reason == kind else f"{kind}: {reason}"


@contextlib.contextmanager
def opened(
    names: Sequence[str], directory: Path, config: Mapping[str, Any], first_step: int = 0
) -> Iterator[list[Tracker]]:
    """Opens trackers for a run and closes them when the block ends, however it ends.

    What goes wrong with one after it was opened is said and stops nothing.

    Args:
        names: of `TRACKERS`.
        directory: the run's.
        config: the run's settings.
        first_step: none of the rows to come stands before it; above 0 in a run that is gone on with.

    Raises:
        UserError: a package is missing, the folder's name is no text, or Weights & Biases refuses.
    """
    trackers: list[Tracker] = []
    with contextlib.ExitStack() as stack:
        for name in names:
            try:
                tracker = TRACKERS[name](directory, config, first_step)
            except UnicodeEncodeError:
                raise UserError(
                    f"--track {name} can't write to {directory}: its name is no UTF-8."
                ) from None
            guarded = InBackground(name, tracker)
            stack.callback(guarded.close)
            trackers.append(guarded)
        yield trackers
