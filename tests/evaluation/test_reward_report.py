import dataclasses
import json
import re

import numpy as np
import pytest
import torch
from made_up import make_segments

from prefloop.data.preferences import Preferences
from prefloop.envs.spaces import Spaces
from prefloop.evaluation.judgement import AnswerFacts, judge, sensitivity
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


def report(directory, prefs, held_out=None, noise=NOISE, known=None):
    held_out = np.arange(len(prefs)) if held_out is None else held_out
    judgement = judge(model_of_the_first_number(), prefs, held_out, noise, known)
    write_report(directory, judgement, "A reward")
    return json.loads((directory / "report.json").read_text(encoding="utf-8"))


def pairs_of(directory):
    """What the page holds of the hardest pairs."""
    page = (directory / "report.html").read_text(encoding="utf-8")
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    return json.loads(found[1])


def test_a_model_that_is_right_has_the_calibration_error_of_chance(tmp_path):
    for seed in range(3):
        figures = report(tmp_path, answers(400, np.random.default_rng(seed)))
        by_chance = figures["calibration_error_by_chance"]
        assert figures["calibration_error"] < 1.15 * figures["calibration_error_by_chance_95"]
        assert 0.4 * by_chance < figures["calibration_error"]
        assert 0.02 < by_chance < figures["calibration_error_by_chance_95"] < 0.12


def test_an_accuracy_is_on_the_answers_that_were_decided(tmp_path):
    prefs = answers(16, np.random.default_rng(0))
    tied = dataclasses.replace(prefs, labels=np.where(np.arange(16) < 6, 0.5, prefs.labels))
    facts = [{"annotator": "ann" if i % 2 else "bob"} for i in range(16)]
    model = model_of_the_first_number()
    judgement = judge(model, tied, np.arange(16), NOISE, AnswerFacts(facts=facts))
    said = write_report(tmp_path, judgement, "A reward")
    assert "on 10 answers and 6 ties (95 % interval" in said
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "of 10 decided answers that it has not learned from" in page
    figures = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert [row["held_out_ties"] for row in figures["by_answerer"]] == [3, 3]


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
    assert pairs_of(tmp_path)[0]["predicted"] == pytest.approx(0.675)
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
    assert ties["calibration_error"] is None and ties["held_out_accuracy"] is None
    said = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "All answers that were held out are ties" in said and "nan" not in said


def test_the_slope_of_a_linear_reward_is_its_weight():
    model = model_of_the_first_number()
    with torch.no_grad():
        for network in model.networks:
            network[0].weight.copy_(torch.tensor([[3.0, -1.0, 0]]))
        model.reward_std.fill_(2.0)
        model.input_std.copy_(torch.tensor([5.0, 5.0, 5.0]))
    obs = np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32)
    obs[:, 1] = 0.7  # what never varies changes nothing
    slopes, sizes = sensitivity(model, obs, np.zeros(7, np.int64))
    # per deviation that it has in these steps, on the agent's scale
    expected = 3.0 / 2.0 * obs[:, 0].std() / 5.0
    assert slopes == pytest.approx([expected, 0, 0], abs=1e-6)
    assert sizes == pytest.approx([expected, 0, 0], abs=1e-6)


def test_what_it_looks_at_is_named_and_comes_first(tmp_path):
    prefs = answers(30, np.random.default_rng(0))
    named = report(tmp_path, prefs, known=AnswerFacts(inputs=["height", "speed", "<lean>"]))[
        "inputs"
    ]
    assert [row["name"] for row in named] == ["height", "speed", "<lean>"]
    assert named[0]["size"] > 0 and named[1]["size"] == 0
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "&lt;lean&gt;" in page and "<lean>" not in page


def test_what_is_not_known_is_left_out(tmp_path):
    # nothing was held out; and whoever collected this knew no rewards
    plain = answers(12, np.random.default_rng(0))
    silent = make_segments(plain.segments.obs, plain.segments.actions)
    prefs = Preferences(silent, plain.first, plain.second, plain.labels)
    nobody = np.zeros(0, np.int64)
    figures = report(tmp_path, prefs, held_out=nobody)
    judgement = judge(model_of_the_first_number(), prefs, nobody, NOISE)
    said = write_report(tmp_path, judgement, "A reward")
    assert said.startswith("No decided answer was held out (training ") and "nan%" not in said
    assert figures["held_out_accuracy"] is None and figures["training_accuracy"] > 0.5
    said = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "No answer was held out" in said and "nan" not in said
    assert pairs_of(tmp_path)[0]["sides"][0]["true"] is None
    # all were
    report(tmp_path, plain)
    said = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert " % of those that it has" not in said and "nan" not in said


def test_a_reward_that_learned_nothing_is_held_against_it(tmp_path):
    # what is longer is preferred, always: a constant says as much
    obs = np.ones((8, 4, 3))
    segments = make_segments(obs, np.zeros((8, 4)), lengths=np.array([1, 1, 1, 1, 4, 4, 4, 4]))
    prefs = Preferences(segments, np.arange(4), np.arange(4, 8), np.ones(4))
    figures = report(tmp_path, prefs)
    assert figures["controls"]["constant"] == 1 and figures["controls"]["flipped"] == 0
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "do not show that it knows more" in page
    many = answers(400, np.random.default_rng(0), noise=0.0, scale=9.0)
    said = report(tmp_path, many)["controls"]
    assert said["constant"] == 0.5 and said["flipped"] < 0.1
    assert 0.4 < said["untrained_mean"] < 0.6 < said["untrained_highest"] <= 1


def test_answers_are_judged_by_who_gave_them_and_when(tmp_path):
    prefs = answers(40, np.random.default_rng(0), noise=0.0, scale=9.0)
    labels = prefs.labels.copy()
    labels[20:] = 1 - labels[20:]  # Bob says the opposite
    prefs = Preferences(prefs.segments, prefs.first, prefs.second, labels)
    facts = [
        {"annotator": name, "iteration": i % 2}
        for i, name in enumerate(["Ada"] * 20 + ["Bob"] * 20)
    ]
    figures = report(tmp_path, prefs, held_out=np.arange(0, 40, 2), known=AnswerFacts(facts=facts))
    ada, bob = figures["by_answerer"]
    assert (ada["name"], ada["answers"], ada["held_out_answers"]) == ("Ada", 20, 10)
    assert ada["held_out_accuracy"] > 0.8 and bob["held_out_accuracy"] < 0.2
    assert 0.5 < ada["low"] < ada["held_out_accuracy"]
    # of the second one all are learned from
    assert [row["held_out_answers"] for row in figures["by_iteration"]] == [20, 0]
    assert figures["by_iteration"][1]["held_out_accuracy"] is None
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "By who answered" in page and "Bob" in page and "Errors:" not in page


def test_what_was_learned_of_annotators_is_told_and_counts(tmp_path):
    rng = np.random.default_rng(0)
    prefs = answers(400, rng, noise=0)
    labels = prefs.labels.copy()
    labels[200:] = rng.integers(2, size=200)  # by a coin
    prefs = Preferences(prefs.segments, prefs.first, prefs.second, labels)
    facts = [{"annotator": name} for name in ["Ada"] * 200 + ["Coin"] * 200]
    plain = report(tmp_path, prefs, noise=0.01, known=AnswerFacts(facts=facts))
    known = AnswerFacts(facts=facts, errors={"Ada": 0.01, "Coin": 0.49})
    figures = report(tmp_path, prefs, noise=0.01, known=known)
    assert [row["error"] for row in figures["by_answerer"]] == [0.01, 0.49]
    assert "error" not in plain["by_answerer"][0]
    # who knows whose answers are tosses is not too sure of them
    assert figures["calibration_error"] < 0.6 * plain["calibration_error"]
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Errors: the share of their answers" in page and "0.49" in page


def test_a_single_annotator_of_whom_something_was_learned_is_told(tmp_path):
    prefs = answers(20, np.random.default_rng(0))
    known = AnswerFacts(facts=[{"annotator": "Ada"}] * 20, errors={"Ada": 0.07})
    assert report(tmp_path, prefs, known=known)["by_answerer"][0]["error"] == 0.07
    assert "0.07" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_clips_that_are_missing_are_drawn_and_what_can_not_be_is_told(tmp_path):
    asked = []

    def draw(positions):
        asked.extend(positions)
        clip = tmp_path / "clip.mp4"
        clip.write_bytes(b"moves")
        return {positions[0]: clip}, "8 of them have no clip: <it> went wrong."

    there = tmp_path / "there.mp4"
    there.write_bytes(b"moves, too")
    prefs = answers(20, np.random.default_rng(0))
    worst = report(tmp_path, prefs)["worst_pairs"]
    report(tmp_path, prefs, known=AnswerFacts(clips={worst[3]: there}, draw=draw))
    assert asked == [i for i in worst if i != worst[3]]
    clips = {pair["answer"] for pair in pairs_of(tmp_path) if pair["clip"]}
    assert clips == {worst[0], worst[3]}
    assert (
        "8 of them have no clip: &lt;it&gt; went wrong." in (tmp_path / "report.html").read_text()
    )


def test_what_is_explained_worst_is_what_is_counted_as_wrong(tmp_path):
    """Members of whom one is sure and two are against it: their mean return says one thing, the mean probability another."""
    model = RewardModel(Spaces((3,), "float32", True, 2), (), members=3, uses_actions=False)
    with torch.no_grad():
        for network, weight in zip(model.networks, (10.0, -2.0, -2.0), strict=True):
            network[0].weight.copy_(torch.tensor([[weight, 0, 0]]))
            network[0].bias.zero_()
    obs = np.zeros((2, 1, 3))
    obs[1, 0, 0] = 1
    segments = make_segments(obs, np.zeros((2, 1)))
    first, second = np.array([0, 1]), np.array([1, 0])
    prefs = Preferences(segments, first, second, np.array([1.0, 1.0]))
    assert model.probabilities(prefs).mean(axis=0)[0] < 0.5 < model.gap(prefs)[0] == 2
    facts = [{"iteration": 0}, {"iteration": 1}]
    judgement = judge(model, prefs, np.arange(2), 0.0, AnswerFacts(facts=facts))
    write_report(tmp_path, judgement, "A reward")
    figures = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert [row["accuracy"] for row in figures["by_iteration"]] == [1, 0]
    worst = pairs_of(tmp_path)
    assert [pair["answer"] for pair in worst] == [1, 0]
    assert worst[0]["predicted"] < 0.5 < worst[1]["predicted"]
