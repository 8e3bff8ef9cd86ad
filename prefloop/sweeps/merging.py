"""Brings what was run in several folders together in a new one; refused where it was not the same."""

import contextlib
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from prefloop.data import dataset
from prefloop.errors import UserError
from prefloop.files import LOCK, claimed_directory, read_json, whole_folder
from prefloop.run_files import EXPLORATIONS, PREFERENCES, REPLAY, STATE
from prefloop.runs import difference
from prefloop.settings import as_flat
from prefloop.sweeps import remembering
from prefloop.sweeps.cells import Comparison
from prefloop.sweeps.report import report
from prefloop.sweeps.results import OF_SEED, folders_in
from prefloop.sweeps.settings import (
    FAILURE,
    OF_CELLS,
    OF_RUNNING,
    PREPARED,
    RANDOM,
    RESULT,
    SEEDS,
    STUDY,
    studies_in,
)

# what a run that is done needs no more: its replay buffer may be larger than all the rest
LEFT_OUT = shutil.ignore_patterns(REPLAY, STATE, LOCK)


def merge(folders: Sequence[Path], out: Path) -> None:
    """Makes a folder of what is done in several, and writes results, tables and page about it.

    Raises:
        UserError: a folder holds no comparison, or another process works in it; they differ in a setting,
            or in the result of a run that both have; or there is something at `out`.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} holds something already; choose another --out.")
    for i, folder in enumerate(folders):
        if folder.resolve() in [other.resolve() for other in folders[:i]]:
            raise UserError(f"{folder} is given twice.")
    by_name: dict[str, list[Path]] = {}
    for folder in folders:
        found = folders_in(folder)
        if not found:
            raise UserError(f"{folder} holds nothing that prefloop compare wrote.")
        for one in found:
            by_name.setdefault("" if one == folder else one.name, []).append(one)
    if "" in by_name and len(by_name) > 1:
        raise UserError(
            "A study and a comparison by flags don't merge: one has a folder for each comparison."
        )
    with contextlib.ExitStack() as stack:
        for folder in folders:
            stack.enter_context(claimed_directory(folder))
        made = stack.enter_context(whole_folder(out))
        for name, sources in by_name.items():
            _merge(sources, made / name)
        texts = dict.fromkeys(file.read_bytes() for f in folders for file in studies_in(f))
        for i, text in enumerate(texts, 1):  # each as it was, so that it can be given again
            (made / (STUDY if i == 1 else f"study-{i}.yaml")).write_bytes(text)
    print(report(out) or "None of them holds a run that is done.")
    print(f"Wrote {out / 'results.csv'}, and {out / 'index.html'} with plots to look at.")


def _merge(sources: Sequence[Path], target: Path) -> None:
    """Brings the folders of one comparison together in a new one."""
    target.mkdir(parents=True, exist_ok=True)
    merged, own = remembering.read(sources[0])
    for source in sources:
        comparison, its_own = remembering.read(source)
        _require_same(sources[0], merged, own, source, comparison, its_own)
        own = {**its_own, **own}
        merged = remembering.together(merged, comparison)
        for file in source.glob(f"{RANDOM}/*/{RESULT}"):
            place = target / file.relative_to(source)
            place.parent.mkdir(parents=True, exist_ok=True)
            _take_file(file, place, f"what actions at random reach in {file.parent}")
        for folder in sorted((source / SEEDS).glob("seed-*")):
            _take_seed(folder, target / SEEDS / folder.name)
        for folder in sorted((source / EXPLORATIONS).glob("*")):
            if folder.is_dir() and not (target / EXPLORATIONS / folder.name).exists():
                shutil.copytree(folder, target / EXPLORATIONS / folder.name)
        for cell in comparison.cells:
            _take_run(source / cell.folder, target / cell.folder, str(cell))
    remembering.write(replace(merged, settings=replace(merged.settings, out=str(target))), own)


def _require_same(
    first: Path,
    before: Comparison,
    own: Mapping[str, Any],
    second: Path,
    now: Comparison,
    its_own: Mapping[str, Any],
) -> None:
    grows = (*OF_CELLS, *OF_RUNNING)
    other = difference(as_flat(before.settings), as_flat(now.settings), grows)
    if other is not None:
        raise UserError(f"{first} and {second} differ: {other}.")
    for name in own.keys() & its_own.keys():
        other = difference(own[name], its_own[name], ())
        if other is not None:
            raise UserError(f"{first} and {second} differ in the settings of {name}: {other}.")


def _take_file(source: Path, target: Path, what: str) -> None:
    if target.exists() and read_json(source) != read_json(target):
        raise UserError(f"Not the same in all folders: {what}.")
    shutil.copy(source, target)


def _take_seed(source: Path, target: Path) -> None:
    """Demonstrators and pairs of a seed, or why there are none; of pairs the most, since fewer are the beginning of more."""
    if not (source / PREPARED).exists():
        if (source / FAILURE).exists() and not target.exists():
            shutil.copytree(source, target, ignore=LEFT_OUT)
        return
    if not (target / PREPARED).exists():
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(source, target, ignore=LEFT_OUT)
        return
    _take_file(source / PREPARED, target / PREPARED, f"the demonstrators in {source}")
    ours, theirs = source / PREFERENCES, target / PREFERENCES
    if _answers(ours) > _answers(theirs):
        shutil.rmtree(theirs, ignore_errors=True)
        shutil.copytree(ours, theirs, ignore=LEFT_OUT)


def _answers(place: Path) -> int:
    return 0 if dataset.is_empty(place) else len(dataset.read(place))


def _take_run(source: Path, target: Path, name: str) -> None:
    """A run that is done, or what is known of one that could not be."""
    is_done = (source / RESULT).exists()
    if is_done and (target / RESULT).exists():
        before, now = read_json(target / RESULT), read_json(source / RESULT)
        # what results of earlier versions say of their seed's demonstrators depends on who was there first
        other = difference(before, now, ("seconds", *OF_SEED))
        if other is not None:
            raise UserError(
                f"{source} holds another result of {name} than an earlier folder: {other}."
            )
        return
    if is_done or ((source / FAILURE).exists() and not target.exists()):
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(source, target, ignore=LEFT_OUT)
