"""What can be set of simulated teachers."""

from dataclasses import dataclass

from prefloop.settings import require_above_zero, require_between, require_finite, setting
from prefloop.teachers.simulated import PRESETS


@dataclass(frozen=True, kw_only=True)
class TeacherSettings:
    """Which of B-Pref's teachers, and what is different about it. Source: Lee et al. 2021 (L), arXiv:2111.03026.

    Raises:
        ValueError: a value that no teacher can have.
    """

    group = "the teacher"

    # fmt: off
    teacher: str = setting("oracle", "who answers, one of B-Pref's simulated teachers, who judge by the true return (L)", choices=PRESETS)
    rationality: float | None = setting(None, "beta: the larger, the fewer errors between close returns; in place of the teacher's own (L)")
    myopia: float | None = setting(None, "gamma: a step counts this much of the one after it; in place of the teacher's own (L)")
    mistakes: float | None = setting(None, "epsilon: share of the answers that is turned round; in place of the teacher's own (L)")
    skip_below: float | None = setting(None, "skip where both returns are below this, in place of the teacher's own")
    equal_within: float | None = setting(None, "a tie where returns differ by less, in place of the teacher's own")
    # fmt: on

    def __post_init__(self) -> None:
        require_above_zero(self, "rationality", "myopia")
        require_finite(self, "skip_below")
        for name in ("myopia", "mistakes"):
            if getattr(self, name) is not None:
                require_between(self, 0, 1, name)
        if self.equal_within is not None:
            require_between(self, 0, float("inf"), "equal_within")

    @property
    def overrides(self) -> dict[str, float]:
        """The knobs that were set by hand."""
        knobs = ("rationality", "myopia", "mistakes", "skip_below", "equal_within")
        return {knob: getattr(self, knob) for knob in knobs if getattr(self, knob) is not None}
