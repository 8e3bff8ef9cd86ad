"""What an environment is called: `CartPole-v1`, or `my.module:Mine-v0` where a module registers it.

Gymnasium imports the module and then forgets it; files keep it, so that others can make the
environment, too. Whether two ids mean the same is asked here.
"""

import re


def without_module(env_id: object) -> str:
    """Env-v0 of module:Env-v0: the module is there to be imported, and no part of the name."""
    return str(env_id).rpartition(":")[2]


def is_version_of(env_id: object, other: object) -> bool:
    """Whether two ids name one environment in any versions, which have the same observations.

    CartPole-v0 differs from CartPole-v1 in its time limit alone.
    """
    names = [re.sub(r"-v\d+$", "", without_module(x)) for x in (env_id, other)]
    return names[0] == names[1]
