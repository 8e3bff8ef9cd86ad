"""`prefloop pref-ppo`: act, ask, learn the reward and improve on it, round after round."""

from dataclasses import dataclass

from prefloop.commands import answering
from prefloop.envs.settings import EnvSettings
from prefloop.labelling.client.settings import ServerSettings, profile_setting, server_setting
from prefloop.settings import part, setting
from prefloop.teachers.settings import TeacherSettings
from prefloop.training.settings import (
    PrefPPOSettings,
    RunSettings,
    StoppingSettings,
    WatchingSettings,
)
from prefloop.tuned import TunedSettings

DESCRIPTION = """Learns from preferences while it acts (Christiano et al. 2017): asks a teacher about
what it has just done, fits a reward to all answers so far, improves on it by PPO, and so on until
the labels and the steps are spent."""
EPILOG = """Example: prefloop pref-ppo --env Pendulum-v1 --teacher oracle --labels 700 --queries
disagreement --schedule hyperbolic --out pendulum. Writes final_policy.params, the reward model
(reward.params), every answer (preferences/), run.json, metrics.csv, learning_curve.png and
schedule.png. With people: prefloop pref-ppo --run cartpole-01 --teacher human --labels 100; the same
command goes on where it was stopped. Details: docs/pref_ppo.md, docs/labelling.md."""
IMPORTS = ("torch", "gymnasium", "matplotlib.figure")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """A run's.

    Raises:
        ValueError: a value that no run can have, or people without a run that they label.
    """

    labelling_run: str = answering.labelling_run_setting()
    wait: bool = answering.wait_setting()
    instructions: str = answering.instructions_setting()
    clips_per_session: int | None = answering.clips_setting()
    init: str = setting("", "policy checkpoint to start from")
    environment: EnvSettings = answering.env_part("Pendulum-v1")
    run: RunSettings = answering.run_part()
    teacher: TeacherSettings = answering.teacher_part()
    pref_ppo: PrefPPOSettings = part(PrefPPOSettings)
    stopping: StoppingSettings = part(StoppingSettings)
    watching: WatchingSettings = part(WatchingSettings)
    server: ServerSettings = part(
        ServerSettings, server=server_setting(needs="run"), profile=profile_setting(needs="run")
    )
    defaults: TunedSettings = part(TunedSettings)

    def __post_init__(self) -> None:
        answering.require_somebody(self)

    @property
    def when_interrupted(self) -> str:
        """What to say after Ctrl-C."""
        return answering.when_interrupted(self)


def main(settings: Settings) -> None:
    """Trains and writes the policy, the reward and the answers."""
    train(settings)


def train(settings: Settings, presentation: answering.Presentation = answering.BY_FLAGS) -> None:
    """Trains, also where another command begins it, and writes the policy, the reward and the answers."""
    from pathlib import Path

    from prefloop.data.stepping import Stepping
    from prefloop.devices import usable_device, use_one_thread
    from prefloop.envs.registered import (
        COUNTED,
        FILMED,
        note_no_time_limit,
        require_time_limit,
        time_limit,
    )
    from prefloop.policies import Policy
    from prefloop.training import methods
    from prefloop.training.plans import Plan, plan_labels
    from prefloop.training.watching import require_watchable

    use_one_thread()
    pref_ppo, seed = settings.pref_ppo, settings.run.seed
    device = usable_device(settings.run.device)
    init = Path(settings.init) if settings.init else None

    def check(env: EnvSettings) -> None:
        # an environment's own faults come first
        methods.require_pref_ppo(env, pref_ppo, seed, init)
        plan_labels(pref_ppo.questions, Plan.of(pref_ppo.experience), time_limit(env))
        if settings.watching.video_every:
            require_time_limit(env, FILMED)
        note_no_time_limit(env, COUNTED)
        require_watchable(settings.watching, env)

    def begins_as(stepping: Stepping) -> Policy:
        return methods.make_ppo(stepping, pref_ppo.agent, seed, methods.CPU, init).acting_policy

    with answering.answering(
        "pref-ppo", settings, pref_ppo, check=check, begins_as=begins_as, presentation=presentation
    ) as asked:
        method, learner = methods.pref_ppo(
            asked.settings.environment, asked.stepping, asked.answers, pref_ppo, seed, device, init,
            settings.wait, asked.on_fit,
        )  # fmt: skip
        answering.train(asked, method, learner)
        answering.say_how_many_came(asked.answers, pref_ppo.questions)
