"""Grades: what one is made of, and how they are printed and written."""

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

SEED = 20260  # of everything the grader draws: the same folder gets the same grade


@dataclass(frozen=True)
class Check:
    """One line of the grade.

    Attributes:
        name: what was looked at.
        score, max_score: points given and points possible.
        reason: what was seen, in a sentence a student can act on.
    """

    name: str
    score: float
    max_score: float
    reason: str


def points(checks: list[Check]) -> float:
    """Of all checks together."""
    return round(sum(check.score for check in checks), 1)


def print_checks(checks: list[Check] | str) -> None:
    """Every check of one student, with its reason."""
    assert not isinstance(checks, str)
    for check in checks:
        print(f"{check.score:5.1f} of {check.max_score:3.0f}  {check.name}: {check.reason}")
    print(f"{points(checks):5.1f} of {sum(check.max_score for check in checks):3.0f}  in all")


def print_table(graded: dict[str, list[Check] | str]) -> None:
    """A line for each student, and below it what cost points."""
    width = max(map(len, graded))
    for path, checks in graded.items():
        if isinstance(checks, str):
            print(f"{path:{width}}      -  {checks}")
            continue
        print(f"{path:{width}}  {points(checks):5.1f}")
        for check in checks:
            if check.score < check.max_score:
                lost = check.max_score - check.score
                print(f"{'':{width}}  {-lost:5.1f}  {check.name}: {check.reason}")


def as_json(checks: list[Check]) -> dict[str, Any]:
    """All that is known of one student's grade."""
    return {"score": points(checks), "checks": [asdict(check) for check in checks]}


def as_row(path: str, checks: list[Check] | str, names: Sequence[str]) -> dict[str, Any]:
    """A row of the table of a class.

    Args:
        names: of all checks, which are columns.
    """
    if isinstance(checks, str):
        return {"student": path, "score": "", **dict.fromkeys(names, ""), "error": checks}
    scores = {check.name: check.score for check in checks}
    return {"student": path, "score": points(checks), **scores, "error": ""}


def file_names(paths: list[str]) -> list[str]:
    """The last parts of paths, as few as tell them apart."""
    # of `.` the folder's name; a dot in it is no suffix, unless it is that of a zip file
    whole = [Path(os.path.abspath(path)) for path in paths]  # noqa: PTH100
    plain = [path.with_suffix("") if path.suffix.lower() == ".zip" else path for path in whole]
    for ends in (plain, whole):
        for depth in range(1, max(len(path.parts) for path in ends)):
            names = ["-".join(path.parts[1:][-depth:]) or "student" for path in ends]
            if len({name.lower() for name in names}) == len(names):
                return names
    # one folder under two names
    return [f"{path.name}-{i}" for i, path in enumerate(plain, start=1)]


def as_gradescope(checks: list[Check] | str) -> dict[str, Any]:
    """Gradescope's results.json; of who could not be graded, with the reason and no points.

    Source: https://gradescope-autograders.readthedocs.io/en/latest/specs/#output-format
    """
    if isinstance(checks, str):
        return {"score": 0.0, "output": checks, "tests": []}
    return {
        "score": points(checks),
        "tests": [
            {
                "name": check.name,
                "score": check.score,
                "max_score": check.max_score,
                "status": "passed" if check.score == check.max_score else "failed",
                "output": check.reason,
            }
            for check in checks
        ],
    }
