"""What one process does for a comparison: a seed's demonstrators and pairs, or one run."""

import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from prefloop import checkpoints, policies, runs
from prefloop.agents.behaviour_cloning import BehaviourCloning
from prefloop.agents.dpo import DPO
from prefloop.agents.rollout import RewardFunction, true_reward
from prefloop.agents.settings import AIRLSettings, BCSettings, DPOSettings, PPOSettings
from prefloop.data import dataset
from prefloop.data.preferences import Preferences
from prefloop.data.segments import Segments
from prefloop.devices import usable_device
from prefloop.envs import make_vector_env, return_bounds, step_sizes
from prefloop.errors import UserError
from prefloop.evaluation.evaluate import evaluate
from prefloop.evaluation.statistics import mean_estimate
from prefloop.files import read_json, write_json
from prefloop.policies import Policy
from prefloop.rewards.settings import RewardSettings
from prefloop.rewards.training import fit, make_model
from prefloop.seeding import Stream, integer
from prefloop.sweeps.compare import Cell
from prefloop.sweeps.settings import RESULT, CompareSettings, pref_ppo_settings
from prefloop.training import demonstrations as demos
from prefloop.training import loop, outputs, pref_ppo
from prefloop.training.airl import AIRL
from prefloop.training.on_policy import OnPolicyTraining, from_model, improve, make_ppo
from prefloop.training.plans import num_iterations
from prefloop.training.settings import ExperienceSettings, RunSettings

STRONG, WEAK = "strong", "weak"
PREPARED = "prepared.json"


def prepare(settings: CompareSettings, seed: int) -> None:
    """Makes a seed's demonstrators and labelled pairs, as far as they are missing.

    Raises:
        UserError: the environment or the given policies can't be used.
    """
    torch.set_num_threads(1)  # on networks this small, a second thread costs more than it does
    folder = _seed_folder(settings, seed)
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / PREPARED).exists():
        demonstrators = _demonstrators(settings, seed)
        returns = {}
        for name, policy in demonstrators.items():
            place = folder / name
            place.mkdir(exist_ok=True)
            facts = outputs.facts("compare", settings.env, policy)
            write_json(place / runs.FACTS, {**facts, "versions": checkpoints.versions()})
            checkpoints.save(place / outputs.POLICY, policy.state_dict())
            returns[name] = _judge(settings, policy, seed)
        shutil.rmtree(folder / "preferences", ignore_errors=True)  # of an attempt that was killed
        write_json(folder / PREPARED, returns)
    segments = _segments(settings, seed)
    teacher = demos.make_teacher(settings.teacher, segments, seed, settings.teacher_overrides())
    place = folder / "preferences"
    answered, shown = 0, max(settings.labels)
    if not dataset.is_empty(place):
        known = dataset.read(place)
        answered, shown = len(known.answered), max(shown, len(known))
    while answered < max(settings.labels):
        # skipped queries are shown, but don't count as labels
        known = demos.ask_for_pairs(
            place,
            segments,
            shown,
            teacher,
            {"program": "prefloop compare", "env": settings.env},
            seed,
            resume=dataset.exists(place),
        )
        answered = len(known.answered)
        shown += max(settings.labels) - answered


def run_cell(settings: CompareSettings, cell: Cell) -> None:
    """Trains one method with one budget and one seed, and judges what came of it.

    Raises:
        UserError: its labels say nothing about what is better.
    """
    torch.set_num_threads(1)
    start = time.monotonic()
    directory = Path(settings.out) / cell.folder
    # a run that was killed is done again: it takes seconds
    shutil.rmtree(directory, ignore_errors=True)
    with runs.claimed(directory, resume=False):
        policy = _train(settings, cell, directory)
        checkpoints.save(directory / outputs.POLICY, policy.state_dict())
        judged = _judge(settings, policy, cell.seed)
        prepared = read_json(_seed_folder(settings, cell.seed) / PREPARED)
        result = {
            "method": cell.method,
            "labels": cell.labels,
            "seed": cell.seed,
            **judged,
            "strong_return": prepared[STRONG]["mean_return"],
            "weak_return": prepared[WEAK]["mean_return"],
            "weak_high": prepared[WEAK]["high"],
            "seconds": round(time.monotonic() - start, 2),
        }
        write_json(directory / RESULT, result)


def _train(settings: CompareSettings, cell: Cell, directory: Path) -> Policy:
    """What the commands do, one after the other, with their default settings."""
    seed, device = cell.seed, usable_device(settings.device)
    weak = _load(settings, seed, WEAK)
    run = RunSettings(out=str(directory), seed=seed, device=settings.device)
    facts = outputs.facts(f"compare, {cell.method}", settings.env, weak)

    def turn(learner: loop.Learner, iterations: int) -> None:
        loop.run(learner, run, facts, iterations, show=(), quiet=True)

    if cell.method == "dpo":
        dpo = DPO(weak, _answers(settings, cell), DPOSettings(), seed, device)
        turn(dpo, dpo.num_epochs)
        return dpo.finish()
    if cell.method == "bc":
        answers = _answers(settings, cell)
        bc = BehaviourCloning(weak, answers.segments, answers.preferred, BCSettings(), seed, device)
        turn(bc, bc.settings.bc_epochs)
        return bc.finish()
    weak_file = _seed_folder(settings, seed) / WEAK / outputs.POLICY
    ppo = make_ppo(settings.env, PPOSettings(), seed, device, weak_file)
    experience = ExperienceSettings(env=settings.env, steps=settings.steps)
    iterations = num_iterations(experience, ppo.settings)
    if cell.method == "pref-ppo":
        own = pref_ppo_settings(settings, cell.labels)
        with pref_ppo.opened(ppo, own, seed, directory) as learner:
            turn(learner, num_iterations(own, ppo.settings))
    elif cell.method == "airl":
        answers = _answers(settings, cell)
        demonstrations = answers.segments[answers.preferred]
        turn(AIRL(ppo, demonstrations, AIRLSettings(), experience, seed, device), iterations)
    else:
        reward = _reward(settings, cell, step_sizes(ppo.envs), device)
        turn(OnPolicyTraining(ppo, reward, experience, seed), iterations)
    return ppo.acting_policy


def _reward(
    settings: CompareSettings, cell: Cell, sizes: tuple[int, int, bool], device: torch.device
) -> RewardFunction:
    """What PPO improves on in `ppo-rlhf` and in the controls."""
    if cell.method == "true-reward":
        return true_reward
    if cell.method == "constant":
        return lambda rollout: np.ones(rollout.valid.shape)
    model = make_model(sizes, RewardSettings(), cell.seed)
    if cell.method == "random":
        # of the whole pool: what is asked about depends on the budgets, and this control on none
        model.set_scale(_segments(settings, cell.seed))
        return from_model(model.to(device))
    model, _ = fit(model, _answers(settings, cell), RewardSettings(), cell.seed, device)
    learned = from_model(model)
    return learned if cell.method == "ppo-rlhf" else lambda rollout: -learned(rollout)


def _answers(settings: CompareSettings, cell: Cell) -> Preferences:
    """The first answers, as many as the budget; nothing of them depends on larger budgets."""
    preferences = dataset.read(_seed_folder(settings, cell.seed) / "preferences")
    first = preferences.answered[slice(0, cell.labels)].compact
    first.require_something_to_learn()
    return first


def _segments(settings: CompareSettings, seed: int) -> Segments:
    """What a seed's pairs are made of; the same whenever it is asked for."""
    envs = make_vector_env(settings.env, min(settings.episodes, 64))
    acting = [_load(settings, seed, name) for name in (STRONG, WEAK)]
    trajectories = demos.act(envs, acting, settings.episodes, seed)
    return demos.as_segments(trajectories, settings.segment_length, settings.segments, seed)


def _judge(settings: CompareSettings, policy: Policy, seed: int) -> dict[str, Any]:
    """True returns of a policy in episodes that all methods of a seed are judged by."""
    returns = evaluate(policy, settings.env, settings.evaluation_episodes, seed)
    estimate = mean_estimate(returns, return_bounds(settings.env))
    return {"mean_return": estimate.mean, "low": estimate.low, "high": estimate.high}


def _demonstrators(settings: CompareSettings, seed: int) -> dict[str, Policy]:
    """The two policies that were given, or a well-trained one and one from early on its way."""
    if settings.policies:
        envs = make_vector_env(settings.env, 1)
        files = [Path(text.replace("{seed}", str(seed))) for text in settings.policies]
        return dict(zip((STRONG, WEAK), (policies.load(file, envs) for file in files), strict=True))
    seed = integer(seed, Stream.DEMONSTRATIONS)  # it is not to see what it will be compared in
    ppo = make_ppo(settings.env, PPOSettings(), seed, torch.device("cpu"))
    every = ppo.settings.rollout_steps * ppo.settings.num_envs
    experience = ExperienceSettings(
        env=settings.env, steps=settings.demonstrator_steps, iteration_steps=every
    )
    on_the_way = [policies.copy_of(ppo.acting_policy)]
    for iteration in range(num_iterations(experience, ppo.settings)):
        improve(ppo, true_reward, experience, seed, iteration, judged=False)
        on_the_way.append(policies.copy_of(ppo.acting_policy))

    def mean_return(policy: Policy) -> float:
        return float(evaluate(policy, settings.env, 30, seed).mean())

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


def _seed_folder(settings: CompareSettings, seed: int) -> Path:
    return Path(settings.out) / "seeds" / f"seed-{seed}"


def _load(settings: CompareSettings, seed: int, name: str) -> Policy:
    file = _seed_folder(settings, seed) / name / outputs.POLICY
    return policies.load(file, make_vector_env(settings.env, 1))
