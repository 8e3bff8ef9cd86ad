"""A run's folder: what it was started with, and how it goes on after a stop.

`run.json` holds the settings, written before the first step; `training_state.pt` everything that
the next epoch depends on, written after each.
"""

import contextlib
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from prefloop import checkpoints
from prefloop.errors import UserError
from prefloop.files import claimed_directory, read_json, write_json

STATE = "training_state.pt"
FACTS = "run.json"


@contextlib.contextmanager
def claimed(directory: Path, resume: bool) -> Iterator[Path]:
    """Keeps a run's directory for this process; makes it, unless a run in it is to go on.

    Raises:
        UserError: as `claimed_directory`; or there is no run to go on with.
    """
    if resume and not (directory / FACTS).is_file():
        raise UserError(f"There is no run to resume in {directory}: it holds no {FACTS}.")
    with claimed_directory(directory):
        yield directory


def start(directory: Path, facts: Mapping[str, Any], epochs: int) -> None:
    """Begins a run in a directory that this process has claimed, in place of an earlier one.

    The earlier run's state and the checkpoints that this run writes anew are removed first, so
    that after a kill no file of one passes for one of the other.

    Args:
        facts: what `run.json` is to say; `settings` holds the command line.
        epochs: how many checkpoints the run will write.
    """
    earlier = checkpoints.saved_epochs(directory)
    stale = [directory / STATE, directory / "final_policy.params"]
    stale += [checkpoints.checkpoint_path(directory, epoch) for epoch in earlier if epoch < epochs]
    # a file that can't be written must end the run before anything is removed
    write_json(directory / FACTS, {**facts, "versions": checkpoints.versions()})
    for path in stale:
        path.unlink(missing_ok=True)
    left = [epoch for epoch in earlier if epoch >= epochs]
    if left:
        print(
            f"Note: {directory} still holds policy_checkpoint{left[0]} to {left[-1]} of an earlier, "
            "longer run; they are left as they are."
        )


def save_state(directory: Path, state: dict[str, Any]) -> None:
    """Writes everything that the next epoch depends on, atomically."""
    checkpoints.save(directory / STATE, state)


def resume(
    directory: Path, facts: Mapping[str, Any], may_differ: Collection[str]
) -> dict[str, Any] | None:
    """Reads the state that a run was stopped in.

    Args:
        facts: as given to `start` by the command that wants to go on.
        may_differ: names of settings that do not change what an epoch does.

    Returns:
        What was last given to `save_state`; None if the run was stopped in its first epoch.

    Raises:
        UserError: the run was started with other settings, or what it left is damaged.
    """
    started_with = read_json(directory / FACTS)
    old, new = ({**f, **f.get("settings", {})} for f in (started_with, facts))
    for name in sorted((set(old) | set(new)) - {"settings", "versions", *may_differ}):
        # what was read from JSON has lists where the command line has tuples
        before, now = (
            list(v) if isinstance(v, tuple) else v for v in (old.get(name), new.get(name))
        )
        if before != now:
            raise UserError(
                f"{directory} holds a run with {name} {before!r}, not {now!r}; "
                f"resume it with the settings in its {FACTS}, or leave out --resume to start anew."
            )
    write_json(directory / FACTS, {**facts, "versions": checkpoints.versions()})
    return checkpoints.load(directory / STATE) if (directory / STATE).exists() else None
