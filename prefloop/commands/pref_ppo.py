"""`prefloop pref-ppo`: act, ask, learn the reward and improve on it, round after round."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prefloop.envs.settings import EnvSettings
from prefloop.labelling.client.settings import ServerSettings
from prefloop.settings import part, setting
from prefloop.teachers.settings import TeacherSettings
from prefloop.teachers.simulated import PRESETS
from prefloop.training.settings import PrefPPOSettings, RunSettings

if TYPE_CHECKING:
    from prefloop.labelling.schemas.runs import RunOut

DESCRIPTION = """Learns from preferences while it acts (Christiano et al. 2017): asks a teacher about
what it has just done, fits a reward to all answers so far, improves on it by PPO, and so on until
the labels and the steps are spent."""
EPILOG = """Example: prefloop pref-ppo --env Pendulum-v1 --teacher oracle --labels 700 --queries
disagreement --schedule hyperbolic --out pendulum. Writes final_policy.params, the reward model
(reward.params), every answer (preferences/), run.json, metrics.csv, learning_curve.png and
schedule.png. With people: prefloop pref-ppo --run cartpole-01 --teacher human --labels 100; the same
command goes on where it was stopped. Details: docs/pref_ppo.md, docs/labelling.md."""
IMPORTS = ("torch", "gymnasium", "matplotlib.figure")


HUMAN = "human"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """A run's.

    Raises:
        ValueError: a value that no run can have, or people without a run that they label.
    """

    # fmt: off
    people: str = setting("", "the run on the labelling server that people label, with --teacher human; made if missing and --env is given", flag="run")
    wait: bool = setting(True, "wait for people's labels after each iteration; without, only for the first ones, and learning goes on while they label")
    init: str = setting("", "policy checkpoint to start from")
    environment: EnvSettings = part(EnvSettings, env=setting("", "which environment, for instance Pendulum-v1; with --run, that of the run"))
    run: RunSettings = part(RunSettings, out=setting("", "folder that everything is written to; made if missing; with --run, if not given, one of the run's name"))
    teacher: TeacherSettings = part(TeacherSettings, teacher=setting("oracle", "who answers: people (human), or one of B-Pref's simulated teachers, who judge by the true return (L)", choices=(HUMAN, *PRESETS)))
    pref_ppo: PrefPPOSettings = part(PrefPPOSettings)
    server: ServerSettings = part(ServerSettings)
    # fmt: on

    def __post_init__(self) -> None:
        are_asked = self.teacher.teacher == HUMAN
        if are_asked != bool(self.people):
            raise ValueError("--teacher human and --run NAME go together")
        if not self.people and not (self.environment.env and self.run.out):
            raise ValueError("--env and --out are needed, or --teacher human and --run")
        if are_asked and self.teacher.overrides:
            raise ValueError(f"people have no --{next(iter(self.teacher.overrides))}")

    @property
    def when_interrupted(self) -> str:
        """What to say after Ctrl-C."""
        if self.people:
            return "Stopped. The same command goes on; every label is on the server."
        return self.run.when_interrupted


def main(settings: Settings) -> None:
    """Trains and writes the policy, the reward and the answers."""
    from contextlib import ExitStack
    from pathlib import Path

    import torch

    from prefloop.data.recording import RecordedEnvs
    from prefloop.data.stepping import Stepping
    from prefloop.devices import usable_device
    from prefloop.envs.registered import time_limit
    from prefloop.training import methods, outputs
    from prefloop.training.answers import Answers
    from prefloop.training.plans import Plan, plan_labels
    from prefloop.training.pref_ppo import OnFit

    torch.set_num_threads(1)  # on networks this small, a second thread costs more than it does
    device = usable_device(settings.run.device)
    init = Path(settings.init) if settings.init else None
    questions, experience = settings.pref_ppo.questions, settings.pref_ppo.experience
    answers: Answers
    on_fit: OnFit | None = None
    with ExitStack() as stack:
        if settings.people:
            from prefloop.labelling.client.connecting import connected

            # people take their time, and their server may be started again meanwhile
            program = f"prefloop pref-ppo --run {settings.people}"
            client = stack.enter_context(connected(settings.server, program, None))
            settings = _of_the_run(settings, client.run)
        env, run, directory = settings.environment, settings.run, Path(settings.run.out)
        # before anything is made, here or on the server
        plan_labels(questions, Plan.of(experience), time_limit(env))
        if settings.people:
            from prefloop.labelling.client.people import People

            recorded = RecordedEnvs.make(env, experience.num_envs)
            stepping = Stepping(recorded.envs, recorded.record)
            client.put_run(settings.people, env=env, spaces=stepping.spaces)
            answers = People(client, settings.people, directory / methods.PREFERENCES)
            on_fit = answers.report
        else:
            stepping = methods.stepping_in(env, experience.num_envs)
        stack.enter_context(outputs.claimed(run))
        if not settings.people:
            answers = stack.enter_context(
                methods.simulated_answers(
                    env, stepping, settings.teacher, settings.pref_ppo, run.seed, directory,
                    run.resume, init,
                )
            )  # fmt: skip
        method, learner = methods.pref_ppo(
            env, stepping, answers, settings.pref_ppo, run.seed, device, init, settings.wait, on_fit
        )
        facts = outputs.facts("pref-ppo", env, method.begins_as, init=settings.init)
        facts |= {"reward_model": learner.model.facts()}
        outputs.train(method, settings, facts, env, is_claimed=True)
        learner.save(directory)
        said = answers.current()
        answered = len(said.answered) if said is not None else 0
        if answered < questions.labels:
            print(
                f"Note: {answered} of {questions.labels} labels came; of {answers.shown} queries "
                f"{answers.shown - answered} were skipped or are still to be labelled."
            )


def _of_the_run(settings: Settings, known: "Callable[[str], RunOut]") -> Settings:
    """Settings whose environment and folder are those of the run, where they are not given.

    Whoever trains with people goes on by giving the same command.
    """
    from dataclasses import replace
    from pathlib import Path

    from prefloop import runs

    out = settings.run.out or settings.people
    environment = settings.environment
    if not environment.env:
        run_there = known(settings.people)
        environment = EnvSettings(
            env=run_there.env, **{**run_there.env_changes, **environment.changes}
        )
    resume = (Path(out) / runs.FACTS).is_file()
    run = replace(settings.run, out=out, resume=resume)
    return replace(settings, environment=environment, run=run)
