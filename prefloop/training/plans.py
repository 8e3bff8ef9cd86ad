"""Plans of a run, made before anything is run: how long it is, and when its labels are asked for."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prefloop.errors import UserError
from prefloop.queries.schedules import label_schedule
from prefloop.training.settings import ExperienceSettings, QuerySettings


@dataclass(frozen=True)
class Plan:
    """Division of a run's steps into iterations, and of these into whole rollouts.

    Attributes:
        num_envs: environments that step together.
        rollout_steps: steps of each environment between two updates.
        rollouts_per_iteration: of all but the last iteration, which may be shorter.
        total_rollouts: of the run.
        asked_steps: those of the run that were asked for, which need not be whole rollouts; None: as many as these.
    """

    num_envs: int
    rollout_steps: int
    rollouts_per_iteration: int
    total_rollouts: int
    asked_steps: int | None = None

    @classmethod
    def of(cls, settings: ExperienceSettings) -> "Plan":
        """The plan of a run."""
        size = settings.num_envs * settings.rollout_steps
        per_iteration, total = (
            max(1, round(steps / size)) for steps in (settings.iteration_steps, settings.steps)
        )
        return cls(settings.num_envs, settings.rollout_steps, per_iteration, total, settings.steps)

    @property
    def iterations(self) -> int:
        """Number of iterations in the run; the last may be shorter."""
        return math.ceil(self.total_rollouts / self.rollouts_per_iteration)

    @property
    def iteration_steps_per_env(self) -> int:
        """Steps of each environment in an iteration."""
        return self.rollouts_per_iteration * self.rollout_steps

    @property
    def iteration_steps(self) -> int:
        """Steps of all environments in an iteration."""
        return self.steps(self.rollouts_per_iteration)

    @property
    def total_steps(self) -> int:
        """Steps of all environments in the run."""
        return self.steps(self.total_rollouts)

    def rollouts_of(self, iteration: int) -> range:
        """Numbers of the rollouts of an iteration, counted from the run's first; the last iteration may be shorter."""
        begin = iteration * self.rollouts_per_iteration
        return range(begin, min(begin + self.rollouts_per_iteration, self.total_rollouts))

    def steps(self, rollouts: int) -> int:
        """Steps of all environments in so many rollouts."""
        return rollouts * self.rollout_steps * self.num_envs


def plan_labels(
    questions: QuerySettings, plan: Plan, time_limit: int | None = None, before: int = 1
) -> NDArray:
    """Plans the number of labels that each session is to bring.

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
        enough = plan.steps(before * plan.rollouts_per_iteration + 1)
        before_it = "one" if before == 1 else str(before)
        explore = "" if before == 1 else "explore in (--exploration_steps) and "
        raise UserError(
            f"The {plan.asked_steps or plan.total_steps} steps of the run are too few; --steps {enough} is enough, for "
            f"{before_it} of the iterations of {plan.iteration_steps} steps (--iteration_steps) to {explore}ask about "
            "and one to learn in."
        )
    longest = min(plan.iteration_steps_per_env, time_limit or plan.iteration_steps_per_env)
    if questions.segment_length > longest:
        raise UserError(
            f"--segment_length {questions.segment_length} is longer than any episode here: they have "
            f"at most {longest} steps."
        )
    most = before * plan.iteration_steps
    if questions.queue is not None:  # at most: how many come depends on whoever answers
        so_far = np.minimum(np.arange(sessions + 1) * questions.queue, questions.labels)
        return np.diff(so_far)
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
