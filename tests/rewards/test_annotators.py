import numpy as np
import pytest
import torch
from made_up import ask, preferences, random_segments

from prefloop.data.preferences import Preferences
from prefloop.envs.spaces import Spaces
from prefloop.rewards import annotators
from prefloop.rewards.annotators import HIGHEST_RATE, AnnotatorErrors, who_answered
from prefloop.rewards.settings import WARM_UP, RewardSettings
from prefloop.rewards.training import RewardFit, make_model

CPU = torch.device("cpu")
CROWD = {
    "ada": 0.05,
    "bob": 0.05,
    "eve": 0.1,
    "a coin": 0.5,
    "another": 0.5,
    "who mixes sides": 0.9,
}


def start(prefs, who, seed=0, **settings):
    settings = RewardSettings(**({"hidden_sizes": (16,), "learning_rate": 0.01} | settings))
    model = make_model(Spaces((3,), "float32", True, 2), settings, seed)
    return RewardFit(model, prefs, settings, seed, annotators=who)


def fitted(prefs, who, seed=0, **settings):
    fit = start(prefs, who, seed, **settings)
    for epoch in range(60):
        fit.iterate(epoch)
        if fit.finished:
            break
    fit.finish()
    return fit


def crowd(num, seed, of=CROWD):
    """Answers of those who err so often, in turns, each about a pair of its own."""
    rng = np.random.default_rng(seed)
    prefs = ask(random_segments(num, 5, rng), num, rng)
    who = [list(of)[i % len(of)] for i in range(num)]
    wrong = rng.random(num) < np.array([of[name] for name in who])
    labels = np.where(wrong, 1 - prefs.labels, prefs.labels)
    return Preferences(prefs.segments, prefs.first, prefs.second, labels), who


def clean_accuracy(fit, seed=99):
    """On pairs that nobody has erred about."""
    rng = np.random.default_rng(seed)
    prefs = ask(random_segments(400, 5, rng), 1000, rng)
    returns = fit.model.returns(prefs.segments).mean(axis=0)
    return ((returns[prefs.second] > returns[prefs.first]) == (prefs.labels > 0.5)).mean()


def test_one_step_by_hand():
    errors = AnnotatorErrors(["ada", "bob", "ada"], 0.2, CPU)
    assert errors.names == ["ada", "bob"]
    probability, label = torch.tensor([0.9, 0.6, 0.5]), torch.tensor([0.0, 0.5, 1.0])
    errors.learn(torch.arange(3), probability, label)
    # ada said first where 0.9 are for the second: 0.1 * 0.9 of 0.1 * 0.9 + 0.9 * 0.1 are errors, a half;
    # and second where nobody knows: 0.1, as before
    assert errors.rates[0].item() == pytest.approx((0.5 + 0.1 + 10 * 0.1) / (2 + 10))
    # bob's tie is a half of each: 0.1 * 0.4 / (0.04 + 0.9 * 0.6) and 0.1 * 0.6 / (0.06 + 0.9 * 0.4)
    wrong = 0.5 * 0.04 / 0.58 + 0.5 * 0.06 / 0.42
    assert errors.rates[1].item() == pytest.approx((wrong + 10 * 0.1) / (1 + 10))
    torch.testing.assert_close(errors.label_noise(torch.tensor([1, 0])), 2 * errors.rates[[1, 0]])
    assert errors.facts()["ada"] == {"answers": 2, "error": pytest.approx(1.6 / 12, abs=1e-4)}


def test_who_always_contradicts_counts_for_next_to_nothing_and_is_not_turned_round():
    errors = AnnotatorErrors(["eve"] * 200, 0.1, CPU)
    for _ in range(50):
        errors.learn(torch.arange(200), torch.full((200,), 0.99), torch.zeros(200))
    assert errors.rates.item() == pytest.approx(HIGHEST_RATE)


def test_answers_that_are_certain_either_way_stay_finite():
    errors = AnnotatorErrors(["ada", "ada"], 0.1, CPU)
    errors.learn(torch.arange(2), torch.tensor([0.0, 1.0]), torch.tensor([1.0, 1.0]))
    assert errors.rates.item() == pytest.approx((1 + 0 + 10 * 0.05) / 12)


def test_who_errs_is_found_out_though_no_pair_has_two_answers():
    prefs, who = crowd(900, 0)
    assert len(set(prefs.pairs)) > 890
    rates = {name: said["error"] for name, said in fitted(prefs, who).errors.facts().items()}
    assert max(rates["ada"], rates["bob"], rates["eve"]) < 0.2
    assert min(rates["a coin"], rates["another"], rates["who mixes sides"]) > 0.3
    assert rates["who mixes sides"] == max(rates.values())


def test_the_reward_is_better_for_it():
    gains = []
    for seed in range(3):
        prefs, who = crowd(400, seed)
        gains.append(
            clean_accuracy(fitted(prefs, who, seed)) - clean_accuracy(fitted(prefs, None, seed))
        )
    assert np.mean(gains) > 0.01


def test_rates_are_learned_from_what_was_not_learned_from(monkeypatch):
    judged = []
    monkeypatch.setattr(
        annotators.AnnotatorErrors, "learn", lambda self, answers, *_: judged.append(answers)
    )
    prefs, who = crowd(60, 0)
    fit = start(prefs, who, ensemble=3)
    for epoch in range(WARM_UP):
        fit.iterate(epoch)
    assert not judged and fit.annotators == {}
    fit.iterate(WARM_UP)
    # each member leaves out a third of the pairs, so about 1 - (2 / 3)^3 are left out by some
    assert 0.5 < len(judged[0]) / len(fit.train) < 0.9
    assert not set(judged[0].tolist()) & set(fit.held_out.tolist())


def test_skipped_queries_have_no_annotator():
    prefs, who = crowd(60, 0)
    labels = prefs.labels.copy()
    labels[::3] = np.nan
    skipped = Preferences(prefs.segments, prefs.first, prefs.second, labels)
    of_answers = [name for name, label in zip(who, labels, strict=True) if not np.isnan(label)]
    fit = fitted(skipped, of_answers)
    assert sum(said["answers"] for said in fit.errors.facts().values()) == 40


def test_a_fit_that_goes_on_ends_as_the_unbroken_one():
    prefs, who = crowd(90, 0)
    whole = start(prefs, who)
    for epoch in range(16):
        whole.iterate(epoch)
    before, after = start(prefs, who), start(prefs, who)
    for epoch in range(13):
        before.iterate(epoch)
    after.load_state_dict(before.state_dict())
    for epoch in range(13, 16):
        after.iterate(epoch)
    assert torch.equal(after.errors.rates, whole.errors.rates)
    assert len(set(whole.errors.rates.tolist())) == len(CROWD)
    for fit in (whole, after):
        fit.finish()
    assert torch.equal(after.errors.rates, whole.errors.rates)
    returns = [fit.model.returns(prefs.segments) for fit in (whole, after)]
    assert (returns[0] == returns[1]).all()


def test_the_rates_that_are_kept_are_those_of_the_weights_that_are():
    prefs, who = crowd(120, 0)
    fit, rates = start(prefs, who, patience=100, learning_rate=0.05), []
    for epoch in range(30):
        fit.iterate(epoch)
        rates.append(fit.errors.rates.clone())
    assert fit.best_epoch < 29
    fit.finish()
    assert torch.equal(fit.errors.rates, rates[fit.best_epoch])
    assert bool(fit.annotators) == (fit.best_epoch >= WARM_UP)


def test_who_answered():
    said = [{"annotator": "ada"}, {"teacher": "oracle"}, {"annotator": "bob", "teacher": "human"}]
    assert who_answered([*said, {}, {"annotator": 7}]) == ["ada", "oracle", "bob", "", ""]


def test_without_it_nothing_is_kept_of_annotators():
    segments = random_segments(4, 5, np.random.default_rng(0))
    fit = start(preferences(segments, (0, 1, 1), (2, 3, 0)), None)
    assert fit.errors is None and "errors" not in fit.state_dict()
