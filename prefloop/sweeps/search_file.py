"""A search: a study's file with a section that says which settings are tried, and what is maximised.

As a study, it is read and refused as a whole before anything is run.
"""

import itertools
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefloop.errors import UserError
from prefloop.settings import (
    Leaf,
    as_flat,
    as_listed,
    assembled,
    leaves,
    require_above_zero,
    require_between,
    require_seed,
    setting,
)
from prefloop.sweeps.cells import Comparison, shown
from prefloop.sweeps.changes import as_keys, changes_at, product, settings_of
from prefloop.sweeps.methods import METHODS, REFERENCES
from prefloop.sweeps.ranges import Choice, Range, Ranges, read_range
from prefloop.sweeps.settings import OF_RUNNING, StudySettings
from prefloop.sweeps.study import SEARCH, Reader, Study

COPY = "tune.yaml"  # in the search's folder: what the first command was given
RETURN, SCORE = "return", "score"
RANGES = "ranges"  # in the section
MOST_TRIED = 256  # places of it, at each end of a range


@dataclass(frozen=True, kw_only=True)
class SearchSettings:
    """How it is searched.

    Raises:
        ValueError: a value that can't be meant.
    """

    # fmt: off
    method: str = setting("", "whose settings are searched; need not be said where the study has one alone", choices=tuple(METHODS))
    trials: int = setting(40, "how many settings are tried")
    maximise: str = setting(RETURN, "the mean over all runs of a trial: of the true return, or of the score, which is 1 for our own agent on the true reward", choices=(RETURN, SCORE))
    p_threshold: float = setting(0.1, "a trial is given up below this p-value of Wilcoxon's signed-rank test against the best one; 0: none is")
    sampler_seed: int = setting(0, "of what is drawn")
    storage: str = setting("", "URL of a database; if not given, a journal in the search's folder")
    # fmt: on

    def __post_init__(self) -> None:
        require_above_zero(self, "trials")
        require_between(self, 0, 1, "p_threshold")
        require_seed(self.sampler_seed)


class Instance(typing.NamedTuple):
    """One of the runs of each trial.

    Attributes:
        number: tells it from the others of a trial.
    """

    number: int
    comparison: Comparison
    seed: int


@dataclass(frozen=True)
class Search:
    """What a file says.

    Attributes:
        file: which.
        values: all that stands in it.
        study: but for the search.
        settings: of the search; `method` is said.
        ranges: what is tried.
    """

    file: Path
    values: Mapping[str, Any]
    study: Study
    settings: SearchSettings
    ranges: Ranges

    @property
    def root(self) -> Path:
        """The folder of it all."""
        return Path(self.study.out)

    @property
    def labels(self) -> int:
        """Labels of each run; 0 if it uses none."""
        settings = self.study.comparisons[0].settings
        return settings.labels[0] if METHODS[self.settings.method].uses_labels else 0

    @property
    def instances(self) -> list[Instance]:
        """The runs of a trial, in their order: every comparison with its first seed, then with its second."""
        seeds = max(len(c.settings.seed_numbers) for c in self.study.comparisons)
        found = (
            (comparison, comparison.settings.seed_numbers[i])
            for i in range(seeds)
            for comparison in self.study.comparisons
        )
        return [Instance(number, *one) for number, one in enumerate(found)]

    def fixed(self, comparison: Comparison) -> dict[str, Any]:
        """Settings of the method that the file changes in every trial."""
        (changes,) = comparison.changes[self.settings.method]
        return dict(changes)

    @property
    def facts(self) -> dict[str, Any]:
        """On what the result of a trial depends, and what can be tried: flat, as JSON has it."""
        found: dict[str, Any] = {
            name: getattr(self.settings, name) for name in ("method", "maximise", "sampler_seed")
        }
        found |= {f"range of {flag}": repr(one) for flag, one in self.ranges.items()}
        many = len(self.study.comparisons) > 1
        for comparison in self.study.comparisons:
            own = {k: v for k, v in as_flat(comparison.settings).items() if k not in OF_RUNNING}
            own["changes"] = repr(comparison.changes)
            whose = f" of {comparison.folder.name}" if many else ""
            found |= {f"{flag}{whose}": as_listed(value) for flag, value in own.items()}
        return found


def read_search(given: StudySettings) -> Search:
    """Reads a search and checks all that can be checked without making its environments.

    Args:
        given: the file, and what holds in place of what it says.

    Raises:
        UserError: as `read_study`, or the search can't be meant; names the key and the line.
    """
    reader = Reader(given, has_search=True)
    study = reader.study()
    section = reader.values.get(SEARCH)
    if not isinstance(section, dict):
        raise UserError(f"{reader.where(SEARCH)}: a search needs a section `search:`.")
    if instead := study.engine.kind.instead_in_searches:
        raise UserError(
            f"{reader.where('engine')}: a search asks what came of a trial before it begins the next. {instead}"
        )
    settings = _settings(reader, section, study)
    tried = section.get(RANGES)
    if not isinstance(tried, dict) or not tried:
        raise UserError(
            f"{reader.where(SEARCH, RANGES)}: a search needs `ranges:`, for instance "
            "`learning_rate: {low: 1e-4, high: 1e-2, log: true}` or `ensemble: [1, 3, 5]`."
        )
    _check_terms(reader, settings, study)
    method, known = settings.method, settings_of(settings.method)
    ranges: dict[str, Range | Choice] = {}
    for flag, value in tried.items():
        if flag not in known:
            raise reader.unknown(flag, known, method, SEARCH, RANGES, flag)
        if flag in reader.values or flag in (reader.values.get(method) or {}):
            raise UserError(
                f"{reader.where(SEARCH, RANGES, flag)}: {flag} is set outside of the search, too."
            )
        ranges[flag] = read_range(reader, known[flag], value, (SEARCH, RANGES, flag))
    search = Search(given.file, reader.values, study, settings, ranges)
    _try_ends(reader, search)
    return search


def _settings(reader: Reader, section: Mapping[str, Any], study: Study) -> SearchSettings:
    known = {leaf.flag: leaf for leaf in leaves(SearchSettings)}
    for key in section:
        if key not in (*known, RANGES):
            raise reader.unknown(key, (*known, RANGES), "a search", SEARCH, key)
    said = {k: reader.value(known[k], v, SEARCH, k) for k, v in section.items() if k != RANGES}
    methods = study.comparisons[0].settings.methods
    searched = [name for name in methods if name not in REFERENCES] if len(methods) > 1 else methods
    if "method" not in said:
        if len(searched) != 1:
            raise UserError(
                f"{reader.where(SEARCH)}: `method:` has to say whose settings are searched."
            )
        said["method"] = searched[0]
    if said["method"] not in methods:
        raise UserError(f"{reader.where(SEARCH, 'method')}: it is not among the methods.")
    try:
        return assembled(SearchSettings, {known[k].path: v for k, v in _filled(known, said)})
    except ValueError as error:
        key = next((k for k in said if f"--{k} " in str(error)), "")
        raise UserError(f"{reader.where(SEARCH, key)}: {as_keys(error)}.") from None


def _filled(known: Mapping[str, Leaf], said: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for flag, leaf in known.items():
        yield flag, said.get(flag, leaf.field.default)


def _check_terms(reader: Reader, settings: SearchSettings, study: Study) -> None:
    """Refuses a study of which no trial could be one number."""
    others = [m for m in study.comparisons[0].settings.methods if m != settings.method]
    # what is searched can't be its own measure
    references = tuple(name for name in REFERENCES if name != settings.method)
    wanted = references if settings.maximise == SCORE else ()
    for name in others:
        if name not in wanted:
            raise UserError(
                f"{reader.where('methods')}: {name} does nothing beside the search of {settings.method}"
                + (f"; a score needs {' or '.join(references)} alone." if wanted else ".")
            )
    if wanted and not others:
        raise UserError(
            f"{reader.where(SEARCH, 'maximise')}: a score needs {' or '.join(references)} among the methods."
        )
    tasks = {comparison.settings.environment for comparison in study.comparisons}
    if settings.maximise == RETURN and len(tasks) > 1:
        raise UserError(
            f"{reader.where('env')}: returns of several environments have no mean; `maximise: score`, with "
            f"{' or '.join(references)} among the methods."
        )
    for comparison in study.comparisons:
        if METHODS[settings.method].uses_labels and len(comparison.settings.labels) > 1:
            raise UserError(
                f"{reader.where('labels')}: a search has one budget, not "
                f"{shown(comparison.settings.labels)}; for instance `labels: 50`."
            )
        if len(comparison.changes[settings.method]) > 1:
            raise UserError(
                f"{reader.file}: what is a list of {settings.method}'s settings belongs under `ranges`."
            )


def _try_ends(reader: Reader, search: Search) -> None:
    """Refuses a range of which an end can't be meant, and a setting that does nothing in any trial.

    What others of the ranges choose among may allow it. What is between the ends may still be refused beside
    other numbers: such a trial fails, and the search goes on.
    """
    method = search.settings.method
    choices = {f: r.values for f, r in search.ranges.items() if isinstance(r, Choice)}
    for flag, one in search.ranges.items():
        where, reasons, does = reader.where(SEARCH, RANGES, flag), [""], False
        for comparison, value in itertools.product(search.study.comparisons, one.examples):
            refused, may_be = "", False
            for point in itertools.islice(product({**choices, flag: [value]}), MOST_TRIED):
                try:
                    given = {**search.fixed(comparison), **point}
                    _, without = changes_at(comparison.settings, method, given)
                except ValueError as error:
                    refused = refused or as_keys(error)
                    continue
                may_be = True
                reasons.append(without.get(flag, ""))
                does = does or flag not in without
                if does:
                    break
            if not may_be:
                raise UserError(f"{where}: {refused}.")
        if not does:
            raise UserError(f"{where}: {reasons[-1]}.")
