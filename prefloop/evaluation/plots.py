"""Pictures of results. Drawn without pyplot, so no display and no global state is needed."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from prefloop.files import encodable, write_atomically

LONGEST = 48  # letters of a name beside a picture, which it would push out


def save_figure(figure: Figure, path: Path) -> None:
    """Writes a figure atomically, in the format its name ends on; the same figure, the same bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format=path.suffix[1:], dpi=100, metadata={"Software": None})
    write_atomically(path, buffer.getvalue())


def plain(text: str) -> str:
    """A name as it is written: to Matplotlib, what stands between two dollars is a formula."""
    return encodable(text).replace("$", r"\$")


def plot_learning_curve(path: Path, rows: Sequence[Mapping[str, Any]], title: str) -> None:
    """Draws a run's true return over its epochs and, below, the learned one it was trained on.

    Args:
        rows: the run's metrics.csv: epoch, return, true_return.
    """
    curves = {"true return": [row["true_return"] for row in rows]}
    predicted = [row["return"] for row in rows]
    if predicted != curves["true return"]:
        curves["predicted return"] = predicted
    figure = Figure(figsize=(7, 1.5 + 2.5 * len(curves)), layout="constrained")
    panels = figure.subplots(len(curves), sharex=True, squeeze=False)[:, 0]
    for axes, (name, values) in zip(panels, curves.items(), strict=True):
        axes.plot([row["epoch"] for row in rows], values)
        axes.set_ylabel(name)
        axes.grid(alpha=0.3)
    panels[0].set_title(f"{plain(title)}, mean over the episodes of an epoch")
    panels[-1].set_xlabel("epoch")
    save_figure(figure, path)


def plot_metrics(
    path: Path, rows: Sequence[Mapping[str, float]], x: str, curves: Sequence[str], title: str
) -> None:
    """Draws columns of metrics.csv, one panel each, over another column."""
    # what has no number in any row is left out: nothing could be seen of it
    told = [name for name in curves if any(np.isfinite(row[name]) for row in rows)]
    curves = told or curves[:1]
    figure = Figure(figsize=(7, 1.5 + 1.8 * len(curves)), layout="constrained")
    panels = figure.subplots(len(curves), sharex=True, squeeze=False)[:, 0]
    for axes, name in zip(panels, curves, strict=True):
        axes.plot([row[x] for row in rows], [row[name] for row in rows], marker=".")
        axes.set_ylabel(name.replace("_", " "))
        axes.grid(alpha=0.3)
    panels[0].set_title(plain(title))
    panels[-1].set_xlabel(x.replace("_", " "))
    save_figure(figure, path)


def plot_schedule(path: Path, labels: NDArray, name: str) -> None:
    """Draws how many labels each session asks for; labels: [sessions]."""
    figure = Figure(figsize=(7, 3.5), layout="constrained")
    axes = figure.subplots()
    axes.bar(np.arange(1, len(labels) + 1), labels)
    # a single bar would fill the picture
    axes.set_xlim(0, max(len(labels) + 1, 6))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("session")
    axes.set_ylabel("labels")
    axes.set_title(f"{name} schedule, {labels.sum()} labels")
    save_figure(figure, path)


def _shortened(names: Sequence[str]) -> list[str]:
    """Long names without the folders that all of them have, and with a gap in the middle."""
    if max(map(len, names)) <= LONGEST:
        return list(names)
    parts = [name.split("/") for name in names]
    same = 0  # folders
    while all(len(part) > same + 1 for part in parts) and len({part[same] for part in parts}) == 1:
        same += 1
    ends = ["/".join(part[same:]) for part in parts]
    half = LONGEST // 2
    return [end if len(end) <= LONGEST else f"{end[:half]}…{end[1 - half :]}" for end in ends]


def plot_returns(path: Path, returns: Mapping[str, NDArray]) -> None:
    """Draws the true returns of several policies side by side; each [episodes]."""
    figure = Figure(figsize=(8, 1.5 + 0.5 * len(returns)), layout="constrained")
    axes = figure.subplots()
    names = [plain(name) for name in _shortened(list(returns))]
    axes.boxplot(list(returns.values()), orientation="horizontal", tick_labels=names)
    axes.invert_yaxis()
    axes.set_xlabel("true return of an episode")
    axes.grid(alpha=0.3, axis="x")
    save_figure(figure, path)
