"""Pictures of results. Drawn without pyplot, so no display and no global state is needed."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from prefloop.files import write_atomically


def save_figure(figure: Figure, path: Path) -> None:
    """Writes a figure atomically, in the format its name ends on; the same figure, the same bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format=path.suffix[1:], dpi=100, metadata={"Software": None})
    write_atomically(path, buffer.getvalue())


def plot_learning_curve(path: Path, rows: Sequence[Mapping[str, Any]], title: str) -> None:
    """Draws a run's true return over its epochs and, below, the reward it was trained on.

    Args:
        rows: the run's metrics.csv: epoch, return, true_return.
    """
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    epochs = [row["epoch"] for row in rows]
    axes.plot(epochs, [row["true_return"] for row in rows], label="true return", color="C0")
    axes.set(title=title, xlabel="epoch", ylabel="mean return of an episode")
    axes.grid(alpha=0.3)
    if any(row["return"] != row["true_return"] for row in rows):
        predicted = axes.twinx()
        predicted.plot(epochs, [row["return"] for row in rows], color="C1", linestyle="--")
        predicted.set_ylabel("predicted return (learned reward)", color="C1")
        axes.set_ylabel("true return", color="C0")
    save_figure(figure, path)
