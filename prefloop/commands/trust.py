"""How far a learned reward can be trusted, as its trainer tells the results page."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from prefloop.data.preferences import Preferences
from prefloop.envs.input_names import input_names
from prefloop.envs.make import make_env
from prefloop.envs.settings import EnvSettings
from prefloop.evaluation.judgement import AnswerFacts, Judgement, judge
from prefloop.labelling.limits import MAX_INPUT_NAME, MAX_INPUTS, MAX_NAMED, MAX_STRETCHES
from prefloop.rewards.reward_model import RewardModel
from prefloop.rewards.settings import RewardSettings
from prefloop.rewards.training import split

if TYPE_CHECKING:
    from prefloop.labelling.client.people import People

# of the figures of a report, what is told as it is
TOLD = (
    "answers", "ties", "held_out_answers", "held_out_ties", "held_out_accuracy", "held_out_accuracy_low",
    "held_out_accuracy_high", "training_accuracy", "calibration_error", "calibration_error_by_chance",
    "calibration_error_by_chance_95", "rank_correlation", "disagreement", "controls",
)  # fmt: skip
ACCURACY = (
    "answers", "accuracy", "held_out_answers", "held_out_ties", "held_out_accuracy", "low", "high",
)  # fmt: skip


def telling(
    people: "People", env: EnvSettings, settings: RewardSettings, seed: int
) -> Callable[[RewardModel, Preferences], None]:
    """Tells people's results page of each fit, with how far the reward can be trusted.

    Args:
        env: what is acted in.
        settings, seed: of the fits.
    """
    made = make_env(env)
    observations, actions = input_names(made)
    made.close()

    def tell(model: RewardModel, preferences: Preferences) -> None:
        answered, labelled = preferences.answered, np.flatnonzero(~np.isnan(preferences.labels))
        held_out, _ = split(answered.pairs, answered.labels, settings.held_out, seed)
        facts = people.facts
        known = AnswerFacts(
            facts=[facts[i] for i in labelled],
            inputs=[*observations, *(actions if model.uses_actions else ())],
        )
        judgement = judge(model, answered, held_out, settings.label_noise, known)
        people.report(model, preferences, as_told(judgement))

    return tell


def as_told(judgement: Judgement) -> dict[str, Any]:
    """A judgement as `schemas.trust.TrustIn` has it."""
    figures = judgement.told
    stretches = _stretches([said.get("iteration") for said in judgement.known.facts])
    # by its first session, which names it as well
    of_stretch = [{"stretch": stretch and stretch[0]} for stretch in stretches]
    rows = judgement.accuracies_by(of_stretch, ("stretch",))
    last = dict(stretch for stretch in stretches if stretch)
    named = sorted(figures["by_answerer"], key=lambda row: -row["answers"])[:MAX_NAMED]
    inputs = figures["inputs"][:MAX_INPUTS]
    return {
        **{name: figures[name] for name in TOLD},
        "calibration": [
            {"predicted": _share(predicted), "observed": _share(observed), "answers": size}
            for predicted, observed, size in judgement.calibration
        ],
        "inputs": [{**row, "name": row["name"][:MAX_INPUT_NAME]} for row in inputs],
        "inputs_left": len(figures["inputs"]) - len(inputs),
        "by_annotator": [{"name": row["name"], **_accuracy(row)} for row in named],
        "over_time": [
            {"first": row["name"], "last": last[row["name"]], **_accuracy(row)}
            for row in sorted(rows, key=lambda row: row["name"])
        ],
    }


def _accuracy(row: Mapping[str, Any]) -> dict[str, Any]:
    """Accuracies of some answers; None where nothing is known."""
    return {
        name: None if isinstance(row[name], float) and np.isnan(row[name]) else row[name]
        for name in ACCURACY
    }


def _share(value: float) -> float:
    return min(max(value, 0.0), 1.0)  # a mean of floats may lie a little beside


def _stretches(iterations: Sequence[int | None]) -> list[tuple[int, int] | None]:
    """First and last session of the stretch that each answer belongs to; few stretches, of as many answers as can be.

    Args:
        iterations: in which session each was asked about; None where that is not known.
    """
    known = sorted(i for i in iterations if i is not None)
    sessions = sorted(set(known))
    wanted = -(-len(known) // MAX_STRETCHES)  # answers of each
    parts: list[list[int]] = []
    size = wanted
    for session in sessions:
        if size >= wanted:
            parts.append([])
            size = 0
        parts[-1].append(session)
        size += known.count(session)
    of = {session: (part[0], part[-1]) for part in parts for session in part}
    return [None if i is None else of[i] for i in iterations]
