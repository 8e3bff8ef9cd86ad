"""What a comparison's runs look like: return against labels, learning curves, profiles of scores."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from numpy.typing import NDArray

from prefloop.evaluation.across_tasks import performance_profile
from prefloop.evaluation.plots import plain, save_figure
from prefloop.evaluation.statistics import Interval, iqm_band, iqm_interval
from prefloop.run_files import METRICS
from prefloop.runs import read_metrics
from prefloop.sweeps.methods import METHODS
from prefloop.sweeps.results import Part, Results, Row, grouped
from prefloop.sweeps.tables import by_seed, line_name, scores_of
from prefloop.words import counted

# of a method's settings, in turn: then again in a paler colour
DASHES: tuple[Any, ...] = (
    "-", "--", ":", "-.", (0, (8, 2)), (0, (5, 1, 1, 1, 1, 1)), (0, (1, 4)), (0, (8, 2, 2, 2)),
)  # fmt: skip
LEVELS = np.linspace(-0.25, 1.25, 61)  # of a score
Kind = tuple[str, tuple]  # a method, and the values of what is varied


class Curve(NamedTuple):
    """What runs did while they learned, over their seeds.

    Attributes:
        kind: method, and the values of what is varied.
        labels: their budget, 0 if they use none.
        seeds: how many runs.
        steps, mean, low, high: true return, IQM over the runs and its interval; [points] each.
    """

    kind: Kind
    labels: int
    seeds: int
    steps: NDArray
    mean: NDArray
    low: NDArray
    high: NDArray


def kind_of(row: Mapping[str, Any], varied: Sequence[str]) -> Kind:
    """The kind of run that a row is of; each has a line of its own."""
    return row["method"], tuple(row.get(name) for name in varied)


def _styles(kinds: Iterable[Kind], varied: Sequence[str]) -> dict[Kind, dict[str, Any]]:
    """The method's colour, and dashes and paleness that tell its settings apart."""
    styles = {}
    for method, same in grouped(dict.fromkeys(kinds), lambda kind: kind[0]).items():
        for i, kind in enumerate(same):
            label = plain(line_name(method, zip(varied, kind[1], strict=True)))
            again, place = divmod(i, len(DASHES))
            colour = _paler(METHODS[method].colour, again)
            styles[kind] = {"color": colour, "linestyle": DASHES[place], "label": label}
    return styles


def _paler(colour: str, times: int) -> tuple[float, ...]:
    """A colour, so many times nearer to white by a third of the way."""
    left = (2 / 3) ** times
    return tuple(1 - left * (1 - part) for part in to_rgb(colour))


def plot_budgets(path: Path, part: Part, varied: Sequence[str]) -> None:
    """Draws the IQM over seeds against the budget, with intervals for methods that use labels."""
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes, settings = figure.subplots(), part.comparison.settings
    by_kind = grouped(part.lines, lambda row: kind_of(row, varied))
    styles = _styles(by_kind, varied)
    levels = [kind for kind in by_kind if not METHODS[kind[0]].uses_labels]
    for kind, rows in by_kind.items():
        if kind in levels:
            value = iqm_interval([row["mean_return"] for row in rows]).value
            _level(axes, value, styles[kind], levels.index(kind), len(levels))
            continue
        # not all budgets, where a run failed or was not asked for
        own = dict(sorted(grouped(rows, lambda row: row["labels"]).items()))
        found = [
            iqm_interval([row["mean_return"] for row in group], part.bounds)
            for group in own.values()
        ]
        _band(axes, list(own), found, styles[kind])
    for name, style in (("strong", ":"), ("weak", "-.")):
        shown = list(by_seed(part.rows, f"{name}_return").values())
        if shown:
            level, label = iqm_interval(shown).value, f"{name}er demonstrator"
            axes.axhline(level, color="black", linestyle=style, linewidth=1, label=label)
    budgets = sorted(set(settings.labels))
    axes.set_xscale("log")
    axes.set_xticks(budgets, [str(labels) for labels in budgets], minor=False)
    axes.minorticks_off()
    axes.set_xlabel("labels")
    axes.set_ylabel("true return, IQM over seeds and 95 % interval")
    axes.set_title(
        f"{plain(part.task)}, {counted(len({row['seed'] for row in part.rows}), 'seed')}"
    )
    axes.grid(alpha=0.3)
    figure.legend(loc="outside right upper", fontsize="small")
    save_figure(figure, path)


def _band(
    axes: Axes, x: Sequence[float], intervals: Sequence[Interval], style: Mapping[str, Any]
) -> None:
    axes.plot(x, [interval.value for interval in intervals], marker=".", **style)
    low, high = np.array([(i.low, i.high) for i in intervals]).T
    axes.fill_between(x, low, high, color=style["color"], alpha=0.15, linewidth=0)
    if len(x) == 1:  # of which there is no band
        axes.vlines(x, low, high, color=style["color"], alpha=0.5)


def _level(axes: Axes, value: float, style: Mapping[str, Any], place: int, num: int) -> None:
    """A method without labels, one of those; its band would lie over everything, and the table has it."""
    # those that come to the same are told apart by their dashes, which take turns
    dash, gaps = 2.5, num - 1
    dashes: Any = (dash * place, (dash, dash * gaps)) if gaps else "-"
    axes.axhline(value, linewidth=2, **{**style, "linestyle": dashes})


def curves_of(part: Part, varied: Sequence[str]) -> list[Curve]:
    """Learning curves of the methods that act, one for each budget."""
    found = []
    pairs = zip(part.lines, part.folders, strict=True)
    by_line = grouped(pairs, lambda pair: (kind_of(pair[0], varied), pair[0]["labels"]))
    for (kind, labels), group in by_line.items():
        runs = [run for _, folder in group if (run := _read_curve(folder)) is not None]
        if runs:
            shortest = min(len(steps) for steps, _ in runs)
            returns = np.stack([returns[:shortest] for _, returns in runs])
            found.append(
                Curve(
                    kind, labels, len(runs), runs[0][0][:shortest], *iqm_band(returns, part.bounds)
                )
            )
    return found


def _read_curve(run: Path) -> tuple[NDArray, NDArray] | None:
    rows = read_metrics(run / METRICS, ("steps", "true_return"))
    if not rows or "true_return" not in rows[0]:
        return None  # it does not act
    return np.array([row["steps"] for row in rows]), np.array([row["true_return"] for row in rows])


def curve_rows(part: Part, varied: Sequence[str], curves: Sequence[Curve]) -> list[Row]:
    """Learning curves as rows of curves.csv."""
    return [
        {
            "task": part.task,
            "method": curve.kind[0],
            **dict(zip(varied, curve.kind[1], strict=True)),
            "labels": curve.labels,
            "seeds": curve.seeds,
            "steps": int(steps),
            **{
                name: None if np.isnan(x) else float(x)
                for name, x in zip(("iqm", "low", "high"), at, strict=True)
            },
        }
        for curve in curves
        for steps, *at in zip(curve.steps, curve.mean, curve.low, curve.high, strict=True)
    ]


def plot_learning_curves(
    path: Path, part: Part, varied: Sequence[str], curves: Sequence[Curve]
) -> bool:
    """Draws learning curves, a panel for each budget, methods that use no labels in all; False if none acts."""
    if not curves:
        return False
    budgets = sorted({curve.labels for curve in curves} - {0}) or [0]
    figure = Figure(figsize=(3 + 5 * len(budgets), 5), layout="constrained")
    panels = figure.subplots(1, len(budgets), sharey=True, squeeze=False)[0]
    styles = _styles((curve.kind for curve in curves), varied)
    for axes, labels in zip(panels, budgets, strict=True):
        for curve in curves:
            if curve.labels in (0, labels):
                axes.plot(curve.steps, curve.mean, marker=".", **styles[curve.kind])
                axes.fill_between(
                    curve.steps, curve.low, curve.high, color=styles[curve.kind]["color"], alpha=0.1
                )
        axes.set_xlabel("steps")
        axes.set_title(
            f"{plain(part.task)}, {counted(labels, 'label')}" if labels else plain(part.task)
        )
        axes.grid(alpha=0.3)
    panels[0].set_ylabel("true return while learning, IQM over seeds and 95 % interval")
    handles = {}
    for axes in panels:
        lines, names = axes.get_legend_handles_labels()
        handles.update(dict(zip(names, lines, strict=True)))
    figure.legend(handles.values(), handles.keys(), loc="outside right upper", fontsize="small")
    save_figure(figure, path)
    return True


def profile_rows(results: Results) -> list[Row]:
    """Share of runs above each level of the score, for each line: rows of profiles.csv."""
    return [
        {
            **dict(zip(results.keys, key, strict=True)),
            "score": round(float(level), 3),
            "share": share.value,
            "low": share.low,
            "high": share.high,
        }
        for key, by_task in scores_of(results).items()
        for level, share in zip(
            LEVELS, performance_profile(list(by_task.values()), LEVELS), strict=True
        )
    ]


def plot_profiles(path: Path, results: Results, rows: Sequence[Row]) -> None:
    """Draws profiles of scores, a panel for each budget, methods that use no labels in all."""
    lines = grouped(rows, lambda row: (kind_of(row, results.varied), row["labels"]))
    budgets = sorted({labels for _, labels in lines} - {0}) or [0]
    styles = _styles((kind for kind, _ in lines), results.varied)
    figure = Figure(figsize=(3 + 5 * len(budgets), 4), layout="constrained")
    panels = figure.subplots(1, len(budgets), sharey=True, squeeze=False)[0]
    handles = {}
    for axes, budget in zip(panels, budgets, strict=True):
        for (kind, labels), points in lines.items():
            if labels not in (0, budget):
                continue
            x, y, low, high = (
                [p[name] for p in points] for name in ("score", "share", "low", "high")
            )
            (handles[styles[kind]["label"]],) = axes.plot(x, y, **styles[kind])
            axes.fill_between(x, low, high, color=styles[kind]["color"], alpha=0.1, linewidth=0)
        axes.set_xlabel("normalised score")
        axes.set_title(f"{budget} labels" if budget else "all tasks")
        axes.grid(alpha=0.3)
    panels[0].set_ylabel("share of runs above it, and 95 % interval")
    figure.legend(handles.values(), handles.keys(), loc="outside right upper", fontsize="small")
    save_figure(figure, path)
