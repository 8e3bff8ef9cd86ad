"""What an environment says of itself that applies `EnvSettings` on its own, without wrappers around it."""

import numpy as np
from numpy.typing import NDArray


class Emulated:
    """One environment, or many that step together, whose emulator repeats actions, stacks frames and begins anew.

    Many seed every episode of each copy by themselves.

    Attributes:
        action_repeat, frame_stack: as in `EnvSettings`.
        sticky: as in `EnvSettings`, 0 where no action is kept.
        episode_seeds: of many, what the episodes under way began with, int64; [num_envs].
    """

    action_repeat: int
    frame_stack: int
    sticky: float
    episode_seeds: NDArray[np.int64]
