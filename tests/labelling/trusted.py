"""What a trainer says of how far its reward can be trusted."""

ACCURACY = {
    "answers": 60, "accuracy": 0.9, "held_out_answers": 12, "held_out_ties": 1,
    "held_out_accuracy": 0.82, "low": 0.52, "high": 0.95,
}  # fmt: skip
TRUST = {
    "answers": 120,
    "ties": 6,
    "held_out_answers": 24,
    "held_out_ties": 2,
    "held_out_accuracy": 0.8181,
    "held_out_accuracy_low": 0.6148,
    "held_out_accuracy_high": 0.9269,
    "training_accuracy": 0.934,
    "calibration_error": 0.11,
    "calibration_error_by_chance": 0.12,
    "calibration_error_by_chance_95": 0.19,
    "calibration": [
        {"predicted": 0.12, "observed": 0.1, "answers": 10},
        {"predicted": 0.55, "observed": 0.5, "answers": 4},
        {"predicted": 0.91, "observed": 0.75, "answers": 8},
    ],
    "rank_correlation": 0.71,
    "disagreement": 0.09,
    "controls": {
        "constant": 0.52, "flipped": 0.18, "untrained_mean": 0.5, "untrained_highest": 0.59,
    },
    "inputs": [
        {"name": "pole angle", "slope": -0.8, "size": 0.81},
        {"name": "cart position", "slope": 0.1, "size": 0.5},
        {"name": "pole angular velocity", "slope": 0.3, "size": 0.31},
    ],
    "inputs_left": 2,
    "by_annotator": [{"name": "ada", **ACCURACY}, {"name": "bob", **ACCURACY}],
    "over_time": [{"first": 1, "last": 1, **ACCURACY}, {"first": 2, "last": 4, **ACCURACY}],
}  # fmt: skip
