"""What can be set of simulated teachers."""

from dataclasses import dataclass

from prefloop.settings import require_above_zero, require_between, setting
from prefloop.teachers.simulated import PRESETS


@dataclass(frozen=True, kw_only=True)
class TeacherSettings:
    """Which of B-Pref's teachers, and what is different about it.

    Raises:
        ValueError: a value that no teacher can have.
    """

    # fmt: off
    teacher: str = setting("oracle", "who answers; simulated teachers judge by the true return (B-Pref)", choices=PRESETS)
    rationality: float | None = setting(None, "beta, in place of the teacher's own")
    myopia: float | None = setting(None, "gamma, in place of the teacher's own")
    mistakes: float | None = setting(None, "share of the answers that is turned round, in place of the teacher's own")
    skip_below: float | None = setting(None, "skip where both returns are below this, in place of the teacher's own")
    equal_within: float | None = setting(None, "a tie where returns differ by less, in place of the teacher's own")
    # fmt: on

    def __post_init__(self) -> None:
        require_above_zero(self, "rationality", "myopia")
        for name in ("myopia", "mistakes"):
            if getattr(self, name) is not None:
                require_between(self, 0, 1, name)
        if self.equal_within is not None:
            require_between(self, 0, float("inf"), "equal_within")

    def teacher_overrides(self) -> dict[str, float]:
        """The knobs that were set by hand."""
        knobs = ("rationality", "myopia", "mistakes", "skip_below", "equal_within")
        return {knob: getattr(self, knob) for knob in knobs if getattr(self, knob) is not None}
