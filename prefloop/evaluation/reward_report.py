"""What a person needs to know before trusting a learned reward."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from prefloop.data.preferences import Preferences
from prefloop.evaluation.plots import save_figure
from prefloop.evaluation.statistics import rank_correlation
from prefloop.files import write_atomically, write_json
from prefloop.rewards.reward_model import RewardModel

WORST_PAIRS = 10
BINS = 10


def write_report(
    directory: Path, model: RewardModel, preferences: Preferences, held_out: NDArray, epoch: int
) -> str:
    """Writes report.md, report.json and report.png.

    Args:
        preferences: answered ones, on some of which the model was fitted.
        held_out: positions of those it was not.
        epoch: the pass whose weights were kept.

    Returns:
        The figures in a sentence or two.
    """
    probabilities = model.probabilities(preferences)
    mean = probabilities.mean(axis=0)
    loss = _cross_entropy(mean, preferences.labels)
    used = np.unique(np.concatenate([preferences.first, preferences.second]))
    true_returns = preferences.segments.returns[used]
    all_predicted = model.returns(preferences.segments).mean(axis=0)  # what the agent climbs
    predicted = all_predicted[used]
    prefers_second = all_predicted[preferences.second] > all_predicted[preferences.first]
    train = np.setdiff1d(np.arange(len(preferences)), held_out)
    judged = held_out if len(held_out) else train
    worst = np.argsort(-loss, kind="stable")[:WORST_PAIRS]
    figures = {
        "answers": len(preferences),
        "ties": preferences.num_ties,
        "held_out_answers": len(held_out),
        "held_out_accuracy": _accuracy(prefers_second[held_out], preferences.labels[held_out]),
        "training_accuracy": _accuracy(prefers_second[train], preferences.labels[train]),
        "held_out_loss": _mean(loss[held_out]),
        "training_loss": _mean(loss[train]),
        "calibration_error": _calibration_error(mean[judged], preferences.labels[judged]),
        "rank_correlation": rank_correlation(true_returns, predicted),
        "disagreement": float(probabilities.std(axis=0)[judged].mean()),
        "best_epoch": epoch,
    }
    write_json(directory / "report.json", {**figures, "worst_pairs": worst.tolist()})
    figure = Figure(figsize=(12, 4), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    _draw_calibration(left, mean[judged], preferences.labels[judged], bool(len(held_out)))
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


def _accuracy(prefers_second: NDArray, labels: NDArray) -> float:
    """Share of the answers, ties left out, that are predicted; NaN without any."""
    decides = labels != 0.5
    return _mean((prefers_second == (labels > 0.5))[decides])


def _mean(values: NDArray) -> float:
    return float(values.mean()) if len(values) else float("nan")


def _cross_entropy(probability: NDArray, labels: NDArray) -> NDArray:
    p = np.clip(probability, 1e-12, 1 - 1e-12)
    return -(labels * np.log(p) + (1 - labels) * np.log1p(-p))


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
    """Expected calibration error: how far the bins lie from the diagonal, on average."""
    return float(
        sum(abs(p - label) * n for p, label, n in _bins(probability, labels)) / len(labels)
    )


def _draw_calibration(
    axes: Axes, probability: NDArray, labels: NDArray, are_held_out: bool
) -> None:
    predicted, observed, sizes = zip(*_bins(probability, labels), strict=True)
    axes.plot([0, 1], [0, 1], color="gray", linestyle=":")
    axes.scatter(predicted, observed, s=[20 + 300 * n / len(labels) for n in sizes], alpha=0.7)
    axes.set_xlabel("predicted: second preferred")
    axes.set_ylabel("labelled: second preferred")
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
            "that of predicted and true returns of all segments that were compared.", "",
            "![calibration, returns, disagreement](report.png)", "",
            "## The pairs it explains worst", "",
            "Answers are counted from 0, without the queries that were skipped.", "",
            "| answer | first | second | label | predicted | true return, first | second | held out |",
            "|---|---|---|---|---|---|---|---|", *rows, "",
        ]
    )  # fmt: skip
