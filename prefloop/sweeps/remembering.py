"""What a comparison's folder says that it is of: `compare.json`, and whether more may be added to it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from prefloop.agents.settings import PPOSettings
from prefloop.errors import UserError
from prefloop.files import LOCK, read_json, write_json
from prefloop.runs import difference
from prefloop.settings import as_flat, as_set, assembled, leaves, meant_by_default
from prefloop.sweeps.cells import Changes, Comparison
from prefloop.sweeps.methods import METHODS
from prefloop.sweeps.settings import (
    DEMONSTRATORS,
    OF_CELLS,
    OF_COMMAND,
    OF_RUNNING,
    CompareSettings,
    settings_by_method,
)

SETTINGS = "compare.json"
OWN = "by_method"  # in it: all settings of methods, and of the demonstrators, before anything is changed
CHANGES = "changes"  # and what is changed of them in turn, by method
MAX_BYTES = 100_000_000  # of it: a grid of thousands of settings is as long as it is
NOT_SAID = ("out", *OF_COMMAND)  # which folder it is, it says itself, also where it was moved to


def remember(comparison: Comparison) -> Comparison:
    """Writes what a comparison is of, or refuses to mix it with another.

    Returns:
        The comparison, with methods, budgets, seeds and changes of earlier commands.

    Raises:
        UserError: its folder holds another comparison, or something else.
    """
    settings, directory = comparison.settings, comparison.folder
    directory.mkdir(parents=True, exist_ok=True)
    file, own = directory / SETTINGS, _as_json(settings_by_method(settings))
    grown = comparison
    if file.exists():
        there = read_json(file, MAX_BYTES)
        before = there.get("settings", {})
        other = difference(
            before, as_flat(settings), (*OF_CELLS, *OF_RUNNING), meant_by_default(CompareSettings)
        )
        if other is not None:
            raise UserError(f"{directory} holds a comparison with {other}; choose another --out.")
        try:
            own_before = _filled(there.get(OWN, {}), before["methods"])
            done = {*before["methods"], *own_before}
            sizes = {name: as_set(before[name]) for name in OF_CELLS}
            earlier = Comparison(replace(settings, **sizes), _changes(there, before["methods"]))
            grown = together(earlier, comparison)
        except (AttributeError, KeyError, TypeError, ValueError):
            raise UserError(f"{file} is damaged; choose another --out.") from None
        changed = [name for name in own if name in done and own[name] != own_before.get(name)]
        if changed:
            raise UserError(
                f"{directory} holds a comparison in which {', '.join(changed)} had other settings, by an "
                "earlier version of the program; choose another --out."
            )
        own = {**own_before, **own}
    elif any(path.name != LOCK for path in directory.iterdir()):
        raise UserError(
            f"{directory} holds something else than a comparison; choose another --out."
        )
    write(grown, own)
    return grown


def together(first: Comparison, second: Comparison) -> Comparison:
    """All that two comparisons of the same settings run, in the first one's folder."""
    sizes: dict[str, Any] = {
        name: (*getattr(first.settings, name), *getattr(second.settings, name)) for name in OF_CELLS
    }
    settings = replace(first.settings, **sizes).without_repeats
    changes = {
        name: list(
            dict.fromkeys(
                change
                for one in (first, second)
                if name in one.settings.methods
                for change in one.changes.get(name, [()])
            )
        )
        for name in settings.methods
    }
    return Comparison(settings, changes)


def write(comparison: Comparison, own: Mapping[str, Any]) -> None:
    """Writes `compare.json`.

    Args:
        own: all settings of the methods, by method and flag.
    """
    settings, methods = comparison.settings, comparison.settings.methods
    said = {k: v for k, v in as_flat(settings).items() if k not in NOT_SAID}
    changes = {name: [dict(one) for one in comparison.changes.get(name, [()])] for name in methods}
    facts = {"program": "prefloop compare", "settings": said, OWN: own, CHANGES: changes}
    write_json(comparison.folder / SETTINGS, facts)


def read(directory: Path) -> tuple[Comparison, dict[str, Any]]:
    """The comparison that a folder is of, and all settings of its methods, by method and flag.

    Raises:
        UserError: it holds no comparison, or what it says is damaged.
    """
    file = directory / SETTINGS
    there = read_json(file, MAX_BYTES)
    try:
        flat = {**meant_by_default(CompareSettings), **there["settings"], "out": str(directory)}
        values = {leaf.path: as_set(flat[leaf.flag]) for leaf in leaves(CompareSettings)}
        settings = assembled(CompareSettings, values)
        changes = _changes(there, settings.methods)
        return Comparison(settings, changes), _filled(there.get(OWN, {}), settings.methods)
    except (AttributeError, KeyError, TypeError, ValueError):
        raise UserError(f"{file} is damaged.") from None


def _changes(there: Mapping[str, Any], methods: Sequence[str]) -> dict[str, list[Changes]]:
    """Changes of each method, as a file says them; earlier versions changed nothing."""
    said = there.get(CHANGES, {})
    return {
        name: [
            tuple((flag, as_set(value)) for flag, value in one.items())
            for one in said.get(name, [{}])
        ]
        for name in methods
    }


def _filled(own: Mapping[str, Any], methods: Sequence[str]) -> dict[str, Any]:
    """Settings by method, with those that earlier versions did not write down, since nobody could set them."""
    filled = dict(own)
    if any(METHODS[name].has_demonstrators for name in methods):
        filled.setdefault(DEMONSTRATORS, {})
    plain = {name: METHODS[name].settings for name in methods} | {DEMONSTRATORS: PPOSettings()}
    for name in methods:
        if not METHODS[name].tuned_as:
            filled.setdefault(name, {})
    return {
        name: {**_as_json(as_flat(plain[name])), **flags} if name in plain else flags
        for name, flags in filled.items()
    }


def _as_json(value: Any) -> Any:
    """As it is read back."""
    return json.loads(json.dumps(value))
