"""Writes what a search has found so far: its trials, two pictures, a page, and the best settings."""

import html
import itertools
import math
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from prefloop.evaluation.markup import table_of, whole_page
from prefloop.evaluation.plots import save_figure
from prefloop.files import encodable, write_atomically, write_csv
from prefloop.sweeps.best_settings import FRESH, PRESET, write_best
from prefloop.sweeps.cells import shown
from prefloop.sweeps.search_file import COPY, SCORE, Search
from prefloop.sweeps.trials import GIVEN_UP, REASON, Trials
from prefloop.words import counted

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

HISTORY, IMPORTANCES, TABLE = "history.png", "importances.png", "trials.csv"
MOST_SHOWN = 10  # trials, on the terminal


def report(search: Search, trials: Trials) -> str:
    """Writes it.

    Returns:
        The best trials as text.
    """
    found, best = trials.all, trials.best
    if best is None:
        return "No trial is done yet."
    rows = [_row(search, trials, trial) for trial in found]
    write_csv(search.root / TABLE, rows)
    importances = trials.importances()
    _plot_history(search.root / HISTORY, search, found)
    if importances:
        _plot_importances(search.root / IMPORTANCES, importances)
    point = trials.point(best)
    write_best(search, point, best, trials.usual, rows)
    page = encodable(_html(search, rows, best.number, point, importances))
    write_atomically(search.root / "index.html", page.encode())
    return _as_text(search, rows)


def _row(search: Search, trials: Trials, trial: "FrozenTrial") -> dict[str, Any]:
    state = trial.state.name.lower()
    if trial.user_attrs.get(GIVEN_UP):
        state = "given up"
    seconds = trial.duration.total_seconds() if trial.duration is not None else None
    point = trials.point(trial)
    return {
        "trial": trial.number,
        "state": {"complete": "done", "fail": "failed"}.get(state, state),
        search.settings.maximise: trial.value,
        "runs": len(trial.intermediate_values),
        **{flag: point.get(flag) for flag in search.ranges},
        "seconds": None if seconds is None else round(seconds, 1),
        "why": trial.user_attrs.get(REASON, ""),
    }


def _best_first(search: Search, rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    def rank(row: Mapping[str, Any]) -> tuple[float, int]:
        value = row[search.settings.maximise]
        return (math.inf if value is None else -value), row["trial"]

    return sorted(rows, key=rank)


def _lines(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """As a table shows them, without columns in which nothing stands."""
    lines = [
        {k: f"{v:.4g}" if isinstance(v, float) else shown(v) for k, v in row.items()}
        for row in rows
    ]
    empty = [name for name in lines[0] if not any(line[name] for line in lines)]
    return [{k: v for k, v in line.items() if k not in empty} for line in lines]


def _as_text(search: Search, rows: Sequence[Mapping[str, Any]]) -> str:
    lines = _lines(_best_first(search, rows))
    columns = [name for name in lines[0] if name != "why"]
    widths = {n: max(len(n), *(len(line[n]) for line in lines)) for n in columns}
    told = ["  ".join(f"{name:>{widths[name]}}" for name in columns)]
    told += ["  ".join(f"{line[n]:>{widths[n]}}" for n in columns) for line in lines[:MOST_SHOWN]]
    if len(lines) > MOST_SHOWN:
        told.append(f"and {len(lines) - MOST_SHOWN} more in {search.root / TABLE}")
    running = sum(row["state"] == "running" for row in rows)
    if running:
        told.append(f"Other processes run {running} more, and write the page again.")
    preset = search.root / PRESET
    best = f"{preset} and {search.root / FRESH}" if preset.exists() else search.root / FRESH
    told.append(f"Wrote {best}, and {search.root / 'index.html'} to look at.")
    return "\n".join(told)


def _plot_history(path: Path, search: Search, trials: "Sequence[FrozenTrial]") -> None:
    """What each trial came to, and the best one until then."""
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    there = [
        (trial.number, trial.value, bool(trial.user_attrs.get(GIVEN_UP)))
        for trial in trials
        if trial.value is not None
    ]
    for given_up, fill, label in ((False, "C0", "trial"), (True, "none", "given up")):
        some = [(number, value) for number, value, early in there if early == given_up]
        if some:
            axes.scatter(*zip(*some, strict=True), facecolors=fill, edgecolors="C0", label=label)
    best = list(itertools.accumulate((value for _, value, _ in there), max))
    axes.step([one[0] for one in there], best, where="post", color="C3", label="best so far")
    axes.set_xlabel("trial")
    axes.set_ylabel("score" if search.settings.maximise == SCORE else "true return")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend()
    save_figure(figure, path)


def _plot_importances(path: Path, importances: Mapping[str, float]) -> None:
    """How much of the differences between the better trials and all goes with each setting."""
    names = list(importances)[::-1]
    figure = Figure(figsize=(8, 1 + 0.4 * len(names)), layout="constrained")
    axes = figure.subplots()
    axes.barh(names, [importances[name] for name in names], color="C0")
    axes.set_xlabel("share of importance")
    axes.set_xlim(0, 1)
    save_figure(figure, path)


def _html(
    search: Search,
    rows: Sequence[Mapping[str, Any]],
    best: int,
    point: Mapping[str, Any],
    importances: Mapping[str, float],
) -> str:
    settings = search.settings
    tasks = dict.fromkeys(c.settings.environment.described for c in search.study.comparisons)
    title = f"{', '.join(tasks)}: settings of {settings.method}"
    ended = [row for row in rows if row["state"] not in ("running", "failed")]
    given_up = sum(row["state"] == "given up" for row in rows)
    value = next(row[settings.maximise] for row in rows if row["trial"] == best)
    chosen = ", ".join(f"{flag} {shown(v)}" for flag, v in point.items())
    files = [name for name in (PRESET, FRESH) if (search.root / name).exists()]
    written = "".join(
        f"<h3>{name}</h3><pre>{html.escape((search.root / name).read_text(encoding='utf-8'))}</pre>"
        for name in files
    )
    importance = (
        f"""<h2>What matters</h2>
<p>Importance by PED-ANOVA: how far the better trials are from all others in each setting. Over few trials it says little.</p>
<figure><img src="{IMPORTANCES}" alt="importance of each setting"></figure>"""
        if importances
        else ""
    )
    body = f"""<h1>{html.escape(title)}</h1>
<p>{len(ended)} of {counted(max(settings.trials, len(rows)), "trial")} came to something, {given_up} of them were given up early. What is maximised
is the mean {settings.maximise} of {counted(len(search.instances), "run")}.</p>
<p>The best is trial {best}, with {value:.4g}: {html.escape(chosen)}. It was chosen by these runs, which flatters it;
{FRESH} is a study of it on seeds that nobody has chosen by.</p>
<figure><img src="{HISTORY}" alt="what each trial came to"></figure>
{importance}
<h2>Trials</h2>
{table_of(_lines(_best_first(search, rows)))}
<h2>The best settings</h2>
{written}
<h2>Again</h2>
<pre>prefloop tune {COPY} --out {html.escape(shlex.quote(str(search.root)))}

# {COPY}
{html.escape((search.root / COPY).read_text(encoding="utf-8"))}</pre>"""
    return whole_page(title, body)
