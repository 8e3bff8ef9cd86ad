"""`prefloop pref-ppo`: act, ask, learn the reward and improve on it, round after round."""

from collections.abc import Callable
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


def train(
    settings: Settings,
    on_ready: Callable[[str], None] = lambda page: None,
    instructions: Callable[[str], str] | None = None,
    quiet: bool = False,
) -> None:
    """The same, for who begins it in another way.

    Args:
        on_ready: is told where people label, once there is a run for it.
        instructions: as `answering.answering` takes it.
        quiet: say how far it is, and that people are waited for, on their page only.
    """
    from pathlib import Path

    import torch

    from prefloop.devices import usable_device
    from prefloop.envs.registered import time_limit
    from prefloop.training import methods, outputs
    from prefloop.training.plans import Plan, plan_labels
    from prefloop.training.watching import require_watchable

    torch.set_num_threads(1)  # on networks this small, a second thread costs more than it does
    device = usable_device(settings.run.device)
    init = Path(settings.init) if settings.init else None
    questions, experience = settings.pref_ppo.questions, settings.pref_ppo.experience
    seed = settings.run.seed

    def check(env: EnvSettings) -> None:
        plan_labels(questions, Plan.of(experience), time_limit(env))
        require_watchable(settings.watching, env)
        methods.require_pref_ppo(env, settings.pref_ppo, seed, init)

    with answering.answering(
        settings,
        "prefloop pref-ppo",
        experience.num_envs,
        check=check,
        on_ready=on_ready,
        instructions=instructions,
        quiet=quiet,
        simulated=lambda settings, env, stepping: methods.simulated_answers(
            env,
            stepping,
            settings.teacher,
            questions.segment_length,
            lambda: (
                methods.make_ppo(
                    stepping, settings.pref_ppo.agent, seed, torch.device("cpu"), init
                ).acting_policy
            ),
            seed,
            Path(settings.run.out),
            "prefloop pref-ppo",
            settings.run.resume,
        ),
    ) as asked:
        settings, answers = asked.settings, asked.answers
        env = settings.environment
        method, learner = methods.pref_ppo(
            env, asked.stepping, answers, settings.pref_ppo, seed, device, init, settings.wait,
            asked.on_fit,
        )  # fmt: skip
        facts = outputs.facts("pref-ppo", env, method.begins_as, init=settings.init)
        facts |= learner.taught.facts()
        answering.train(asked, method, learner, facts, quiet)
        answering.say_how_many_came(answers, questions)
