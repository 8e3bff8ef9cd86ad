"""Teachers who judge by the true return, and err as people do (B-Pref)."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from prefloop.bradley_terry import probability_second
from prefloop.data.preferences import Queries
from prefloop.data.segments import Segments
from prefloop.seeding import Stream, generator
from prefloop.settings import require_between


@dataclass(frozen=True)
class SimulatedTeacher:
    """Prefers the segment with the higher true return, with human weaknesses.

    The same query gets the same answer, whatever else was asked: a resumed run meets the teacher
    it left. A teacher's thresholds are numbers that stand for its whole life; the
    reference code of B-Pref scales them by the policy's return again at every session, and twice.

    Attributes:
        rationality: beta; the second is preferred with probability sigmoid(beta * difference of
            returns); infinity never errs.
        myopia: gamma; a step counts gamma to the power of the steps that follow it; 1 counts all
            alike.
        mistakes: epsilon; the share of answers that is turned round.
        skip_below: a query is skipped if both true returns lie below this; -infinity never skips.
        equal_within: a tie if the true returns differ by less than this; equal ones always tie,
            unless the teacher is not rational enough to notice.
        seed: of the errors.

    Raises:
        ValueError: a value that no teacher can have.

    Source: Lee et al. 2021, arXiv:2111.03026, section 3.
    """

    rationality: float = float("inf")
    myopia: float = 1.0
    mistakes: float = 0.0
    skip_below: float = float("-inf")
    equal_within: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("rationality", "myopia"):
            if not getattr(self, name) > 0:
                raise ValueError(f"--{name} must be above 0, not {getattr(self, name)}")
        require_between(self, 0, 1, "myopia", "mistakes")
        if np.isnan(self.skip_below):
            raise ValueError(f"--skip_below must be a number, not {self.skip_below}")
        if not self.equal_within >= 0:
            raise ValueError(f"--equal_within must be at least 0, not {self.equal_within}")

    def facts(self) -> dict[str, float | str]:
        """Its knobs as JSON can hold them, which knows no infinity."""
        return {k: v if np.isfinite(v) else str(v) for k, v in asdict(self).items()}

    def label(self, queries: Queries) -> NDArray:
        """Answers queries as `prefloop.teachers.teacher.Teacher` asks."""
        segments = queries.segments
        returns = segments.returns
        first, second = returns[queries.first], returns[queries.second]
        # what the teacher goes by, which myopia may tilt
        judged = self._judged_returns(segments)
        difference = judged[queries.second] - judged[queries.first]
        noise = self._noise(queries)
        if np.isinf(self.rationality):
            labels = np.where(difference == 0, 0.5, difference > 0).astype(np.float64)
        else:
            probability = probability_second(self.rationality * difference)
            labels = (noise[:, 0] < probability).astype(np.float64)
        labels = np.where(noise[:, 1] < self.mistakes, 1 - labels, labels)
        labels[np.abs(second - first) < self.equal_within] = 0.5
        labels[np.maximum(first, second) < self.skip_below] = np.nan
        return labels

    def _noise(self, queries: Queries) -> NDArray:
        """Random numbers for each query, which follow from what it shows; in [0, 1), [queries, 2]."""
        shown = np.unique(np.concatenate([queries.first, queries.second]))
        prints = dict(
            zip(shown.tolist(), queries.segments[shown].fingerprints.tolist(), strict=True)
        )
        draws = [
            generator(self.seed, Stream.TEACHER, prints[first], prints[second]).random(2)
            for first, second in zip(queries.first.tolist(), queries.second.tolist(), strict=True)
        ]
        return np.array(draws).reshape(-1, 2)

    def _judged_returns(self, segments: Segments) -> NDArray:
        steps_to_go = segments.lengths[:, None] - 1 - np.arange(segments.mask.shape[1])
        weights = np.where(segments.mask, self.myopia ** np.maximum(steps_to_go, 0), 0.0)
        return (segments.rewards * weights).sum(axis=1, where=segments.mask)


Knobs = Mapping[str, float]
# what each of B-Pref's teachers does unlike one who never errs. Where a threshold depends on what returns there
# are, a function gives it, from the lowest and the highest
PRESETS: Mapping[str, Knobs | Callable[[float, float], Knobs]] = {
    "oracle": {},
    "stoc": {"rationality": 1.0},
    "mistake": {"mistakes": 0.1},
    "skip": lambda low, high: {"skip_below": low + 0.1 * (high - low)},
    "equal": lambda low, high: {"equal_within": 0.1 * (high - low)},
    "myopic": {"myopia": 0.9},
}
RELATIVE = tuple(name for name, knobs in PRESETS.items() if callable(knobs))


def preset(name: str, returns: NDArray | None = None, seed: int = 0) -> SimulatedTeacher:
    """One of B-Pref's teachers.

    Args:
        name: `oracle` never errs; `stoc` has rationality 1; `mistake` turns 10 % of its answers
            round; `skip` passes over queries with two bad segments; `equal` sees no difference
            between similar ones; `myopic` counts a step 0.9 of the one after it.
        returns: true returns of a first pool of segments, by which `skip` and `equal` are set: to
            a tenth of the range, from its lower end. (B-Pref takes a tenth of the mean return,
            which has no meaning where returns are negative.) The others do without.
        seed: of the errors.

    Raises:
        ValueError: no such teacher, or no returns for one that needs them.

    Source: Lee et al. 2021, arXiv:2111.03026, table 1.
    """
    if name not in PRESETS:
        raise ValueError(f"teacher must be one of {', '.join(PRESETS)}, not {name!r}")
    knobs = PRESETS[name]
    if callable(knobs):
        if returns is None or not len(returns):
            raise ValueError(f"teacher {name!r} needs returns to set its threshold by")
        knobs = knobs(float(np.min(returns)), float(np.max(returns)))
    return SimulatedTeacher(**knobs, seed=seed)
