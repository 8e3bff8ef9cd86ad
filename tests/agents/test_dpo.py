import math

import numpy as np
import pytest
import torch
from made_up import ask, make_segments, preferences, random_segments
from torch import nn

from prefloop import checkpoints
from prefloop.agents.dpo import DPO
from prefloop.agents.settings import DPOSettings
from prefloop.errors import UserError
from prefloop.networks import mlp
from prefloop.policies import CategoricalPolicy, GaussianPolicy


def indifferent(obs_dim=1):
    """Either action has probability 1/2."""
    policy = CategoricalPolicy(*mlp([obs_dim, 2]))
    for parameter in policy.parameters():
        nn.init.zeros_(parameter)
    return policy


def reference(obs_dim=3, seed=0):
    torch.manual_seed(seed)
    return CategoricalPolicy(*mlp([obs_dim, 16, 2], nn.Tanh))


def make(policy, prefs, seed=0, **settings):
    return DPO(policy, prefs, DPOSettings(**settings), seed, torch.device("cpu"))


def improve(dpo, *epochs):
    return [dpo.iterate(epoch) for epoch in epochs]


def same(first, second):
    return all(
        torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True)
    )


# segment 0 takes action 0 twice, segment 1 action 1 twice; the second is preferred
ONE_PAIR = preferences(make_segments(np.zeros((2, 2, 1)), [[0, 0], [1, 1]]), (0, 1, 1.0))


def test_at_the_start_an_answer_costs_ln_2():
    rng = np.random.default_rng(0)
    prefs = ask(random_segments(20, 5, rng), 30, rng)
    (row,) = improve(make(reference(), prefs), 0)
    assert row["loss"] == pytest.approx(math.log(2), abs=1e-6)
    (row,) = improve(make(indifferent(), ONE_PAIR), 0)
    assert row["loss"] == pytest.approx(math.log(2))
    assert (row["margin"], row["accuracy"]) == (0, 0.5)  # policy and reference think alike


def test_a_pair_by_hand():
    dpo = make(indifferent(), ONE_PAIR, beta=0.1)
    # now the second action has probability 3/4
    dpo.policy[0].bias.data.copy_(torch.tensor([0.0, math.log(3)]))
    (row,) = improve(dpo, 0)
    # 2 steps * (log(3/4 : 1/2) - log(1/4 : 1/2)) = 2 log 3
    assert row["margin"] == pytest.approx(0.1 * 2 * 1.0986123, abs=1e-5)
    assert row["loss"] == pytest.approx(math.log(1 + math.exp(-0.21972246)), abs=1e-5)
    assert row["accuracy"] == 1


def test_what_was_preferred_gets_more_probable():
    rng = np.random.default_rng(0)
    obs, actions = rng.normal(size=(40, 6, 3)), rng.integers(2, size=(40, 6))
    # good is to act by the sign of the first number
    segments = make_segments(obs, actions, rewards=(obs[..., 0] > 0) == actions)
    prefs, policy = ask(segments, 60, rng), reference()
    dpo = make(policy, prefs, learning_rate=0.01)
    rows = improve(dpo, *range(60))
    obs, actions = torch.as_tensor(segments.obs), torch.as_tensor(segments.actions)
    with torch.no_grad():
        gain = (dpo.finish().log_prob(obs, actions) - policy.log_prob(obs, actions)).sum(1).numpy()
    won = np.where(prefs.labels == 1, prefs.second, prefs.first)
    lost = np.where(prefs.labels == 1, prefs.first, prefs.second)
    assert (gain[won] > gain[lost])[prefs.labels != 0.5].mean() > 0.9
    assert rows[-1]["accuracy"] > 0.9
    assert rows[-1]["loss"] < rows[0]["loss"]


def test_the_reference_stays_as_it_is():
    policy = reference()
    before = [p.clone() for p in policy.parameters()]
    dpo = make(policy, preferences(random_segments(2, 3, np.random.default_rng(0)), (0, 1, 1.0)))
    improve(dpo, 0, 1)
    assert all(torch.equal(a, b) for a, b in zip(policy.parameters(), before, strict=True))
    assert not same(dpo.policy, policy)


def test_padding_does_not_matter():
    trained = []
    for filling in (0, 1):
        rng = np.random.default_rng(0)
        obs, actions = rng.normal(size=(6, 5, 3)), rng.integers(2, size=(6, 5))
        lengths = np.array([5, 1, 3, 2, 4, 3])
        padding = np.arange(5) >= lengths[:, None]
        obs[padding], actions[padding] = 100 * filling, filling
        pairs = [(0, 1, 1.0), (2, 3, 0.0), (4, 5, 1.0)]
        dpo = make(reference(), preferences(make_segments(obs, actions, lengths), *pairs))
        improve(dpo, 0, 1, 2)
        trained.append(dpo.finish())
    assert same(*trained)


def test_skipped_queries_and_segments_nobody_judged_do_not_matter():
    segments = random_segments(8, 4, np.random.default_rng(0))
    answers = [(0, 1, 1.0), (2, 3, 0.0), (1, 3, 1.0)]
    asked = make(reference(), preferences(segments, *answers))
    more = make(reference(), preferences(segments, *answers, (4, 5, np.nan), (6, 0, np.nan)))
    for dpo in (asked, more):
        improve(dpo, 0, 1)
    assert same(asked.policy, more.policy)


def test_turning_a_pair_and_its_label_round_changes_nothing():
    segments = random_segments(4, 4, np.random.default_rng(0))
    one = make(reference(), preferences(segments, (0, 1, 1.0), (2, 3, 0.0)))
    other = make(reference(), preferences(segments, (1, 0, 0.0), (3, 2, 1.0)))
    for dpo in (one, other):
        improve(dpo, 0, 1, 2)
    for a, b in zip(one.policy.parameters(), other.policy.parameters(), strict=True):
        torch.testing.assert_close(a, b)


def test_the_conservative_variant_stops_short_of_certainty():
    dpo = make(indifferent(), ONE_PAIR, beta=1.0, conservative=0.3, learning_rate=0.05)
    # where sigmoid(margin) = 0.7 the loss is least
    assert improve(dpo, *range(200))[-1]["margin"] == pytest.approx(math.log(0.7 / 0.3), abs=1e-3)
    certain = make(indifferent(), ONE_PAIR, beta=1.0, learning_rate=0.05)
    assert improve(certain, *range(200))[-1]["margin"] > 3


def test_ties_hold_the_policy_and_are_not_judged():
    segments = make_segments(np.zeros((3, 2, 1)), [[0, 0], [1, 1], [0, 1]])
    rows = improve(make(indifferent(), preferences(segments, (0, 1, 1.0), (0, 1, 0.5))), *range(20))
    assert rows[-1]["accuracy"] == 1
    free = improve(make(indifferent(), preferences(segments, (0, 1, 1.0))), *range(20))
    assert 0 < rows[-1]["margin"] < free[-1]["margin"]


def test_continuous_actions():
    torch.manual_seed(0)
    policy = GaussianPolicy(mlp([1, 8, 1]), torch.tensor([-2.0]), torch.tensor([2.0]))
    actions = np.stack([np.full((3, 1), -0.5), np.full((3, 1), 0.5)])
    prefs = preferences(make_segments(np.zeros((2, 3, 1)), actions), (0, 1, 1.0))
    dpo = make(policy, prefs, beta=1.0)
    rows = improve(dpo, *range(50))
    assert rows[-1]["accuracy"] == 1
    with torch.no_grad():
        assert dpo.finish()(torch.zeros(1)).item() > policy(torch.zeros(1)).item() + 0.05


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ([(0, 1, 0.5), (1, 2, 0.5)], "all 2 answers are ties"),
        ([(0, 1, np.nan)], "all 1 queries were skipped"),
    ],
)
def test_nothing_to_learn(answers, words):
    segments = random_segments(3, 4, np.random.default_rng(0))
    with pytest.raises(UserError, match=words):
        make(reference(), preferences(segments, *answers))


def test_a_stopped_run_ends_where_the_unbroken_one_does(tmp_path):
    rng = np.random.default_rng(0)
    prefs = ask(random_segments(20, 5, rng), 50, rng)
    unbroken, stopped = (make(reference(), prefs) for _ in range(2))
    improve(unbroken, 0, 1, 2, 3)
    improve(stopped, 0, 1)
    checkpoints.save(tmp_path / "state.pt", stopped.state_dict())
    resumed = make(reference(), prefs)
    resumed.load_state_dict(checkpoints.load(tmp_path / "state.pt"))
    improve(resumed, 2, 3)
    assert same(resumed.policy, unbroken.policy)
    other = make(reference(), prefs, seed=1)
    improve(other, 0, 1, 2, 3)
    assert not same(other.policy, unbroken.policy)
