"""What one process does for a comparison: a seed's demonstrators and pairs, or one run."""

import contextlib
import functools
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from prefloop import checkpoints, policy_files, run_files, runs
from prefloop.data import dataset
from prefloop.data.preferences import Preferences
from prefloop.data.segments import Segments
from prefloop.data.stepping import Rollout
from prefloop.devices import usable_device, use_one_thread
from prefloop.envs.make import make_vector_env
from prefloop.envs.registered import return_bounds, without_early_end
from prefloop.envs.spaces import Spaces, spaces_of
from prefloop.errors import CanNotGoOnError, UserError
from prefloop.evaluation.evaluate import evaluate
from prefloop.evaluation.statistics import mean_estimate
from prefloop.files import LOCK, claimed_directory, read_json, write_json
from prefloop.policies import FunctionPolicy, Policy
from prefloop.queries.selection import number_of_pairs
from prefloop.rewards.settings import RewardSettings
from prefloop.rewards.training import fit, make_model
from prefloop.run_files import EXPLORATIONS, PREFERENCES
from prefloop.seeding import Stream, generator, integer
from prefloop.settings import as_flat
from prefloop.sweeps.cells import Cell
from prefloop.sweeps.methods import METHODS
from prefloop.sweeps.settings import (
    LOG,
    PREPARED,
    RESULT,
    STRONG,
    WEAK,
    CompareSettings,
    demonstrator_settings,
    run_settings,
)
from prefloop.teachers.simulated import SimulatedTeacher
from prefloop.training import demonstrations as demos
from prefloop.training import loop, outputs
from prefloop.training.kept_exploration import KeptExploration, depends_on
from prefloop.training.on_policy import (
    RewardOfRollout,
    act_and_improve,
    from_model,
    make_ppo,
    stepping_in,
    true_reward,
)
from prefloop.training.plans import Plan
from prefloop.training.settings import (
    ExperienceSettings,
    PebbleSettings,
    RunSettings,
)
from prefloop.words import counted

IN_VAIN = 4000  # pairs that are shown before a teacher is given up who skipped all of them
SPENT = "seconds.json"  # in the folder of a run that may go on: how long it has taken so far


def play_at_random(settings: CompareSettings, seed: int) -> None:
    """Measures what a normalised score of 0 is: actions drawn uniformly, judged as all methods are."""
    envs = make_vector_env(settings.environment, 1)
    spaces, rng = spaces_of(envs), generator(seed, Stream.POLICY)

    def draw(obs: NDArray) -> NDArray:
        if spaces.discrete:
            return rng.integers(spaces.num_actions, size=len(obs))
        low, high = spaces.finite_bounds
        return rng.uniform(low, high, (len(obs), len(low))).astype(np.float32)

    judged = _judge(settings, FunctionPolicy(draw, "actions at random"), seed)
    write_json(settings.random_folder(seed) / RESULT, judged)


def prepare(settings: CompareSettings, seed: int) -> None:
    """Makes a seed's demonstrators and labelled pairs, as far as they are missing.

    Raises:
        ClaimedError: another process is at it.
        UserError: the environment or the given policies can't be used.
    """
    use_one_thread()
    folder = settings.seed_folder(seed)
    with claimed_directory(folder):
        _prepare(settings, seed, folder)


def _prepare(settings: CompareSettings, seed: int, folder: Path) -> None:
    """Makes them, as `prepare`, in a folder that this process has claimed."""
    if not (folder / PREPARED).exists():
        demonstrators = _demonstrators(settings, seed)
        returns = {}
        for name, policy in demonstrators.items():
            place = folder / name
            place.mkdir(exist_ok=True)
            facts = outputs.facts("compare", settings.environment, policy)
            write_json(place / run_files.FACTS, {**facts, "versions": checkpoints.versions()})
            checkpoints.save(place / run_files.POLICY, policy.state_dict())
            returns[name] = _judge(settings, policy, seed)
        shutil.rmtree(folder / PREFERENCES, ignore_errors=True)  # of an attempt that was killed
        write_json(folder / PREPARED, returns)
    segments = _segments(settings, seed)
    teacher = demos.make_teacher(
        settings.teacher.teacher, segments, seed, settings.teacher.overrides
    )
    facts = {"program": "prefloop compare", **settings.environment.facts}
    _ask(folder / PREFERENCES, segments, max(settings.labels), teacher, facts, seed)


def _ask(
    place: Path,
    segments: Segments,
    labels: int,
    teacher: SimulatedTeacher,
    facts: Mapping[str, Any],
    seed: int,
) -> None:
    """Fills a dataset until it holds so many answers: skipped pairs are shown, but don't count.

    Raises:
        UserError: as `ask_for_pairs`; or the teacher skips too many.
    """
    possible = number_of_pairs(len(segments))
    answered, shown = 0, labels
    if not dataset.is_empty(place):
        known = dataset.read(place)
        answered, shown = len(known.answered), max(shown, len(known))
    while answered < labels:
        resume = dataset.exists(place)
        known = demos.ask_for_pairs(place, segments, shown, teacher, facts, seed, resume=resume)
        answered = len(known.answered)
        if answered < labels and (shown == possible or (shown >= IN_VAIN and not answered)):
            all_of = "" if shown < possible else f", all that {len(segments)} segments make"
            raise UserError(
                f"Of {shown} pairs{all_of}, the teacher skipped {shown - answered}, so that there are "
                f"{counted(answered, 'answer')}, not {labels}; lower --skip_below, choose another --teacher, or give it more --episodes."
            )
        # each turn labels all of them again, so where answers are few there must not be many turns
        are_few = 2 * answered < shown
        shown = min(shown + max(labels - answered, shown * are_few), possible)


def run_cell(settings: CompareSettings, cell: Cell) -> None:
    """Trains one method with one budget and one seed, and judges what came of it.

    A method that acts goes on where it was stopped, whoever stopped it; others take seconds.

    Raises:
        UserError: its labels say nothing about what is better, or it can't be done otherwise.
    """
    use_one_thread()
    start = time.monotonic()
    directory = Path(settings.out) / cell.folder
    goes_on = not METHODS[cell.method].is_quick and (directory / run_files.STATE).exists()
    before = _spent(directory) if goes_on else 0.0
    with runs.claimed(directory, resume=False):
        try:
            policy = _train(settings, cell, directory, goes_on, start - before)
        except CanNotGoOnError as error:
            # whatever else it is, a full disk for instance, the same command goes on after it
            print(f"It begins anew, since it can't go on: {error}")
            before, start = 0.0, time.monotonic()
            policy = _train(settings, cell, directory, False, start)
        checkpoints.save(directory / run_files.POLICY, policy.state_dict())
        judged = _judge(settings, policy, cell.seed)
        result = {
            "method": cell.method,
            "labels": cell.labels,
            "seed": cell.seed,
            **judged,
            "seconds": round(before + time.monotonic() - start, 2),
        }
        write_json(directory / RESULT, result)


def _train(
    settings: CompareSettings, cell: Cell, directory: Path, goes_on: bool, start: float
) -> Policy:
    """Trains a method with the run's settings, as its command does, and gives its policy.

    Args:
        start: when it began, as `time.monotonic` counts, and as if it had never been stopped.
    """
    if not goes_on:
        _clear(directory)
    with contextlib.ExitStack() as stack:
        compared = METHODS[cell.method]
        own = run_settings(cell.method, settings, cell.labels, cell.changes)
        bench = Bench(settings, cell, own, directory, stack, goes_on)
        method = compared.make(bench, own)
        run = RunSettings(
            out=str(directory), seed=cell.seed, device=settings.device, resume=goes_on
        )
        env = settings.environment
        facts = outputs.facts(f"compare, {cell.method}", env, method.begins_as)
        facts |= {"settings": {**as_flat(own), **as_flat(run)}}
        if bench.learns_in != env:  # "env" is what it is judged in
            facts["learned_in"] = bench.learns_in.facts

        def watch(rows: Sequence[Any], trackers: Sequence[Any]) -> None:
            write_json(directory / SPENT, {"seconds": time.monotonic() - start})

        loop.turn(method, run, facts, quiet=True, hooks=loop.Hooks(watchers=(watch,)))
        return method.policy()


def _spent(directory: Path) -> float:
    """Seconds that a run took before it was stopped; a kill may have come before they were written."""
    file = directory / SPENT
    return float(read_json(file).get("seconds", 0.0)) if file.exists() else 0.0


def _clear(directory: Path) -> None:
    """Removes what an earlier attempt left, but for the log, which is being written."""
    for path in directory.iterdir():
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        elif path.name not in (LOG, LOCK):
            path.unlink(missing_ok=True)


class Bench:
    """What a method gets in one run of a comparison.

    Attributes:
        env, teacher: as they were asked for.
        learns_in: the same environment, without early ends where the method learns without them.
        seed, device: of the run.
        program: what the run is of, as run.json names it.
        directory: the run's.
        stack: what is put on it is closed after the run.
        goes_on: the run was stopped, and its directory holds what it had come to.
        weak_file: of the weaker demonstrator.
    """

    def __init__(
        self,
        settings: CompareSettings,
        cell: Cell,
        own: Any,
        directory: Path,
        stack: contextlib.ExitStack,
        goes_on: bool = False,
    ) -> None:
        """Makes nothing yet.

        Args:
            own: settings of the method, in this run.
        """
        self._settings, self._cell = settings, cell
        self.env, self.teacher = settings.environment, settings.teacher
        self.learns_in = self.env
        if METHODS[cell.method].learns_without_ends:  # a control would be paid for surviving
            absorbs = own.experience.absorb_termination
            self.learns_in = without_early_end(self.env, absorbs)
        self._reward: RewardSettings = getattr(own, "reward", RewardSettings())
        self.seed, self.device = cell.seed, usable_device(settings.device)
        self.program = f"prefloop compare, {cell.method}"
        self.directory, self.stack, self.goes_on = directory, stack, goes_on
        self.weak_file = settings.seed_folder(cell.seed) / WEAK / run_files.POLICY

    @functools.cached_property
    def weak(self) -> Policy:
        """The weaker demonstrator, whom every method begins as that does not begin from scratch."""
        return _load(self._settings, self.seed, WEAK)

    def kept_exploration(self, own: PebbleSettings, states: Any) -> KeptExploration | None:
        """Where what all of PEBBLE's variants explore alike, whatever the budget, is kept for each other."""
        if not own.exploration.explores:
            return None
        device = self._settings.device
        facts = depends_on(own, self.learns_in, self.env, states, self.seed, device)
        home = Path(self._settings.out) / EXPLORATIONS
        return KeptExploration.under(home, facts, own.exploration_iterations, quiet=True)

    def answers(self) -> Preferences:
        """The first answers, as many as the budget; nothing of them depends on larger budgets.

        Raises:
            UserError: there are fewer; or they say nothing about what is better.
        """
        place = self._settings.seed_folder(self.seed) / PREFERENCES
        answered = dataset.read(place).answered
        if len(answered) < self._cell.labels:
            raise UserError(
                f"{place} holds {counted(len(answered), 'answer')}, fewer than the {self._cell.labels} of this run."
            )
        first = answered[slice(0, self._cell.labels)].compact
        first.require_something_to_learn()
        return first

    def reward(self, name: str, spaces: Spaces) -> RewardOfRollout:
        """What an agent improves on, by its name: `true`, `learned`, or one of `methods.CONTROLS`."""
        rewards: dict[str, Callable[[Spaces], RewardOfRollout]] = {
            "true": lambda spaces: true_reward,
            "learned": self._learned,
            "constant": lambda spaces: _constant,
            "flipped": self._flipped,
            "random": self._random,
        }
        return rewards[name](spaces)

    def _learned(self, spaces: Spaces) -> RewardOfRollout:
        """A reward fitted to the run's answers."""
        model = make_model(spaces, self._reward, self.seed)
        model, _ = fit(model, self.answers(), self._reward, self.seed, self.device)
        return from_model(model)

    def _flipped(self, spaces: Spaces) -> RewardOfRollout:
        """The learned reward with its sign turned."""
        learned = self._learned(spaces)
        return lambda rollout: -learned(rollout)

    def _random(self, spaces: Spaces) -> RewardOfRollout:
        """An untrained network."""
        model = make_model(spaces, self._reward, self.seed)
        # of the whole pool: what is asked about depends on the budgets, and this control on none
        model.set_scale(_segments(self._settings, self.seed))
        return from_model(model.to(self.device))


def _constant(rollout: Rollout) -> NDArray:
    """A reward of 1 for every step."""
    return np.ones(rollout.valid.shape)


def _segments(settings: CompareSettings, seed: int) -> Segments:
    """Segments that a seed's pairs are made of; the same ones whenever they are asked for."""
    envs = make_vector_env(settings.environment, min(settings.episodes, 64))
    acting = [_load(settings, seed, name) for name in (STRONG, WEAK)]
    trajectories = demos.act(envs, acting, settings.episodes, seed)
    return demos.as_segments(trajectories, settings.segment_length, settings.segments, seed)


def _judge(settings: CompareSettings, policy: Policy | FunctionPolicy, seed: int) -> dict[str, Any]:
    """True returns of a policy in episodes that all methods of a seed are judged by."""
    returns = evaluate(policy, settings.environment, settings.evaluation_episodes, seed)
    estimate = mean_estimate(returns, return_bounds(settings.environment))
    return {"mean_return": estimate.mean, "low": estimate.low, "high": estimate.high}


def _demonstrators(settings: CompareSettings, seed: int) -> dict[str, Policy]:
    """The two policies that were given, or a well-trained one and one from early on its way."""
    if settings.policies:
        envs = make_vector_env(settings.environment, 1)
        files = [Path(text.replace("{seed}", str(seed))) for text in settings.policies]
        return dict(
            zip((STRONG, WEAK), (policy_files.load(file, envs) for file in files), strict=True)
        )
    seed = integer(seed, Stream.DEMONSTRATIONS)  # it is not to see what it will be compared in
    every = ExperienceSettings().rollout_steps * ExperienceSettings().num_envs
    plan = Plan.of(ExperienceSettings(steps=settings.demonstrator_steps, iteration_steps=every))
    stepping = stepping_in(settings.environment, plan.num_envs)
    ppo = make_ppo(stepping, demonstrator_settings(settings), seed, torch.device("cpu"))
    on_the_way = [ppo.acting_policy]
    for iteration in range(plan.iterations):
        act_and_improve(ppo, stepping, true_reward, plan, seed, iteration)
        on_the_way.append(ppo.acting_policy)

    def mean_return(policy: Policy) -> float:
        return float(evaluate(policy, settings.environment, 30, seed).mean())

    first, last = mean_return(on_the_way[0]), mean_return(on_the_way[-1])
    if last <= first:
        raise UserError(
            f"The demonstrator learned nothing in {settings.demonstrator_steps} steps "
            f"(return {last:.1f}, at first {first:.1f}); give it more --demonstrator_steps, or give "
            "--policies."
        )
    wanted = first + settings.weaker * (last - first)
    weak = next(policy for policy in on_the_way if mean_return(policy) >= wanted)
    return {STRONG: on_the_way[-1], WEAK: weak}


def _load(settings: CompareSettings, seed: int, name: str) -> Policy:
    file = settings.seed_folder(seed) / name / run_files.POLICY
    return policy_files.load(file, make_vector_env(settings.environment, 1))
