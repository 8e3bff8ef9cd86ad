"""A search that Weights & Biases draws the settings for: the file of its sweep, and a trial as its agents call it.

W&B has the search, its queue and its page; a trial has the runs that one of `prefloop tune` has.
"""

import json
import os
import time
from pathlib import Path
from statistics import fmean
from typing import Any

from prefloop.errors import UserError
from prefloop.files import write_atomically
from prefloop.startup import import_optional
from prefloop.sweeps.best_settings import as_yaml
from prefloop.sweeps.cells import shown
from prefloop.sweeps.changes import as_keys
from prefloop.sweeps.compare import check
from prefloop.sweeps.engines import require_installed
from prefloop.sweeps.ranges import Choice, Range
from prefloop.sweeps.search_file import RANGES, Search, read_search
from prefloop.sweeps.search_report import report
from prefloop.sweeps.settings import StudySettings
from prefloop.sweeps.trial_runs import (
    TrialRuns,
    engine_of,
    jobs_of,
    open_folder,
    require_own_folder,
)
from prefloop.sweeps.trials import Trials, import_optuna
from prefloop.tracking import PROJECT, begin_run
from prefloop.tuned import SHORT
from prefloop.words import counted, perhaps

MOST_VALUES = 1000  # of one setting, in a list: more of them is a slip of the finger
SWEEP_ID = "WANDB_SWEEP_ID"  # as an agent tells what it calls


def write_sweep(given: StudySettings, to: Path, method: str) -> None:
    """Writes the search of a study as a sweep of W&B's, whose agents call `prefloop tune --trial`.

    Args:
        given: the study with its search, and how its trials are run.
        to: what is written; `wandb sweep` takes it.
        method: how W&B draws settings: bayes, random or grid.

    Raises:
        UserError: as `read_search`; a range is none that W&B could draw from so; or there is such a file.
    """
    search = read_search(given)
    for comparison in search.study.comparisons:
        check(comparison)  # agents have devices of their own
        for policy in comparison.settings.policies:
            if not Path(policy).is_absolute():
                raise UserError(
                    f"{search.file}: agents begin wherever they are started, so {policy} needs its whole path."
                )
    if to.exists():
        raise UserError(f"{to} is there already; choose another name.")
    parameters = {flag: _parameter(search, flag, method) for flag in search.ranges}
    # absolute, since agents begin wherever they are started
    flags: dict[str, Any] = {"out": search.root.absolute()}
    flags |= {name: getattr(given, name) for name in ("device", "processes", "engine", "address")}
    sweep: dict[str, Any] = {
        "name": search.root.resolve().name,
        "project": PROJECT,
        "program": "prefloop",
        "method": method,
        "metric": {"name": search.settings.maximise, "goal": "maximize"},
        "parameters": parameters,
        # a grid ends by itself
        **({} if method == "grid" else {"run_cap": search.settings.trials}),
        "command": [
            "${program}", "tune", str(given.file.absolute()),
            *(f"--{flag}={value}" for flag, value in flags.items() if value not in ("", None)),
            "--trial", "${args_json}",
        ],
    }  # fmt: skip
    write_atomically(to, as_yaml(sweep))
    print(
        f"Wrote {to}. It begins with `wandb sweep {to}`, which says what its agents are started by."
    )


def _parameter(search: Search, flag: str, method: str) -> dict[str, Any]:
    """A range in W&B's words, so that all that it draws is in the range."""
    one = search.ranges[flag]
    if isinstance(one, Choice):
        return {"values": list(one.names)}
    if one.step is not None or (method == "grid" and one.whole and not one.log):
        # its q_uniform draws multiples of q, which need not be low + k * step
        step = one.step or 1
        many = int((one.high - one.low) / step + 1e-9) + 1
        if many > MOST_VALUES:
            raise UserError(
                f"{search.file}: a sweep of Weights & Biases has steps as a list of values; {flag} has {many} of them, "
                f"more than {MOST_VALUES}."
            )
        return {"values": [_plain(one.low + i * step, one.whole) for i in range(many)]}
    if method == "grid":
        raise UserError(f"{search.file}: a grid needs a step or a list of values for {flag}.")
    if one.whole:
        ends: dict[str, Any] = {"min": int(one.low), "max": int(one.high)}
        return {
            **ends,
            **({"distribution": "q_log_uniform_values", "q": 1} if one.log else {"distribution": "int_uniform"}),
        }  # fmt: skip
    distribution = "log_uniform_values" if one.log else "uniform"
    return {"min": one.low, "max": one.high, "distribution": distribution}


def _plain(number: float, whole: bool) -> float:
    return int(number) if whole else float(f"{number:.12g}")


def run_trial(given: StudySettings, drawn: str) -> None:
    """Does the runs of one trial, and logs what it came to in the agent's run of W&B.

    It also stands among the trials of the search's folder, so that page, tables and best settings are
    written as if Optuna had drawn it.

    Args:
        given: the study with its search, and how the trial is run.
        drawn: the settings, as JSON.

    Raises:
        UserError: as `tune`; the settings are not of the study's ranges; W&B can't be used; or a run failed.
    """
    search = read_search(given)
    for comparison in search.study.comparisons:
        check(comparison, search.study.engine)
    params = read_drawn(search, drawn)
    import_optuna()
    (wandb,) = import_optional("prefloop tune --trial", "tracking", "wandb")
    require_installed(search.study.engine)
    require_own_folder(search)
    point = {flag: one.as_set(params[flag]) for flag, one in search.ranges.items()}
    settings_drawn = ", ".join(f"{flag} {shown(value)}" for flag, value in point.items())
    try:
        jobs = jobs_of(search, point)
    except ValueError as error:
        raise UserError(
            f"This trial can't be meant ({settings_drawn}): {as_keys(error)}."
        ) from None
    if given.dry_run:
        print(f"A trial of {counted(len(jobs), 'run')} ({settings_drawn}). Nothing was run.")
        return
    sweep = os.environ.get(SWEEP_ID, "")
    # an agent has said already what its run is of
    settings = {} if sweep else {"project": PROJECT, "config": params}
    open_folder(search)
    with begin_run(wandb, dir=str(search.root), **settings) as run:
        start = time.monotonic()
        with Trials(search) as trials:
            try:
                with engine_of(search, given.processes) as workers:
                    values = TrialRuns(search, workers).values(jobs)
            except UserError as error:
                trials.add(params, {}, time.monotonic() - start, sweep, str(error))
                raise
            seconds = time.monotonic() - start
            value = fmean(values.values())
            run.log({search.settings.maximise: value})
            trials.add(params, values, seconds, sweep)
            report(search, trials)
            best = trials.best
    is_best = f"; the best is trial {best.number}, {best.value:.4g}" if best else ""
    print(f"A trial: {value:.4g} ({settings_drawn}), {seconds:.0f} s{is_best}.")


def read_drawn(search: Search, text: str) -> dict[str, Any]:
    """Settings of a trial, as they were drawn, by flag.

    Args:
        text: JSON, an object that has a value for each of the search's ranges.

    Raises:
        UserError: it is something else.
    """
    try:
        given = json.loads(text)
    except ValueError:
        given = None
    if not isinstance(given, dict):
        example = json.dumps(dict.fromkeys(search.ranges, "..."))
        raise UserError(f"--trial takes settings as JSON, {example}, not {SHORT.repr(text)}.")
    for flag in given:
        if flag not in search.ranges:
            meant = perhaps(flag, search.ranges, most=1)
            raise UserError(f"--trial: {flag} is not among the {RANGES} of {search.file}{meant}")
    found = {}
    for flag, one in search.ranges.items():
        if flag not in given:
            raise UserError(
                f"--trial says nothing of {flag}, which is among the {RANGES} of {search.file}."
            )
        if not one.may_draw(given[flag]):
            raise UserError(f"--trial: {flag} is {one}, and can't be {SHORT.repr(given[flag])}.")
        is_whole = isinstance(one, Range) and one.whole  # W&B may draw 3.0
        found[flag] = int(given[flag]) if is_whole else given[flag]
    return found
