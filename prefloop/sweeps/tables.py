"""Tables of what was found: per task, across tasks, and as Markdown and LaTeX."""

import itertools
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from prefloop.errors import note
from prefloop.evaluation.across_tasks import improvement_across, iqm_across, optimality_gap
from prefloop.evaluation.statistics import (
    FEW_SEEDS,
    UNBOUNDED,
    Bounds,
    Interval,
    iqm_interval,
    probability_of_improvement,
)
from prefloop.sweeps.cells import shown
from prefloop.sweeps.results import Results, Row, grouped

Rows = Sequence[Mapping[str, Any]]
Table = list[dict[str, str]]
IQM, IMPROVES = "IQM of the return [95 %]", "P(improves on the weaker) [95 %]"
ABOVE, SCORE = "seeds above it, intervals apart", "IQM of the score [95 %]"
MOST_PAIRS = 2000  # lines of tables that are held against each other: a few seconds for each task
FEW = f"""Some intervals are over fewer than {FEW_SEEDS} seeds. From so few nobody can tell how often
runs fail: what happens in one of five is not seen in three at all, half of the time."""


def summarise(
    rows: Rows, bounds: Bounds = UNBOUNDED, varied: Sequence[str] = (), scored: bool = False
) -> Table:
    """One line for each method and budget of a task: IQM, probability of improvement, counts.

    Args:
        rows: `Part.lines`, of one comparison.
        bounds: of a return, where they are known.
        varied: settings that have a column.
        scored: with a column of normalised scores.
    """
    weak, strong = by_seed(rows, "weak_return"), by_seed(rows, "strong_return")
    table = []

    def line(
        method: str, labels: int, values: Sequence[Any], group: Rows, returns: list[float]
    ) -> dict[str, str]:
        found = {"method": method}
        found |= {name: shown(value) for name, value in zip(varied, values, strict=True)}
        found |= {
            "labels": str(labels) if labels else "-",
            "seeds": str(len(returns)),
            IQM: in_words(iqm_interval(returns, bounds), ".1f"),
        }
        if scored:
            scores = [row["score"] for row in group if row["score"] is not None]
            found[SCORE] = in_words(iqm_interval(scores), ".2f") if scores else "-"
        found |= {"lowest": f"{min(returns):.1f}", IMPROVES: "-", ABOVE: "-"}
        return found

    if weak:  # some methods have no demonstrators
        lower, upper = list(weak.values()), list(strong.values())
        # theirs is what all runs of the comparison share, and nothing that a method varies
        theirs = [one.pop() if len(one) == 1 else "" for one in (
            {row.get(flag, "") for row in rows} for flag in varied
        )]  # fmt: skip
        table = [
            line("weaker demonstrator", 0, theirs, [], lower),
            line("stronger demonstrator", 0, theirs, [], upper),
        ]
        for one, returns in zip(table, (lower, upper), strict=True):
            one[IMPROVES] = (
                "-"
                if returns is lower
                else in_words(probability_of_improvement(upper, lower), ".2f")
            )
    for (method, labels, *values), group in grouped(
        rows, lambda row: _line_of(row, varied)
    ).items():
        returns = [row["mean_return"] for row in group]
        found = line(method, labels, values, group, returns)
        if weak:
            beats = probability_of_improvement(returns, list(weak.values()))
            # both means have 95 % intervals of their own
            above = sum(
                is_known(row, "weak_high") and row["low"] > row["weak_high"] for row in group
            )
            found[IMPROVES], found[ABOVE] = in_words(beats, ".2f"), f"{above} of {len(returns)}"
        table.append(found)
    return table


def _line_of(row: Mapping[str, Any], varied: Sequence[str]) -> tuple:
    return (row["method"], row["labels"], *(row.get(name) for name in varied))


def by_seed(rows: Rows, name: str) -> dict[int, float]:
    """A figure of each seed's demonstrators, where there are some."""
    return {row["seed"]: row[name] for row in rows if is_known(row, name)}


def is_known(row: Mapping[str, Any], name: str) -> bool:
    """Whether something of a seed's demonstrators is: no method needed them else."""
    return row[name] is not None


def has_few_seeds(table: Table) -> bool:
    """Whether an interval in it is not to be trusted."""
    return any(int(line["seeds"]) < FEW_SEEDS for line in table)


def scores_of(results: Results) -> dict[tuple, dict[str, np.ndarray]]:
    """Normalised scores of runs by `results.keys`, and by task; tasks without scores are not among them."""
    scored = [row for row in results.lines if row["score"] is not None]
    return {
        key: {
            task: np.array([row["score"] for row in runs])
            for task, runs in grouped(rows, lambda row: row["task"]).items()
        }
        for key, rows in grouped(
            scored, lambda row: tuple(row.get(k) for k in results.keys)
        ).items()
    }


def aggregate(results: Results) -> list[Row]:
    """Across tasks: a row for each method and budget, with IQM and optimality gap of its scores."""
    rows = []
    for key, by_task in scores_of(results).items():
        scores = list(by_task.values())
        rows.append(
            {
                **dict(zip(results.keys, key, strict=True)),
                "tasks": len(scores),
                "runs": sum(map(len, scores)),
                **_columns("iqm", iqm_across(scores)),
                **_columns("optimality_gap", optimality_gap(scores)),
            }
        )
    return rows


def improvements(results: Results) -> list[Row]:
    """How likely a run of one line beats a run of another, of each two of the same budget.

    No rows, and a note, where there are more than `MOST_PAIRS`: their number grows as that of the lines squared.
    """
    scores = scores_of(results)
    pairs = [
        (first, second)
        for first, second in itertools.combinations(scores, 2)
        # of the same budget; what uses no labels is beside all
        if (first[-1] == second[-1] or not first[-1] or not second[-1])
        and scores[first].keys() & scores[second].keys()
    ]
    if len(pairs) > MOST_PAIRS:
        note(
            f"No improvements.csv: {len(scores)} lines have {len(pairs)} pairs of the same budget, more than {MOST_PAIRS}."
        )
        return []
    rows = []
    for first, second in pairs:
        ours, theirs = scores[first], scores[second]
        both = [task for task in ours if task in theirs]
        share = improvement_across([ours[t] for t in both], [theirs[t] for t in both])
        names = {"labels": first[-1] or second[-1], "better": _name(results, first)}
        rows.append(
            {
                **names,
                "than": _name(results, second),
                "tasks": len(both),
                **_columns("probability", share),
            }
        )
    return rows


def _name(results: Results, key: tuple) -> str:
    return line_name(key[0], zip(results.varied, key[1:-1], strict=True))


def line_name(method: str, values: Iterable[tuple[str, Any]]) -> str:
    """A method and what is set of it: `pebble, ensemble 1`."""
    return ", ".join(
        [method, *(f"{name} {shown(value)}" for name, value in values if value is not None)]
    )


def _columns(name: str, interval: Interval) -> Row:
    low, high = (None if math.isnan(x) else x for x in (interval.low, interval.high))
    return {name: interval.value, f"{name}_low": low, f"{name}_high": high}


def in_words(interval: Interval, form: str) -> str:
    """`110.0 [90.1, 120.5]`; a single run has no interval."""
    if np.isnan(interval.low):
        return f"{interval.value:{form}}"
    return f"{interval.value:{form}} [{interval.low:{form}}, {interval.high:{form}}]"


def for_print(results: Results, tables: Sequence[Table], aggregates: Sequence[Row]) -> Table:
    """A line for each method and budget, a column for each task: as it stands in a paper.

    Args:
        tables: of each part, as `summarise` gives them.
        aggregates: as `aggregate` gives them.
    """
    lines: dict[tuple, dict[str, str]] = {}
    columns = dict.fromkeys((*results.keys, *(part.task for part in results.parts)))
    for part, table in zip(results.parts, tables, strict=True):
        for one in table:
            key = tuple(one.get(name, "") for name in results.keys)
            lines.setdefault(
                key, dict.fromkeys(columns, "-") | dict(zip(results.keys, key, strict=True))
            )
            lines[key][part.task] = one[IQM]
    num_tasks = len({part.task for part in results.parts})
    for row in aggregates:
        if row["tasks"] < num_tasks:
            continue  # beside those of all tasks it would be misread
        key = tuple(
            shown(row[name]) if name != "labels" else str(row[name] or "-") for name in results.keys
        )
        for title, text in scores_in_words(row).items():
            for one in lines.values():
                one.setdefault(title, "-")
            lines[key][title] = text
    return list(lines.values())


def scores_in_words(row: Row) -> dict[str, str]:
    """A row of `aggregate`, as tables show it."""
    titles = {"iqm": "score (IQM)", "optimality_gap": "optimality gap"}
    return {title: in_words(_interval(row, name), ".2f") for name, title in titles.items()}


def _interval(row: Mapping[str, Any], name: str) -> Interval:
    low, high = (
        math.nan if row[f"{name}_{end}"] is None else row[f"{name}_{end}"]
        for end in ("low", "high")
    )
    return Interval(row[name], low, high)


def as_markdown(table: Table) -> str:
    """A table in Markdown; nothing where it has no lines."""
    if not table:
        return ""
    columns = list(table[0])
    lines = [" | ".join(columns), *(" | ".join(line.values()) for line in table)]
    return "\n".join(
        [f"| {lines[0]} |", "|" + "---|" * len(columns), *(f"| {one} |" for one in lines[1:])]
    )


def as_latex(table: Table, caption: str) -> str:
    r"""A table in LaTeX; needs \usepackage{booktabs}."""
    columns = list(table[0])
    text = "l" * sum(name in ("method",) for name in columns)
    alignment = text + "r" * (len(columns) - len(text))
    rows = [" & ".join(map(_escaped, line.values())) + r" \\" for line in table]
    return "\n".join(
        [
            r"% needs \usepackage{booktabs}",
            r"\begin{table}",
            r"  \centering",
            rf"  \caption{{{_escaped(caption)}}}",
            rf"  \begin{{tabular}}{{{alignment}}}",
            r"    \toprule",
            "    " + " & ".join(map(_escaped, columns)) + r" \\",
            r"    \midrule",
            *(f"    {row}" for row in rows),
            r"    \bottomrule",
            r"  \end{tabular}",
            r"\end{table}",
        ]
    )


def _escaped(text: str) -> str:
    """A text as LaTeX prints it."""
    text = text.replace("\\", r"\textbackslash ")
    for letter in "&%$#_{}":
        text = text.replace(letter, f"\\{letter}")
    text = re.sub(r"(?<!\w)-(?=\d)", "$-$", text)  # a minus, where a hyphen would be printed
    return text.replace("~", r"\textasciitilde ").replace("^", r"\textasciicircum ")
