"""Where the numbers of a run go besides metrics.csv: TensorBoard, Weights & Biases."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from prefloop.errors import UserError
from prefloop.files import write_atomically
from prefloop.startup import import_optional

TRACKERS = ("tensorboard", "wandb")


class Tracker(Protocol):
    """Somewhere that takes a row of numbers."""

    def log(self, row: Mapping[str, float], step: int) -> None:
        """Takes the row of one iteration."""
        ...

    def close(self) -> None:
        """Writes what is still under way."""
        ...


class TensorBoard:
    """Event files in the run's folder: `tensorboard --logdir RUN/tensorboard`."""

    def __init__(self, directory: Path, first_step: int) -> None:
        names = ("tensorboard", "torch.utils.tensorboard")
        _, tensorboard = import_optional("--track tensorboard", "tracking", *names)
        self._writer = tensorboard.SummaryWriter(
            str(directory / "tensorboard"), purge_step=first_step or None
        )

    def log(self, row: Mapping[str, float], step: int) -> None:
        """Adds a point to every curve."""
        for name, value in row.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Writes what is still under way."""
        self._writer.close()


class WeightsAndBiases:
    """A run of the project `prefloop`; with WANDB_MODE=offline it stays in the run's folder.

    `wandb_id` in that folder is how a resumed run finds itself again.
    """

    def __init__(self, directory: Path, config: Mapping[str, Any], first_step: int) -> None:
        (wandb,) = import_optional("--track wandb", "tracking", "wandb")
        try:
            known = directory / "wandb_id"
            resumed = first_step > 0 and known.exists()
            self._run = wandb.init(
                project="prefloop",
                dir=str(directory),
                config=dict(config),
                id=known.read_text(encoding="utf-8") if resumed else None,
                resume="allow" if resumed else None,
            )
            write_atomically(known, self._run.id.encode())
        except wandb.errors.Error as error:
            reason = str(error).splitlines()[0]
            raise UserError(
                f"Weights & Biases can't be used: {reason} (WANDB_MODE=offline needs no account.)"
            ) from None

    def log(self, row: Mapping[str, float], step: int) -> None:
        """Adds a point to every curve."""
        self._run.log(dict(row), step=step)

    def close(self) -> None:
        """Writes what is still under way."""
        self._run.finish()


@contextlib.contextmanager
def opened(
    names: Sequence[str], directory: Path, config: Mapping[str, Any], first_step: int = 0
) -> Iterator[list[Tracker]]:
    """Opens trackers for a run and closes them when the block ends, however it ends.

    Args:
        names: of `TRACKERS`.
        directory: the run's.
        config: the run's settings.
        first_step: that of the first row to come; above 0 in a run that is gone on with.

    Raises:
        UserError: a package is missing, the folder's name is no text, or Weights & Biases refuses.
    """
    trackers: list[Tracker] = []
    with contextlib.ExitStack() as stack:
        for name in names:
            try:
                tracker: Tracker = (
                    TensorBoard(directory, first_step)
                    if name == "tensorboard"
                    else WeightsAndBiases(directory, config, first_step)
                )
            except UnicodeEncodeError:
                raise UserError(
                    f"--track {name} can't write to {directory}: its name is no UTF-8."
                ) from None
            stack.callback(tracker.close)
            trackers.append(tracker)
        yield trackers
