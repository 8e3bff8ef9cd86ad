"""What a person needs to know before trusting a learned reward, as a page."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from prefloop.data.preferences import Preferences
from prefloop.devices import to_tensor
from prefloop.evaluation.judgement import AnswerFacts, Judgement
from prefloop.evaluation.reward_page import write_page
from prefloop.files import write_json
from prefloop.rewards.reward_model import RewardModel
from prefloop.words import counted


def write_report(directory: Path, judgement: Judgement, title: str) -> str:
    """Writes report.html, which opens without a server, and its figures as report.json.

    Args:
        title: what it is a reward for.

    Returns:
        The figures in a sentence or two.
    """
    held_out, known = judgement.held_out, judgement.known
    figures = judgement.figures
    why_not_drawn = ""
    if known.draw is not None:
        without = [i for i in figures["worst_pairs"] if i not in known.clips]
        drawn, why_not_drawn = known.draw(without) if without else ({}, "")
        known = replace(known, clips={**known.clips, **drawn})
    write_page(
        directory / "report.html",
        title,
        figures,
        calibration=judgement.calibration,
        returns=judgement.returns,
        disagreement=judgement.disagreement,
        pairs=[_pair(i, judgement, known) for i in figures["worst_pairs"]],
        why_not_drawn=why_not_drawn,
    )
    write_json(directory / "report.json", judgement.told)
    training, ties = f"{figures['training_accuracy']:.1%}", figures["held_out_ties"]
    if math.isnan(figures["held_out_accuracy"]):
        judged_by = f"No decided answer was held out (training {training})"
    else:
        beside = f" and {counted(ties, 'tie')}" if ties else ""
        has_training = len(held_out) < len(judgement.preferences)
        judged_by = (
            f"Held-out accuracy {figures['held_out_accuracy']:.1%} on {counted(len(held_out) - ties, 'answer')}{beside} "
            f"(95 % interval {figures['held_out_accuracy_low']:.0%} to {figures['held_out_accuracy_high']:.0%}"
            f"{f'; training {training}' if has_training else ''})"
        )
    return (
        f"{judged_by}, rank correlation with the true return {figures['rank_correlation']:.2f}, "
        f"members' disagreement {figures['disagreement']:.3f}."
    )


def _pair(i: int, judgement: Judgement, known: AnswerFacts) -> dict[str, Any]:
    """All that the page shows of one answer: both segments, step by step."""
    model, preferences = judgement.model, judgement.preferences
    most = [row["name"] for row in judgement.figures["inputs"][:3]]
    shown = [name for name in most if name in known.inputs]
    sides = [
        _side(model, preferences, int(side[i]), known.inputs, shown)
        for side in (preferences.first, preferences.second)
    ]
    facts = known.facts[i] if i < len(known.facts) else {}
    return {
        "answer": int(i),
        "label": float(preferences.labels[i]),
        "predicted": float(judgement.probability[i]),
        "held_out": bool(i in judgement.held_out),
        "who": facts.get("annotator") or facts.get("teacher"),
        "iteration": facts.get("iteration"),
        "clip": known.clips.get(int(i)),
        "sides": sides,
    }


def _side(
    model: RewardModel,
    preferences: Preferences,
    segment: int,
    inputs: Sequence[str],
    shown: Sequence[str],
) -> dict[str, Any]:
    """One segment: the learned reward of each step with what its members say, the true one, some inputs."""
    segments = preferences.segments
    steps = segments.mask[segment]
    obs, actions = segments.obs[segment][steps], segments.actions[segment][steps]
    numbers = {}
    if shown:
        device = model.input_mean.device
        tensors = (to_tensor(array, device) for array in (obs, actions))
        with torch.no_grad():
            raw = model.raw_inputs(*tensors).cpu().numpy()
        numbers = {name: raw[:, list(inputs).index(name)] for name in shown}
    has_true = bool(segments.rewards.any())  # whoever collects without rewards keeps zeros
    return {
        "return": float(segments.returns[segment]) if has_true else None,
        **model.step_by_step(obs, actions),
        "true": segments.rewards[segment][steps] if has_true else None,
        "inputs": numbers,
    }
