"""Files that the commands that train leave in a run's folder."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, Protocol

import gymnasium as gym

from prefloop import checkpoints, run_files, runs
from prefloop.data import dataset
from prefloop.data.preferences import Preferences
from prefloop.envs.make import make_env
from prefloop.envs.registered import time_limit
from prefloop.envs.settings import Env, EnvSettings, as_settings, from_facts
from prefloop.envs.spaces import spaces_of
from prefloop.errors import UserError
from prefloop.evaluation.plots import plot_metrics
from prefloop.files import sha256
from prefloop.policies import Policy
from prefloop.settings import as_flat, meant_by_default
from prefloop.training import loop
from prefloop.training.loop import NO_HOOKS, Hooks, Method
from prefloop.training.settings import RunSettings, StoppingSettings, WatchingSettings
from prefloop.training.stopping import reason_to_stop
from prefloop.training.watching import watching

NUMBERED = re.compile(r"(.*?\D)(\d+)(\.\w+)")  # policy_checkpoint25.params
NAMED_ALONE = 3  # of such files
CLIPS = "clips"  # folder of pictures of what a program was asked
WHERE_NONE_ENDS = 1000  # steps to count of an episode: as many as Gymnasium's robots have


def facts(
    program: str, env: Env, policy: Policy | None = None, **files: str | Path
) -> dict[str, Any]:
    """Facts that run.json holds of a run, besides its settings.

    Args:
        policy: what is trained; not everything about it is in its weights.
        files: what the run was given, of which the SHA-256 is kept; "" where it was not.
    """
    written: dict[str, Any] = {"program": f"prefloop {program}", **as_settings(env).facts}
    if policy is not None:
        described = policy.description()
        written["policy"] = described
        if "activation" in described:
            written["activation"] = described["activation"]
    for name, path in files.items():
        written[f"{name}_sha256"] = sha256(Path(path)) if path else None
    return written


def read_preferences(path: str | Path) -> tuple[Preferences, EnvSettings, gym.Env, Path]:
    """A dataset that somebody wants to learn from, and the environment that it is about.

    Returns:
        Preferences, what the environment is, the environment, and the file whose change is a change
        of the data.

    Raises:
        UserError: there is no dataset, it is damaged, says nothing, or does not fit its
            environment.
    """
    folder = Path(path)
    preferences = dataset.read(folder)
    preferences.require_something_to_learn()
    env = from_facts(dataset.read_metadata(folder))
    if env is None:
        raise UserError(f"{folder / dataset.METADATA} names no environment.")
    made = make_env(env)
    segments = preferences.segments
    if not spaces_of(made).allows(segments.obs[:1], segments.actions):  # all are of one kind
        raise UserError(f"{folder} holds segments that are not of {env}.")
    return preferences, env, made, folder / dataset.PREFERENCES


class TrainingCommand(Protocol):
    """Settings of a command that trains: those of its run are a part of them."""

    @property
    def run(self) -> RunSettings:
        """Where it writes."""
        ...


@contextmanager
def claimed(settings: TrainingCommand, program: str) -> Iterator[Path]:
    """Keeps a run's folder for this process; an earlier run in it is never written over.

    Args:
        settings: the command's.
        program: its name in run.json.

    Raises:
        UserError: as `runs.claimed`; or the run there is to go on and can't, or not with these settings.
    """
    run = settings.run
    with runs.claimed(Path(run.out), run.resume, keep_earlier=True) as directory:
        if run.resume:
            flat = as_flat(settings)
            runs.require_can_go_on(
                directory,
                program,
                flat,
                loop.may_differ(flat),
                meant_by_default(type(settings)),
            )
        yield directory


class WatchedCommand(TrainingCommand, Protocol):
    """Settings of a command that acts, whose runs can be watched and end early."""

    @property
    def environment(self) -> EnvSettings:
        """What its policies are evaluated in."""
        ...

    @property
    def stopping(self) -> StoppingSettings:
        """When it ends before its steps are spent."""
        ...

    @property
    def watching(self) -> WatchingSettings:
        """What is kept and shown of the way."""
        ...


@contextmanager
def hooks_of(settings: WatchedCommand, method: Method) -> Iterator[Hooks]:
    """Hooks that a command's settings ask for, for as long as its method runs."""
    run = settings.run
    with watching(
        settings.watching, settings.environment, method.policy, run.seed, Path(run.out)
    ) as watchers:
        yield Hooks(stop=lambda rows: reason_to_stop(rows, settings.stopping), watchers=watchers)


def train(
    method: Method,
    settings: TrainingCommand,
    facts: Mapping[str, Any],
    env: Env,
    *,
    curves: Sequence[str] | None = None,
    is_claimed: bool = False,
    save: Callable[[Path], None] | None = None,
    next_line: str = "",
    quiet: bool = False,
    hooks: Hooks = NO_HOOKS,
) -> None:
    """Runs a method in its run's folder, and writes what came of it.

    Args:
        settings: the command's.
        facts: what run.json is to say besides the settings.
        env: what the curves are about.
        curves: what to draw, if not all that the method has.
        is_claimed: the folder is this process's already.
        save: writes into the folder what there is besides the policy.
        next_line: the command that shows what came of it; if not given, the one that counts its returns.
        quiet: without a progress bar.

    Raises:
        UserError: the folder holds another run, or can't be written; or learning diverged.
    """
    run, directory = settings.run, Path(settings.run.out)
    with nullcontext() if is_claimed else claimed(settings, facts["program"]):
        whole = {**facts, "settings": as_flat(settings)}
        defaults = meant_by_default(type(settings))
        rows = loop.turn(method, run, whole, quiet=quiet, defaults=defaults, hooks=hooks)
        checkpoints.save(directory / run_files.POLICY, method.policy().state_dict())
        picture = directory / "learning_curve.png"
        title = f"{facts['program']} on {env}, seed {run.seed}"
        plot_metrics(picture, rows, method.x, curves or method.curves, title)
        if save is not None:
            save(directory)
        print(
            f"Wrote {directory / run_files.POLICY} and, beside it, {', '.join(_others(directory))}."
        )
        print(f"Next: {next_line or _counting(directory, env)}")
        if (directory / run_files.REWARD).exists():  # of whoever asked
            print(f"And how far its reward can be trusted: prefloop reward-report {directory}")


def _counting(directory: Path, env: Env) -> str:
    """The command that counts a policy's returns, in episodes that end."""
    line = f"prefloop evaluate {directory / run_files.POLICY} --episodes 100"
    return f"{line} --horizon {WHERE_NONE_ENDS}" if time_limit(env) is None else line


def _others(directory: Path) -> list[str]:
    """Names of files and folders that a run has left for people, besides its policy and what it goes on from."""
    paths = sorted(path for path in directory.iterdir() if not path.name.startswith("."))
    names = (path.name + "/" * path.is_dir() for path in paths)
    return _in_ranges([name for name in names if name not in (run_files.POLICY, run_files.STATE)])


def _in_ranges(names: Sequence[str]) -> list[str]:
    """Names, of which more than a few that differ in a number alone are said by the first and the last of them."""
    groups: dict[tuple[str, str], list[int]] = {}
    for name in names:
        if found := NUMBERED.fullmatch(name):
            groups.setdefault((found[1], found[3]), []).append(int(found[2]))
    said: dict[str, None] = {}
    for name in names:
        found = NUMBERED.fullmatch(name)
        numbers = groups[found[1], found[3]] if found else []
        if found and len(numbers) > NAMED_ALONE:
            first, last = (
                f"{found[1]}{number}{found[3]}" for number in (min(numbers), max(numbers))
            )
            name = f"{first} to {last} ({len(numbers)} files)"
        said[name] = None
    return list(said)
