"""`prefloop pebble`: explore, ask, learn the reward, relabel all that was done, improve at every step."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from prefloop.commands import answering
from prefloop.envs.settings import EnvSettings
from prefloop.labelling.client.settings import ServerSettings, server_setting
from prefloop.settings import part, require_above_zero, setting
from prefloop.teachers.settings import TeacherSettings
from prefloop.training.settings import (
    PebbleSettings,
    RunSettings,
    StoppingSettings,
    WatchingSettings,
)
from prefloop.tuned import TunedSettings

if TYPE_CHECKING:
    from prefloop.training.kept_exploration import KeptExploration

DESCRIPTION = """Learns continuous control from few preferences (Lee et al. 2021): explores without any
reward, asks a teacher about what it has done, fits a reward to all answers, gives it to every step it has
ever made, and improves on them by SAC."""
EPILOG = """Example: prefloop pebble --env Pendulum-v1 --steps 10000 --iteration_steps 1000 --labels 50 --out
pendulum. Writes final_policy.params, the reward model (reward.params), every answer (preferences/), every
step (replay/), run.json, metrics.csv, learning_curve.png and schedule.png. With people: prefloop pebble
--run hopper-01 --env Hopper-v5 --teacher human --labels 100; the same command goes on where it was stopped.
Details: docs/pebble.md, docs/labelling.md."""
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
    init: str = setting("", "policy checkpoint to start from, of prefloop sac or pebble")
    keep_termination: bool = setting(False, "learn where episodes end early, too; by default they go on in learning, where that is possible, and end as they do in evaluation")  # fmt: skip
    learning_horizon: int | None = setting(None, "steps after which an episode that it learns from is cut, so that what has fallen begins anew; they are judged whole")  # fmt: skip
    environment: EnvSettings = answering.env_part("Hopper-v5")
    run: RunSettings = answering.run_part()
    teacher: TeacherSettings = answering.teacher_part()
    pebble: PebbleSettings = part(PebbleSettings)
    stopping: StoppingSettings = part(StoppingSettings)
    watching: WatchingSettings = part(WatchingSettings)
    server: ServerSettings = part(ServerSettings, server=server_setting(needs="run"))
    defaults: TunedSettings = part(TunedSettings)

    def __post_init__(self) -> None:
        answering.require_somebody(self)
        require_above_zero(self, "learning_horizon")
        if self.keep_termination and self.pebble.experience.absorb_termination:
            raise ValueError("give either --keep_termination or --absorb_termination")

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
    from prefloop.envs.registered import time_limit, without_early_end
    from prefloop.training import methods, outputs
    from prefloop.training.off_policy import make_sac
    from prefloop.training.plans import Plan, plan_labels
    from prefloop.training.watching import require_watchable

    torch.set_num_threads(1)  # on networks this small, a second thread costs more than it does
    device = usable_device(settings.run.device)
    init = Path(settings.init) if settings.init else None
    own, seed = settings.pebble, settings.run.seed
    questions, plan = own.questions, Plan.of(own.experience.divided)

    def learns_in(env: EnvSettings) -> EnvSettings:
        whole = env
        if not settings.keep_termination:
            whole = without_early_end(env, own.experience.absorb_termination)
        return replace(whole, horizon=settings.learning_horizon or whole.horizon)

    def acted_in(env: EnvSettings) -> EnvSettings:
        found = learns_in(env)
        if settings.keep_termination and without_early_end(env) != env:
            print(
                f"Note: episodes of {env} end early, and a learned reward may then teach to survive or to "
                "give up, whatever was preferred; that is --keep_termination."
            )
        if found.termination != env.termination:
            print(f"Learning in {env} without early ends; it is judged with them.")
        if found.horizon != env.horizon:
            print(
                f"Episodes that it learns from are cut after {found.horizon} steps (--learning_horizon)."
            )
        return found

    every, explores = plan.iteration_steps, own.exploration_iterations * plan.iteration_steps
    if explores != own.exploration.steps:
        print(
            f"Note: the first questions come after {explores} steps, in whole iterations of {every} "
            "(--iteration_steps)."
        )

    def check(env: EnvSettings) -> None:
        plan_labels(questions, plan, time_limit(learns_in(env)), own.exploration_iterations)
        require_watchable(settings.watching, env)
        methods.require_pebble(env, learns_in(env), own, seed, init)

    with answering.answering(
        settings,
        "prefloop pebble",
        own.experience.num_envs,
        check=check,
        on_ready=on_ready,
        instructions=instructions,
        quiet=quiet,
        simulated=lambda settings, env, stepping: methods.simulated_answers(
            env,
            stepping,
            settings.teacher,
            questions.segment_length,
            lambda: make_sac(stepping, own.agent, seed, torch.device("cpu"), init).acting_policy,
            seed,
            Path(settings.run.out),
            "prefloop pebble",
            settings.run.resume,
        ),
        acted_in=acted_in,
    ) as asked:
        settings, answers = asked.settings, asked.answers
        env, directory = settings.environment, Path(settings.run.out)
        kept = _kept(settings, asked.env, asked.stepping.state_kind)
        method, learner = methods.pebble(
            env, asked.stepping, answers, own, seed, device, directory, init, settings.wait,
            asked.on_fit, kept,
        )  # fmt: skip
        facts = outputs.facts("pebble", env, method.begins_as, init=settings.init)
        facts |= learner.taught.facts()
        if asked.env != env:  # "env" is what it is judged in
            facts["learned_in"] = asked.env.facts
        answering.train(asked, method, learner, facts, quiet)
        if learner.seconds:
            share = learner.reward_seconds / learner.seconds
            print(f"Asking, fitting and relabelling took {share:.0%} of the time.")
        answering.say_how_many_came(answers, questions)


def _kept(settings: Settings, env: EnvSettings, states: Any) -> "KeptExploration | None":
    """Where what is explored is kept, or was; None where it is not to be.

    Args:
        env, states: what is acted in, and what is recorded of it.
    """
    from pathlib import Path

    from prefloop.files import sha256
    from prefloop.labelling.home import home_directory
    from prefloop.training.kept_exploration import KeptExploration, depends_on

    own, run = settings.pebble, settings.run
    if not own.exploration.explores:
        return None
    init_sha256 = sha256(Path(settings.init)) if settings.init else None
    facts = depends_on(own, env, settings.environment, states, run.seed, run.device, init_sha256)
    iterations = own.exploration_iterations
    if own.exploration.explore_from:
        named = Path(own.exploration.explore_from)
        return KeptExploration(facts, iterations, named, must_be_there=True)
    if not own.exploration.keep:
        return None
    home = home_directory(settings.server.profile) / "explorations"
    return KeptExploration.under(home, facts, iterations)
