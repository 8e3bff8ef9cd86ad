"""Answers for commands that ask while they learn: of people behind the labelling server, or of a program."""

import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefloop import run_files
from prefloop.begun import require_program
from prefloop.envs.settings import EnvSettings
from prefloop.files import read_json
from prefloop.labelling.limits import require_readable
from prefloop.settings import part, require_above_zero, setting
from prefloop.teachers.settings import SIMULATED, TeacherSettings
from prefloop.teachers.simulated import PRESETS
from prefloop.training.settings import (
    PebbleSettings,
    PrefPPOSettings,
    QuerySettings,
    RunSettings,
)

if TYPE_CHECKING:
    from contextlib import ExitStack

    from prefloop.data.stepping import Stepping
    from prefloop.labelling.client.client import LabellingClient
    from prefloop.labelling.client.on_page import OnPage
    from prefloop.labelling.schemas.runs import RunOut
    from prefloop.policies import Policy
    from prefloop.training.answers import Answers
    from prefloop.training.loop import Method
    from prefloop.training.pebble import Pebble
    from prefloop.training.pref_ppo import PrefPPO
    from prefloop.training.taught_reward import OnFit

HUMAN = "human"
NOT_FOUND = 404  # of HTTP
STOPPED = (
    "Stopped. The same command goes on; every label is on the server, and what was learned in the "
    "run's folder."
)


# what such a command can be told, the same in each
def labelling_run_setting() -> Any:
    """`--run NAME`."""
    return setting("", "the run on the labelling server that people label, with --teacher human; made if missing and --env is given", flag="run")  # fmt: skip


def wait_setting() -> Any:
    """`--no_wait`."""
    return setting(True, "wait for people's labels after each iteration; without, only for the first ones, and learning goes on while they label", needs="run")  # fmt: skip


def instructions_setting() -> Any:
    """`--instructions TEXT`."""
    return setting("", "what annotators read before they begin: what is better", needs="run")


def clips_setting() -> Any:
    """`--clips_per_session N`."""
    return setting(None, "draw the first so many pairs of each session that a simulated teacher was asked, side by side, into clips/, with the answer in the file's name; none if not given")  # fmt: skip


def env_part(example: str) -> Any:
    """`--env`, which a run on the server may know."""
    return part(EnvSettings, env=setting("", f"which environment, for instance {example}; with --run, that of the run"))  # fmt: skip


def run_part() -> Any:
    """`--out`, which may be named after the run on the server."""
    return part(RunSettings, out=setting("", "folder that everything is written to; made if missing; with --run, if not given, one of the run's name"))  # fmt: skip


def teacher_part() -> Any:
    """`--teacher`, of whom people are one."""
    return part(TeacherSettings, teacher=setting("oracle", f"who answers: people (human), or {SIMULATED}", choices=(HUMAN, *PRESETS)))  # fmt: skip


def require_somebody(settings: Any) -> None:
    """Refuses people without a run that they label, and the other way round.

    Raises:
        ValueError: says what goes together.
    """
    are_asked = settings.teacher.teacher == HUMAN
    if are_asked != bool(settings.labelling_run):
        raise ValueError("--teacher human and --run NAME go together")
    if not settings.labelling_run and not (settings.environment.env and settings.run.out):
        raise ValueError("--env and --out are needed, or --teacher human and --run")
    require_above_zero(settings, "clips_per_session")
    require_readable("--instructions", settings.instructions)
    if are_asked and settings.clips_per_session is not None:
        raise ValueError("people see their clips on the page, so they have no --clips_per_session")
    if are_asked and settings.teacher.overrides:
        raise ValueError(f"people have no --{next(iter(settings.teacher.overrides))}")


def when_interrupted(settings: Any) -> str:
    """What to say after Ctrl-C."""
    if settings.labelling_run:
        return STOPPED
    return settings.run.when_interrupted


@dataclass(frozen=True)
class Presentation:
    """How a command presents itself to whoever began it, where that was not by its own flags.

    Attributes:
        on_ready: is told where people label, once there is a run for it.
        instructions: gives what people read, from what the run says so far; as the settings say if
            not given. May raise `UserError`.
        quiet: say how far it is, and that people are waited for, on their page only.
    """

    on_ready: Callable[[str], None] = lambda page: None
    instructions: Callable[[str], str] | None = None
    quiet: bool = False


BY_FLAGS = Presentation()


@dataclass(frozen=True)
class Asked:
    """A command with whoever answers it, and what it acts in.

    Attributes:
        command: that asks: `pebble`.
        settings: the command's, whose environment and folder are filled in.
        env: what is acted in.
        on_fit: tells people what was learned.
        page: where they follow the training.
        quiet: as `Presentation` has it.
    """

    command: str
    settings: Any
    env: EnvSettings
    stepping: "Stepping"
    answers: "Answers"
    on_fit: "OnFit | None" = None
    page: "OnPage | None" = None
    quiet: bool = False


@contextmanager
def answering(
    command: str,
    settings: Any,
    method_settings: PrefPPOSettings | PebbleSettings,
    *,
    check: Callable[[EnvSettings], Any],
    begins_as: "Callable[[Stepping], Policy]",
    acted_in: Callable[[EnvSettings], EnvSettings] = lambda env: env,
    presentation: Presentation = BY_FLAGS,
) -> Iterator[Asked]:
    """Connects to people, or has a program answer; the run's folder is this process's meanwhile.

    Args:
        command: that asks: `pebble`.
        settings: the command's, with what stands above.
        method_settings: the part of them that is the method's.
        check: raises where the run can't be as it is planned, before anything is made, here or on the
            server.
        begins_as: gives the policy that has learned nothing yet, for what steps the environment.
        acted_in: what is acted in, where it is another environment than it is judged in.
    """
    from contextlib import ExitStack

    with ExitStack() as stack:
        client = None
        if settings.labelling_run:
            from prefloop.labelling.client.client import require_run_name
            from prefloop.labelling.client.connecting import connected

            require_run_name(settings.labelling_run)  # a folder may be named after it
            # people take their time, and their server may be started again meanwhile
            line = f"prefloop {command} --run {settings.labelling_run}"
            client = stack.enter_context(connected(settings.server, line, None))
            settings = _of_the_run(settings, client.run)
        if settings.run.resume:  # people's goes on without the flag
            began = read_json(Path(settings.run.out) / run_files.FACTS)
            require_program(settings.run.out, began, f"prefloop {command}")
        check(settings.environment)
        env = acted_in(settings.environment)
        if client is not None:
            asked = _asking_people(
                stack, command, settings, env, method_settings, client, presentation
            )
        else:
            asked = _asking_a_program(stack, command, settings, env, method_settings, begins_as)
        yield replace(asked, quiet=presentation.quiet)


def _asking_people(
    stack: "ExitStack",
    command: str,
    settings: Any,
    env: EnvSettings,
    method_settings: PrefPPOSettings | PebbleSettings,
    client: "LabellingClient",
    presentation: Presentation,
) -> Asked:
    """Makes the run on the server, or goes on with it; what is to be closed is put on the stack."""
    from prefloop.commands import trust
    from prefloop.labelling.client.client import LabellingClient
    from prefloop.labelling.client.on_page import OnPage
    from prefloop.labelling.client.people import People
    from prefloop.training import outputs

    name, directory = settings.labelling_run, Path(settings.run.out)
    stepping = _recorded(env, method_settings.experience.num_envs)
    folder = directory / run_files.PREFERENCES
    stack.enter_context(outputs.claimed(settings, f"prefloop {command}"))
    _require_its_labels(name, folder, client.run)
    about: dict[str, Any] = {"env": env, "spaces": stepping.spaces}
    run_there = client.put_run(name, **about)
    _note_that_it_begins_anew(settings, run_there)
    page_client = stack.enter_context(LabellingClient(client.url, client.token, patience=0))
    page = stack.enter_context(OnPage(page_client, name, directory).kept())
    # what people read is for whoever trains on the run to change, and for nobody who is refused
    instructions = settings.instructions
    if presentation.instructions is not None:
        instructions = presentation.instructions(run_there.instructions)
    if instructions and instructions != run_there.instructions:
        client.put_run(name, **about, instructions=instructions)
    say = (lambda sentence: None) if presentation.quiet else print
    people = People(client, name, folder, say, is_over=page.is_over_while_asking)
    on_fit = trust.telling(people, env, method_settings.reward, settings.run.seed)
    presentation.on_ready(client.page(name))
    return Asked(command, settings, env, stepping, people, on_fit, page)


def _asking_a_program(
    stack: "ExitStack",
    command: str,
    settings: Any,
    env: EnvSettings,
    method_settings: PrefPPOSettings | PebbleSettings,
    begins_as: "Callable[[Stepping], Policy]",
) -> Asked:
    """Has the teacher answer that the settings name; what is to be closed is put on the stack."""
    from prefloop.training import methods, outputs

    directory, clips = Path(settings.run.out), settings.clips_per_session
    num_envs = method_settings.experience.num_envs
    if clips is None:
        stepping = methods.stepping_in(env, num_envs)
    else:
        from prefloop.evaluation.videos import require_pictures

        require_pictures(env, "--clips_per_session")
        stepping = _recorded(env, num_envs)
    stack.enter_context(outputs.claimed(settings, f"prefloop {command}"))
    answers: Answers = stack.enter_context(
        methods.simulated_answers(
            env,
            stepping,
            settings.teacher,
            method_settings.questions.segment_length,
            lambda: begins_as(stepping),
            settings.run.seed,
            directory,
            f"prefloop {command}",
            settings.run.resume,
        )
    )
    if clips is not None:
        from prefloop.commands.clips import Drawn

        answers = Drawn(answers, env, clips, directory / outputs.CLIPS)
    return Asked(command, settings, env, stepping, answers)


def _recorded(env: EnvSettings, num_envs: int) -> "Stepping":
    """Environments that keep what shows their steps again."""
    from prefloop.data.recording import RecordedEnvs
    from prefloop.data.stepping import Stepping

    recorded = RecordedEnvs.make(env, num_envs)
    return Stepping(recorded.envs, recorded.record)


def train(asked: Asked, method: "Method", learner: "PrefPPO | Pebble") -> None:
    """Runs a method that asks, in the folder that is this process's, and writes what came of it.

    Args:
        learner: the method's.
    """
    from prefloop.training import outputs

    settings = asked.settings
    env, directory = settings.environment, Path(settings.run.out)
    facts = outputs.facts(asked.command, env, method.begins_as, init=settings.init)
    facts |= learner.taught.facts()
    if asked.env != env:  # "env" is what it is judged in
        facts["learned_in"] = asked.env.facts
    next_line = ""
    with outputs.hooks_of(settings, method) as hooks:
        if asked.page is not None:
            from prefloop.commands.teaching import Teaching

            assert method.acting is not None
            teaching = Teaching(
                asked.page, learner, method.acting.plan, asked.env, asked.env == env, method.policy,
                settings.run.seed, directory,
            )  # fmt: skip
            hooks, next_line = teaching.added_to(hooks), _showing(asked, directory)
        outputs.train(
            method, settings, facts, env, is_claimed=True, save=learner.save, next_line=next_line,
            quiet=asked.quiet, hooks=hooks,
        )  # fmt: skip


def _showing(asked: Asked, directory: Path) -> str:
    """The command that shows what people have taught: what they wanted is no return that could be counted."""
    learned, judged = asked.env.termination, asked.settings.environment.termination
    goes_on = "" if learned == judged else f" --termination {learned}"
    return f"prefloop show {shlex.quote(str(directory))}{goes_on}"


def say_how_many_came(answers: "Answers", questions: QuerySettings) -> None:
    """Says how many labels came, where they are fewer than were wanted."""
    preferences, labels = answers.current(), questions.labels
    answered = len(preferences.answered) if preferences is not None else 0
    if answered < labels and questions.queue is None:
        never = "" if answers.shown >= labels else ", and the others were never asked"
        print(
            f"Note: {answered} of {labels} labels came; of {answers.shown} queries "
            f"{answers.shown - answered} were skipped or are still to be labelled{never}."
        )
    ties = preferences.num_ties if preferences is not None else 0
    if 2 * ties >= max(answered, 1):
        print(
            f"Note: {ties} of {answered} answers were ties, from which little is learned; longer segments "
            "(--segment_length) tell more apart, or more to choose from (--exploration_steps, --candidates)."
        )


def _require_its_labels(
    labelling_run: str, folder: Path, fetch_run: "Callable[[str], RunOut]"
) -> None:
    """Refuses to go on where the run's labels are gone: what is kept of them would be written over.

    Args:
        labelling_run: its name on the server.
        folder: where they are kept.
        fetch_run: gives what the server knows of a run, by its name.

    Raises:
        UserError: there are labels in the folder, and on the server no query.
    """
    from prefloop.data import dataset
    from prefloop.errors import UserError
    from prefloop.labelling.client.calling import RefusedError
    from prefloop.words import counted

    kept = len(dataset.read_facts(folder)) if dataset.exists(folder) else 0
    if not kept:
        return
    try:
        queries = fetch_run(labelling_run).counts.queries
    except RefusedError as error:
        if error.status != NOT_FOUND:
            raise
        queries = 0
    if not queries:
        raise UserError(
            f"{folder} holds {counted(kept, 'label')}, and the run {labelling_run} has none on the server: it was "
            "deleted, has another name now (--run), or is another server's (--server, --profile). `prefloop "
            f"runs import {shlex.quote(str(folder))} {labelling_run}` brings them back; or begin anew with another "
            "--out."
        )


def _note_that_it_begins_anew(settings: Any, run: "RunOut") -> None:
    """Says that labels are used and no policy is, where a run on the server that has labels is trained on in a new folder."""
    from prefloop.errors import note
    from prefloop.words import counted

    if run.counts.labels and not settings.run.resume:
        note(
            f"a policy begins from nothing in {settings.run.out}. The run {run.name} has "
            f"{counted(run.counts.labels, 'label')} already, which are learned from; what was learned in another folder "
            "is not used: --out FOLDER goes on there."
        )


def _of_the_run(settings: Any, fetch_run: "Callable[[str], RunOut]") -> Any:
    """Settings whose environment and folder are those of the run, where they are not given.

    Whoever trains with people goes on by giving the same command.

    Args:
        fetch_run: gives what the server knows of a run, by its name.

    Raises:
        UserError: no environment is given, and the server knows no such run.
    """
    from prefloop.envs.settings import CHANGES, from_facts
    from prefloop.errors import UserError
    from prefloop.labelling.client.calling import RefusedError

    out = settings.run.out or settings.labelling_run
    facts = Path(out) / run_files.FACTS
    environment = settings.environment
    if not environment.env and facts.is_file():
        # not the server's: what people see may be learned in, and not judged in
        begun = from_facts(read_json(facts))
        environment = begun.changed(environment.changes) if begun else environment
    if not environment.env:
        try:
            on_server = fetch_run(settings.labelling_run)
        except RefusedError as error:
            if error.status != NOT_FOUND:
                raise
            raise UserError(f"{str(error).rstrip('.')}; --env makes one.") from None
        env_there = from_facts({"env": on_server.env, CHANGES: on_server.env_changes})
        assert env_there is not None
        environment = env_there.changed(environment.changes)
    resume = facts.is_file()
    run = replace(settings.run, out=out, resume=resume)
    return replace(settings, environment=environment, run=run)
