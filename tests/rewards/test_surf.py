import numpy as np
import pytest
import torch
from made_up import ask, random_segments

from prefloop.envs.spaces import Spaces
from prefloop.rewards.pair_returns import PairReturns
from prefloop.rewards.settings import RewardSettings, SurfSettings
from prefloop.rewards.surf import Surf
from prefloop.rewards.training import RewardFit, fit, make_model

RNG = np.random.default_rng
SETTINGS = RewardSettings(hidden_sizes=(16,))


def made(model=None, lengths=None, **settings):
    """A model, SURF on pairs without answers, and what these are."""
    model = model or make_model(Spaces((3,), "float32", True, 2), SETTINGS, 0)
    pairs = ask(random_segments(30, 20, RNG(5), lengths=lengths), 40, RNG(5))
    own = SurfSettings(surf=True, **settings)
    return model, Surf(own, model, pairs, torch.device("cpu")), pairs


@pytest.mark.parametrize("ragged", [False, True])
def test_a_crop_is_one_stretch_and_as_large_in_both_segments(ragged):
    lengths = RNG(0).integers(2, 21, size=30) if ragged else None
    model, surf, pairs = made(lengths=lengths, smallest_crop=0.5, largest_crop=0.8)
    returns = PairReturns(model, pairs, torch.device("cpu"))
    chosen = torch.arange(40)
    keep = surf.crops(returns, chosen, RNG(0)).numpy()
    whole = np.concatenate(
        [pairs.segments.lengths[pairs.first], pairs.segments.lengths[pairs.second]]
    )
    kept = keep.sum(1)
    assert (kept >= np.maximum(1, np.floor(0.5 * whole))).all()
    assert (kept <= np.ceil(0.8 * whole)).all()
    assert not keep[np.arange(returns.longest) >= whole[:, None]].any()  # never in the padding
    assert (np.diff(keep.astype(int), axis=1) == 1).sum(1).max() <= 1  # one stretch
    if not ragged:
        assert (kept[:40] == kept[40:]).all() and len(set(kept)) > 3
        assert len(set(keep.argmax(1))) > 3  # it begins here and there


@pytest.mark.parametrize("ragged", [False, True])
def test_a_crop_is_worth_the_sum_of_its_steps(ragged):
    lengths = RNG(0).integers(2, 21, size=30) if ragged else None
    model, surf, pairs = made(lengths=lengths)
    returns, chosen = PairReturns(model, pairs, torch.device("cpu")), torch.arange(40)
    keep = surf.crops(returns, chosen, RNG(1))
    with torch.no_grad():
        first, second = returns(model.networks, chosen, keep)
    rewards = model._members_rewards(pairs.segments.obs, pairs.segments.actions)
    for side, place, mask in ((first, pairs.first, keep[:40]), (second, pairs.second, keep[40:])):
        np.testing.assert_allclose(side, (rewards[:, place] * mask).sum(-1), rtol=1e-4, atol=1e-5)


def test_only_what_a_member_is_sure_of_costs_it_anything():
    model, surf, _ = made(confidence=0.99)
    network = model.networks[0]
    assert surf.loss(network, 10, RNG(0)).item() == 0  # it knows nothing yet
    with torch.no_grad():
        network[-2].weight.mul_(1e4)
    loss = surf.loss(network, 10, RNG(0))
    assert loss.item() > 0
    loss.backward()
    assert network[0].weight.grad.abs().sum() > 0
    assert all(p.grad is None for p in model.networks[1].parameters())
    half = made(model, confidence=0.99, surf_weight=0.5)[1]
    assert half.loss(network, 10, RNG(0)).item() == pytest.approx(loss.item() / 2)


def test_answers_that_judge_are_neither_cropped_nor_made_up():
    prefs = ask(random_segments(40, 20, RNG(0)), 100, RNG(0))
    model = make_model(Spaces((3,), "float32", True, 2), SETTINGS, 0)
    model, _ = fit(model, prefs, SETTINGS, 0)
    loose = RewardFit(model, prefs, SETTINGS, 0)
    held_out = loose._held_out_loss_and_accuracy()
    pairs = ask(random_segments(30, 20, RNG(5)), 40, RNG(5))
    settings = SurfSettings(surf=True, smallest_crop=0.1, largest_crop=0.2)
    cropped = RewardFit(model, prefs, SETTINGS, 0, "cpu", settings, pairs)
    assert cropped._held_out_loss_and_accuracy() == held_out


def test_a_fit_with_it_learns_another_reward_and_learns():
    prefs = ask(random_segments(60, 20, RNG(0)), 60, RNG(0))
    pairs = ask(random_segments(200, 20, RNG(5)), 240, RNG(5))
    fits = []
    for surf in (None, SurfSettings(surf=True, confidence=0.8)):
        model = make_model(Spaces((3,), "float32", True, 2), SETTINGS, 0)
        model, rows = fit(model, prefs, SETTINGS, 0, "cpu", surf, pairs)
        right = (model.probabilities(pairs).mean(0) > 0.5) == pairs.labels
        fits.append((right.mean(), len(rows), model))
    assert fits[0][0] > 0.8 and fits[1][0] > 0.8
    weights = [f[2].networks[0][0].weight for f in fits]
    assert not torch.equal(*weights)


def test_of_no_weight_and_with_whole_segments_it_changes_nothing():
    prefs = ask(random_segments(60, 20, RNG(0)), 60, RNG(0))
    pairs = ask(random_segments(100, 20, RNG(5)), 120, RNG(5))
    nothing = SurfSettings(surf=True, surf_weight=0.0, smallest_crop=1.0, largest_crop=1.0)
    plain, same = (
        fit(
            make_model(Spaces((3,), "float32", True, 2), SETTINGS, 0),
            prefs,
            SETTINGS,
            0,
            "cpu",
            x,
            pairs,
        )
        for x in (None, nothing)
    )
    assert len(plain[1]) == len(same[1])
    for a, b in zip(plain[0].parameters(), same[0].parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5)


def test_settings_that_nothing_can_have_are_refused():
    for bad, named in (
        ({"smallest_crop": 0.9, "largest_crop": 0.5}, "--surf_largest_crop"),
        ({"confidence": 0.3}, "--surf_confidence"),
        ({"unlabelled_ratio": 0}, "--surf_unlabelled_ratio"),
    ):
        with pytest.raises(ValueError, match=named):
            SurfSettings(**bad)
