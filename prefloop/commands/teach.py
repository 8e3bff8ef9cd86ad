"""`prefloop teach`: a person says what is better, and a robot learns it meanwhile."""

import re
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, replace
from typing import Any

from prefloop.commands import answering, pebble, pref_ppo
from prefloop.envs.goals import usual_goal
from prefloop.envs.settings import EnvSettings
from prefloop.labelling.client.settings import ServerSettings
from prefloop.labelling.limits import MAX_NAME, require_readable
from prefloop.settings import part, require_above_zero, setting
from prefloop.teachers.settings import TeacherSettings
from prefloop.training.settings import (
    PebbleSettings,
    PrefPPOSettings,
    RunSettings,
    WatchingSettings,
)
from prefloop.tuned import Defaults, defaults_for, tuned

DESCRIPTION = """Teaches a simulated robot what no reward describes. Opens a page on which you say which of two
clips is better; the robot learns from that while you go on, and the page shows how it does. It goes on until
it is stopped there, or by Ctrl-C; the same command goes on where it was."""
EPILOG = """Example: prefloop teach --env Hopper-v5 --goal "Do a backflip and land on the foot". Leaves what
prefloop pebble or pref-ppo leaves, in a folder of the run's name: final_policy.params, reward.params, every
answer (preferences/), latest.mp4. Details: docs/teach.md."""
IMPORTS = ("torch", "gymnasium", "matplotlib.figure")

METHODS = ("pebble", "pref-ppo")
NO_LIMIT = 1_000_000  # labels: more than anybody gives
# of a clip, by the environment's clock, where that gives neither few steps nor many
CLIP_SECONDS = 1.0
FEWEST, MOST = 20, 60  # steps of one
EXPLORATION_STEPS = 4000
RECENT_EPISODES = 50  # that PEBBLE asks about: what it does now, rather than what it did at first
# of an episode that a fall does not end: Ant on its back would not even have ended one, and does not get up
SECONDS_UNTIL_IT_BEGINS_ANEW = 10.0


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What is taught, and how.

    Raises:
        ValueError: a value that can't be meant.
    """

    # fmt: off
    goal: str = setting("", "what is better, in a sentence: it stands above the clips; if not given, what is usually wanted in the environment, where that is known")
    method: str = setting("", "how it learns; if not given, pref-ppo where actions are discrete or pictures are observed, and else pebble", choices=METHODS)
    labelling_run: str = setting("", "the run on the labelling server; if not given, it is named after environment and goal", flag="run")
    labels: int | None = setting(None, "ask about so many pairs at most, and learn on until it is stopped; if not given, you decide")
    queue: int = setting(10, "pairs that are kept ahead of you")
    segment_length: int | None = setting(None, "steps of each clip; if not given, about a second's")
    exploration_steps: int | None = setting(None, f"steps before the first questions, with pebble, {EXPLORATION_STEPS} if not given: a minute or a few, and none the next time")
    iteration_steps: int | None = setting(None, "steps between two sessions of questions; if not given, 1000 with pebble, 4096 with pref-ppo")
    learning_horizon: int | None = setting(None, "steps after which an episode that it learns from is cut, with pebble; if not given, ten seconds of those that a fall does not end")
    steps: int = setting(10_000_000, "end after so many steps of experience; days")
    browser: bool = setting(True, "open the page in a browser")
    environment: EnvSettings = part(EnvSettings, env=setting(MISSING, "which environment, for instance CartPole-v1, Hopper-v5, Walker2d-v5, HalfCheetah-v5, Ant-v5, Swimmer-v5, dm_control/walker-walk-v0; module:Name-v0 imports the module first"))
    run: RunSettings = part(RunSettings, out=setting("", "folder that everything is written to; made if missing; if not given, one of the run's name"), resume=None)
    watching: WatchingSettings = part(WatchingSettings, checkpoint_every=setting(10, "keep the policy as policy_checkpoint0.params and so on, by row, every so many rows of metrics.csv, for prefloop show to go back to"))
    server: ServerSettings = part(ServerSettings)
    # fmt: on

    def __post_init__(self) -> None:
        require_above_zero(
            self,
            "labels",
            "queue",
            "segment_length",
            "exploration_steps",
            "iteration_steps",
            "learning_horizon",
            "steps",
        )
        require_readable("--goal", self.goal)

    @property
    def name(self) -> str:
        """Name of the run on the server."""
        return self.labelling_run or run_name(self.environment.env, self.goal)

    when_interrupted = answering.STOPPED


def run_name(env: str, goal: str) -> str:
    """A name for what is taught: hopper-v5-do-a-backflip."""
    words = re.sub(r"[^a-z0-9]+", "-", f"{env.rpartition('/')[2]} {goal}".lower()).strip("-")
    return words[:MAX_NAME].rstrip("-")


def tuned_defaults(given: Mapping[str, Any]) -> Defaults | None:
    """Changes of the environment that come with the program, as for `prefloop pebble` and `pref-ppo`.

    They are the same for both methods, since which of them is taken depends on the environment.

    Args:
        given: settings by flag.
    """
    sections = (defaults_for(method, EnvSettings, given, knows_all=False) for method in METHODS)
    section = next((s for s in sections if s is not None), None)
    if section is None:
        return None
    values = {f: value for f, value in section.values.items() if given[f] == section.plain[f]}
    # "none" would be said of the method's settings, too; and nothing leaves these out
    return replace(section, values=values, is_tuned=False) if values else None


def main(settings: Settings) -> None:
    """Opens the page, asks and learns."""
    from prefloop.encoders import is_pictures
    from prefloop.envs.make import make_env
    from prefloop.envs.spaces import spaces_of
    from prefloop.errors import UserError
    from prefloop.evaluation.videos import frames_per_second

    env = settings.environment
    made = make_env(env)
    spaces = spaces_of(made)
    made.close()
    needs_ppo = spaces.discrete or is_pictures(spaces)  # which SAC does not learn from
    method = settings.method or ("pref-ppo" if needs_ppo else "pebble")
    if method == "pebble" and needs_ppo:
        wanted = "has continuous actions" if spaces.discrete else "observes vectors"
        raise UserError(
            f"What PEBBLE learns with {wanted}; here are {spaces}. Leave --method out, or give --method pref-ppo."
        )
    length = settings.segment_length or round(
        min(max(CLIP_SECONDS * frames_per_second(env), FEWEST), MOST)
    )
    questions: dict[str, Any] = {
        "labels": settings.labels or NO_LIMIT,
        "queue": settings.queue,
        "segment_length": length,
    }
    common: dict[str, Any] = {
        "labelling_run": settings.name,
        "wait": False,
        "environment": env,
        "run": replace(settings.run, out=settings.run.out or settings.name),
        "teacher": TeacherSettings(teacher=answering.HUMAN),
        "watching": settings.watching,
        "server": settings.server,
    }

    def goal(taught: str) -> str:
        wanted = settings.goal.strip() and settings.goal
        if taught and wanted not in ("", taught) and not settings.labelling_run:
            # other alphabets, and what does not fit into a name, tell no two goals apart
            raise UserError(
                f"The run {settings.name} is taught another goal already; give this one a run of its own by "
                "--run NAME, or say it in other words there by --run of its name."
            )
        return wanted or taught or usual_goal(env.env)

    def ready(page: str) -> None:
        print(f"Teach it at {page} (Ctrl-C stops; the same command goes on).", flush=True)
        if settings.browser:
            _open(page)

    presentation = answering.Presentation(on_ready=ready, instructions=goal, quiet=True)
    if method == "pebble":
        pebble_settings = tuned(PebbleSettings(), "pebble", env.env, has_people=True)
        pebble_settings = replace(
            pebble_settings,
            # all that was ever done is more than there is time to look through between two sessions
            recent_episodes=pebble_settings.recent_episodes or RECENT_EPISODES,
            questions=replace(pebble_settings.questions, **questions),
            experience=replace(
                pebble_settings.experience,
                steps=settings.steps,
                iteration_steps=settings.iteration_steps or 1000,
                evaluation_episodes=1,  # by a reward that is not what is wanted
            ),
            exploration=replace(
                pebble_settings.exploration, steps=settings.exploration_steps or EXPLORATION_STEPS
            ),
        )
        horizon = settings.learning_horizon or _horizon(env, pebble_settings)
        line = pebble.Settings(pebble=pebble_settings, learning_horizon=horizon, **common)
        pebble.train(line, presentation)
        return
    for flag in ("exploration_steps", "learning_horizon"):
        if getattr(settings, flag) is not None:
            raise UserError(f"--{flag} is for --method pebble.")
    pref_ppo_settings = tuned(
        PrefPPOSettings(),
        "pref-ppo",
        env.env,
        has_people=True,
        has_pictures=env.pixels is not None,
    )
    pref_ppo_settings = replace(
        pref_ppo_settings,
        questions=replace(pref_ppo_settings.questions, **questions),
        experience=replace(
            pref_ppo_settings.experience,
            steps=settings.steps,
            iteration_steps=settings.iteration_steps or 4096,
        ),
    )
    pref_ppo.train(pref_ppo.Settings(pref_ppo=pref_ppo_settings, **common), presentation)


def _horizon(env: EnvSettings, settings: PebbleSettings) -> int | None:
    """Steps after which an episode that PEBBLE learns from is cut; None: as the environment has it."""
    from prefloop.envs.registered import time_limit, without_early_end
    from prefloop.evaluation.videos import frames_per_second

    whole = without_early_end(env, settings.experience.absorb_termination)
    if whole.termination != "never" or env.horizon is not None:
        return None
    steps, limit = round(SECONDS_UNTIL_IT_BEGINS_ANEW * frames_per_second(env)), time_limit(env)
    return steps if limit is None or steps < limit else None


def _open(page: str) -> None:
    """Shows the page in a browser, where there is one that needs no terminal."""
    import os
    import webbrowser

    from prefloop.envs.drawing import has_screen

    if has_screen() or "BROWSER" in os.environ:  # a text browser would take the terminal
        webbrowser.open(page)
