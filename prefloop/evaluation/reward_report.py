"""What a person needs to know before trusting a learned reward."""

from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from prefloop.bradley_terry import agreement, answered_second, cross_entropy
from prefloop.data.preferences import Preferences
from prefloop.evaluation.plots import save_figure
from prefloop.evaluation.statistics import rank_correlation
from prefloop.files import write_atomically, write_json
from prefloop.rewards.reward_model import RewardModel
from prefloop.seeding import Stream, generator

WORST_PAIRS = 10
BINS = 10
SIMULATIONS = 1000  # of answers, for what chance alone makes of a calibration error


def write_report(
    directory: Path,
    model: RewardModel,
    preferences: Preferences,
    held_out: NDArray,
    epoch: int,
    label_noise: float,
) -> str:
    """Writes report.md, report.json and report.png.

    Args:
        preferences: answered ones, on some of which the model was fitted.
        held_out: positions of those it was not.
        epoch: the pass whose weights were kept.
        label_noise: what the model was fitted with: how likely an answer is a coin toss.

    Returns:
        The figures in a sentence or two.
    """
    probabilities = model.probabilities(preferences)
    # of an answer, which is what labels can be held against
    mean = answered_second(probabilities.mean(axis=0), label_noise)
    loss = cross_entropy(mean, preferences.labels)
    used = np.unique(np.concatenate([preferences.first, preferences.second]))
    true_returns = preferences.segments.returns[used]
    all_predicted = model.returns(preferences.segments).mean(axis=0)  # what the agent climbs
    predicted = all_predicted[used]
    gap = all_predicted[preferences.second] - all_predicted[preferences.first]
    train = np.setdiff1d(np.arange(len(preferences)), held_out)
    judged = held_out if len(held_out) else train
    decided = judged[preferences.labels[judged] != 0.5]
    floor, highest = _calibration_floor(mean[decided])
    worst = np.argsort(-loss, kind="stable")[:WORST_PAIRS]
    figures = {
        "answers": len(preferences),
        "ties": preferences.num_ties,
        "held_out_answers": len(held_out),
        "held_out_accuracy": _accuracy(gap[held_out], preferences.labels[held_out]),
        "training_accuracy": _accuracy(gap[train], preferences.labels[train]),
        "held_out_loss": _mean(loss[held_out]),
        "training_loss": _mean(loss[train]),
        "calibration_error": _calibration_error(mean[decided], preferences.labels[decided]),
        "calibration_error_by_chance": floor,
        "calibration_error_by_chance_95": highest,
        "rank_correlation": rank_correlation(true_returns, predicted),
        "disagreement": float(probabilities.std(axis=0)[judged].mean()),
        "best_epoch": epoch,
    }
    write_json(directory / "report.json", {**figures, "worst_pairs": worst.tolist()})
    figure = Figure(figsize=(12, 4), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    _draw_calibration(left, mean[decided], preferences.labels[decided], bool(len(held_out)))
    _draw_returns(middle, true_returns, predicted, figures["rank_correlation"])
    _draw_disagreement(right, probabilities[:, judged])
    save_figure(figure, directory / "report.png")
    write_atomically(
        directory / "report.md", _text(figures, preferences, mean, worst, set(held_out)).encode()
    )
    return (
        f"Held-out accuracy {figures['held_out_accuracy']:.1%} on {len(held_out)} answers "
        f"(training {figures['training_accuracy']:.1%}), rank correlation with the true return "
        f"{figures['rank_correlation']:.2f}, members' disagreement {figures['disagreement']:.3f}."
    )


def _accuracy(gap: NDArray, labels: NDArray) -> float:
    """Share of the answers, ties left out, that are predicted; NaN without any."""
    return _mean(agreement(torch.as_tensor(gap), torch.as_tensor(labels)).numpy())


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


def _draw_calibration(
    axes: Axes, probability: NDArray, labels: NDArray, are_held_out: bool
) -> None:
    axes.plot([0, 1], [0, 1], color="gray", linestyle=":")
    for predicted, observed, size in _bins(probability, labels):
        axes.scatter(predicted, observed, s=20 + 300 * size / len(labels), color="C0", alpha=0.7)
    axes.set_xlabel("predicted: an answer prefers the second")
    axes.set_ylabel("answers that prefer the second")
    axes.set_title("Calibration, held-out answers" if are_held_out else "Calibration")


def _draw_returns(axes: Axes, true: NDArray, predicted: NDArray, correlation: float) -> None:
    axes.scatter(true, predicted, s=8, alpha=0.5)
    axes.set_xlabel("true return of a segment")
    axes.set_ylabel("predicted return")
    axes.set_title(f"Rank correlation {correlation:.2f}")


def _draw_disagreement(axes: Axes, probabilities: NDArray) -> None:
    axes.hist(probabilities.std(axis=0), bins=20)
    axes.set_xlabel("standard deviation of the members' predictions")
    axes.set_ylabel("answers")
    axes.set_title(f"Disagreement of {len(probabilities)} members")


def _text(
    figures: dict[str, float],
    preferences: Preferences,
    mean: NDArray,
    worst: NDArray,
    held_out: set[int],
) -> str:
    returns = preferences.segments.returns
    rows = [
        f"| {i} | {preferences.first[i]} | {preferences.second[i]} | {preferences.labels[i]:g} "
        f"| {mean[i]:.3f} | {returns[preferences.first[i]]:.1f} "
        f"| {returns[preferences.second[i]]:.1f} | {'yes' if i in held_out else 'no'} |"
        for i in worst
    ]
    lines = [f"| {name.replace('_', ' ')} | {value:.4g} |" for name, value in figures.items()]
    return "\n".join(
        [
            "# How far this reward can be trusted", "",
            "| figure | value |", "|---|---|", *lines, "",
            "Accuracy is that of the answers that are no ties. The rank correlation (Spearman) is",
            "that of predicted and true returns of all segments that were compared. Losses and",
            "calibration are of the probability of an answer, with the label noise as fitted; a model",
            "that is right has the calibration error by chance, for want of answers, and lies below",
            "the second figure 95 times in 100.", "",
            "![calibration, returns, disagreement](report.png)", "",
            "## The pairs it explains worst", "",
            "Answers are counted from 0, without the queries that were skipped.", "",
            "| answer | first | second | label | predicted | true return, first | second | held out |",
            "|---|---|---|---|---|---|---|---|", *rows, "",
        ]
    )  # fmt: skip
