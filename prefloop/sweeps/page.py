"""The page of what was found: tables that any column filters, pictures, and how to make it again."""

import html
import json
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from prefloop.envs.settings import EnvSettings
from prefloop.evaluation.markup import table_of, whole_page
from prefloop.files import encodable, write_atomically
from prefloop.settings import as_flat, defaults_of
from prefloop.sweeps.cells import shown
from prefloop.sweeps.methods import CONTROLS, METHODS
from prefloop.sweeps.results import Part, Results, Row
from prefloop.sweeps.settings import (
    OF_COMMAND,
    CompareSettings,
    settings_by_method,
    studies_in,
)
from prefloop.sweeps.tables import FEW, Rows, Table, by_seed, has_few_seeds, scores_in_words
from prefloop.tuned import defaults_for
from prefloop.words import counted, listed

STATIC = Path(__file__).with_name("static")
OF_RUNS = ("mean_return", "low", "high", "score", "seconds")  # figures of a run that the page shows


def write_page(
    results: Results, tables: Sequence[Table], aggregates: Sequence[Row], curves: Sequence[bool]
) -> None:
    """Writes index.html.

    Args:
        tables: of each part.
        aggregates: across tasks; none where there are no scores.
        curves: of each part, whether it has learning curves.
    """
    # it names the policies' files, whose names may be no text
    page = encodable(_html(results, tables, aggregates, curves))
    write_atomically(results.root / "index.html", page.encode())


def _of_rows(settings: CompareSettings, rows: Rows) -> CompareSettings:
    """Settings of a comparison with those methods alone of which there is a result, if there is one."""
    there = {row["method"] for row in rows}
    methods = tuple(name for name in settings.methods if name in there) or settings.methods
    # which a command refuses where nobody has demonstrators
    has_use = any(METHODS[name].has_demonstrators for name in methods)
    return replace(settings, methods=methods, policies=settings.policies if has_use else ())


def command(settings: CompareSettings) -> str:
    """The command line of a comparison, with what differs from the defaults."""
    words = ["prefloop", "compare"]
    env = EnvSettings(env=settings.environment.env)  # which has what is usual of it
    defaults = defaults_of(CompareSettings) | as_flat(env) | {"env": None}
    tuned = defaults_for("compare", CompareSettings, as_flat(settings))
    if tuned is not None:  # what a command line without them would have
        defaults |= tuned.values
    for flag, value in as_flat(settings).items():
        if value == defaults[flag] or value is None or flag in OF_COMMAND:
            continue
        values = value if isinstance(value, tuple) else () if value is True else (value,)
        words += [f"--{flag}", *map(str, values)]
    return shlex.join(words)


def _how(parts: Sequence[Part]) -> str:
    """What the table is about, as HTML: no more than what stands in it."""
    done = {row["method"] for part in parts for row in part.rows}
    methods = {name: method for name, method in METHODS.items() if name in done}
    episodes = dict.fromkeys(str(p.comparison.settings.evaluation_episodes) for p in parts)

    def named(names: Iterable[str]) -> str:
        return listed([f"<em>{html.escape(name)}</em>" for name in names])

    sentences = []
    if shared := named(name for name, m in methods.items() if m.uses_labels and not m.asks):
        sentences.append(
            f"The same labelled pairs were given to {shared}; a smaller budget is the beginning of a "
            "larger one."
        )
    if asking := named(name for name, m in methods.items() if m.asks):
        sentences.append(f"Questions of their own, as many as the budget, were asked by {asking}.")
    if start := named(name for name, m in methods.items() if not m.from_scratch):
        sentences.append(f"The weaker demonstrator is what {start} started as.")
    if from_scratch := named(name for name, m in methods.items() if m.from_scratch):
        sentences.append(f"From scratch, with a network of their own, started {from_scratch}.")
    sentences.append(
        "Returns are the environment's own, the mean of "
        f"{listed(list(episodes))} episodes for each run."
    )
    controls = [name for name, m in methods.items() if m.control]
    if controls:
        rewards = [
            f"{reward}: {learned_from}"
            for control, reward in CONTROLS.items()
            if (
                learned_from := named(name for name in controls if methods[name].control == control)
            )
        ]
        by_sac = any(name.startswith("sac-") for name in controls)
        by = "PPO, or by SAC where their name begins with <em>sac-</em>," if by_sac else "PPO"
        sentences.append(
            f"Controls learn by {by} from {'; from '.join(rewards)}. What they reach, the task gives "
            "away without any preference."
        )
    return "\n".join(sentences)


def _html(
    results: Results, tables: Sequence[Table], aggregates: Sequence[Row], curves: Sequence[bool]
) -> str:
    parts = results.parts
    tasks = list(dict.fromkeys(part.task for part in parts))
    title = f"{', '.join(tasks)}: methods on equal labels"
    lines = [
        {"task": part.task, **_terms(results, part), **line}
        for part, table in zip(parts, tables, strict=True)
        for line in table
    ]
    if len(parts) == 1:  # a column in which all is the same says nothing
        lines = list(tables[0])
    has_weak = any(by_seed(part.rows, "weak_return") for part in parts)
    improves = (
        " P(improves): how likely a run beats a run of the weaker demonstrator." if has_weak else ""
    )
    pairs = ", demonstrators and pairs under <code>seeds/</code>" if has_weak else ""
    few = f" {FEW}" if any(map(has_few_seeds, tables)) else ""
    seconds = sum(row["seconds"] for row in results.rows)
    body = f"""<h1>{html.escape(title)}</h1>
<p>{_how(parts)}</p>
<section id="filters" aria-label="Show only"></section>
{table_of(lines)}
<p>IQM: interquartile mean over seeds, with a 95 % interval.{improves}{few}</p>
{_across(results, aggregates)}
{"".join(_pictures(results, part, drawn) for part, drawn in zip(parts, curves, strict=True))}
{_failed(parts)}
<h2>Again</h2>
<pre>{html.escape(_again(results))}</pre>
<p>{counted(len(results.rows), "run")}, {seconds:.0f} seconds of computing; each with its run.json and metrics.csv under
<code>runs/</code>{pairs}, all figures and settings in <a href="results.csv">results.csv</a>.</p>
<details><summary>All runs</summary>
{table_of(_runs(results))}
</details>
{"".join(_everything(part) for part in parts)}"""
    style, script = (
        (STATIC / f"filter.{kind}").read_text(encoding="utf-8") for kind in ("css", "js")
    )
    return whole_page(title, body, style, script)


def _terms(results: Results, part: Part) -> dict[str, str]:
    """A comparison's values of the settings that are varied between comparisons; its demonstrators have them, too."""
    flat = as_flat(part.comparison.settings)
    return {name: shown(flat[name]) for name in results.varied if name in flat}


def _across(results: Results, aggregates: Sequence[Row]) -> str:
    if not aggregates:
        return ""
    lines = [
        _cells(row, (*results.keys, "tasks", "runs")) | scores_in_words(row) for row in aggregates
    ]
    what = ", ".join(
        f"{html.escape(part.task)} {part.zero:.1f} to {part.one:.1f}"
        for part in results.parts
        if part.zero is not None and part.one is not None
    )
    return f"""<h2>Across tasks</h2>
<p>Scores are returns on a scale on which actions at random have 0 and our own agent on the true reward has 1
({what}). Optimality gap: how far runs stay below 1 on average.</p>
{table_of(lines)}
<figure><img src="profiles.png" alt="share of runs above each score"></figure>"""


def _pictures(results: Results, part: Part, has_curves: bool) -> str:
    """Pictures of one comparison, marked with what tells it from others, so that filters find them."""
    place = part.comparison.folder.relative_to(results.root).as_posix()
    names = ["return_against_labels", *(["learning_curves"] if has_curves else [])]
    about = html.escape(json.dumps({"task": part.task, **_terms(results, part)}), quote=True)
    images = "".join(
        f'<img src="{html.escape(f"{place}/{name}.png".removeprefix("./"))}" alt="{name.replace("_", " ")}">\n'
        for name in names
        if part.rows
    )
    return f'<figure data-about="{about}">{images}</figure>\n'


def _failed(parts: Sequence[Part]) -> str:
    lines = [
        {"task": part.task, "run": str(cell), "why": reason, "folder": folder.as_posix()}
        for part in parts
        for cell, reason, folder in part.failed
    ]
    return f"<h2>Could not be done</h2>{table_of(lines)}" if lines else ""


def _runs(results: Results) -> list[dict[str, str]]:
    names = ("task", *results.keys, "seed", *OF_RUNS)
    return [_cells(row, names) for row in results.lines]


def _cells(row: Row, names: Iterable[str]) -> dict[str, str]:
    """Cells of a table for a row; no labels are a dash, as in every table, or one filter would not do for all."""
    found = {name: _figure(row.get(name)) for name in names}
    return found | ({} if row["labels"] else {"labels": "-"})


def _figure(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else shown(value)


def _again(results: Results) -> str:
    """Commands that make it all again, or the studies' files."""
    if files := studies_in(results.root):
        return "\n".join(
            f"prefloop compare {file.name} --out {shlex.quote(str(results.root))}\n\n# {file.name}\n{file.read_text(encoding='utf-8')}"
            for file in files
        )
    return "\n".join(command(_of_rows(p.comparison.settings, p.rows)) for p in results.parts)


def _everything(part: Part) -> str:
    settings = part.comparison.settings
    said = {k: v for k, v in as_flat(settings).items() if k not in OF_COMMAND}
    said["by_method"] = {**settings_by_method(settings), **part.by_method}
    changes = {name: [dict(one) for one in many] for name, many in part.comparison.changes.items()}
    if any(one for many in changes.values() for one in many):
        said["changes"] = changes  # of those by method, in its runs
    text = html.escape(json.dumps(said, indent=2))
    return f"<details><summary>All settings: {html.escape(part.task)}</summary><pre>{text}</pre></details>\n"
