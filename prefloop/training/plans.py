"""How long a run is and when its labels are asked for: what is known before anything is run."""

import math

from numpy.typing import NDArray

from prefloop.agents.settings import PPOSettings
from prefloop.errors import UserError
from prefloop.queries.schedules import label_schedule
from prefloop.training.settings import ExperienceSettings, PrefPPOSettings


def num_iterations(settings: ExperienceSettings, ppo: PPOSettings) -> int:
    """How many iterations make up the steps of a run."""
    return math.ceil(
        num_rollouts(settings.steps, ppo) / num_rollouts(settings.iteration_steps, ppo)
    )


def num_rollouts(steps: int, ppo: PPOSettings) -> int:
    """Steps come in whole rollouts; how many make up these."""
    return max(1, round(steps / (ppo.rollout_steps * ppo.num_envs)))


def plan_labels(
    settings: PrefPPOSettings, ppo: PPOSettings, time_limit: int | None = None
) -> NDArray:
    """How many labels each session is to bring.

    Args:
        time_limit: the most steps that an episode can have; None where there is no limit.

    Returns:
        int64; [sessions], one fewer than there are iterations.

    Raises:
        UserError: there are too few iterations to ask in, more labels than there is to ask about,
            or segments that no episode is as long as.
    """
    sessions = num_iterations(settings, ppo) - 1
    if sessions < 1:
        raise UserError(
            f"--steps {settings.steps} make a single iteration of {settings.iteration_steps}; "
            "two are needed, one to ask about and one to learn in."
        )
    steps = num_rollouts(settings.iteration_steps, ppo) * ppo.rollout_steps  # of each environment
    longest = min(steps, time_limit or steps)
    if settings.segment_length > longest:
        raise UserError(
            f"--segment_length {settings.segment_length} is longer than any episode of "
            f"{settings.env} here: they have at most {longest} steps."
        )
    most = steps * ppo.num_envs
    if settings.labels > most * sessions:
        raise UserError(
            f"--labels {settings.labels} are more than the {most * sessions} steps there are to ask "
            "about."
        )
    labels = label_schedule(settings.schedule, settings.labels, sessions)
    if labels.max() > most:
        raise UserError(
            f"--labels {settings.labels} are too many: {labels.max()} would be asked about the "
            f"{most} steps of one iteration."
        )
    return labels
