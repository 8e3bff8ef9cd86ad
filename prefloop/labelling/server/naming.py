"""What the lines of a plotted segment are called.

Only Gymnasium's environments and DM Control's are made for it: of others nothing is known, and what a
stranger's environment does must not hold up the server, which draws it in a process of its own.
"""

import contextlib
import functools

import numpy as np

from prefloop.envs.input_names import input_names
from prefloop.envs.make import make_env
from prefloop.envs.registered import find_spec
from prefloop.envs.settings import EnvSettings
from prefloop.errors import UserError
from prefloop.labelling.arrays import Segment

KNOWN = ("gymnasium.", "prefloop.")


def names_of(env: EnvSettings, segment: Segment) -> tuple[list[str], list[str]]:
    """Names of each number of an observation, flattened, and of an action; of discrete ones one name."""
    sizes = [
        int(np.prod(segment.obs.shape[1:])),
        1 if segment.discrete else segment.actions.shape[1],
    ]
    obs, actions = _known(env)
    if len(obs) != sizes[0]:
        obs = tuple(f"observation {i}" for i in range(sizes[0]))
    if segment.discrete:
        actions = ("action",)
    elif len(actions) != sizes[1]:
        actions = tuple(f"action {i}" for i in range(sizes[1]))
    return list(obs), list(actions)


@functools.lru_cache(maxsize=64)
def _known(env: EnvSettings) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Empty where nothing is known."""
    try:
        if ":" in env.env or env.wrappers or not str(find_spec(env).entry_point).startswith(KNOWN):
            return (), ()
        with contextlib.closing(make_env(env)) as made:
            obs, actions = input_names(made)
    except UserError:
        return (), ()  # it is not installed here, say
    return tuple(obs), tuple(actions)
