"""Settings that a run that is to go on began with, so that they need not be given again.

Free of PyTorch: command lines are read by it.
"""

import reprlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prefloop.errors import CanNotGoOnError, UserError
from prefloop.files import is_file, read_json
from prefloop.run_files import FACTS
from prefloop.settings import leaves, read_as

DESCRIPTIONS = (FACTS, "metadata.json")  # of a run, of a preference dataset
# where it writes, how it is watched and when it may end early is for each command to say
SAID_ANEW = (
    "out", "checkpoint_dir", "resume", "track", "render", "checkpoint_every", "video_every",
    "stop_at", "patience",
)  # fmt: skip


def begun(given: Mapping[str, Any]) -> dict[str, Any]:
    """Description of the run or dataset that goes on, from its file; empty where there is none.

    Args:
        given: settings by flag: `resume` with `out` or `checkpoint_dir`; or `run`, which people label, and
            whose folder has its name if `out` says nothing else.

    Raises:
        UserError: the file is damaged.
    """
    folder = _folder(given)
    if not folder or not (given.get("resume") or given.get("run")):
        return {}
    for name in DESCRIPTIONS:
        if is_file(Path(folder) / name):
            description = read_json(Path(folder) / name)
            return description if isinstance(description.get("settings"), dict) else {}
    return {}


def require_program(folder: object, description: Mapping[str, Any], program: str) -> None:
    """Refuses to go on with what another program began, whose settings mean something else.

    Args:
        description: of what is in the folder.
        program: that wants to go on with it, as run.json names it.

    Raises:
        CanNotGoOnError: it is another one's.
    """
    began = description.get("program")
    if isinstance(began, str) and began != program:
        raise CanNotGoOnError(
            f"{folder} holds a run of {began}, not of {program}; choose another directory."
        )


def _folder(given: Mapping[str, Any]) -> str:
    return str(given.get("out") or given.get("checkpoint_dir") or given.get("run") or "")


def settings_begun_with(
    settings_class: type, given: Mapping[str, Any], program: str = ""
) -> dict[str, Any]:
    """Settings that `--resume` goes on with where no others are given; empty without it.

    Args:
        settings_class: what the flags are of.
        given: as `begun`.
        program: that goes on, as run.json names it; if not given, it is not looked whose run it is.

    Returns:
        Values by flag.

    Raises:
        UserError: as `begun`; it is another program's run; a value there is none that the flag takes; or there is no run, and a required flag
            is not given.
    """
    if not given.get("resume"):
        return {}
    settable, folder = list(leaves(settings_class)), _folder(given)
    description = begun(given)
    if program and is_file(Path(folder) / FACTS):
        require_program(folder, description, program)
    before = description.get("settings", {})
    lacks = any(leaf.required and given[leaf.flag] is None for leaf in settable)
    if folder and lacks and not before:
        raise UserError(f"There is no run to resume in {folder}: it holds no {DESCRIPTIONS[0]}.")
    values = {}
    for leaf in settable:
        if leaf.flag not in before or leaf.flag in SAID_ANEW:
            continue
        value = before[leaf.flag]
        try:  # None and no values at all are what no flag can say
            values[leaf.flag] = read_as(leaf, value) if value not in (None, [], "") else value
        except ValueError:
            raise UserError(
                f"What {folder} says it began with is damaged: {leaf.flag} can't be "
                f"{reprlib.repr(value)}."
            ) from None
    return values
