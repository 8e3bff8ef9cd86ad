"""A run's folder: what it was started with, and how it goes on after a stop.

`run.json` holds the settings, written before the first step; `training_state.pt` everything that
the next epoch depends on, written after each.
"""

import contextlib
import math
import shutil
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from prefloop import checkpoints
from prefloop.begun import require_program
from prefloop.errors import CanNotGoOnError, UserError
from prefloop.files import (
    LOCK,
    claimed_directory,
    read_csv,
    read_json,
    remove_unfinished,
    write_json,
)
from prefloop.run_files import FACTS, METRICS, POLICY, REWARD, STATE
from prefloop.settings import as_listed

ANEW = (STATE, METRICS, POLICY)  # what a new run removes of an earlier one
STATE_KEYS = {"policy", "optimizer", "rows"}  # rows: those of metrics.csv, one an epoch
MOST_DIFFERENCES = 8  # that a sentence names
# what a preference dataset and a comparison call their descriptions: no run belongs into theirs
OTHERS = ("metadata.json", "compare.json")


@contextlib.contextmanager
def claimed(directory: Path, resume: bool, keep_earlier: bool = False) -> Iterator[Path]:
    """Keeps a run's directory for this process; makes it, unless a run in it is to go on.

    Args:
        keep_earlier: refuse to start where a run stands already, able to go on or not. One that was
            stopped in its first epoch has nothing to keep. Nor has one that ends in a `UserError`
            there, so that an empty directory is left as it was.

    Raises:
        UserError: as `claimed_directory`; there is no run to go on with, or one to be kept; or the
            directory holds a preference dataset or a comparison.
    """
    has_run = (directory / FACTS).is_file()
    if resume and not has_run:
        raise UserError(f"There is no run to resume in {directory}: it holds no {FACTS}.")
    if keep_earlier and has_run and not resume:
        if (directory / STATE).exists():
            raise UserError(
                f"{directory} holds a run already; go on with it by --resume, or choose another --out."
            )
        if _is_lost(directory):
            raise UserError(
                f"{directory} holds a run without its {STATE}, which can't go on; choose another --out."
            )
    if keep_earlier and not has_run and (foreign := _written_by_runs(directory)):
        raise UserError(f"{foreign[0]} is of no run; choose another --out.")
    if keep_earlier and any((directory / other).exists() for other in OTHERS):
        raise UserError(f"{directory} holds something else than a run; choose another --out.")
    is_made = not directory.exists()
    with claimed_directory(directory):
        remove_unfinished(directory)
        is_empty = not _contents(directory)
        try:
            yield directory
        except UserError:
            if keep_earlier and is_empty and not (directory / STATE).exists():
                for path in [directory] if is_made else _contents(directory):
                    shutil.rmtree(path, ignore_errors=True)  # while it is this process's
                    with contextlib.suppress(OSError):
                        path.unlink()
            raise


def _written_by_runs(directory: Path) -> list[Path]:
    """Files in a directory that a run would write over, or take for its own."""
    if not directory.is_dir():
        return []
    named = [directory / name for name in (*ANEW, REWARD)]
    kept = [checkpoints.checkpoint_path(directory, n) for n in checkpoints.saved_epochs(directory)]
    return [path for path in (*named, *kept) if path.exists()]


def _contents(directory: Path) -> list[Path]:
    """Files and folders in a claimed directory, without its lock."""
    return [path for path in directory.iterdir() if path.name != LOCK]


def start(directory: Path, facts: Mapping[str, Any], epochs: int) -> None:
    """Begins a run in a directory that this process has claimed, in place of an earlier one.

    The earlier run's state and the checkpoints that this run writes anew are removed first, so
    that after a kill no file of one passes for one of the other.

    Args:
        facts: what `run.json` is to say; `settings` holds the command line.
        epochs: how many checkpoints the run will write.
    """
    earlier = checkpoints.saved_epochs(directory)
    if (directory / METRICS).exists():
        print(f"Note: this run replaces the one that was in {directory}.")
    stale = [directory / name for name in ANEW]
    stale += [checkpoints.checkpoint_path(directory, epoch) for epoch in earlier if epoch < epochs]
    # a file that can't be written must end the run before anything is removed
    write_json(directory / FACTS, {**facts, "versions": checkpoints.versions()})
    for path in stale:
        path.unlink(missing_ok=True)
    left = [epoch for epoch in earlier if epoch >= epochs]
    if left:
        names = " to ".join(dict.fromkeys(map(str, (left[0], left[-1]))))
        print(
            f"Note: {directory} still holds policy_checkpoint{names} of an earlier, longer run; left as it is, and "
            "not taken for what this one ends with."
        )


def save_state(directory: Path, state: dict[str, Any]) -> None:
    """Writes everything that the next epoch depends on, atomically."""
    checkpoints.save(directory / STATE, state)


def resume(
    directory: Path,
    facts: Mapping[str, Any],
    may_differ: Collection[str],
    keys: Collection[str] = STATE_KEYS,
    defaults: Mapping[str, Any] = MappingProxyType({}),
) -> dict[str, Any] | None:
    """Reads the state that a run was stopped in.

    Args:
        facts: as given to `start` by the command that wants to go on.
        may_differ: names of settings that do not change what an epoch does.
        keys: what the state of such a run holds.
        defaults: what a setting was before there was one.

    Returns:
        What was last given to `save_state`; None if the run was stopped in its first epoch.

    Raises:
        CanNotGoOnError: the run was started with other settings, has more epochs already, or what it
            left is damaged or incomplete.
        UserError: `run.json` can't be read or written.
    """
    _require_same(directory, read_json(directory / FACTS), facts, may_differ, defaults)
    _require_state(directory)
    if not (directory / STATE).exists():
        return None
    try:
        state = checkpoints.load(directory / STATE, max_bytes=math.inf)
    except UserError as error:
        raise no_going_on(error) from None
    if not state.keys() >= set(keys):
        raise no_going_on(f"{directory / STATE} is damaged: it holds no state of a run")
    done, wanted = len(state["rows"]), _settings(facts, directory).get("epochs")
    if isinstance(wanted, int) and wanted < done:
        raise CanNotGoOnError(
            f"{directory} holds {done} epochs already; --epochs {wanted} would lose some."
        )
    write_json(directory / FACTS, {**facts, "versions": checkpoints.versions()})
    return state


def require_can_go_on(
    directory: Path,
    program: str,
    settings: Mapping[str, Any],
    may_differ: Collection[str],
    defaults: Mapping[str, Any] = MappingProxyType({}),
) -> None:
    """Refuses to go on with other settings, before anything is opened that depends on them.

    Args:
        program: that wants to go on with it.
        settings: of the command line, by flag.
        may_differ, defaults: as `resume`.

    Raises:
        UserError: the run was started by another program, or with other settings; or its state was lost.
    """
    facts = read_json(directory / FACTS)
    before: dict[str, Any] = {
        name: facts[name] for name in ("program", "settings") if name in facts
    }
    now = {"program": program, "settings": settings}
    _require_same(directory, before, now, may_differ, defaults)
    _require_state(directory)


def read_metrics(path: Path, names: Collection[str]) -> list[dict[str, float]]:
    """Reads columns of a metrics.csv, those that it has: numbers by name, NaN where a row says nothing.

    Raises:
        UserError: it can't be read, or holds words in place of numbers there.
    """
    rows = read_csv(path)
    try:
        return [{name: float(row[name] or "nan") for name in names if name in row} for row in rows]
    except ValueError:
        raise UserError(f"{path} is damaged: it holds something else than numbers.") from None


def _require_same(
    directory: Path,
    before: Mapping[str, Any],
    now: Mapping[str, Any],
    may_differ: Collection[str],
    defaults: Mapping[str, Any],
) -> None:
    require_program(directory, before, str(now.get("program")))
    old, new = ({**f, **_settings(f, directory)} for f in (before, now))
    other = difference(old, new, {"program", "settings", "versions", *may_differ}, defaults)
    if other is not None:
        raise CanNotGoOnError(
            f"{directory} holds a run with {other}; resume it with the settings in its {FACTS}, "
            "or start anew in another directory."
        )


def _require_state(directory: Path) -> None:
    if _is_lost(directory):
        raise no_going_on(f"{directory} holds a run without its {STATE}")


def _is_lost(directory: Path) -> bool:
    """Whether a run has come further than its first epoch, and its state is gone."""
    if (directory / STATE).exists():
        return False
    if (directory / POLICY).exists():
        return True
    metrics = directory / METRICS
    # one that was killed in its first epoch may have written a row
    return metrics.exists() and len(read_csv(metrics)) > 1


def no_going_on(reason: object) -> CanNotGoOnError:
    """The error to raise where the files that a run left can't be gone on with.

    Args:
        reason: the beginning of the sentence.
    """
    return CanNotGoOnError(
        f"{str(reason).rstrip('.')}, so the run can't go on; start anew in another directory."
    )


def difference(
    before: Mapping[str, Any],
    now: Mapping[str, Any],
    may_differ: Collection[str],
    defaults: Mapping[str, Any] = MappingProxyType({}),
) -> str | None:
    """Says in words what is not the same in two descriptions; None where all is.

    Args:
        before: as read from JSON, which has lists where `now` may have tuples.
        may_differ: names that do not count.
        defaults: what counts where `before`, of an earlier version, does not name something, or where either says
            None.
    """

    def meant(values: Mapping[str, Any], name: str) -> Any:
        value = values.get(name)
        value = defaults.get(name) if value is None else value
        return as_listed(value)

    differences = []
    for name in sorted((before.keys() | now.keys()) - set(may_differ)):
        old, new = meant(before, name), meant(now, name)
        if old != new:
            if name.endswith("_sha256"):
                differences.append(f"other contents of --{name.removesuffix('_sha256')}")
            else:
                differences.append(f"{name} {old!r}, not {new!r}")
    more = len(differences) - MOST_DIFFERENCES
    if more > 0:
        differences[MOST_DIFFERENCES:] = [f"{more} more"]
    return " and ".join(differences) or None


def _settings(facts: Mapping[str, Any], directory: Path) -> dict[str, Any]:
    settings = facts.get("settings", {})
    if not isinstance(settings, dict):
        raise CanNotGoOnError(f"{directory / FACTS} is damaged: its settings are no object.")
    return settings
