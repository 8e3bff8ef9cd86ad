"""`prefloop pebble`: explore, ask, learn the reward, relabel all that was done, improve at every step."""

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
    from prefloop.training.plans import Plan

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


def train(settings: Settings, presentation: answering.Presentation = answering.BY_FLAGS) -> None:
    """Trains, also where another command begins it, and writes the policy, the reward and the answers."""
    from pathlib import Path

    from prefloop.data.stepping import Stepping
    from prefloop.devices import usable_device, use_one_thread
    from prefloop.envs.registered import time_limit
    from prefloop.policies import Policy
    from prefloop.training import methods
    from prefloop.training.plans import Plan, plan_labels
    from prefloop.training.watching import require_watchable

    use_one_thread()
    pebble, seed = settings.pebble, settings.run.seed
    device = usable_device(settings.run.device)
    init = Path(settings.init) if settings.init else None
    plan = Plan.of(pebble.experience.divided)
    _say_when_it_asks_first(pebble, plan)

    def check(env: EnvSettings) -> None:
        learns_in = _learns_in(settings, env)
        # an environment's own faults come first
        methods.require_pebble(env, learns_in, pebble, seed, init)
        plan_labels(pebble.questions, plan, time_limit(learns_in), pebble.exploration_iterations)
        require_watchable(settings.watching, env)

    def acted_in(env: EnvSettings) -> EnvSettings:
        learns_in = _learns_in(settings, env)
        _say_what_it_learns_in(settings, env, learns_in)
        return learns_in

    def begins_as(stepping: Stepping) -> Policy:
        return methods.make_sac(stepping, pebble.agent, seed, methods.CPU, init).acting_policy

    with answering.answering(
        "pebble", settings, pebble, check=check, begins_as=begins_as, acted_in=acted_in,
        presentation=presentation,
    ) as asked:  # fmt: skip
        settings = asked.settings
        kept = _kept(settings, asked.env, asked.stepping.state_kind)
        method, learner = methods.pebble(
            settings.environment, asked.stepping, asked.answers, pebble, seed, device,
            Path(settings.run.out), init, settings.wait, asked.on_fit, kept, asked.env,
        )  # fmt: skip
        answering.train(asked, method, learner)
        if learner.seconds:
            share = learner.reward_seconds / learner.seconds
            print(f"Asking, fitting and relabelling took {share:.0%} of the time.")
        answering.say_how_many_came(asked.answers, pebble.questions)


def _learns_in(settings: Settings, env: EnvSettings) -> EnvSettings:
    """The environment that it acts in, which is that of its evaluation but for when episodes end."""
    from prefloop.envs.registered import without_early_end

    whole = env
    if not settings.keep_termination:
        whole = without_early_end(env, settings.pebble.experience.absorb_termination)
    return replace(whole, horizon=settings.learning_horizon or whole.horizon)


def _say_what_it_learns_in(settings: Settings, env: EnvSettings, learns_in: EnvSettings) -> None:
    """Notes about when episodes end that it learns from, beside those of its evaluation."""
    from prefloop.envs.registered import time_limit, without_early_end

    if settings.keep_termination and without_early_end(env) != env:
        print(
            f"Note: episodes of {env} end early, and a learned reward may then teach to survive or to "
            "give up, whatever was preferred; that is --keep_termination."
        )
    if learns_in.termination != env.termination:
        print(f"Learning in {env} without early ends; it is judged with them.")
    if learns_in.horizon != env.horizon:
        longest, own = time_limit(learns_in), time_limit(env)
        is_cut = longest is None or own is None or longest <= own
        end = "are cut after" if is_cut else f"go on beyond {own} steps, to"
        print(f"Episodes that it learns from {end} {longest} steps (--learning_horizon).")


def _say_when_it_asks_first(pebble: PebbleSettings, plan: "Plan") -> None:
    """Notes that the exploration is longer than was asked for, where it is."""
    explored = pebble.exploration_iterations * plan.iteration_steps
    if explored != pebble.exploration.steps:
        print(
            f"Note: the first questions come after {explored} steps, in whole iterations of "
            f"{plan.iteration_steps} (--iteration_steps)."
        )


def _kept(settings: Settings, env: EnvSettings, states: Any) -> "KeptExploration | None":
    """Where what is explored is kept, or was; None where it is not to be.

    Args:
        env, states: what is acted in, and what is recorded of it.
    """
    from pathlib import Path

    from prefloop.files import sha256
    from prefloop.labelling.home import home_directory
    from prefloop.run_files import EXPLORATIONS
    from prefloop.training.kept_exploration import KeptExploration, depends_on

    pebble, run = settings.pebble, settings.run
    if not pebble.exploration.explores:
        return None
    init_sha256 = sha256(Path(settings.init)) if settings.init else None
    facts = depends_on(pebble, env, settings.environment, states, run.seed, run.device, init_sha256)
    iterations = pebble.exploration_iterations
    if pebble.exploration.explore_from:
        named = Path(pebble.exploration.explore_from)
        return KeptExploration(facts, iterations, named, must_be_there=True)
    if not pebble.exploration.keep:
        return None
    home = home_directory(settings.server.profile) / EXPLORATIONS
    return KeptExploration.under(home, facts, iterations)
