import json

import numpy as np
import pytest
import torch
from made_up import make_segments

from prefloop.data.preferences import Preferences
from prefloop.envs.spaces import Spaces
from prefloop.evaluation.reward_report import write_report
from prefloop.rewards.reward_model import RewardModel

NOISE = 0.3


def model_of_the_first_number():
    """A step's reward is the first number of its observation."""
    model = RewardModel(Spaces((3,), "float32", True, 2), (), members=2, uses_actions=False)
    with torch.no_grad():
        for network in model.networks:
            network[0].weight.copy_(torch.tensor([[1.0, 0, 0]]))
            network[0].bias.zero_()
    return model


def answers(num, rng, noise=NOISE, scale=2.0):
    """Answers of one who judges by that number, and tosses a coin in a share `noise` of the pairs."""
    obs = scale * rng.normal(size=(2 * num, 1, 3))
    segments = make_segments(obs, np.zeros((2 * num, 1)), rewards=obs[..., 0])
    first, second = np.arange(2 * num).reshape(2, num)
    gap = segments.obs[second, 0, 0] - segments.obs[first, 0, 0]
    probability = (1 - noise) / (1 + np.exp(-gap)) + noise / 2
    return Preferences(segments, first, second, (rng.random(num) < probability) * 1.0)


def report(directory, prefs, held_out=None, noise=NOISE):
    held_out = np.arange(len(prefs)) if held_out is None else held_out
    write_report(directory, model_of_the_first_number(), prefs, held_out, 3, noise)
    return json.loads((directory / "report.json").read_text(encoding="utf-8"))


def test_a_model_that_is_right_has_the_calibration_error_of_chance(tmp_path):
    for seed in range(3):
        figures = report(tmp_path, answers(400, np.random.default_rng(seed)))
        by_chance = figures["calibration_error_by_chance"]
        assert figures["calibration_error"] < 1.15 * figures["calibration_error_by_chance_95"]
        assert 0.4 * by_chance < figures["calibration_error"]
        assert 0.02 < by_chance < figures["calibration_error_by_chance_95"] < 0.12


def test_one_that_is_too_sure_has_more(tmp_path):
    prefs = answers(400, np.random.default_rng(0))
    figures = report(tmp_path, prefs, noise=0.0)
    assert figures["calibration_error"] > 1.3 * figures["calibration_error_by_chance_95"]
    assert figures["held_out_loss"] > report(tmp_path, prefs)["held_out_loss"]


def test_chance_has_less_to_say_of_many_answers(tmp_path):
    few, many = (
        report(tmp_path, answers(n, np.random.default_rng(0)))["calibration_error_by_chance"]
        for n in (50, 1250)
    )
    assert few == pytest.approx(5 * many, rel=0.3)


def test_what_is_predicted_is_an_answer(tmp_path):
    # a gap of 2 * ln 3 / 2 is a probability of 3/4, and with the noise (1 - 0.3) * 3/4 + 0.15
    obs = np.zeros((2, 1, 3))
    obs[1, 0, 0] = np.log(3)
    prefs = Preferences(
        make_segments(obs, np.zeros((2, 1))), np.array([0]), np.array([1]), np.array([0.0])
    )
    figures = report(tmp_path, prefs)
    assert figures["held_out_loss"] == pytest.approx(-np.log(1 - 0.675))
    assert "| 0.675 |" in (tmp_path / "report.md").read_text(encoding="utf-8")
    assert figures["calibration_error"] == pytest.approx(0.675)


def test_a_pair_that_is_worth_the_same_is_half_right_and_ties_count_for_nothing(tmp_path):
    obs = np.zeros((3, 1, 3))
    obs[2, 0, 0] = 1
    first, second = np.array([0, 1, 0, 1]), np.array([1, 0, 2, 2])
    prefs = Preferences(
        make_segments(obs, np.zeros((3, 1))), first, second, np.array([0.0, 1.0, 1.0, 0.5])
    )
    figures = report(tmp_path, prefs)
    assert figures["held_out_accuracy"] == pytest.approx(2 / 3)
    ties = report(tmp_path, Preferences(prefs.segments, first, second, np.full(4, 0.5)))
    assert np.isnan(ties["calibration_error"]) and np.isnan(ties["held_out_accuracy"])
    assert (tmp_path / "report.png").exists()
