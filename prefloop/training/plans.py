"""How long a run is and when its labels are asked for: what is known before anything is run."""

import math
from dataclasses import dataclass

from numpy.typing import NDArray

from prefloop.errors import UserError
from prefloop.queries.schedules import label_schedule
from prefloop.training.settings import ExperienceSettings, QuerySettings


@dataclass(frozen=True)
class Plan:
    """How the steps of a run are divided; they come in whole rollouts.

    Attributes:
        num_envs: environments that step together.
        rollout_steps: steps of each environment between two updates.
        every: rollouts of an iteration.
        total: rollouts of the run.
    """

    num_envs: int
    rollout_steps: int
    every: int
    total: int

    @classmethod
    def of(cls, settings: ExperienceSettings) -> "Plan":
        """The plan of a run."""
        size = settings.num_envs * settings.rollout_steps
        every, total = (
            max(1, round(steps / size)) for steps in (settings.iteration_steps, settings.steps)
        )
        return cls(settings.num_envs, settings.rollout_steps, every, total)

    @property
    def iterations(self) -> int:
        """How many iterations make up the run."""
        return math.ceil(self.total / self.every)

    @property
    def iteration_steps(self) -> int:
        """Steps of each environment in an iteration."""
        return self.every * self.rollout_steps

    def updates(self, iteration: int) -> range:
        """Numbers of the rollouts of an iteration; the last one is cut short where `total` is met."""
        return range(iteration * self.every, min((iteration + 1) * self.every, self.total))

    def steps(self, rollouts: int) -> int:
        """How many steps so many rollouts are."""
        return rollouts * self.rollout_steps * self.num_envs


def plan_labels(
    questions: QuerySettings, plan: Plan, time_limit: int | None = None, before: int = 1
) -> NDArray:
    """How many labels each session is to bring.

    Args:
        time_limit: the most steps that an episode can have; None where there is no limit.
        before: iterations that only act, before the first session.

    Returns:
        int64; [sessions], as many as there are iterations after these.

    Raises:
        UserError: there are too few iterations to ask in, more labels than there is to ask about,
            or segments that no episode is as long as.
    """
    sessions = plan.iterations - before
    if sessions < 1:
        every = plan.steps(plan.every)
        before_it = "one" if before == 1 else str(before)
        explore = "" if before == 1 else "explore in (--exploration_steps) and "
        raise UserError(
            f"The {plan.steps(plan.total)} steps of the run are too few: more than {before * every} "
            f"(--steps) are needed, for {before_it} of the iterations of {every} steps "
            f"(--iteration_steps) to {explore}ask about and one to learn in."
        )
    longest = min(plan.iteration_steps, time_limit or plan.iteration_steps)
    if questions.segment_length > longest:
        raise UserError(
            f"--segment_length {questions.segment_length} is longer than any episode here: they have "
            f"at most {longest} steps."
        )
    most = before * plan.iteration_steps * plan.num_envs
    if questions.labels > most * sessions:
        raise UserError(
            f"--labels {questions.labels} are more than the {most * sessions} steps there are to ask "
            "about."
        )
    labels = label_schedule(questions.schedule, questions.labels, sessions)
    if labels.max() > most:
        raise UserError(
            f"--labels {questions.labels} are too many: {labels.max()} would be asked about the "
            f"{most} steps of one iteration."
        )
    return labels
