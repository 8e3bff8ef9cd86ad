"""Runs policy checkpoints and reports their true returns: for students one, for graders many.

python rollout_policy.py --checkpoint ./rlhf/policy_checkpoint49.params --num_rollouts 5 --render
"""

import glob
import math
import sys
from collections.abc import Sequence
from dataclasses import MISSING, dataclass, field
from pathlib import Path
from typing import Any

from prefloop.command_line import parse_settings
from prefloop.settings import require_above_zero, require_seed, setting
from prefloop.startup import import_quickly


@dataclass(frozen=True)
class Settings:
    """What to run and how to report it, and the flags.

    Raises:
        ValueError: a value that can't be used.
    """

    # fmt: off
    checkpoint: tuple[str, ...] = setting(MISSING, "policy checkpoints; of a folder, its last one; patterns with * are filled in")
    num_rollouts: int = setting(5, "episodes of each policy")
    env: str = setting("CartPole-v0", "environment to run in", "--env_name")
    seed: int = setting(0, "same seed, same returns")
    activation: str | None = setting(None, "of the policies' hidden layers; if not given, what run.json beside them says, or else relu", choices=("relu", "tanh"))
    greedy: bool = setting(False, "take the most probable action instead of sampling one")
    render: bool = setting(False, "show every episode, one at a time; without a display, save videos; of several policies, each with its number")
    video_dir: str = setting("videos", "where --render saves videos")
    min_return: float | None = setting(None, "name who has a lower average, and exit with 1")
    json: str = setting("", "file to write everything to that was measured")
    gradescope: str = setting("", "file for Gradescope's results.json: a point for each policy that reaches --min_return, or else what the environment counts as solved")
    # fmt: on

    def __post_init__(self) -> None:
        require_above_zero(self, "num_rollouts")
        require_seed(self.seed)
        if self.min_return is not None and not math.isfinite(self.min_return):
            raise ValueError(f"--min_return must be a number, not {self.min_return}")


DESCRIPTION = """Runs policies in the environment and reports each return, the average, its standard
error and 95 % interval."""
EPILOG = """Exit code: 0 when all ran (and reached --min_return); 1 when one fell short of
--min_return, or one of several could not be run; 2 when nothing could be run. To grade:
python rollout_policy.py --checkpoint 'submissions/*/rlhf' --num_rollouts 100 --min_return 180
--gradescope results.json"""

if __name__ == "__main__":
    # before PyTorch is loaded: --help and a wrong flag answer at once
    asked_for = parse_settings(Settings, description=DESCRIPTION, epilog=EPILOG)
    import_quickly("torch", "gymnasium", "scipy.special")

import torch
from tqdm import tqdm

from prefloop.checkpoints import policy_file
from prefloop.envs.make import make_env
from prefloop.envs.registered import return_bounds, return_threshold
from prefloop.envs.spaces import policy_sizes
from prefloop.policies import Policy
from prefloop.policy_files import load_mlp
from prefloop.errors import UserError, one_sentence_errors
from prefloop.evaluation.evaluate import acting_in_episode, env_seed, evaluate
from prefloop.evaluation.statistics import UNBOUNDED, Bounds, MeanEstimate, mean_estimate
from prefloop.files import require_writable, write_json


@dataclass(frozen=True)
class Result:
    """What one checkpoint did, or why it could not be run."""

    checkpoint: str
    returns: list[float] = field(default_factory=list)
    error: str = ""
    bounds: Bounds = UNBOUNDED  # of a return, where they are known

    @property
    def estimate(self) -> MeanEstimate:
        """The average return and how far to trust it."""
        return mean_estimate(self.returns, self.bounds)

    def reaches(self, min_return: float) -> bool:
        """Whether it ran and its average is high enough."""
        return not self.error and self.estimate.mean >= min_return

    def summary(self) -> str:
        """One sentence for a person."""
        if self.error:
            return self.error
        e = self.estimate
        rollouts = f"{len(self.returns)} rollout{'s' * (len(self.returns) > 1)}"
        if len(self.returns) < 2:
            return f"average return {e.mean:.1f} over {rollouts}"
        return (
            f"average return {e.mean:.1f} over {rollouts} "
            f"(standard error {e.standard_error:.1f}, 95 % interval {e.low:.1f} to {e.high:.1f})"
        )


def roll_out(
    path: Path, sizes: tuple[int, int], settings: Settings, number: int | None = None
) -> Result:
    """Runs one checkpoint. Whatever is wrong with it becomes a sentence in the result.

    Args:
        sizes: the environment's size of an observation and number of actions.
        number: of this checkpoint among several; None: it is the only one.
    """
    try:
        if path.is_dir():
            raise UserError(f"{path} is a directory without a policy checkpoint.")
        policy = load_mlp(path, *sizes, settings.activation)
        if settings.render:
            returns = watch(policy, path, settings, number)
        else:
            returns = evaluate(
                policy, settings.env, settings.num_rollouts, settings.seed, settings.greedy
            ).tolist()
        return Result(str(path), returns, bounds=return_bounds(settings.env))
    except UserError as error:
        return Result(str(path), error=str(error))
    except Exception as error:  # a stranger's file must not stop the others from being graded
        return Result(str(path), error=f"{path} could not be run: {type(error).__name__}: {error}")


def watch(policy: Policy, path: Path, settings: Settings, number: int | None) -> list[float]:
    """Plays the episodes one at a time, in a window or into videos."""
    from prefloop.evaluation.videos import watch_episode

    # of a class, folders and files have the same names
    name = f"{'' if number is None else f'{number}-'}{path.parent.name}_{path.stem}"
    returns = []
    for i in range(settings.num_rollouts):
        video_path = Path(settings.video_dir) / f"{name}_rollout{i}.mp4"
        # an episode is the same, watched or not
        act = acting_in_episode(policy, settings.seed, i, settings.greedy)
        seed = env_seed(settings.seed, i)
        episode_return, video = watch_episode(settings.env, act, seed, video_path)
        returns.append(episode_return)
        if video:
            print(f"rollout {i}: saved as {video}")
    return returns


def print_one(result: Result) -> None:
    """Every return, then the average."""
    if result.error:
        raise UserError(result.error)
    for i, episode_return in enumerate(result.returns):
        print(f"rollout {i}: return {episode_return:g}")
    print(result.summary())


def main(settings: Settings) -> int:
    """Runs all checkpoints and reports; returns the exit code."""
    sizes = policy_sizes(make_env(settings.env))  # a wrong environment is no checkpoint's fault
    needed = settings.min_return
    if needed is None and settings.gradescope:
        needed = return_threshold(settings.env)
        if needed is None:
            raise UserError(f"{settings.env} names no return that solves it: give --min_return.")
    for file in filter(None, (settings.json, settings.gradescope)):
        require_writable(Path(file))
    paths = find_checkpoints(settings.checkpoint)
    many = len(paths) > 1
    bar = tqdm(paths, desc="rolling out", disable=None if many and not settings.render else True)
    results = [roll_out(path, sizes, settings, i if many else None) for i, path in enumerate(bar)]

    min_return = settings.min_return
    if settings.json:
        write_json(Path(settings.json), as_json(results, settings))
    if settings.gradescope:
        assert needed is not None
        write_json(Path(settings.gradescope), as_gradescope(results, needed))
    if many:
        print_table(results, min_return)
    else:
        print_one(results[0])

    if all(result.error for result in results):
        return 2
    fell_short = [r for r in results if min_return is not None and not r.reaches(min_return)]
    for result in fell_short:
        reason = result.error or f"{result.checkpoint}: {result.summary()}"
        print(
            f"{'Could not be run' if result.error else f'Below {min_return:g}'}: {reason}",
            file=sys.stderr,
        )
    return int(bool(fell_short) or any(result.error for result in results))


# Behind it: which files are meant, and what graders get.


def find_checkpoints(patterns: Sequence[str]) -> list[Path]:
    """Fills in patterns (not every shell does) and takes the last checkpoint of each folder.

    A folder without any stays in the list: it gets its reason in the table. What exists under its
    own name is no pattern, and a folder may have brackets in its name.
    """
    paths = []
    for pattern in patterns:
        found = _filled_in(_beginning_escaped(pattern)) or _filled_in(pattern.replace("[", "[[]"))
        paths += [Path(path) for path in sorted(found) or [pattern]]
    return [policy_file(path) for path in paths]


def _beginning_escaped(pattern: str) -> str:
    """A pattern whose beginning, as far as it exists under its own name, stands for that alone."""
    parts = Path(pattern).parts
    existing = [i for i in range(len(parts) + 1) if Path(*parts[:i]).exists()]
    literal = glob.escape(str(Path(*parts[: existing[-1]])))
    return str(Path(literal, *parts[existing[-1] :]))


def _filled_in(pattern: str) -> list[str]:
    """What a pattern stands for; what it asks for in a folder that lacks it, too.

    So who has no rlhf/ is in the table of 'submissions/*/rlhf', with the reason.
    """
    found = glob.glob(pattern)
    parent, name = Path(pattern).parent, Path(pattern).name
    if glob.has_magic(str(parent)) and not glob.has_magic(name):
        folders = [Path(folder) for folder in glob.glob(str(parent)) if Path(folder).is_dir()]
        found += [str(folder / name) for folder in folders if not (folder / name).exists()]
    return found


def print_table(results: Sequence[Result], min_return: float | None) -> None:
    """One line per checkpoint, in the order they were named."""
    width = max(len(result.checkpoint) for result in results)
    print(f"{'checkpoint':{width}}  average  std.err.  95 % interval")
    for result in results:
        e = None if result.error else result.estimate
        if e is None:
            figures = f"      -         -  {result.error}"
        elif len(result.returns) < 2:
            figures = f"{e.mean:7.1f}         -  -"
        else:
            figures = f"{e.mean:7.1f}  {e.standard_error:8.2f}  {e.low:6.1f} to {e.high:6.1f}"
        short = min_return is not None and e is not None and e.mean < min_return
        print(f"{result.checkpoint:{width}}  {figures}{'  fell short' * short}")


def as_json(results: Sequence[Result], settings: Settings) -> dict[str, Any]:
    """Everything that was measured; what can't be known is null."""

    def finite(values: dict[str, float]) -> dict[str, float | None]:
        return {k: v if math.isfinite(v) else None for k, v in values.items()}

    return {
        "env": settings.env,
        "seed": settings.seed,
        "greedy": settings.greedy,
        "num_rollouts": settings.num_rollouts,
        "min_return": settings.min_return,
        "results": [
            {"checkpoint": r.checkpoint, "error": r.error}
            if r.error
            else {
                "checkpoint": r.checkpoint,
                "error": None,
                **finite(vars(r.estimate)),
                "returns": r.returns,
            }
            for r in results
        ],
    }


def as_gradescope(results: Sequence[Result], min_return: float) -> dict[str, Any]:
    """Gradescope's results.json: a test of one point for each checkpoint.

    Source: https://gradescope-autograders.readthedocs.io/en/latest/specs/#output-format
    """
    return {
        "output": f"A policy passes with an average return of at least {min_return:g}.",
        "tests": [
            {
                "name": result.checkpoint,
                "score": float(result.reaches(min_return)),
                "max_score": 1.0,
                "status": "passed" if result.reaches(min_return) else "failed",
                "output": result.summary(),
            }
            for result in results
        ],
    }


if __name__ == "__main__":
    torch.set_num_threads(1)  # on networks this small, a second thread costs more than it does
    with one_sentence_errors("rollout_policy.py"):
        sys.exit(main(asked_for))
