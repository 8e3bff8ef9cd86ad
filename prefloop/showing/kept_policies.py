"""What runs have kept: their policies, in which environment, and what metrics.csv says of the way there."""

import filecmp
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from prefloop import checkpoints
from prefloop.envs.registered import time_limit
from prefloop.envs.settings import EnvSettings, from_facts
from prefloop.errors import UserError, note
from prefloop.labelling.limits import MAX_COMPARED
from prefloop.run_files import METRICS, POLICY
from prefloop.runs import read_metrics


@dataclass(frozen=True)
class Point:
    """A row of metrics.csv; None is what it does not say.

    Attributes:
        steps: of the environment, from the beginning on.
        labels: answers until then.
        true_return: mean of the episodes that the row counts.
    """

    steps: int | None
    labels: int | None
    true_return: float | None


@dataclass(frozen=True)
class KeptPolicy:
    """A policy that a run has kept.

    Attributes:
        path: its file.
        number: of its row in metrics.csv, from 0; None where that is not known.
        at: what the row says.
    """

    path: Path
    number: int | None
    at: Point = Point(None, None, None)


@dataclass(frozen=True)
class Run:
    """A run's folder.

    Attributes:
        name: what the page calls it; no two have the same.
        folder: where it is.
        facts: what run.json says.
        env: what it was trained in.
        curve: metrics.csv, row by row; empty for a single policy.
        policies: those that were kept, in their order; one at least.
    """

    name: str
    folder: Path
    facts: Mapping[str, Any]
    env: EnvSettings
    curve: Sequence[Point]
    policies: Sequence[KeptPolicy]


def read_runs(paths: Sequence[Path], most_policies: int, env_id: str = "") -> list[Run]:
    """Runs that are to stand side by side.

    Args:
        paths: folders, or single policies; one to `MAX_COMPARED`.
        most_policies: how many of each at most, evenly apart, the first and the last among them.
        env_id: the environment, where nothing beside a policy names one.

    Raises:
        UserError: too many, one twice, or one is missing, has no policy, or is damaged.
    """
    if len(paths) > MAX_COMPARED:
        raise UserError(f"{len(paths)} runs do not fit side by side; give at most {MAX_COMPARED}.")
    resolved = [path.resolve() for path in paths]
    for i, path in enumerate(resolved):
        if path in resolved[:i]:
            raise UserError(f"{paths[i]} is given twice; each run stands once beside the others.")
    return [
        _read_run(path, name, most_policies, env_id)
        for path, name in zip(paths, names(resolved), strict=True)
    ]


def names(paths: Sequence[Path]) -> list[str]:
    """The shortest ends of paths that tell them apart; a single policy's begin with its folder.

    Args:
        paths: absolute, each once.
    """
    parts = [Path(str(path).removesuffix(".params")).parts for path in paths]
    found = []
    for path, own in zip(paths, parts, strict=True):
        count = 2 if path.suffix == ".params" else 1
        while sum(other[-count:] == own[-count:] for other in parts) > 1 and count < len(own):
            count += 1
        found.append("/".join(own[-count:]))
    # two files that differ in their ending alone
    return found if len(set(found)) == len(found) else [str(path) for path in paths]


def _read_run(path: Path, name: str, most_policies: int, env_id: str) -> Run:
    if not path.exists():
        raise UserError(f"There is no run in {path}: it does not exist.")
    folder = path if path.is_dir() else path.parent
    files = _policy_files(path) if path.is_dir() else [path]
    if not files:
        raise UserError(f"There is no policy in {path}, neither a checkpoint nor the last one.")
    facts = checkpoints.run_facts(files[0])
    env = from_facts(facts, env_id)
    if env is None:
        raise UserError(f"Nothing in {folder} says which environment it is for; give --env.")
    curve = read_curve(folder / METRICS)
    policies = [_at(file, curve) for file in files]
    if _is_of_an_earlier_end(policies):
        del policies[-1]
    elif len(policies) > 1 and policies[-2].number == policies[-1].number is not None:
        del policies[-2]  # the last checkpoint is the last policy
    if path.is_dir() and len(policies) == 1:
        note(
            f"{path} has kept one policy alone, so there is no way to go back in time; runs keep more by "
            "--checkpoint_every."
        )
    return Run(
        name, folder, facts, env, curve if path.is_dir() else [], chosen(policies, most_policies)
    )


def _is_of_an_earlier_end(policies: Sequence[KeptPolicy]) -> bool:
    """Whether the last policy is that of a row before: a run that was over goes on, and is not over again."""
    *before, last = policies
    return any(
        kept.number is not None
        and last.number is not None
        and kept.number < last.number
        and filecmp.cmp(kept.path, last.path, shallow=False)
        for kept in before
    )


def _policy_files(folder: Path) -> list[Path]:
    """Policies of a run, in the order in which they came about."""
    files = [checkpoints.checkpoint_path(folder, n) for n in checkpoints.epochs_of_run(folder)]
    final = folder / POLICY
    return [*files, final] if final.exists() else files


def _at(file: Path, curve: Sequence[Point]) -> KeptPolicy:
    found = re.fullmatch(r"policy_checkpoint(\d+)", file.stem)
    if found is not None:
        number = int(found[1])
    elif curve and file.stem == Path(POLICY).stem:
        number = len(curve) - 1
    else:
        return KeptPolicy(file, None)
    return KeptPolicy(file, number, curve[number]) if number < len(curve) else KeptPolicy(file, number)  # fmt: skip


def chosen(policies: Sequence[KeptPolicy], most: int) -> list[KeptPolicy]:
    """So many of them at most, evenly apart; the last always, and the first if there is room."""
    if most == 1:
        return [policies[-1]]
    places = np.linspace(0, len(policies) - 1, min(most, len(policies))).round().astype(int)
    return [policies[place] for place in places]


def read_curve(path: Path) -> list[Point]:
    """Returns, steps and labels of a metrics.csv; empty where there is none.

    Raises:
        UserError: it can't be read, or holds words in place of numbers.
    """
    if not path.exists():
        return []
    rows = read_metrics(path, ("epoch", "steps", "labels", "true_return"))
    steps, labels, returns = (
        [_finite(row.get(name, math.nan)) for row in rows]
        for name in ("steps", "labels", "true_return")
    )
    if rows and "epoch" in rows[0]:  # vpg.py counts the steps of each epoch by themselves
        steps = np.cumsum([count or 0 for count in steps]).tolist()
    return [
        Point(None if s is None else int(s), None if n is None else int(n), value)
        for s, n, value in zip(steps, labels, returns, strict=True)
    ]


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def common_env(runs: Sequence[Run], steps: int | None = None) -> EnvSettings:
    """The environment that all are to be shown in.

    Where they differ in how episodes end, which changes nothing of what policies see and do, it is the
    end that the environment's makers chose.

    Args:
        steps: after which an episode is cut in any case.

    Raises:
        UserError: policies of one have no place in another; or episodes may never end.
    """
    env = runs[0].env
    others = [run for run in runs if run.env != env]
    for other in others:
        if _without_ends(other.env) != _without_ends(env):
            raise UserError(
                f"{runs[0].name} is of {env.described} and {other.name} of {other.env.described}; side by "
                "side stand policies of one environment."
            )
    if others:
        env = _without_ends(env)
        note(f"These runs differ in how episodes end; all are shown in {env.described}.")
    limit = time_limit(env)
    if limit is None and steps is None:
        raise UserError(f"{env} has no time limit, so an episode may never end; give --steps.")
    if steps is not None and (limit is None or steps < limit):
        env = replace(env, horizon=steps)
    return env


def _without_ends(env: EnvSettings) -> EnvSettings:
    return replace(env.ending("own"), horizon=None)
