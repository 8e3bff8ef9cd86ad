"""Names of environments that are not quite right, and what was meant."""

import contextlib
import difflib
import re

import gymnasium as gym
from gymnasium.envs.registration import find_highest_version, parse_env_id

from prefloop.env_ids import without_module
from prefloop.envs.families import FAMILIES
from prefloop.errors import UserError


def require_known(env_id: str) -> None:
    """Refuses an id where it can be told which was meant: it lacks a version, or has a slip in it.

    Raises:
        UserError: names the one that was meant.
    """
    if without_module(env_id) in gym.registry:
        return
    meant = _newest(env_id) or _nearest(env_id)
    if meant is not None:
        raise UserError(f"There is no environment {env_id!r}; did you mean {meant!r}?")


def _newest(env_id: str) -> str | None:
    """An id that lacks a version, with the newest one; None of every other.

    Gymnasium would take the newest with a warning, and another one after its next release.
    """
    try:
        namespace, name, version = parse_env_id(without_module(env_id))
    except gym.error.Error:
        return None
    newest = find_highest_version(namespace, name) if version is None else None
    return None if newest is None else f"{env_id}-v{newest}"


def _nearest(env_id: str) -> str | None:
    """The environment whose name is most like this one, if one is like it: of its version, or else the newest."""
    for family in FAMILIES:
        with contextlib.suppress(UserError):  # it need not be installed
            family.register()
    bare = without_module(env_id)
    # before any other: without a namespace, ale-py has games of before 2021
    for family in FAMILIES:
        if f"{family.namespace}{bare}" in gym.registry:
            return f"{family.namespace}{bare}"
    names: dict[str, str] = {}
    exact: set[str] = set()
    specs = [(known, spec) for known, spec in gym.registry.items() if spec.version is not None]
    # the newest first, and before all others what has no namespace
    for known, spec in sorted(specs, key=lambda x: (x[1].namespace or "", -(x[1].version or 0))):
        whole = f"{spec.namespace}/{spec.name}" if spec.namespace else spec.name
        for name in (whole, spec.name):  # tasks and games by their bare names, too
            names.setdefault(name.lower(), known)
        exact.add(whole)
    wanted = re.sub(r"-v\d+$", "", bare)
    if wanted in exact:
        return None  # the name is right: Gymnasium says which versions there are
    close = difflib.get_close_matches(wanted.lower(), names, n=1, cutoff=0.8)
    if not close:
        return None
    module, colon, _ = env_id.rpartition(":")
    newest = names[close[0]]
    as_said = re.sub(r"-v\d+$", "", newest) + bare.removeprefix(wanted)
    return f"{module}{colon}{as_said if as_said in gym.registry else newest}"
