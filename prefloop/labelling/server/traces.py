"""A segment as curves over time: for environments that can't be drawn."""

from collections.abc import Iterator

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from prefloop.labelling.arrays import Segment

WIDTH, HEIGHT = 480, 360  # pixels
MAX_CURVES = 8  # more are not told apart by their colours: a picture of all values then
CURSOR = (214, 39, 40)


def trace_frames(segment: Segment) -> Iterator[NDArray]:
    """Draws observations and actions over time, and in each frame where its step is.

    Yields:
        One picture a step, uint8 RGB; [HEIGHT, WIDTH, 3].
    """
    figure = Figure(figsize=(WIDTH / 100, HEIGHT / 100), dpi=100, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    panels = figure.subplots(2, sharex=True, height_ratios=(2, 1))
    _curves(panels[0], segment.obs.reshape(segment.length, -1), "observation")
    if segment.discrete:
        panels[1].step(range(segment.length), segment.actions, where="mid")
        panels[1].set_ylabel("action", fontsize=8)
        panels[1].yaxis.get_major_locator().set_params(integer=True)
    else:
        _curves(panels[1], segment.actions, "action")
    panels[1].set_xlabel("step", fontsize=8)
    panels[1].set_xlim(-0.5, segment.length - 0.5)
    for axes in panels:
        axes.tick_params(labelsize=7)
    canvas.draw()
    # drawn once: only the cursor moves, and a column of pixels is quicker than another figure
    plain = np.asarray(canvas.buffer_rgba())[:, :, :3]
    boxes = [axes.get_window_extent() for axes in panels]
    for step in range(segment.length):
        column = int(panels[1].transData.transform((step, 0))[0])
        frame = plain.copy()
        for box in boxes:
            frame[HEIGHT - int(box.y1) : HEIGHT - int(box.y0), column : column + 2] = CURSOR
        yield frame


def _curves(axes: Axes, values: NDArray, name: str) -> None:
    """One curve for each of the numbers in an observation or action; values: [length, numbers]."""
    if values.shape[1] <= MAX_CURVES:
        for i, column in enumerate(values.T):
            axes.plot(column, label=str(i), linewidth=1)
        axes.legend(fontsize=6, loc="upper left", ncols=values.shape[1], title_fontsize=6)
        axes.grid(alpha=0.3)
    else:
        low, high = values.min(axis=0), values.max(axis=0)
        scaled = (values - low) / np.where(high > low, high - low, 1)
        axes.imshow(scaled.T, aspect="auto", interpolation="nearest", cmap="viridis")
        name += ", each scaled"
    axes.set_ylabel(name, fontsize=8)
