"""The best settings of a search as files that the program reads: a preset, and a study on fresh seeds."""

import datetime
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from prefloop.envs.settings import EnvSettings
from prefloop.files import write_atomically
from prefloop.settings import as_flat, as_listed
from prefloop.startup import import_optional
from prefloop.sweeps.cells import shown
from prefloop.sweeps.changes import NOBODYS, changes_at
from prefloop.sweeps.methods import METHODS
from prefloop.sweeps.search_file import Search
from prefloop.sweeps.settings import run_settings
from prefloop.sweeps.study import SEARCH
from prefloop.sweeps.trials import SWEEP
from prefloop.words import counted

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

PRESET, FRESH = "best.yaml", "fresh.yaml"
FRESH_SEEDS = 5  # of the study, at least


def write_best(
    search: Search,
    point: Mapping[str, Any],
    best: "FrozenTrial",
    usual: "FrozenTrial | None",
    rows: Sequence[Mapping[str, Any]],
) -> None:
    """Writes both; the preset where the method has a command that takes it.

    Args:
        point: the best settings, by flag.
        best: their trial.
        usual: the trial of the usual settings, if there was one.
        rows: of all trials.
    """
    if command := METHODS[search.settings.method].command:
        said = {
            "env": search.study.comparisons[0].settings.environment.env,
            "source": _source(search, best, rows),
            "reached": _reached(search, best, usual),
            command: _preset(search, point),
        }
        write_atomically(search.root / PRESET, as_yaml(said))
    write_atomically(search.root / FRESH, as_yaml(_fresh(search, point)))


def as_yaml(values: Mapping[str, Any]) -> bytes:
    """A file of settings, in their order."""
    import yaml

    return yaml.safe_dump(values, sort_keys=False, width=100, allow_unicode=True).encode()


def _preset(search: Search, point: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of the best runs that are not a command's defaults; of several comparisons, those that are alike in all.

    With what is changed of the environment: a preset stands in the place of the file that would have said it.
    Not how long they were, nor how many labels they had: that is for whoever uses it to say.
    """
    method = search.settings.method
    plain = as_flat(type(METHODS[method].settings)()) | as_flat(EnvSettings(env=""))
    found = []
    for comparison in search.study.comparisons:
        settings = comparison.settings
        changes, _ = changes_at(settings, method, {**search.fixed(comparison), **point})
        flat = as_flat(run_settings(method, settings, search.labels, changes))
        found.append(
            {
                flag: value
                for flag, value in flat.items()
                if value != plain[flag] and flag not in ("steps", "labels", *NOBODYS)
            }
            | settings.environment.changes
        )
    first = found[0]
    alike = {f: v for f, v in first.items() if all(one.get(f, plain[f]) == v for one in found)}
    return {flag: as_listed(value) for flag, value in alike.items()}


def _fresh(search: Search, point: Mapping[str, Any]) -> dict[str, Any]:
    """The search's study with the best settings alone, and with seeds that come after its own."""
    method = search.settings.method
    values = {k: v for k, v in search.values.items() if k != SEARCH}
    does: dict[str, Any] = {}
    last = many = 0
    for comparison in search.study.comparisons:
        settings = comparison.settings
        _, without = changes_at(settings, method, {**search.fixed(comparison), **point})
        does |= {flag: value for flag, value in point.items() if flag not in without}
        last = max(last, *settings.seed_numbers)
        many = max(many, len(settings.seed_numbers))
    own = {flag: [as_listed(v)] if isinstance(v, tuple) else v for flag, v in does.items()}
    values |= {
        "out": f"{search.root}-fresh",
        "seeds": f"{last + 1}-{last + max(many, FRESH_SEEDS)}",
        method: {**(values.get(method) or {}), **own},
    }
    return values


def _source(search: Search, best: "FrozenTrial", rows: Sequence[Mapping[str, Any]]) -> str:
    settings, study = search.settings, search.study.comparisons[0].settings
    ended = sum(row["state"] in ("done", "given up") for row in rows)
    ranges = "; ".join(f"{flag} {one}" for flag, one in search.ranges.items())
    tasks = dict.fromkeys(c.settings.environment.described for c in search.study.comparisons)
    labels = f", {counted(search.labels, 'label')}" if search.labels else ""
    return (
        f"Found by prefloop tune: trial {best.number} of {ended}, which {_drawn_by(best)}; of "
        f"{settings.method} on {', '.join(tasks)}, {study.steps} steps{labels}, seeds {shown(study.seeds)}, by the mean "
        f"{settings.maximise}. Tried: {ranges}. {datetime.datetime.now(datetime.timezone.utc).date()}."
    )


def _drawn_by(best: "FrozenTrial") -> str:
    sweep = best.user_attrs.get(SWEEP)
    if sweep is not None:
        return f"sweep {sweep} of Weights & Biases drew" if sweep else "somebody drew"
    (optuna,) = import_optional("prefloop tune", "tune", "optuna")
    return f"TPE (Optuna {optuna.__version__}) drew"


def _reached(search: Search, best: "FrozenTrial", usual: "FrozenTrial | None") -> str:
    kind, many = search.settings.maximise, len(search.instances)
    before = f" The usual settings: {usual.value:.4g}." if usual is not None else ""
    return f"Mean {kind} {best.value:.4g} over the {counted(many, 'run')} that it was chosen by, which flatters it.{before}"
