"""The loop around every algorithm: progress, metrics, state, and going on after a stop."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

import torch

from prefloop import run_files, runs, tracking
from prefloop.data.stepping import Stepping
from prefloop.errors import UserError
from prefloop.files import write_csv
from prefloop.policies import Policy
from prefloop.progress import Progress, progress
from prefloop.training.plans import Plan
from prefloop.training.settings import RunSettings

MAY_DIFFER_ON_RESUME = (
    "learned_in",  # follows from others, and is missing in runs of earlier versions
    "out",
    "resume",
    "track",
    "server",
    "profile",
    "run",
    "wait",
    "instructions",
    "device",
    "reward",
    "init",
    "preferences",
    "reference",
    "explore_from",
    "keep_exploration",
    "preset",
    "untuned",
    # when it ends, not what it does until then: who wants more of it goes on
    "stop_at",
    "patience",
    "checkpoint_every",
    "video_every",
    "render",
    # what follows from the settings, and was described otherwise by earlier versions
    "policy",
    "reward_model",
    "annotators",
)


# with people no two runs are alike anyway, and who has labelled so many may want to go on
MAY_DIFFER_WITH_PEOPLE = ("labels", "queue", "schedule")


def may_differ(settings: Mapping[str, Any]) -> tuple[str, ...]:
    """Which settings may be others when a run goes on.

    Args:
        settings: the run's, by flag; `run` is that of people on the labelling server.
    """
    return MAY_DIFFER_ON_RESUME + (MAY_DIFFER_WITH_PEOPLE if settings.get("run") else ())


class Learner(Protocol):
    """Something that learns in iterations, and can be put away in between."""

    @property
    def finished(self) -> bool:
        """Whether there is nothing left to learn before the last iteration."""
        ...

    def iterate(self, iteration: int) -> dict[str, float]:
        """One iteration; all its randomness follows from the seed and its number.

        Returns:
            Its row in metrics.csv, with the same names every time.
        """
        ...

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next iteration depends on: tensors and plain values."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes over what `state_dict` gave."""
        ...


@dataclass(frozen=True)
class Acting:
    """Environments that a learner acts in: its progress is counted in their steps, not in iterations.

    Attributes:
        random_steps: those at the beginning from which nothing is learned yet.
    """

    plan: Plan
    stepping: Stepping
    random_steps: int = 0

    def steps(self, iterations: int) -> int:
        """Steps of all environments in so many iterations."""
        return min(iterations * self.plan.iteration_steps, self.plan.total_steps)


@dataclass(frozen=True, kw_only=True)
class Training:
    """A learner that is ready to be turned.

    Attributes:
        learner: what the loop turns.
        iterations: how often, at most.
        show: metrics that a progress bar carries.
        acting: what it acts in, if it acts, so that progress shows while an iteration lasts.
        begin: gives the state that a new run goes on from, if there is one.
        saved: is told of each state that was saved.
    """

    learner: Learner
    iterations: int
    show: Sequence[str]
    acting: Acting | None = None
    begin: Callable[[], dict[str, Any] | None] | None = None
    saved: Callable[[dict[str, Any]], None] | None = None


@dataclass(frozen=True, kw_only=True)
class Method(Training):
    """A training of a policy.

    Attributes:
        policy: gives what was learned.
        begins_as: the policy before anything was learned.
        x, curves: metrics that are drawn over another.
    """

    policy: Callable[[], Policy]
    begins_as: Policy
    x: str
    curves: Sequence[str]


# is told of the rows so far whenever there is a new one, and of where videos go besides
Watcher = Callable[[Sequence[Mapping[str, float]], Sequence[tracking.Tracker]], None]


@dataclass(frozen=True, kw_only=True)
class Hooks:
    """Callbacks of a run while it lasts; what they do must change nothing of what is learned.

    Attributes:
        stop: says, of the rows so far, why it is to end before its last iteration; None to go on.
        watchers: are told when a run is taken up again, and after each new row.
        on_steps: is told of steps when they are done, how many; it may take its time.
    """

    stop: Callable[[list[dict[str, float]]], str | None] = lambda rows: None
    watchers: Sequence[Watcher] = ()
    on_steps: Callable[[int], None] = lambda steps: None


NO_HOOKS = Hooks()


def turn(
    training: Training,
    run: RunSettings,
    facts: Mapping[str, Any],
    *,
    quiet: bool = False,
    defaults: Mapping[str, Any] = MappingProxyType({}),
    hooks: Hooks = NO_HOOKS,
) -> list[dict[str, float]]:
    """Turns a learner until it is done, in a directory that this process has claimed.

    Args:
        run: where, and whether to go on with what is there.
        facts: what run.json is to say, `settings` among them.
        quiet: without a progress bar.
        defaults: what a setting was before there was one.

    Returns:
        The rows of metrics.csv.

    Raises:
        UserError: the directory holds another run, or can't be written; or learning diverged,
            and what stood after the last iteration stands there.
    """
    learner, iterations = training.learner, training.iterations
    directory = Path(run.out)
    rows: list[dict[str, float]] = []
    begun = reason = None
    if not run.resume:
        runs.start(directory, facts, epochs=0)
        if training.begin is not None and (begun := training.begin()) is not None:
            learner.load_state_dict(begun["learner"])
            rows = begun["rows"]
    elif state := _stopped(directory, facts, defaults):
        try:
            learner.load_state_dict(state["learner"])
        except UserError as error:
            raise runs.no_going_on(error) from None
        except (AttributeError, KeyError, RuntimeError, TypeError, ValueError):
            raise runs.no_going_on(f"{directory / run_files.STATE} is not of this run") from None
        rows = state["rows"]
        if not quiet:
            print(f"Going on after iteration {len(rows)} of {iterations}.")
    first_step = tracking.position(rows) + 1 if rows and begun is None else 0
    with (
        tracking.opened(run.track, directory, facts["settings"], first_step) as trackers,
        _progress(training, len(rows), quiet, hooks.on_steps) as bar,
    ):
        if begun is not None:
            for stop in range(1, len(rows) + 1):
                _track(trackers, rows[:stop])
            runs.save_state(directory, begun)  # first: rows without it could not be gone on with
            write_csv(directory / run_files.METRICS, rows)
        for watch in hooks.watchers if rows else ():
            watch(rows, trackers)
        while len(rows) < iterations and not (rows and learner.finished):
            if (reason := hooks.stop(rows)) is not None:
                break
            rows.append(learner.iterate(len(rows)))
            learned = learner.state_dict()
            if not _is_finite(learned):
                raise UserError(
                    f"Learning diverged: iteration {len(rows) - 1} left weights that are NaN or "
                    "infinite. Start anew with a smaller learning rate."
                )
            shown = {name: rows[-1][name] for name in training.show}
            bar.update(shown, units=0 if training.acting else 1)
            _track(trackers, rows)
            write_csv(directory / run_files.METRICS, rows)
            # last, so that a run killed between these lines does the iteration again
            state = {"learner": learned, "rows": rows}
            runs.save_state(directory, state)
            if training.saved is not None:
                training.saved(state)
            for watch in hooks.watchers:
                watch(rows, trackers)
    if reason is not None:
        print(f"Stopped after iteration {len(rows)} of {iterations}{_at(rows)}: {reason}.")
    return rows


def _track(trackers: Sequence[tracking.Tracker], rows: Sequence[Mapping[str, float]]) -> None:
    """Sends the last of the rows so far."""
    for tracker in trackers:
        tracker.log(rows[-1], step=tracking.position(rows))


@contextlib.contextmanager
def _progress(
    training: Training, done: int, quiet: bool, on_steps: Callable[[int], None]
) -> Iterator[Progress]:
    """A bar of steps where the learner acts, else of iterations.

    Args:
        done: iterations that are over.
    """
    acting = training.acting
    if acting is None:
        with progress(training.iterations, "iterations", done, quiet) as bar:
            yield bar
        return
    total = acting.plan.total_steps
    with progress(total, "steps", acting.steps(done), quiet, acting.random_steps) as bar:

        def told(steps: int) -> None:
            bar.update(units=steps)
            on_steps(steps)

        acting.stepping.on_steps = told
        yield bar


def _at(rows: Sequence[Mapping[str, float]]) -> str:
    return f", at step {rows[-1]['steps']:.0f}" if "steps" in rows[-1] else ""


def _stopped(
    directory: Path, facts: Mapping[str, Any], defaults: Mapping[str, Any]
) -> dict[str, Any] | None:
    others = may_differ(facts["settings"])
    return runs.resume(directory, facts, others, {"learner", "rows"}, defaults)


def _is_finite(state: Any) -> bool:
    """Whether all tensors in it are, however deep they stand."""
    if isinstance(state, torch.Tensor):
        return bool(torch.isfinite(state).all())
    if isinstance(state, Mapping):
        return all(map(_is_finite, state.values()))
    return not isinstance(state, (list, tuple)) or all(map(_is_finite, state))
