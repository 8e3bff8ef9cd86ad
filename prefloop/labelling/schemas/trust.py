"""How far a learned reward can be trusted: figures of its report, which a trainer sends and the results page shows.

They are computed by the trainer (prefloop.evaluation.reward_report), whose answers, held out by its seed, nobody else
has; the server keeps them as they are. Null is what is not known.
"""

from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from prefloop.labelling.limits import MAX_INPUT_NAME, MAX_INPUTS, MAX_NAMED, MAX_STRETCHES
from prefloop.labelling.schemas.base import MAX_INT, AnnotatorName, In, one_line

MAX_BINS = 20  # of a calibration

Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0, le=MAX_INT)]
InputName = Annotated[
    str, StringConstraints(min_length=1, max_length=MAX_INPUT_NAME), AfterValidator(one_line)
]


class AccuracyIn(In):
    """How many of some answers are predicted; ties are not, and count nothing."""

    answers: Count
    accuracy: Share | None = Field(description="Of all of them, those learned from included.")
    held_out_answers: Count
    held_out_ties: Count
    held_out_accuracy: Share | None
    low: Share | None = Field(description="Of the 95% interval of the held-out accuracy.")
    high: Share | None


class AnnotatorAccuracyIn(AccuracyIn):
    """Of one annotator's answers."""

    name: AnnotatorName


class StretchIn(AccuracyIn):
    """Of the answers to what was asked in successive sessions."""

    first: Count = Field(description="Number of the first of these sessions.")
    last: Count


class BinIn(In):
    """Answers of which nearly the same was predicted."""

    predicted: Share
    observed: Share
    answers: Count


class ControlsIn(In):
    """Accuracies, on the same answers, of rewards that learned nothing."""

    constant: Share | None = Field(description="The same in each step, so longer is better.")
    flipped: Share | None = Field(description="The learned one with its sign turned.")
    untrained_mean: Share | None = Field(description="Of networks that were shown no answer.")
    untrained_highest: Share | None


class InputIn(In):
    """How the reward changes with one of the numbers that it is computed from."""

    name: InputName
    slope: float = Field(description="Per standard deviation of the number, on average.")
    size: float = Field(ge=0, description="Of the slope, whatever its sign.")


class TrustIn(In):
    """How far a reward can be trusted."""

    answers: Count
    ties: Count
    held_out_answers: Count = Field(description="That it has not learned from.")
    held_out_ties: Count
    held_out_accuracy: Share | None
    held_out_accuracy_low: Share | None = Field(description="Of its 95% interval.")
    held_out_accuracy_high: Share | None
    training_accuracy: Share | None
    calibration_error: Share | None
    calibration_error_by_chance: Share | None = Field(
        description="What a reward that is right would have, because answers are few."
    )
    calibration_error_by_chance_95: Share | None = Field(
        description="What that stays below 95 times in 100."
    )
    calibration: list[BinIn] = Field(max_length=MAX_BINS)
    rank_correlation: float | None = Field(
        ge=-1, le=1, description="Spearman's, with the environment's return; null: it has none."
    )
    disagreement: Share | None = Field(description="Of the members of the ensemble.")
    controls: ControlsIn
    inputs: list[InputIn] = Field(
        max_length=MAX_INPUTS, description="The most sensitive first; none of pictures."
    )
    inputs_left: Count = Field(0, description="That are not told of.")
    by_annotator: list[AnnotatorAccuracyIn] = Field([], max_length=MAX_NAMED)
    over_time: list[StretchIn] = Field([], max_length=MAX_STRETCHES)

    @model_validator(mode="after")
    def _of_the_same_answers(self) -> "TrustIn":
        if self.held_out_answers > self.answers or self.held_out_ties > self.held_out_answers:
            raise ValueError("more answers are held out than there are")
        ends = self.held_out_accuracy_low, self.held_out_accuracy, self.held_out_accuracy_high
        if len({end is None for end in ends}) > 1:
            raise ValueError("an accuracy has an interval")
        return self
