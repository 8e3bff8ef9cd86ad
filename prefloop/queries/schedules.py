"""When to spend a budget of labels."""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

# what each session's share of the labels is proportional to, by its number, from 0, and by t, the share of the
# sessions that came before it; [sessions] all
SCHEDULES: Mapping[str, Callable[[NDArray, NDArray], NDArray]] = {
    "constant": lambda session, t: np.ones_like(t),
    "linear": lambda session, t: 1 - t,
    "exponential": lambda session, t: np.exp(-3 * t),
    "hyperbolic": lambda session, t: 1 / (1 + 4 * t),
    "harmonic": lambda session, t: 1 / (session + 1),
}


def label_schedule(schedule: str, num_labels: int, num_sessions: int) -> NDArray:
    """Divides a budget of labels over the sessions of a run.

    With t = i / n in session i of n, from 0 on, so that it is 0 in the first and short of 1 in the last, a session's share is
    proportional to:

    - `constant`: 1
    - `linear`: 1 - t, a straight line down to a share of 1 / n of the first session's
    - `exponential`: exp(-3 t), in the last of many little more than a twentieth of the first
    - `hyperbolic`: 1 / (1 + 4 t), in the last of many little more than a fifth of the first; early labels shape the
      reward that the policy is to explore with, later ones follow where it has got to
    - `harmonic`: 1 / k in the k-th session, however many are to come: a longer run has its first
      labels as early as a short one

    Returns:
        Labels for each session, adding up to `num_labels`; int64; [num_sessions].

    Raises:
        ValueError: no such schedule, or a number below 1.

    Source: Christiano et al. 2017, arXiv:1706.03741, appendix A (a rate that falls as 1 / (t + c));
    Lee et al. 2021, arXiv:2111.03026, appendix (constant, decreasing).
    """
    if schedule not in SCHEDULES:
        raise ValueError(f"schedule must be one of {', '.join(SCHEDULES)}, not {schedule!r}")
    if num_labels < 1 or num_sessions < 1:
        raise ValueError(f"{num_labels} labels can't be divided over {num_sessions} sessions")
    session = np.arange(num_sessions)
    share = SCHEDULES[schedule](session, session / num_sessions)
    # rounding the sum so far, rather than each share, loses no label
    so_far = np.rint(num_labels * np.cumsum(share) / share.sum()).astype(np.int64)
    return np.diff(so_far, prepend=0)
