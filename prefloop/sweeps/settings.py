"""What can be set of comparisons, with defaults; free of PyTorch, so that `--help` is quick."""

import re
from collections.abc import Iterable
from dataclasses import MISSING, dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from prefloop.agents.settings import PPOSettings
from prefloop.envs.settings import EnvSettings
from prefloop.settings import as_flat, part, require_above_zero, setting, with_flags
from prefloop.sweeps.engine_settings import ENGINES, engines_in_help
from prefloop.sweeps.methods import METHODS
from prefloop.teachers.settings import TeacherSettings
from prefloop.training.settings import segment_length
from prefloop.tuned import tuned, untuned_setting
from prefloop.words import listed

DEMONSTRATORS = "demonstrators"  # among methods, where it is said what each was set by
STUDY = "study.yaml"  # in a study's folder: what the last command was given; after a merge there are more
RESULT = "result.json"  # in a run's folder, once it is done
PREPARED = "prepared.json"  # in the folder of a seed's demonstrators and pairs, likewise
STRONG, WEAK = "strong", "weak"  # there: the two demonstrators
FAILURE = "failed.json"  # in its place, where that could not be
SEEDS = "seeds"  # in a comparison's folder: each seed's demonstrators and pairs
RANDOM = "random"  # in a comparison's folder: what actions drawn at random reach, for each seed
LOG = "log.txt"  # what was said meanwhile, if anything was
OF_CELLS = ("methods", "labels", "seeds")  # settings of which a comparison has many, and later more
OF_COMMAND = ("dry_run", "retry_failed")  # settings of one command, which no file says
OF_MACHINE = ("out", "processes", "device")  # where it is run, of which a study has one value each
OF_RUNNING = (*OF_MACHINE, *OF_COMMAND)  # how it is run, on which no result depends
MAX_SEEDS = 10_000  # of one comparison: more is a slip of the finger


def studies_in(folder: Path) -> list[Path]:
    """The files of the studies that a folder is of, the last command's first."""
    first = [folder / STUDY] if (folder / STUDY).exists() else []
    return [*first, *sorted(folder.glob("study-*.yaml"))]


def _ends(seeds: str) -> tuple[int, int]:
    first, _, last = seeds.partition("-")
    return int(first), int(last or first)


def parse_seeds(text: str) -> str:
    """Checks `3` or `0-4`.

    Raises:
        ValueError: it is neither.
    """
    if not re.fullmatch(r"[0-9]+(-[0-9]+)?", text):
        raise ValueError(text)
    return text


parse_seeds.__name__ = "seed or range"  # as argparse shows it


def dry_run_setting() -> Any:
    """`--dry_run`."""
    return setting(
        False, "say what there is to run, how many labels that takes and how long, and end"
    )


def retry_failed_setting() -> Any:
    """`--retry_failed`."""
    return setting(False, "try again what could not be done before, too")


@dataclass(frozen=True, kw_only=True)
class CompareSettings:
    """What is compared, and on what.

    Raises:
        ValueError: a value that can't be meant.
    """

    # fmt: off
    methods: tuple[str, ...] = setting(tuple(name for name, method in METHODS.items() if method.by_default), "what is compared", choices=tuple(METHODS))
    labels: tuple[int, ...] = setting((20, 50, 200), "label budgets; a smaller one is the beginning of a larger one")
    seeds: tuple[str, ...] = setting(("0-4",), "seeds or ranges of seeds; intervals over fewer than 5 are not to be trusted", parse=parse_seeds)
    policies: tuple[str, ...] = setting((), "two demonstrators, the weaker one last; {seed} stands for the seed; if not given, they are trained")
    demonstrator_steps: int = setting(100_000, "steps of experience of the demonstrators that are trained here", needs="not policies")
    weaker: float = setting(0.25, "the weaker demonstrator is the first to come this share of the way to the stronger one's return", needs="not policies")
    episodes: int = setting(50, "episodes of each demonstrator, which pairs are made of")
    segment_length: int | None = setting(None, "full (whole episodes; the default) or a number of steps", parse=segment_length)
    segments: int = setting(500, "fixed-length segments that are cut from each demonstrator's episodes", needs="segment_length")
    steps: int = setting(100_000, "steps of experience of every method that acts")
    evaluation_episodes: int = setting(100, "episodes by whose true returns a policy is judged")
    out: str = setting(MISSING, "folder that everything is written to; made if missing")
    processes: int = setting(0, "how many runs at once; 0 for one per core")
    device: str = setting("cpu", "where tensors live: cpu, cuda, mps")
    dry_run: bool = dry_run_setting()
    retry_failed: bool = retry_failed_setting()
    untuned: bool = untuned_setting()
    environment: EnvSettings = part(EnvSettings)
    teacher: TeacherSettings = part(TeacherSettings)
    # fmt: on

    def __post_init__(self) -> None:
        require_above_zero(
            self, "labels", "demonstrator_steps", "weaker", "episodes", "segment_length",
            "segments", "steps", "evaluation_episodes",
        )  # fmt: skip
        if self.weaker >= 1:
            raise ValueError(f"--weaker must be below 1, not {self.weaker}")
        if self.processes < 0:
            raise ValueError(f"--processes must be at least 0, not {self.processes}")
        if self.policies and len(self.policies) != 2:
            raise ValueError(f"--policies takes two, the weaker one last, not {len(self.policies)}")
        if self.policies and not self.has_demonstrators:
            raise ValueError(f"--policies does nothing with --methods {' '.join(self.methods)}")
        ranges = [_ends(text) for text in self.seeds]
        if not all(0 <= first <= last < 2**32 for first, last in ranges):
            raise ValueError(
                f"--seeds {' '.join(self.seeds)}: a range runs upwards, from 0 or more to below 2**32"
            )
        if sum(last - first + 1 for first, last in ranges) > MAX_SEEDS:
            raise ValueError(f"--seeds {' '.join(self.seeds)} are more than {MAX_SEEDS} seeds")

    @property
    def seed_numbers(self) -> list[int]:
        """All seeds, in order."""
        ranges = map(_ends, self.seeds)
        return sorted({seed for first, last in ranges for seed in range(first, last + 1)})

    def seed_folder(self, seed: int) -> Path:
        """The folder of a seed's demonstrators and pairs."""
        return Path(self.out) / SEEDS / f"seed-{seed}"

    def random_folder(self, seed: int) -> Path:
        """The folder of what actions drawn at random reach with a seed."""
        return Path(self.out) / RANDOM / f"seed-{seed}"

    @property
    def has_demonstrators(self) -> bool:
        """Whether a method needs them."""
        return any(METHODS[name].has_demonstrators for name in self.methods)

    @property
    def when_interrupted(self) -> str:
        """What to say after Ctrl-C."""
        return f"Stopped. The same command does what is missing; {self.out} is whole."

    @property
    def without_repeats(self) -> "CompareSettings":
        """These settings, with each method, budget and range of seeds named once."""
        return replace(
            self,
            methods=tuple(dict.fromkeys(self.methods)),
            labels=tuple(sorted(set(self.labels))),
            seeds=tuple(dict.fromkeys(self.seeds)),
        )


@dataclass(frozen=True, kw_only=True)
class StudySettings:
    """Which file is run, and how.

    Raises:
        ValueError: a value that can't be meant.
    """

    # fmt: off
    study: str = setting(MISSING, "the file that says what is compared", positional=True)
    out: str = setting("", "folder that everything is written to, in place of the file's")
    processes: int | None = setting(None, "how many runs at once; if not given, as the file says, or one per core")
    device: str = setting("", "where tensors live: cpu, cuda, mps; if not given, as the file says, or cpu")
    engine: str = setting("", f"who does it: {engines_in_help()}; if not given, as the file says, or this machine")
    address: str = setting("", "of the Ray cluster, in place of the file's")
    dry_run: bool = dry_run_setting()
    # fmt: on

    def __post_init__(self) -> None:
        if self.engine not in ("", *ENGINES):
            raise ValueError(f"--engine is {listed(tuple(ENGINES), 'or')}, not {self.engine}")
        if self.processes is not None and self.processes < 0:
            raise ValueError(f"--processes must be at least 0, not {self.processes}")

    @property
    def file(self) -> Path:
        """`study`."""
        return Path(self.study)

    @property
    def when_interrupted(self) -> str:
        """What to say after Ctrl-C."""
        return "Stopped. The same command does what is missing; what is done is whole."


Own = TypeVar("Own")


def _as_tuned(own: Own, section: str, settings: CompareSettings, has_init: bool) -> Own:
    """Settings with what comes with the program for the comparison's environment.

    Args:
        section: of `prefloop/tuned`; none if empty.
        has_init: they are of what starts as a policy that is given.
    """
    if settings.untuned or not section:
        return own
    env = settings.environment
    return tuned(own, section, env.env, has_init=has_init, has_pictures=env.pixels is not None)


def demonstrator_settings(settings: CompareSettings) -> PPOSettings:
    """Settings of the PPO that trains demonstrators."""
    return _as_tuned(PPOSettings(), "ppo", settings, has_init=False)


def method_settings(method: str, settings: CompareSettings) -> Any:
    """Settings of a method before anything is changed: for the environment as in its own command, if it has one there."""
    compared = METHODS[method]
    has_init = not compared.from_scratch
    return _as_tuned(compared.settings, compared.tuned_as, settings, has_init)


def settings_by_method(settings: CompareSettings) -> dict[str, dict[str, Any]]:
    """All settings of each method, and of the demonstrators, by flag, before anything is changed."""
    trained = settings.has_demonstrators and not settings.policies
    own: dict[str, Any] = {DEMONSTRATORS: demonstrator_settings(settings)} if trained else {}
    own |= {name: method_settings(name, settings) for name in settings.methods}
    return {name: as_flat(one) for name, one in own.items()}


def tuned_flags(settings: CompareSettings) -> dict[str, dict[str, Any]]:
    """Settings by method, or demonstrators, that came with the program for the environment; nobody who has none."""
    plain = settings_by_method(replace(settings, untuned=True))
    found = {
        name: {flag: value for flag, value in flat.items() if value != plain[name][flag]}
        for name, flat in settings_by_method(settings).items()
    }
    return {name: flags for name, flags in found.items() if flags}


def run_settings(
    method: str, settings: CompareSettings, labels: int, changes: Iterable[tuple[str, Any]] = ()
) -> Any:
    """Settings of a method in a run: tuned, then changed, with what all methods share.

    Args:
        labels: of the run.
        changes: what is not as usual, by flag.

    Raises:
        ValueError: the method refuses a change; names flags.
    """
    own = with_flags(method_settings(method, settings), dict(changes))
    shared: Any = {}
    if hasattr(own, "experience"):
        shared["experience"] = replace(own.experience, steps=settings.steps)
    if hasattr(own, "questions"):
        shared["questions"] = replace(own.questions, labels=labels)
        if settings.segment_length is not None:  # it can't ask about whole episodes
            shared["questions"] = replace(
                shared["questions"], segment_length=settings.segment_length
            )
    return replace(own, **shared) if shared else own
