"""What answers say of a learned reward: how often it is right, how sure it is, and what it looks at."""

import math
from collections import defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray

from prefloop.bradley_terry import (
    agreement,
    answered_second,
    cross_entropy,
    probability_second,
)
from prefloop.data import dataset
from prefloop.data.preferences import Preferences
from prefloop.devices import to_tensor
from prefloop.encoders import Apart, Vectors
from prefloop.envs.input_names import input_names
from prefloop.evaluation.statistics import Interval, rank_correlation, share_interval
from prefloop.rewards.annotators import who_answered
from prefloop.rewards.reward_model import RewardModel
from prefloop.seeding import Stream, generator, integer

WORST_PAIRS = 10
BINS = 10
SIMULATIONS = 1000  # of answers, for what chance alone makes of a calibration error
UNTRAINED = 20  # networks that know nothing, for what these answers give away
SENSITIVITY_STEPS = 10_000  # that the reward's slopes are averaged over


Draw = Callable[[Sequence[int]], tuple[Mapping[int, Path], str]]


@dataclass(frozen=True)
class AnswerFacts:
    """Facts about the answers besides their labels; each may be missing.

    Attributes:
        facts: of each answer, as the dataset's lines have them: `annotator` or `teacher`, `iteration`.
        clips: files that show the two segments of an answer, by its position.
        inputs: names of the numbers that the reward is computed from.
        errors: how often who answered errs, by name, where that was learned.
        draw: makes clips of answers that have none, by their positions, and says why others have none ("": all
            have).
    """

    facts: Sequence[Mapping[str, Any]] = ()
    clips: Mapping[int, Path] = field(default_factory=dict)
    inputs: Sequence[str] = ()
    errors: Mapping[str, float] = field(default_factory=dict)
    draw: Draw | None = None

    @staticmethod
    def of(
        folder: Path,
        preferences: Preferences,
        env: gym.Env,
        model: RewardModel,
        clips: Mapping[int, Path] = MappingProxyType({}),
    ) -> "AnswerFacts":
        """Facts from a dataset and its environment.

        Args:
            preferences: all of the folder, skipped ones included.
            clips: by the position of the query, skipped ones included.
        """
        lines, answered = dataset.read_facts(folder), np.flatnonzero(~np.isnan(preferences.labels))
        observations, actions = input_names(env)
        return AnswerFacts(
            facts=[lines[query] for query in answered],
            clips={i: clips[query] for i, query in enumerate(answered.tolist()) if query in clips},
            inputs=[*observations, *(actions if model.uses_actions else ())],
        )

    @property
    def of_people(self) -> bool:
        """Whether people gave answers of which something is known."""
        return any(said.get("annotator") or said.get("teacher") == "human" for said in self.facts)

    def label_noise(self, otherwise: float) -> float | NDArray:
        """How likely each answer is a coin toss; [answers], or a number if nobody's errors were learned.

        Args:
            otherwise: of those of whom nothing was learned.
        """
        if not self.errors:
            return otherwise
        rates = (self.errors.get(name, otherwise / 2) for name in who_answered(self.facts))
        return 2 * np.array(list(rates))


@dataclass(frozen=True)
class Judgement:
    """What can be said of a learned reward by the answers of a dataset.

    Attributes:
        model, preferences, held_out, known: as `judge` was given them.
        figures: as report.json has them, but NaN where nothing is known.
        calibration: predicted and observed share and number of answers of each bin.
        returns: true and predicted, of the segments that are compared; [segments] both.
        disagreement: deviation of the members' probabilities; [answers that it is judged by].
        probability: of an answer, that it prefers the second, by the members' mean return; [answers].
    """

    model: RewardModel
    preferences: Preferences
    held_out: NDArray
    known: AnswerFacts
    figures: Mapping[str, Any]
    calibration: Sequence[tuple[float, float, int]]
    returns: tuple[NDArray, NDArray]
    disagreement: NDArray
    probability: NDArray
    _gap: NDArray

    @property
    def told(self) -> dict[str, Any]:
        """The figures as JSON has them: None where nothing is known."""
        return cast(dict[str, Any], _without_nan(self.figures))

    def accuracies_by(
        self, facts: Sequence[Mapping[str, Any]], keys: Sequence[str]
    ) -> list[dict[str, Any]]:
        """Accuracy by what is known of the answers, in the order in which it first stands there.

        Args:
            facts: of each answer.
            keys: of which the first that an answer has counts; answers without any are left out.
        """
        return _by(facts, keys, self._gap, self.preferences, self.held_out)


def judge(
    model: RewardModel,
    preferences: Preferences,
    held_out: NDArray,
    label_noise: float,
    known: AnswerFacts | None = None,
) -> Judgement:
    """Judges a learned reward by answers.

    Args:
        preferences: answered ones, on some of which the model was fitted.
        held_out: positions of those it was not.
        label_noise: what the model was fitted with: how likely an answer is a coin toss; of those of whose
            errors nothing is known.
        known: what else is known of the answers.
    """
    known = known or AnswerFacts()
    probabilities = model.probabilities(preferences)
    # of an answer, which is what labels can be held against
    mean = answered_second(probabilities.mean(axis=0), known.label_noise(label_noise))
    loss = cross_entropy(mean, preferences.labels)
    used = np.unique(np.concatenate([preferences.first, preferences.second]))
    true_returns = preferences.segments.returns[used]
    predicted = model.returns(preferences.segments).mean(axis=0)[used]  # what the agent climbs
    gap = model.gap(preferences)
    train = np.setdiff1d(np.arange(len(preferences)), held_out)
    judged = held_out if len(held_out) else train
    decided = judged[preferences.labels[judged] != 0.5]
    floor, highest = _calibration_floor(mean[decided])
    accuracy = _accuracy(gap[held_out], preferences.labels[held_out])
    # by the return that is right or wrong about an answer: the mean of probabilities may contradict it
    says = answered_second(probability_second(gap), known.label_noise(label_noise))
    surprise = cross_entropy(says, preferences.labels)
    worst = np.argsort(-surprise, kind="stable")[:WORST_PAIRS]
    figures = {
        "answers": len(preferences),
        "ties": preferences.num_ties,
        "held_out_answers": len(held_out),
        "held_out_ties": _ties(preferences.labels[held_out]),
        "held_out_accuracy": accuracy.value,
        "held_out_accuracy_low": accuracy.low,
        "held_out_accuracy_high": accuracy.high,
        "training_accuracy": _accuracy(gap[train], preferences.labels[train]).value,
        "held_out_loss": _mean(loss[held_out]),
        "training_loss": _mean(loss[train]),
        "calibration_error": _calibration_error(mean[decided], preferences.labels[decided]),
        "calibration_error_by_chance": floor,
        "calibration_error_by_chance_95": highest,
        "rank_correlation": rank_correlation(true_returns, predicted),
        "disagreement": _mean(probabilities.std(axis=0)[judged]),
        "controls": _controls(model, preferences[judged], gap[judged]),
        "inputs": _sensitivity(model, preferences, used, known.inputs),
        "by_answerer": _with_errors(
            _by(known.facts, ("annotator", "teacher"), gap, preferences, held_out), known.errors
        ),
        "by_iteration": _by(known.facts, ("iteration",), gap, preferences, held_out),
        "worst_pairs": worst.tolist(),
    }
    return Judgement(
        model,
        preferences,
        held_out,
        known,
        figures,
        _bins(mean[decided], preferences.labels[decided]),
        (true_returns, predicted),
        probabilities[:, judged].std(axis=0),
        says,
        gap,
    )


def sensitivity(model: RewardModel, obs: NDArray, actions: NDArray) -> tuple[NDArray, NDArray]:
    """How the agent's reward changes with each of the numbers that it is computed from.

    Args:
        obs, actions: of the steps that are averaged over; [steps, ...].

    Returns:
        Mean slope and mean absolute slope of each input, per standard deviation that it has in these
        steps; [inputs] both.
    """
    device = model.input_mean.device
    steps = (to_tensor(array, device) for array in (obs, actions))
    inputs = model.inputs(*steps).detach().requires_grad_()
    reward = model(inputs).mean(dim=0) / model.reward_std
    (slopes,) = torch.autograd.grad(reward.sum(), inputs)
    seen = inputs.detach().cpu().double()
    slopes = slopes.cpu().double() * seen.std(dim=0, correction=0)
    return slopes.mean(dim=0).numpy(), slopes.abs().mean(dim=0).numpy()


def _without_nan(value: Any) -> Any:
    """Replaces NaN by None, at any depth: JSON has a word for it."""
    if isinstance(value, Mapping):
        return {name: _without_nan(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_without_nan(part) for part in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def _controls(model: RewardModel, preferences: Preferences, gap: NDArray) -> dict[str, float]:
    """Accuracies, on the same answers, of rewards that learned nothing.

    Args:
        preferences: those that the model is judged by.
        gap: of the returns that it predicts for each pair, the second's less the first's.

    Returns:
        `constant`, 1 in each step; `flipped`, the learned one with its sign turned; `untrained_mean`
        and `untrained_highest`, of networks of the same size.
    """
    lengths = preferences.segments.lengths
    longer = (lengths[preferences.second] - lengths[preferences.first]).astype(np.float64)
    compact = preferences.compact
    returns = _untrained(model).returns(compact.segments)
    gaps = returns[:, compact.second] - returns[:, compact.first]
    untrained = [_accuracy(of_one, preferences.labels).value for of_one in gaps]
    return {
        "constant": _accuracy(longer, preferences.labels).value,
        "flipped": _accuracy(-gap, preferences.labels).value,
        "untrained_mean": float(np.mean(untrained)),
        "untrained_highest": float(np.max(untrained)),
    }


def _untrained(model: RewardModel) -> RewardModel:
    """Networks as large as the model's, and on its inputs, that no answer has been shown."""
    encoder = model.encoder
    if isinstance(encoder, Apart):  # they would need one each; what one sees will do
        encoder = encoder.of(0)
    with torch.random.fork_rng(devices=()):
        # not torch.manual_seed: whoever trains on a device meanwhile draws on there as before
        torch.random.default_generator.manual_seed(integer(0, Stream.WEIGHTS, Stream.REWARD_MODEL))
        drawn = RewardModel(
            model.spaces, tuple(model.sizes[1:-1]), UNTRAINED, model.uses_actions, encoder
        )
    drawn = drawn.to(model.input_mean.device)
    if not model.encoder_learns:
        drawn.input_mean.copy_(model.input_mean)
        drawn.input_std.copy_(model.input_std)
    return drawn


def _sensitivity(
    model: RewardModel, preferences: Preferences, used: NDArray, names: Sequence[str]
) -> list[dict[str, Any]]:
    """Sensitivity of the reward to each input by name, the most sensitive first; none to pictures, whose numbers mean nothing alone."""
    if not isinstance(model.encoder, Vectors):
        return []
    segments = preferences.segments[used]
    obs, actions = segments.obs[segments.mask], segments.actions[segments.mask]
    every = -(-len(obs) // SENSITIVITY_STEPS)
    slopes, sizes = sensitivity(model, obs[::every], actions[::every])
    if len(names) != len(sizes):
        names = [f"input {i}" for i in range(len(sizes))]
    return [
        {"name": names[i], "slope": float(slopes[i]), "size": float(sizes[i])}
        for i in np.argsort(-sizes, kind="stable")
    ]


def _by(
    facts: Sequence[Mapping[str, Any]],
    keys: Sequence[str],
    gap: NDArray,
    preferences: Preferences,
    held_out: NDArray,
) -> list[dict[str, Any]]:
    """Accuracy by what is known of the answers, in the order in which it first stands there.

    Args:
        keys: of which the first that an answer has counts; answers without any are left out.
    """
    groups: dict[Hashable, list[int]] = defaultdict(list)
    for i, said in enumerate(facts):
        value = next((said[key] for key in keys if said.get(key) is not None), None)
        if isinstance(value, str | int):
            groups[value].append(i)
    rows = []
    for name, positions in groups.items():
        unseen = np.intersect1d(positions, held_out)
        accuracy = _accuracy(gap[unseen], preferences.labels[unseen])
        rows.append(
            {
                "name": name,
                "answers": len(positions),
                "accuracy": _accuracy(gap[positions], preferences.labels[positions]).value,
                "held_out_answers": len(unseen),
                "held_out_ties": _ties(preferences.labels[unseen]),
                "held_out_accuracy": accuracy.value,
                "low": accuracy.low,
                "high": accuracy.high,
            }
        )
    return rows


def _with_errors(
    rows: Sequence[dict[str, Any]], errors: Mapping[str, float]
) -> list[dict[str, Any]]:
    """Adds learned error rates to the rows of who answered, if any were learned."""
    if not errors:
        return list(rows)
    return [{**row, "error": errors.get(row["name"], float("nan"))} for row in rows]


def _accuracy(gap: NDArray, labels: NDArray) -> Interval:
    """Share of the answers, ties left out, that are predicted; NaN without any."""
    return share_interval(agreement(torch.as_tensor(gap), torch.as_tensor(labels)).numpy())


def _ties(labels: NDArray) -> int:
    """How many answers nothing can be said of that is right or wrong."""
    return int((labels == 0.5).sum())


def _mean(values: NDArray) -> float:
    return float(values.mean()) if len(values) else float("nan")


def _bins(probability: NDArray, labels: NDArray) -> list[tuple[float, float, int]]:
    """Mean prediction, mean label and size of every bin of predictions that is not empty."""
    number = np.minimum((probability * BINS).astype(int), BINS - 1)
    groups = [number == i for i in range(BINS)]
    return [
        (float(probability[group].mean()), float(labels[group].mean()), int(group.sum()))
        for group in groups
        if group.any()
    ]


def _calibration_error(probability: NDArray, labels: NDArray) -> float:
    """Expected calibration error: how far the bins lie from the diagonal, on average.

    Args:
        probability: that an answer prefers the second; [answers].
        labels: of answers that are no ties, which no probability predicts; [answers].

    Returns:
        NaN without any.
    """
    if not len(labels):
        return float("nan")
    return float(
        sum(abs(p - label) * n for p, label, n in _bins(probability, labels)) / len(labels)
    )


def _calibration_floor(probability: NDArray) -> tuple[float, float]:
    """The calibration error of a model that is right, because answers are few.

    Returns:
        Its mean, and what it stays below 95 times in 100; with answers drawn from the predicted
        probabilities. NaN without any.
    """
    rng = generator(0, Stream.RESAMPLING)
    errors = [
        _calibration_error(probability, rng.random(len(probability)) < probability)
        for _ in range(SIMULATIONS)
    ]
    return float(np.mean(errors)), float(np.quantile(errors, 0.95))
