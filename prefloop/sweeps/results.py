"""All that a folder's runs came to: one row for each, with every setting a column, and scores per task."""

import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean
from typing import Any, TypeVar

from prefloop.envs.registered import return_bounds
from prefloop.envs.settings import EnvSettings
from prefloop.errors import UserError, note
from prefloop.evaluation.statistics import Bounds, interquartile_mean
from prefloop.files import read_json, write_atomically, write_csv
from prefloop.settings import as_flat, leaves
from prefloop.startup import import_optional
from prefloop.sweeps import remembering
from prefloop.sweeps.cells import Cell, Comparison, shown
from prefloop.sweeps.jobs import Job, why_not
from prefloop.sweeps.methods import METHODS, REFERENCES
from prefloop.sweeps.settings import (
    OF_CELLS,
    OF_RUNNING,
    PREPARED,
    RANDOM,
    RESULT,
    STRONG,
    WEAK,
    CompareSettings,
    run_settings,
)

Row = dict[str, Any]
T = TypeVar("T")
OF_SEED = ("strong_return", "weak_return", "weak_high")  # in a row, of its seed's demonstrators
OF_ENV = {leaf.flag for leaf in leaves(EnvSettings)}


@dataclass(frozen=True)
class Part:
    """One comparison's.

    Attributes:
        comparison: with all that its folder holds.
        by_method: all settings of its methods, by flag, as they were when it began, before anything was changed.
        rows: of its runs, in the order of its cells.
        folders: of the runs, one for each row.
        failed: why runs that there are not could not be done, and where in the comparison's folder that stands.
        zero, one: returns that a score of 0 and of 1 stand for; None where they are not known.
        terms: what is not the same in all comparisons of the folder, as it is in this one.
    """

    comparison: Comparison
    by_method: Mapping[str, Any]
    rows: list[Row]
    folders: list[Path]
    failed: list[tuple[Cell, str, Path]]
    zero: float | None
    one: float | None
    terms: Row = field(default_factory=dict)

    @property
    def lines(self) -> list[Row]:
        """The rows as they are told apart: by the comparison's own terms.

        A method may make the same of two of them, as `pref-ppo` of `segment_length` full and 50, and its runs are there twice.
        """
        return [{**row, **self.terms} for row in self.rows] if self.terms else self.rows

    @property
    def task(self) -> str:
        """The environment, and what is changed about it."""
        return self.comparison.settings.environment.described

    @property
    def bounds(self) -> Bounds:
        """The lowest and the highest return that is possible."""
        return return_bounds(self.comparison.settings.environment)


@dataclass(frozen=True)
class Results:
    """A folder's.

    Attributes:
        varied: settings that are not the same in all rows of a method, or in all comparisons.
    """

    root: Path
    parts: list[Part]
    varied: tuple[str, ...]

    @property
    def rows(self) -> list[Row]:
        """All of them."""
        return [row for part in self.parts for row in part.rows]

    @property
    def lines(self) -> list[Row]:
        """All rows as `Part.lines` tells them apart."""
        return [line for part in self.parts for line in part.lines]

    @property
    def keys(self) -> tuple[str, ...]:
        """Columns that tell which runs differ by more than their seed, but for the task."""
        return ("method", *self.varied, "labels")


def folders_in(root: Path) -> list[Path]:
    """The comparisons that a folder holds: itself, or those in it."""
    if (root / remembering.SETTINGS).exists():
        return [root]
    return sorted(file.parent for file in root.glob(f"*/{remembering.SETTINGS}"))


def collect(root: Path) -> Results:
    """Reads what is done."""
    parts = [_part(*remembering.read(folder)) for folder in folders_in(root)]
    read = [part.comparison for part in parts]
    flat = [as_flat(comparison.settings) for comparison in read]
    terms = [
        flag
        for flag in (flat[0] if flat else ())
        if flag not in (*OF_CELLS, *OF_RUNNING, *OF_ENV)
        and any(one[flag] != flat[0][flag] for one in flat)
    ]
    changed = dict.fromkeys(
        flag
        for comparison in read
        for many in comparison.changes.values()
        for changes in many
        for flag, _ in changes
    )
    parts = [
        replace(part, terms={flag: _plain(one[flag]) for flag in terms})
        for part, one in zip(parts, flat, strict=True)
    ]
    rows = [row for part in parts for row in part.rows]
    own = [flag for flag in changed if _differs(rows, flag)]
    return Results(root, parts, tuple(dict.fromkeys((*terms, *own))))


def _differs(rows: Sequence[Row], flag: str) -> bool:
    """Whether a setting is not the same in all runs of a method."""
    by_method = grouped((row for row in rows if flag in row), lambda row: row["method"])
    return any(len({row[flag] for row in same}) > 1 for same in by_method.values())


def _part(comparison: Comparison, by_method: Mapping[str, Any]) -> Part:
    settings_of: dict[Any, Row] = {}
    rows: list[Row] = []
    folders, failed = [], []
    runs: dict[Any, list[float]] = {}  # of agents on the true reward, their returns
    task = comparison.settings.environment.described
    by_seed = {seed: _demonstrators(comparison, seed) for seed in comparison.settings.seed_numbers}
    for cell in comparison.cells:
        folder = comparison.folder / cell.folder
        if (folder / RESULT).exists():
            kind = (cell.method, cell.labels, cell.changes)
            if kind not in settings_of:
                settings_of[kind] = _settings(comparison.settings, by_method, cell)
            result = read_json(folder / RESULT)
            # earlier versions kept what was there when the run ended, which others may have made later
            of_seed = by_seed[cell.seed] or {name: result.pop(name, None) for name in OF_SEED}
            seconds = result.pop("seconds", None)
            rows.append(
                {
                    "task": task,
                    **result,
                    **of_seed,
                    "seconds": seconds,
                    "score": None,
                    **settings_of[kind],
                }
            )
            folders.append(folder)
            if cell.method in REFERENCES:
                runs.setdefault(kind, []).append(rows[-1]["mean_return"])
            continue
        stopped, reason = why_not(Job("run_cell", comparison.settings, cell))
        if reason is not None:
            failed.append((cell, reason, stopped.folder.relative_to(comparison.folder)))
    chance = [read_json(file) for file in sorted(comparison.folder.glob(f"{RANDOM}/*/{RESULT}"))]
    zero = fmean(float(one["mean_return"]) for one in chance) if chance else None
    # with several settings of it, the best one is what there is to reach
    one = max((float(interquartile_mean(returns)) for returns in runs.values()), default=None)
    if zero is not None and one is not None and one <= zero:
        one = None
    if zero is not None and one is not None:
        for row in rows:
            row["score"] = (row["mean_return"] - zero) / (one - zero)
    return Part(comparison, by_method, rows, folders, failed, zero, one)


def _demonstrators(comparison: Comparison, seed: int) -> Row | None:
    """Returns of a seed's demonstrators; None where there are none, or not yet."""
    file = comparison.settings.seed_folder(seed) / PREPARED
    if not file.exists():
        return None
    found = read_json(file)
    strong, weak = found.get(STRONG, {}), found.get(WEAK, {})
    returns = (strong.get("mean_return"), weak.get("mean_return"), weak.get("high"))
    return dict(zip(OF_SEED, returns, strict=True))


def _settings(settings: CompareSettings, by_method: Mapping[str, Any], cell: Cell) -> Row:
    """All that is set of a run, by flag; where method and comparison both have a word, what counts.

    Args:
        by_method: the settings that the methods had when the comparison began: the program may have others by now.
    """
    if cell.method in by_method:
        own = {**by_method[cell.method], **dict(cell.changes)}
        if METHODS[cell.method].asks and settings.segment_length is not None:
            own["segment_length"] = settings.segment_length
    else:  # of an earlier version, which did not write them down
        own = as_flat(run_settings(cell.method, settings, cell.labels, cell.changes))
    terms = {
        flag: value
        for flag, value in as_flat(settings).items()
        if flag not in (*OF_CELLS, *OF_RUNNING)
        and not (flag in own and (value is None or flag == "segment_length"))
    }
    own.pop("labels", None)
    return {flag: _plain(value) for flag, value in sorted({**own, **terms}.items())}


def _plain(value: Any) -> Any:
    """A value that a table's column can hold."""
    return shown(value) if isinstance(value, tuple | list) else value


def grouped(rows: Iterable[T], by: Callable[[T], Any]) -> dict[Any, list[T]]:
    """Rows that are alike together, in the order in which the first of each came."""
    found: dict[Any, list[T]] = {}
    for row in rows:
        found.setdefault(by(row), []).append(row)
    return found


def write_tables(results: Results) -> None:
    """Writes results.csv, and results.parquet where pyarrow is installed."""
    rows = results.rows
    columns = dict.fromkeys(name for row in rows for name in row)
    full = [{name: row.get(name) for name in columns} for row in rows]
    write_csv(results.root / "results.csv", full)
    try:
        pa, parquet = import_optional("results.parquet", "data", "pyarrow", "pyarrow.parquet")
    except UserError as error:
        note(f"There is a results.csv alone: {error}")
        return
    arrays = {name: _column([row[name] for row in full]) for name in columns}
    buffer = io.BytesIO()
    parquet.write_table(pa.table(arrays), buffer, compression="zstd")
    write_atomically(results.root / "results.parquet", buffer.getvalue())


def _column(values: list[Any]) -> list[Any]:
    """Values of one type, as Parquet's columns are: methods may have the same setting in different types."""
    kinds = {type(value) for value in values if value is not None}
    if len(kinds) <= 1:
        return values
    if kinds <= {int, float}:
        return [None if value is None else float(value) for value in values]
    return [None if value is None else str(value) for value in values]
