"""Grades a student's folder: code by behaviour, policies by rollouts.

    python -m course.grade submissions/ada --gradescope results.json
    python -m course.grade submissions/*.zip --gradescope grades --csv grades.csv

The student's code runs in processes of its own, in a copy of the folder, with limits on time and
memory. It is asked for numbers only; which numbers are right is known here, so a result that it
prints or writes earns nothing. docs/course.md says what this does not guard against.
"""

import signal
import sys
from dataclasses import MISSING, dataclass
from pathlib import Path

from course.grades import SEED
from prefloop.command_line import parse_settings
from prefloop.settings import require_above_zero, require_seed, setting


@dataclass(frozen=True)
class Settings:
    """What is graded and where the grades go, and the flags.

    Raises:
        ValueError: a value that can't be used.
    """

    # fmt: off
    folder: tuple[str, ...] = setting(MISSING, "folders or zip files of students, each with utils.py, offline_reward_learning.py, reward.params, synthetic/ and rlhf/, or with one folder that has them", positional=True)
    num_rollouts: int = setting(100, "episodes of each policy, at least 2")
    seconds: float = setting(120.0, "of computing, for each question to the code; waiting for a core does not count")
    memory_gib: float = setting(2.0, "for each question to the code; on Linux")
    seed: int = setting(SEED, "of the rule that learn_reward has to find; choose your own and keep it to yourself")
    activation: str | None = setting(None, "of the policies' hidden layers; if not given, what run.json beside them says, or else relu", choices=("relu", "tanh"))
    gradescope: str = setting("", "write Gradescope's results.json; of several students, or where the name does not end in .json, into this folder, a file each")
    csv: str = setting("", "write a table with a row for each student")
    json: str = setting("", "write all checks as they are")
    # fmt: on

    def __post_init__(self) -> None:
        require_above_zero(self, "num_rollouts", "seconds", "memory_gib")
        require_seed(self.seed)
        if self.num_rollouts < 2:
            raise ValueError(f"--num_rollouts must be at least 2, not {self.num_rollouts}")


DESCRIPTION = """Grades students' folders: Net and learn_reward by what they do, the checkpoints by
rollouts. Students' code runs in limited processes of its own."""
EPILOG = """Prints every check of a single student, and of several a table. Exit code: 0 when all were
graded, 1 when one of several could not be, 2 when the only one could not be. Details: docs/course.md."""

if __name__ == "__main__":
    # before PyTorch is loaded: --help and a wrong flag answer at once
    parse_settings(Settings, description=DESCRIPTION, epilog=EPILOG)

from tqdm import tqdm

from course.checks import NAMES, grade
from course.grades import (
    Check,
    as_gradescope,
    as_json,
    as_row,
    file_names,
    print_checks,
    print_table,
)
from course.sandbox import Limits, hide_from_students, notice_of_rights
from course.submissions import opened
from prefloop.errors import UserError, one_sentence_errors
from prefloop.files import require_writable, write_csv, write_json
from prefloop.words import listed


def grade_all(settings: Settings) -> tuple[dict[str, list[Check] | str], Exception | None]:
    """Grades each student.

    Returns:
        The checks of each, or why there are none, by what was named; and what kept the only one from
        being graded, if anything did.
    """
    limits = Limits(settings.seconds, settings.memory_gib)
    graded: dict[str, list[Check] | str] = {}
    paths = students(settings)
    stopped: Exception | None = None
    for path in tqdm(paths, desc="grading", disable=None if len(paths) > 1 else True):
        try:
            with opened(Path(path)) as folder:
                graded[path] = grade(
                    folder, limits, settings.num_rollouts, settings.seed, settings.activation
                )
        except UserError as error:
            graded[path], stopped = str(error), error
        except Exception as error:  # of one's work must not stop the others from being graded
            graded[path] = f"{path} could not be graded: {type(error).__name__}: {error}"
            stopped = error
    return graded, stopped if len(paths) == 1 else None


def students(settings: Settings) -> list[str]:
    """What was named, each once."""
    return list(dict.fromkeys(settings.folder))


def main() -> None:
    """Reads the command line, grades and reports.

    Raises:
        SystemExit: as `EPILOG` says; 2 after a user's mistake.
    """
    settings = parse_settings(Settings, description=DESCRIPTION, epilog=EPILOG)
    # so that what is under way is ended, too
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        with one_sentence_errors("course.grade"):
            hide_from_students()
            if notice := notice_of_rights():
                print(f"course.grade: {notice}", file=sys.stderr)
            sys.exit(report(settings))
    finally:
        signal.signal(signal.SIGTERM, before)


def report(settings: Settings) -> int:
    """Grades all and reports; returns the exit code.

    Raises:
        UserError: a single student can't be graded, or a file can't be written.
    """
    places = gradescope_files(settings)
    for path in (*map(Path, filter(None, (settings.json, settings.csv))), *places):
        require_writable(path)
    graded, stopped = grade_all(settings)
    many = len(graded) > 1
    if many:
        print_table(graded)
    elif stopped is None:
        print_checks(next(iter(graded.values())))
    if settings.json:
        content = {
            path: {"error": x} if isinstance(x, str) else as_json(x) for path, x in graded.items()
        }
        write_json(Path(settings.json), content if many else next(iter(content.values())))
    if settings.csv:
        write_csv(
            Path(settings.csv), [as_row(path, checks, NAMES) for path, checks in graded.items()]
        )
    for place, checks in zip(places, graded.values(), strict=bool(places)):
        write_json(place, as_gradescope(checks))
    if written := [x for x in (settings.json, settings.csv, settings.gradescope) if x]:
        print(f"Wrote {listed(written)}.")
    if stopped is not None:  # only now: Gradescope shows no reason where there is no file
        raise stopped
    return int(any(isinstance(checks, str) for checks in graded.values()))


def gradescope_files(settings: Settings) -> list[Path]:
    """Where each student's results for Gradescope go; a folder for them is made.

    Raises:
        UserError: one file is named for several students, or the folder can't be made.
    """
    if not settings.gradescope:
        return []
    named, paths = Path(settings.gradescope), students(settings)
    if named.suffix.lower() == ".json" and not named.is_dir():
        if len(paths) > 1:
            raise UserError(
                f"--gradescope {named} is one file, and there are {len(paths)} students; name a folder."
            )
        return [named]
    try:
        named.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise UserError(
            f"--gradescope {named} is a file; name a folder, or a file that ends in .json."
        ) from None
    except OSError as error:
        raise UserError(f"Can't make the folder {named}: {error.strerror}.") from None
    return [named / f"{name}.json" for name in file_names(paths)]


if __name__ == "__main__":
    main()
