"""Writes all that there is to say about a folder's runs: results, tables, curves, pictures, the page."""

from pathlib import Path

from prefloop.errors import note
from prefloop.files import encodable, write_atomically, write_csv
from prefloop.sweeps.methods import REFERENCES
from prefloop.sweeps.page import write_page
from prefloop.sweeps.pictures import (
    curve_rows,
    curves_of,
    plot_budgets,
    plot_learning_curves,
    plot_profiles,
    profile_rows,
)
from prefloop.sweeps.results import Results, collect, write_tables
from prefloop.sweeps.tables import (
    FEW,
    aggregate,
    as_latex,
    as_markdown,
    for_print,
    has_few_seeds,
    improvements,
    summarise,
)


def report(root: Path) -> str | None:
    """Writes results, tables, curves, pictures and the page of a folder.

    Returns:
        The table as text, with a note where its intervals are over few seeds; None where nothing is done.
    """
    return write(collect(root))


def write(results: Results) -> str | None:
    """Writes all this about results that were read, as `report`."""
    results = Results(
        results.root, [p for p in results.parts if p.rows or p.failed], results.varied
    )
    if not results.rows:
        return None
    root, parts = results.root, results.parts
    write_tables(results)
    scored = any(row["score"] is not None for row in results.rows)
    tables = [summarise(p.lines, p.bounds, results.varied, scored) for p in parts]
    aggregates = aggregate(results)
    drawn, rows = [], []
    for part in parts:
        curves = curves_of(part, results.varied)
        rows += curve_rows(part, results.varied, curves)
        folder = part.comparison.folder
        if part.rows:
            plot_budgets(folder / "return_against_labels.png", part, results.varied)
        drawn.append(
            plot_learning_curves(folder / "learning_curves.png", part, results.varied, curves)
        )
    if rows:
        write_csv(root / "curves.csv", rows)
    if aggregates:
        profiles = profile_rows(results)
        write_csv(root / "aggregates.csv", aggregates)
        write_csv(root / "profiles.csv", profiles)
        plot_profiles(root / "profiles.png", results, profiles)
    else:
        note(f"No normalised scores: {_why_no_scores(results)}.")
    if pairs := improvements(results):
        write_csv(root / "improvements.csv", pairs)
    else:  # or that of fewer lines would stand beside these
        (root / "improvements.csv").unlink(missing_ok=True)
    text = _as_text(results, tables)
    printed = for_print(results, tables, aggregates)
    if aggregates:
        text += f"\n\n{as_markdown(printed)}"
    if any(map(has_few_seeds, tables)):
        text += f"\n\n{FEW}"
    write_atomically(root / "table.md", (encodable(text) + "\n").encode())
    caption = "Interquartile mean over seeds of the true return, with 95 % intervals"
    write_atomically(root / "table.tex", (encodable(as_latex(printed, caption)) + "\n").encode())
    write_page(results, tables, aggregates, drawn)
    return text


def _as_text(results: Results, tables: list) -> str:
    if len(tables) == 1:
        return as_markdown(tables[0])
    return "\n\n".join(
        f"{part.task} ({part.comparison.folder.name})\n\n{as_markdown(table) or 'Nothing came of it.'}"
        for part, table in zip(results.parts, tables, strict=True)
    )


def _why_no_scores(results: Results) -> str:
    if not any(row["method"] in REFERENCES for row in results.rows):
        return f"they need {' or '.join(REFERENCES)} among the methods"
    if all(part.zero is None for part in results.parts):
        return "what actions at random reach is not known"
    return "what is to be a score of 1 does no better than actions at random"
