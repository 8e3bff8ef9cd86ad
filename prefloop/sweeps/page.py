"""What a comparison found: a table, two plots, and a page that puts them together."""

import html
import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from prefloop.envs.registered import return_bounds
from prefloop.envs.settings import EnvSettings
from prefloop.evaluation.plots import plain, save_figure
from prefloop.evaluation.statistics import (
    FEW_SEEDS,
    UNBOUNDED,
    Bounds,
    Interval,
    iqm_interval,
    probability_of_improvement,
)
from prefloop.files import encodable, write_atomically
from prefloop.runs import METRICS
from prefloop.settings import as_flat, defaults_of
from prefloop.sweeps.methods import METHODS
from prefloop.sweeps.settings import RESULT, CompareSettings, settings_by_method
from prefloop.tuned import defaults_for

Rows = Sequence[Mapping[str, Any]]
FEW = f"""Some intervals are over fewer than {FEW_SEEDS} seeds. From so few nobody can tell how often
runs fail: what happens in one of five is not seen in three at all, half of the time."""


def write_page(directory: Path, settings: CompareSettings, rows: Rows) -> str:
    """Writes index.html, table.md and the plots.

    Args:
        rows: of results.csv.

    Returns:
        The table as text, with a note where its intervals are over few seeds.
    """
    bounds = return_bounds(settings.environment)
    table = summarise(rows, bounds)
    columns = list(table[0])
    text = "\n".join(
        [
            "| " + " | ".join(columns) + " |",
            "|" + "---|" * len(columns),
            *("| " + " | ".join(line.values()) + " |" for line in table),
            *(["", FEW] if _has_few_seeds(table) else []),
        ]
    )
    write_atomically(directory / "table.md", (text + "\n").encode())
    _plot_budgets(directory / "return_against_labels.png", settings, rows, bounds)
    has_curves = _plot_learning_curves(directory / "learning_curves.png", directory, settings, rows)
    page = encodable(_html(settings, rows, table, has_curves))  # it names the policies' files
    write_atomically(directory / "index.html", page.encode())
    return text


def summarise(rows: Rows, bounds: Bounds = UNBOUNDED) -> list[dict[str, str]]:
    """One line for each method and budget: IQM, probability of improvement, counts.

    Args:
        rows: of results.csv.
        bounds: of a return, where they are known.
    """
    weak = _by_seed(rows, "weak_return")
    strong = _by_seed(rows, "strong_return")
    table = []
    if weak:  # some methods have no demonstrators
        lower, upper = list(weak.values()), list(strong.values())
        table = [
            _line("weaker demonstrator", 0, lower, [], 0, bounds),
            _line("stronger demonstrator", 0, upper, lower, 0, bounds),
        ]
    for method, labels in dict.fromkeys((row["method"], row["labels"]) for row in rows):
        group = [row for row in rows if (row["method"], row["labels"]) == (method, labels)]
        returns = [row["mean_return"] for row in group]
        # both means have 95 % intervals of their own
        above = sum(_is_known(row, "weak_high") and row["low"] > row["weak_high"] for row in group)
        table.append(_line(method, labels, returns, list(weak.values()), above, bounds))
    return table


def _line(
    method: str,
    labels: int,
    returns: list[float],
    weak: list[float],
    above: int,
    bounds: Bounds,
) -> dict[str, str]:
    line = {
        "method": method,
        "labels": str(labels) if labels else "-",
        "seeds": str(len(returns)),
        "IQM of the return [95 %]": _shown(iqm_interval(returns, bounds), ".1f"),
        "lowest": f"{min(returns):.1f}",
        "P(improves on the weaker) [95 %]": "-",
        "seeds above it, intervals apart": "-",
    }
    if weak:
        line["P(improves on the weaker) [95 %]"] = _shown(
            probability_of_improvement(returns, weak), ".2f"
        )
        if "demonstrator" not in method:
            line["seeds above it, intervals apart"] = f"{above} of {len(returns)}"
    return line


def _has_few_seeds(table: list[dict[str, str]]) -> bool:
    return any(int(line["seeds"]) < FEW_SEEDS for line in table)


def _shown(interval: Interval, form: str) -> str:
    if np.isnan(interval.low):
        return f"{interval.value:{form}}"
    return f"{interval.value:{form}} [{interval.low:{form}}, {interval.high:{form}}]"


def _by_seed(rows: Rows, name: str) -> dict[int, float]:
    return {row["seed"]: row[name] for row in rows if _is_known(row, name)}


def _is_known(row: Mapping[str, Any], name: str) -> bool:
    """Whether something of a seed's demonstrators is: no method needed them else."""
    return row[name] is not None


def _plot_budgets(path: Path, settings: CompareSettings, rows: Rows, bounds: Bounds) -> None:
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    budgets = sorted(set(settings.labels))
    methods = list(dict.fromkeys(row["method"] for row in rows))
    levels = [method for method in methods if not METHODS[method].uses_labels]
    for method in methods:
        groups: dict[int, list[float]] = {}
        for row in rows:
            if row["method"] == method:
                groups.setdefault(row["labels"], []).append(row["mean_return"])
        if not METHODS[method].uses_labels:
            _level(axes, iqm_interval(groups[0]).value, method, levels)
        else:
            own = sorted(groups)  # not all, where a run failed or was not asked for
            _band(axes, own, [iqm_interval(groups[labels], bounds) for labels in own], method)
    for name, style in (("strong", ":"), ("weak", "-.")):
        shown = list(_by_seed(rows, f"{name}_return").values())
        if not shown:
            continue
        level = iqm_interval(shown).value
        axes.axhline(
            level, color="black", linestyle=style, linewidth=1, label=f"{name}er demonstrator"
        )
    axes.set_xscale("log")
    axes.set_xticks(budgets, [str(labels) for labels in budgets], minor=False)
    axes.minorticks_off()
    axes.set_xlabel("labels")
    axes.set_ylabel("true return, IQM over seeds and 95 % interval")
    axes.set_title(
        f"{plain(str(settings.environment))}, {len({row['seed'] for row in rows})} seeds"
    )
    axes.grid(alpha=0.3)
    figure.legend(loc="outside right upper", fontsize="small")
    save_figure(figure, path)


def _band(axes: Axes, x: Sequence[float], intervals: Sequence[Interval], name: str) -> None:
    middle = [interval.value for interval in intervals]
    axes.plot(x, middle, color=METHODS[name].colour, marker=".", label=name)
    low, high = np.array([(i.low, i.high) for i in intervals]).T
    axes.fill_between(x, low, high, color=METHODS[name].colour, alpha=0.15, linewidth=0)
    if len(x) == 1:  # of which there is no band
        axes.vlines(x, low, high, color=METHODS[name].colour, alpha=0.5)


def _level(axes: Axes, value: float, name: str, levels: Sequence[str]) -> None:
    """A method without labels, one of those; its band would lie over everything, and the table has it."""
    # those that come to the same are told apart by their dashes, which take turns
    dash, gaps = 2.5, len(levels) - 1
    dashes: Any = (dash * levels.index(name), (dash, dash * gaps)) if gaps else "-"
    axes.axhline(value, color=METHODS[name].colour, linewidth=2, linestyle=dashes, label=name)


def _plot_learning_curves(
    path: Path, directory: Path, settings: CompareSettings, rows: Rows
) -> bool:
    """Draws what the acting methods did on the way, at the largest budget; False if none acts."""
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    drawn = False
    for method in dict.fromkeys(row["method"] for row in rows):
        labels = 0 if not METHODS[method].uses_labels else max(settings.labels)
        folder = directory / "runs" / method / f"labels-{labels}"
        curves = [
            curve
            for seed in settings.seed_numbers
            if (curve := _read_curve(folder / f"seed-{seed}")) is not None
        ]
        if not curves:
            continue
        drawn = True
        steps, returns = curves[0][0], np.stack([curve[1] for curve in curves])
        axes.plot(
            steps, returns.mean(axis=0), color=METHODS[method].colour, marker=".", label=method
        )
        axes.fill_between(
            steps, returns.min(axis=0), returns.max(axis=0), color=METHODS[method].colour, alpha=0.1
        )
    axes.set_xlabel("steps")
    axes.set_ylabel("true return while learning, mean and range over seeds")
    axes.set_title(f"{plain(str(settings.environment))}, {max(settings.labels)} labels")
    axes.grid(alpha=0.3)
    if drawn:
        figure.legend(loc="outside right upper", fontsize="small")
        save_figure(figure, path)
    return drawn


def _read_curve(run: Path) -> tuple[NDArray, NDArray] | None:
    if not (run / RESULT).exists():
        return None  # it failed, or was not asked for
    table = np.genfromtxt(run / METRICS, delimiter=",", names=True)
    names = table.dtype.names or ()
    if "true_return" not in names:
        return None  # it does not act
    table = np.atleast_1d(table)
    return table["steps"], table["true_return"]


def _of_rows(settings: CompareSettings, rows: Rows) -> CompareSettings:
    """The same with those methods alone of which there is a result."""
    there = {row["method"] for row in rows}
    return replace(settings, methods=tuple(name for name in settings.methods if name in there))


def command(settings: CompareSettings) -> str:
    """The command line of a comparison, with what differs from the defaults."""
    words = ["prefloop", "compare"]
    env = EnvSettings(env=settings.environment.env)  # which has what is usual of it
    defaults = defaults_of(CompareSettings) | as_flat(env) | {"env": None}
    tuned = defaults_for("compare", CompareSettings, as_flat(settings))
    if tuned is not None:  # what a command line without them would have
        defaults |= tuned.values
    for flag, value in as_flat(settings).items():
        if value == defaults[flag] or value is None:
            continue
        values = value if isinstance(value, tuple) else () if value is True else (value,)
        words += [f"--{flag}", *map(str, values)]
    return shlex.join(words)


def _how(settings: CompareSettings, rows: Rows) -> str:
    """What the table is about, as HTML: no more than what stands in it."""
    methods = {row["method"] for row in rows}

    def named(names: Iterable[str]) -> str:
        return _listed([f"<em>{html.escape(name)}</em>" for name in names if name in methods])

    asks = [name for name, method in METHODS.items() if method.asks is not None]
    scratch = [name for name in METHODS if name.startswith(("pebble", "sac"))]
    sentences = []
    given = [name for name, method in METHODS.items() if method.uses_labels and name not in asks]
    if shared := named(given):
        sentences.append(
            f"The same labelled pairs were given to {shared}; a smaller budget is the beginning of a "
            "larger one."
        )
    if asking := named(asks):
        sentences.append(f"Questions of their own, as many as the budget, were asked by {asking}.")
    if start := named(name for name in METHODS if name not in scratch):
        sentences.append(f"The weaker demonstrator is what {start} started as.")
    if from_scratch := named(scratch):
        sentences.append(f"From scratch, with a network of their own, started {from_scratch}.")
    sentences.append(
        "Returns are the environment's own, the mean of "
        f"{settings.evaluation_episodes} episodes for each run."
    )
    controls = {
        "constant": "a reward of 1",
        "flipped": "the learned reward with its sign turned",
        "random": "an untrained network",
    }
    there = [
        f"{on}: {found}" for name, on in controls.items() if (found := named((name, f"sac-{name}")))
    ]
    if there:
        by_sac = any(name.startswith("sac-") for name in methods)
        by = "PPO, or by SAC where their name begins with <em>sac-</em>," if by_sac else "PPO"
        sentences.append(
            f"Controls learn by {by} from {'; from '.join(there)}. What they reach, the task gives "
            "away without any preference."
        )
    return "\n".join(sentences)


def _listed(words: Sequence[str]) -> str:
    """`a, b and c`."""
    return " and ".join(filter(None, (", ".join(words[:-1]), *words[-1:])))


def _html(
    settings: CompareSettings, rows: Rows, table: list[dict[str, str]], has_curves: bool
) -> str:
    def row(cells: Sequence[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"

    body = "\n".join(row(list(line.values()), "td") for line in table)
    seconds = sum(line["seconds"] for line in rows)
    curves = '<img src="learning_curves.png" alt="learning curves">' if has_curves else ""
    everything = as_flat(settings) | {"by_method": settings_by_method(settings)}
    shown = html.escape(json.dumps(everything, indent=2))
    improves = pairs = ""
    if _by_seed(rows, "weak_return"):
        improves = " P(improves): how likely a run beats a run of the weaker demonstrator."
        pairs = ", demonstrators and pairs under <code>seeds/</code>"
    return f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{html.escape(str(settings.environment))}: methods on equal labels</title>
<style>
  body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }}
  table {{ border-collapse: collapse; font-size: 0.9rem; }}
  th, td {{ border-bottom: 1px solid #8884; padding: 0.3rem 0.7rem; text-align: right; }}
  td {{ white-space: nowrap; }}
  th:first-child, td:first-child {{ text-align: left; }}
  img {{ max-width: 100%; margin: 1rem 0; }}
  pre {{ background: #8882; padding: 0.7rem; overflow-x: auto; }}
  @media (prefers-color-scheme: dark) {{ body {{ background: #181818; color: #ddd; }} img {{ background: white; }} }}
</style>
<h1>{html.escape(str(settings.environment))}: methods on equal labels</h1>
<p>{_how(settings, rows)}</p>
<table>
<thead>{row(list(table[0]), "th")}</thead>
<tbody>
{body}
</tbody>
</table>
<p>IQM: interquartile mean over seeds, with a 95 % interval.{improves}{f" {FEW}" if _has_few_seeds(table) else ""}</p>
<img src="return_against_labels.png" alt="return against labels">
{curves}
<h2>Again</h2>
<pre>{html.escape(command(_of_rows(settings, rows)))}</pre>
<p>{len(rows)} runs, {seconds:.0f} seconds of computing; each with its run.json and metrics.csv under
<code>runs/</code>{pairs}, all figures in <a href="results.csv">results.csv</a>.</p>
<details><summary>All settings</summary><pre>{shown}</pre></details>
</html>
"""
