"""What is changed of a method's settings at one place of a grid, or in one trial of a search."""

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from prefloop.command_line import require_needed
from prefloop.settings import Leaf, as_flat, leaves
from prefloop.sweeps.cells import Changes
from prefloop.sweeps.methods import METHODS
from prefloop.sweeps.settings import CompareSettings, run_settings

NOBODYS = ("explore_from", "keep_exploration")  # a sweep keeps explorations by itself
Axes = Mapping[str, Sequence[Any]]  # by flag, the values that it has in turn

SHARED = {leaf.flag: leaf for leaf in leaves(CompareSettings)}


def settings_of(method: str) -> dict[str, Leaf]:
    """What can be set of a method alone, by flag."""
    found = leaves(type(METHODS[method].settings))
    return {leaf.flag: leaf for leaf in found if leaf.flag not in {*SHARED, *NOBODYS}}


def usual(settings: CompareSettings, method: str) -> dict[str, Any]:
    """All settings of a method in a comparison, by flag, where nothing is changed."""
    return as_flat(run_settings(method, settings, settings.labels[0]))


def changes_at(
    settings: CompareSettings,
    method: str,
    point: Mapping[str, Any],
    plain: Mapping[str, Any] | None = None,
) -> tuple[Changes, dict[str, str]]:
    """Settings of a method that are not as usual at one place.

    Args:
        point: by flag; what does nothing beside the others there is left out.
        plain: what is `usual`, where many places are asked about.

    Returns:
        These settings, and of each that was left out because it does nothing, why.

    Raises:
        ValueError: the method refuses it; names flags.
    """
    plain = usual(settings, method) if plain is None else plain
    known = list(leaves(type(METHODS[method].settings)))
    without = idle(known, point, {**plain, **point})
    changes = tuple(
        (flag, point[flag])
        for flag in settings_of(method)
        if flag in point and flag not in without and point[flag] != plain[flag]
    )
    run_settings(method, settings, settings.labels[0], changes)
    return changes, without


def idle(
    known: Sequence[Leaf], given: Mapping[str, Any], values: Mapping[str, Any]
) -> dict[str, str]:
    """Which settings do nothing beside the others, and why, by flag.

    Args:
        given: those that are asked about.
        values: of all.
    """
    found = {}
    for leaf in known:
        if leaf.flag in given:
            try:
                require_needed(known, [leaf.flag], values)
            except ValueError as error:
                found[leaf.flag] = as_keys(error)
    return found


def product(axes: Axes) -> Iterator[dict[str, Any]]:
    """Every combination of values, one of each axis."""
    for point in itertools.product(*axes.values()):
        yield dict(zip(axes, point, strict=True))


def as_keys(error: ValueError) -> str:
    """A sentence about flags as one about keys."""
    return re.sub(r"--(\w+)", r"\1", str(error)).rstrip(".")
