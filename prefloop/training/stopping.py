"""When a run has learned enough to end before its steps are spent."""

import math
from collections.abc import Mapping, Sequence

from prefloop.training.settings import StoppingSettings
from prefloop.words import counted


def reason_to_stop(rows: Sequence[Mapping[str, float]], settings: StoppingSettings) -> str | None:
    """Why a run is to end after its last row, in words; None where it is to go on.

    It depends on the rows alone, so that a run that was killed ends where the unbroken one does. A row
    whose `reward` or `true_return` is NaN does not count: before there is a reward, nothing is
    learned that could be good enough, and no questions would be left to learn from.

    Args:
        rows: of metrics.csv.
    """
    if not rows or not _counts(rows[-1]):
        return None
    returns = [row["true_return"] for row in rows if _counts(row)]
    if settings.stop_at is not None and returns[-1] >= settings.stop_at:
        return f"true_return {returns[-1]:.6g} has reached --stop_at {settings.stop_at:g}"
    best = max(returns)
    age = len(returns) - 1 - returns.index(best)
    if settings.patience is not None and age >= settings.patience:
        return f"the best true_return, {best:.6g}, is {counted(age, 'row')} old (--patience {settings.patience})"
    return None


def _counts(row: Mapping[str, float]) -> bool:
    return not (math.isnan(row["true_return"]) or math.isnan(row["reward"]))
