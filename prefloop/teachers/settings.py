"""Settings of simulated teachers."""

from dataclasses import dataclass, fields

from prefloop.settings import setting
from prefloop.teachers.simulated import PRESETS, SimulatedTeacher

# what --help says of them, where people may be asked in their place, too
SIMULATED = "one of B-Pref's simulated teachers, who judge by the true return (L)"


@dataclass(frozen=True, kw_only=True)
class TeacherSettings:
    """Which of B-Pref's teachers, and what is different about it. Source: Lee et al. 2021 (L), arXiv:2111.03026.

    Raises:
        ValueError: a value that no teacher can have.
    """

    group = "the teacher"

    # fmt: off
    teacher: str = setting("oracle", f"who answers, {SIMULATED}", choices=tuple(PRESETS))
    rationality: float | None = setting(None, "beta: the larger, the fewer errors between close returns; in place of the teacher's own (L)")
    myopia: float | None = setting(None, "gamma: a step counts this much of the one after it; in place of the teacher's own (L)")
    mistakes: float | None = setting(None, "epsilon: share of the answers that is turned round; in place of the teacher's own (L)")
    skip_below: float | None = setting(None, "skip where both returns are below this, in place of the teacher's own")
    equal_within: float | None = setting(None, "a tie where returns differ by less, in place of the teacher's own")
    # fmt: on

    def __post_init__(self) -> None:
        SimulatedTeacher(**self.overrides)  # type: ignore[arg-type]

    @property
    def overrides(self) -> dict[str, float]:
        """The knobs of `SimulatedTeacher` that were set by hand."""
        knobs = [field.name for field in fields(self) if field.name != "teacher"]
        return {knob: getattr(self, knob) for knob in knobs if getattr(self, knob) is not None}
