import itertools

import numpy as np
import pytest
import torch
from made_up import ask, make_segments, preferences, random_segments, reward_of

from prefloop import checkpoints
from prefloop.data.preferences import Preferences
from prefloop.data.segments import Segments, concatenate
from prefloop.envs.spaces import Spaces
from prefloop.errors import UserError
from prefloop.rewards.reward_model import last_layer
from prefloop.rewards.settings import RewardSettings
from prefloop.rewards.training import RewardFit, fit, make_model

RNG = np.random.default_rng


def start(prefs, seed=0, **settings):
    settings = RewardSettings(**({"hidden_sizes": (16,)} | settings))
    segments = prefs.segments
    spaces = Spaces((3,), "float32", segments.discrete, 2 if segments.discrete else 1)
    return RewardFit(make_model(spaces, settings, seed), prefs, settings, seed)


def run(prefs, seed=0, **settings):
    settings = RewardSettings(**({"hidden_sizes": (16,)} | settings))
    discrete = prefs.segments.discrete
    spaces = Spaces((3,), "float32", discrete, 2 if discrete else 1)
    return fit(make_model(spaces, settings, seed), prefs, settings, seed)


def test_vectors_are_not_moved():
    spaces = Spaces((3,), "float32", True, 2)
    with pytest.raises(UserError, match="shift is for rewards of pictures; vectors are not moved"):
        make_model(spaces, RewardSettings(shift=4), seed=0)


def tensors(model):
    return model.state_dict().values()


def same(first, second):
    return all(torch.equal(a, b) for a, b in zip(tensors(first), tensors(second), strict=True))


@pytest.mark.parametrize("discrete", [True, False])
@pytest.mark.parametrize("ragged", [False, True])
def test_it_learns_a_known_reward(discrete, ragged):
    rng = RNG(0)
    lengths = rng.integers(1, 9, size=120) if ragged else None
    prefs = ask(random_segments(120, 8, rng, discrete, lengths), 400, rng)
    model, rows = run(prefs, learning_rate=0.01, epochs=60)
    best = min(rows, key=lambda row: row["held_out_loss"])
    assert best["held_out_accuracy"] > 0.9
    new = random_segments(40, 8, RNG(1), discrete)
    learned = model.reward(new.obs, new.actions).ravel()
    true = reward_of(new.obs, new.actions).ravel()
    assert np.corrcoef(learned, true)[0, 1] > 0.95
    assert learned.std() == pytest.approx(1, rel=0.25)  # an agent sees a scale of 1


def test_turned_round_answers_give_a_turned_round_reward():
    prefs = ask(random_segments(60, 5, RNG(0)), 200, RNG(0))
    settings = {"learning_rate": 0.01, "epochs": 20}
    right, wrong = (run(p, **settings)[0] for p in (prefs, prefs.flipped))
    obs, actions = prefs.segments.obs, prefs.segments.actions
    rewards = [model.reward(obs, actions).ravel() for model in (right, wrong)]
    assert np.corrcoef(*rewards)[0, 1] < -0.9


def test_padding_does_not_matter():
    rng = RNG(0)
    segments = random_segments(30, 5, rng)
    # the same segments with four steps of rubbish after them
    obs = np.concatenate([segments.obs, np.full((30, 4, 3), 1e3)], axis=1)
    actions = np.concatenate([segments.actions, np.ones((30, 4))], axis=1).astype(int)
    padded = make_segments(obs, actions, np.full(30, 5), np.pad(segments.rewards, ((0, 0), (0, 4))))
    prefs = ask(segments, 50, rng)
    wide = Preferences(padded, prefs.first, prefs.second, prefs.labels)
    (plain, rows), (with_padding, padded_rows) = (run(p, epochs=4) for p in (prefs, wide))
    for a, b in zip(rows, padded_rows, strict=True):
        assert a == pytest.approx(b, rel=1e-3)
    for a, b in zip(tensors(plain), tensors(with_padding), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)


def test_what_length_explains_is_not_laid_to_states():
    # the longer segment is preferred, and observations are noise
    rng = RNG(0)
    lengths = rng.integers(5, 30, size=40)
    obs = rng.normal(size=(40, 30, 3)).astype(np.float32)
    segments = make_segments(obs, np.zeros((40, 30), int), lengths, np.ones((40, 30)))
    first, second = rng.integers(40, size=(2, 200))
    labels = np.select(
        [lengths[second] > lengths[first], lengths[second] < lengths[first]], [1, 0], 0.5
    )
    model, _ = run(Preferences(segments, first, second, labels.astype(float)))
    rewards = model.reward(obs.astype(np.float32), np.zeros((40, 30), int))
    assert rewards.mean() > 0.8  # of a scale of 1
    assert rewards.std() < 0.3


def test_a_few_short_segments_do_not_drown_the_steps():
    """As where a lost game cuts them short, which is not observed: a constant would explain that, and more of it more surely."""
    rng = RNG(0)
    obs = rng.normal(size=(1000, 25, 3)).astype(np.float32)
    rewards = 1.0 * (obs[..., 1] > 2) - (obs[..., 0] > 2)
    lengths = np.full(1000, 25)
    lengths[:6] = rng.integers(2, 25, size=6)
    rewards[np.arange(6), lengths[:6] - 1] -= 2
    segments = make_segments(obs, np.zeros((1000, 25), int), lengths, rewards)
    first, second = rng.permutation(1000).reshape(2, -1)
    gap = np.sign(segments.returns[second] - segments.returns[first])
    model, _ = run(Preferences(segments, first, second, (gap + 1) / 2))
    learned = model.reward(obs, np.zeros((1000, 25), int))
    assert learned.std() > 0.4  # of a scale of 1; 0.13 by the rate for lengths that all differ
    assert np.corrcoef(learned.ravel(), rewards.ravel())[0, 1] > 0.4


def test_members_differ():
    prefs = ask(random_segments(30, 5, RNG(0)), 40, RNG(0))
    model, _ = run(prefs, epochs=10)
    assert (model.disagreement(prefs.segments.obs, prefs.segments.actions) > 0).all()
    assert np.ptp(model.returns(prefs.segments), axis=0).min() > 0
    alone, _ = run(prefs, ensemble=1, epochs=10)
    assert (alone.disagreement(prefs.segments.obs, prefs.segments.actions) == 0).all()


def test_members_that_start_alike_are_told_apart_by_their_bootstrap():
    prefs = ask(random_segments(30, 5, RNG(0)), 40, RNG(0))
    fitting = start(prefs, ensemble=2)
    first, second = fitting.model.networks
    second.load_state_dict(first.state_dict())
    fitting.iterate(0)
    assert not torch.equal(first[0].weight, second[0].weight)


def held_out_loss(model, fitting):
    """Of the answers that were held out, from the model's own probabilities."""
    held_out = fitting.preferences[fitting.held_out]
    p = model.probabilities(held_out)
    return -(held_out.labels * np.log(p) + (1 - held_out.labels) * np.log(1 - p)).mean()


def test_it_stops_by_the_held_out_loss_and_keeps_the_best():
    rng = RNG(0)
    prefs = ask(random_segments(30, 5, rng), 60, rng)
    noise = Preferences(prefs.segments, prefs.first, prefs.second, rng.integers(2, size=60) * 1.0)
    settings = {"learning_rate": 0.03, "patience": 5, "label_noise": 0.0}
    fitting, rows = start(noise, **settings), []
    while not fitting.finished:
        rows.append(fitting.iterate(len(rows)))
    losses = [row["held_out_loss"] for row in rows]
    assert len(rows) == np.argmin(losses) + 1 + 5 < 200
    assert held_out_loss(fitting.model, fitting) == pytest.approx(losses[-1], rel=1e-4)
    assert held_out_loss(fitting.finish(), fitting) == pytest.approx(min(losses), rel=1e-4)
    model, again = run(noise, **settings)
    assert again == rows
    assert same(model, fitting.model)


def test_a_loss_that_never_was_a_number_is_no_reward():
    prefs = ask(random_segments(20, 5, RNG(0)), 30, RNG(0))
    with pytest.raises(UserError, match="learning diverged"):
        run(prefs, learning_rate=1e20, epochs=5)


def test_without_held_out_answers_the_last_pass_counts():
    prefs = ask(random_segments(20, 5, RNG(0)), 30, RNG(0))
    fitting = start(prefs, held_out=0.0, patience=1)
    rows = [fitting.iterate(epoch) for epoch in range(4)]
    assert not fitting.finished
    assert np.isnan([row["held_out_loss"] for row in rows]).all()
    last = [value.clone() for value in fitting.model.networks.state_dict().values()]
    finished = fitting.finish().networks.state_dict().values()
    assert all(torch.equal(a, b) for a, b in zip(last, finished, strict=True))


def again(prefs, rng, times):
    """Every query several times, in any order, either way round, its segments under other numbers."""
    num = len(prefs.segments)
    copies = concatenate([prefs.segments] * times)
    query = rng.permutation(np.repeat(np.arange(len(prefs)), times))
    first, second, labels = prefs.first[query], prefs.second[query], prefs.labels[query]
    first, second = (x + num * rng.integers(times, size=len(query)) for x in (first, second))
    turned = rng.random(len(query)) < 0.5
    return Preferences(
        copies,
        np.where(turned, second, first),
        np.where(turned, first, second),
        np.where(turned, 1 - labels, labels),
    )


@pytest.mark.parametrize("share", [0.2, 0.9])
@pytest.mark.parametrize("seed", range(5))
def test_a_pair_stays_on_its_side_when_other_answers_follow(seed, share):
    rng = RNG(seed)
    prefs = again(ask(random_segments(20, 3, rng), 30, rng), rng, 4)
    sides = [start(prefs[slice(n)], seed, held_out=share) for n in (1, 3, 10, 40, 120)]
    for fewer, more in itertools.pairwise(sides):
        n = len(fewer.preferences)
        assert set(fewer.held_out) | set(fewer.train) == set(range(n))
        assert set(fewer.held_out) == {i for i in more.held_out if i < n}
        assert set(fewer.train) == {i for i in more.train if i < n}
        assert len(fewer.train)


def test_the_share_that_is_held_out():
    prefs = ask(random_segments(60, 3, RNG(0)), 1000, RNG(0))
    for seed in range(3):
        assert len(start(prefs, seed).held_out) == pytest.approx(200, abs=50)
    assert len({tuple(start(prefs, seed).held_out) for seed in range(3)}) == 3


@pytest.mark.parametrize("seed", range(5))
def test_all_answers_to_a_pair_fall_on_one_side(seed):
    rng = RNG(seed)
    prefs = again(ask(random_segments(20, 3, rng), 30, rng), rng, 4)
    fitting = start(prefs, seed, held_out=0.5)
    unordered = [frozenset(p) for p in zip(prefs.first % 20, prefs.second % 20, strict=True)]
    held_out, train = ({unordered[i] for i in side} for side in (fitting.held_out, fitting.train))
    assert held_out and train and not held_out & train


def test_a_member_that_leaves_a_pair_out_has_not_seen_it_from_anybody():
    rng = RNG(0)
    prefs = again(ask(random_segments(40, 3, rng), 60, rng), rng, 4)
    weights = start(prefs)._weights.numpy()
    unordered = np.sort(np.stack([prefs.first % 40, prefs.second % 40]), axis=0).T
    for pair in np.unique(unordered, axis=0):
        of_pair = weights[:, (unordered == pair).all(axis=1)]
        assert (of_pair == of_pair[:, :1]).all()
    assert {0, 1, 2} <= set(weights.ravel())


def test_members_weigh_pairs_as_poisson_says():
    prefs = ask(random_segments(400, 2, RNG(0)), 3000, RNG(0))
    weights = start(prefs, ensemble=3)._weights.numpy()
    shares = [(weights == k).mean() for k in range(4)]
    assert shares == pytest.approx(
        [np.exp(-1), np.exp(-1), np.exp(-1) / 2, np.exp(-1) / 6], abs=0.025
    )
    assert np.abs(np.corrcoef(weights) - np.eye(3)).max() < 0.1


def test_a_member_always_has_something_to_learn_from():
    prefs = ask(random_segments(6, 3, RNG(0)), 4, RNG(0))
    for seed in range(40):
        fitting = start(prefs, seed, held_out=0.6)
        assert (fitting._weights[:, fitting.train].sum(axis=1) > 0).all()


def test_random_answers_given_ten_times_do_not_look_learned():
    # thirty pairs, each decided by a coin, and ten people who agree
    accuracies = []
    for seed in range(8):
        rng = RNG(seed)
        segments = random_segments(60, 5, rng)
        first, second = rng.permutation(60).reshape(2, 30)
        coins = Preferences(segments, first, second, rng.integers(2, size=30) * 1.0)
        prefs = again(coins, rng, 10)
        fitting, rows = start(prefs, seed), []
        while not fitting.finished:
            rows.append(fitting.iterate(len(rows)))
        assert len(rows) < 80
        accuracies.append(rows[fitting.best_epoch]["held_out_accuracy"])
    assert 0.2 < np.mean(accuracies) < 0.75


def test_what_is_learned_from_decides_something():
    segments = random_segments(4, 3, RNG(0))
    prefs = preferences(segments, (0, 1, 0.5), (1, 2, 0.5), (2, 3, 1.0), (3, 2, 0.5))
    for seed in range(10):
        assert {2, 3} <= set(start(prefs, seed, held_out=0.9).train)


def test_a_tie_pulls_two_segments_together():
    rng = RNG(0)
    segments = random_segments(6, 5, rng)
    prefs = preferences(segments, *[(2, 3, 0.5)] * 9, (0, 1, 1.0))
    fitting = start(prefs, ensemble=1, held_out=0.0, learning_rate=0.01)

    def gap(first, second):
        returns = fitting.model.returns(segments)[0]
        return returns[second] - returns[first]

    torch.manual_seed(0)
    torch.nn.init.normal_(last_layer(fitting.model.networks[0]).weight, std=0.3)  # far from even
    before = gap(2, 3)
    for epoch in range(60):
        fitting.iterate(epoch)
    assert abs(before) > 0.05
    assert abs(gap(2, 3)) < 0.2 * abs(before)
    assert gap(0, 1) > 1


def test_ties_are_not_counted_as_right_or_wrong():
    segments = random_segments(4, 3, RNG(0))
    prefs = preferences(segments, (0, 1, 1.0), (2, 3, 0.5))
    fitting = start(prefs, held_out=0.0, learning_rate=0.03)
    assert [fitting.iterate(epoch) for epoch in range(40)][-1]["accuracy"] == 1


def test_skipped_queries_never_train():
    segments = random_segments(10, 3, RNG(0))
    prefs = ask(segments, 20, RNG(0))
    skipped = np.full(5, np.nan)
    with_skips = Preferences(
        segments,
        *(np.concatenate([x, np.arange(5) + i]) for i, x in enumerate((prefs.first, prefs.second))),
        np.concatenate([prefs.labels, skipped]),
    )
    assert same(run(prefs, epochs=3)[0], run(with_skips, epochs=3)[0])


@pytest.mark.parametrize("batch_size", [1, 3])
def test_a_pair_that_no_member_drew_does_no_harm(batch_size):
    # by Poisson's weights, one pair in twenty counts for none of three members
    prefs = ask(random_segments(30, 3, RNG(0)), 60, RNG(0))
    model, rows = run(prefs, batch_size=batch_size, epochs=3)
    assert np.isfinite([list(row.values()) for row in rows]).all()
    assert all(torch.isfinite(value).all() for value in tensors(model))


def test_inputs_that_never_vary_are_not_blown_up():
    rng = RNG(0)
    segments = random_segments(20, 4, rng)
    segments.obs[..., 1] = 5.0
    model, _ = run(ask(segments, 30, rng), epochs=3)
    elsewhere = segments.obs.copy()
    elsewhere[..., 1] = 6.0
    change = model.reward(elsewhere, segments.actions) - model.reward(
        segments.obs, segments.actions
    )
    assert np.abs(change).max() < 10


def one_segment():
    return random_segments(1, 3, RNG(0))


@pytest.mark.parametrize(
    ("prefs", "words"),
    [
        (Preferences(one_segment(), *np.zeros((2, 0), int), np.zeros(0)), "from 1 segment"),
        (preferences(one_segment(), (0, 0, 1.0)), "from 1 segment"),
        (preferences(random_segments(2, 3, RNG(0)), (0, 1, 0.5)), "all 1 answers are ties"),
        (preferences(random_segments(2, 3, RNG(0)), *[(0, 1, np.nan)] * 3), "all 3 queries were"),
        (preferences(random_segments(2, 3, RNG(0)), (0, 1, np.nan), (0, 1, 0.5)), "are ties"),
    ],
)
def test_nothing_to_learn(prefs, words):
    with pytest.raises(UserError, match=words):
        start(prefs)


def test_same_seed_same_reward():
    prefs = ask(random_segments(20, 4, RNG(0)), 30, RNG(0))
    first, again, other = (run(prefs, seed, epochs=3)[0] for seed in (0, 0, 1))
    assert same(first, again)
    assert not same(first, other)


def test_a_stopped_fit_ends_where_the_unbroken_one_does(tmp_path):
    prefs = ask(random_segments(20, 4, RNG(0)), 80, RNG(0))
    unbroken, stopped, resumed = (start(prefs, batch_size=16) for _ in range(3))
    rows = [unbroken.iterate(epoch) for epoch in range(4)]
    for epoch in range(2):
        stopped.iterate(epoch)
    checkpoints.save(tmp_path / "state.pt", stopped.state_dict())
    resumed.load_state_dict(checkpoints.load(tmp_path / "state.pt"))
    assert [resumed.iterate(epoch) for epoch in (2, 3)] == rows[2:]
    assert same(resumed.finish(), unbroken.finish())


def test_a_fit_goes_on_from_the_weights_it_is_given():
    segments = random_segments(30, 4, RNG(0))
    prefs = ask(segments, 60, RNG(0))
    settings = RewardSettings(learning_rate=0.01, epochs=40)
    model, _ = fit(make_model(Spaces((3,), "float32", True, 2), settings, 0), prefs, settings, 0)
    short = RewardSettings(learning_rate=1e-5, epochs=1)
    _, (row,) = fit(model, prefs, short, 0)
    assert row["accuracy"] > 0.9


def test_only_segments_that_were_asked_about_set_the_inputs_scale():
    rng = RNG(0)
    segments = random_segments(6, 4, rng)
    prefs = preferences(segments, (0, 1, 1.0), (2, 3, 0.0))
    strange = segments.obs.copy()
    strange[4:] = 1e6
    parts = (strange, segments.actions, segments.mask, segments.rewards)
    odd = Segments(*parts, segments.policy, segments.first_step)
    other = Preferences(odd, prefs.first, prefs.second, prefs.labels)
    a, b = (start(p).model.input_mean for p in (prefs, other))
    assert torch.equal(a, b)


@pytest.mark.parametrize("hidden_sizes", [(), (16,), (16, 16)])
def test_answers_that_follow_do_not_change_the_reward_before_they_are_learned_from(hidden_sizes):
    rng = RNG(0)
    prefs = ask(random_segments(30, 5, rng), 60, rng)
    settings = RewardSettings(hidden_sizes=hidden_sizes, epochs=20)
    model, _ = fit(make_model(Spaces((3,), "float32", True, 2), settings, 0), prefs, settings, 0)
    far = random_segments(30, 5, rng)
    later = make_segments(3 * far.obs + np.array([5, 0, -9]), far.actions, rewards=far.rewards)
    both = concatenate([prefs.segments, later])
    more = ask(both, 100, rng)
    before, mean = model.returns(both), model.input_mean.clone()
    fitting = RewardFit(model, more, settings, 0)
    assert not torch.allclose(mean, model.input_mean)
    np.testing.assert_allclose(model.returns(both), before, rtol=1e-4, atol=1e-4)
    asked = fitting.preferences.segments
    steps = model.inputs(torch.tensor(asked.obs), torch.tensor(asked.actions))[asked.mask]
    torch.testing.assert_close(steps.mean(0), torch.zeros(5), atol=1e-4, rtol=0)
    torch.testing.assert_close(steps.std(0, correction=0), torch.ones(5), atol=1e-4, rtol=0)


def test_new_weights_are_for_inputs_that_are_standardised():
    segments = random_segments(30, 5, RNG(0))
    large = make_segments(1000 * segments.obs, segments.actions, rewards=segments.rewards)
    plain, scaled = (start(ask(each, 60, RNG(1))).model for each in (segments, large))
    for a, b in zip(plain.networks.parameters(), scaled.networks.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_pass_of_a_refit_takes_what_is_new_and_as_many_of_the_others():
    rng = RNG(0)
    prefs = ask(random_segments(120, 5, rng), 200, rng)
    settings = RewardSettings(hidden_sizes=(16,), epochs=3)
    model, _ = fit(
        make_model(Spaces((3,), "float32", True, 2), settings, 0), prefs[:160], settings, 0
    )
    known = set(prefs[:160].pairs)
    fitting = RewardFit(model, prefs, settings, 0, learned_before=known)
    pairs = [prefs.pairs[i] for i in fitting.train]
    new = {i for i, pair in enumerate(pairs) if pair not in known}
    first, second = (fitting._of_a_pass(RNG(i)) for i in range(2))
    for taken in (first, second):
        assert new <= set(taken) and len(taken) == len(set(taken)) == 2 * len(new)
    assert set(first) != set(second), "the others are drawn anew"
    # nothing new: all of it
    again = RewardFit(model, prefs[:160], settings, 0, learned_before=known)
    assert len(again._of_a_pass(RNG(0))) == len(again.train)
