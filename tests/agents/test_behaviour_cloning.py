import numpy as np
import pytest
import torch
from made_up import make_segments
from torch import nn

from prefloop import checkpoints
from prefloop.agents.behaviour_cloning import BehaviourCloning
from prefloop.agents.settings import BCSettings
from prefloop.data.segments import concatenate
from prefloop.networks import mlp
from prefloop.policies import CategoricalPolicy, GaussianPolicy


def reference(seed=0):
    torch.manual_seed(seed)
    return CategoricalPolicy(*mlp([2, 16, 2], nn.Tanh))


def demonstrations(num=40, length=10, rng=None, noise=0.0, **kwargs):
    """Pushes towards the side that the first number says, but for some noise."""
    rng = rng or np.random.default_rng(0)
    obs = rng.normal(size=(num, length, 2))
    actions = (obs[..., 0] > 0) ^ (rng.random((num, length)) < noise)
    return make_segments(obs, actions.astype(int), **kwargs)


def make(policy, demos, seed=0, **settings):
    shown, cpu = np.arange(len(demos)), torch.device("cpu")
    return BehaviourCloning(policy, demos, shown, BCSettings(**settings), seed, cpu)


def improve(cloning, *epochs):
    return [cloning.iterate(epoch) for epoch in epochs]


def loss_on(policy, segments):
    obs, actions = (torch.as_tensor(x[segments.mask]) for x in (segments.obs, segments.actions))
    with torch.no_grad():
        return -policy.log_prob(obs, actions).mean().item()


def same(first, second):
    return all(
        torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True)
    )


def test_it_does_what_was_shown():
    policy = reference()
    cloning = make(policy, demonstrations(), learning_rate=0.01)
    rows = improve(cloning, *range(30))
    new = demonstrations(rng=np.random.default_rng(1))
    with torch.no_grad():
        chosen = cloning.finish()(torch.as_tensor(new.obs)).argmax(-1).numpy()
    assert (chosen == new.actions).mean() > 0.97
    assert rows[-1]["loss"] < 0.3 * rows[0]["loss"]
    assert same(policy, reference())  # what it started from is as it was


def test_continuous_actions_are_cloned_with_their_spread():
    rng = np.random.default_rng(0)
    obs = rng.normal(size=(60, 10, 2))
    actions = obs[..., :1] - 0.5 + 0.1 * rng.normal(size=(60, 10, 1))
    torch.manual_seed(0)
    policy = GaussianPolicy(mlp([2, 16, 1], nn.Tanh), torch.tensor([-2.0]), torch.tensor([2.0]))
    cloning = make(policy, make_segments(obs, actions), learning_rate=0.02)
    improve(cloning, *range(150))
    cloned = cloning.finish()
    with torch.no_grad():
        mean = cloned(torch.tensor([[0.0, 0.0], [1.0, 0.0]]))[:, 0].tolist()
    # in units of the bounds, -2 and 2
    assert mean == pytest.approx([-0.25, 0.25], abs=0.03)
    assert cloned.log_std.exp().item() == pytest.approx(0.05, rel=0.3)


def test_it_stops_by_held_out_demonstrations_and_keeps_the_best():
    # a demonstrator who errs half of the time: whatever is learned is learned by heart
    demos = demonstrations(num=10, noise=0.5)
    cloning = make(reference(), demos, learning_rate=0.05, patience=3, held_out=0.5, batch_size=10)
    rows = []
    while not cloning.finished:
        rows += improve(cloning, len(rows))
    losses = [row["held_out_loss"] for row in rows]
    assert len(rows) == np.argmin(losses) + 1 + 3 < 200
    assert cloning.best_epoch == np.argmin(losses)
    last = loss_on(cloning.policy, demos)
    assert loss_on(cloning.finish(), demos) != last
    again = make(reference(), demos, learning_rate=0.05, held_out=0.5, batch_size=10)
    improve(again, *range(cloning.best_epoch + 1))
    assert same(again.policy, cloning.policy)


@pytest.mark.parametrize("num", [1, 2])
def test_a_single_demonstration_is_learned_from(num):
    cloning = make(reference(), demonstrations(num=num), patience=1)
    rows = improve(cloning, *range(5))
    assert np.isnan([row["held_out_loss"] for row in rows]).all()
    assert not cloning.finished  # there is nothing to stop by
    trained = [p.clone() for p in cloning.policy.parameters()]
    assert all(
        torch.equal(a, b) for a, b in zip(cloning.finish().parameters(), trained, strict=True)
    )


def test_a_pass_that_went_astray_is_not_the_best():
    cloning = make(reference(), demonstrations())
    improve(cloning, 0)
    best = [p.clone() for p in cloning.policy.parameters()]
    cloning.policy[0].weight.data.fill_(float("nan"))
    assert np.isnan(improve(cloning, 1)[0]["held_out_loss"])
    assert all(torch.equal(a, b) for a, b in zip(cloning.finish().parameters(), best, strict=True))


def test_padding_does_not_matter():
    trained = []
    for filling in (0, 1):
        demos = demonstrations(num=12, lengths=np.arange(12) % 4 + 1)
        demos.obs[~demos.mask], demos.actions[~demos.mask] = 100 * filling, filling
        cloning = make(reference(), demos)
        improve(cloning, 0, 1)
        trained.append(cloning.finish())
    assert same(*trained)


def test_a_stopped_run_ends_where_the_unbroken_one_does(tmp_path):
    demos = demonstrations(noise=0.2)
    unbroken, stopped = (make(reference(), demos) for _ in range(2))
    rows = improve(unbroken, 0, 1, 2, 3)
    improve(stopped, 0, 1)
    checkpoints.save(tmp_path / "state.pt", stopped.state_dict())
    resumed = make(reference(), demos)
    resumed.load_state_dict(checkpoints.load(tmp_path / "state.pt"))
    assert improve(resumed, 2, 3) == rows[2:]
    assert same(resumed.policy, unbroken.policy)
    assert same(resumed.finish(), unbroken.finish())


def test_a_segment_that_is_shown_often_stands_on_one_side():
    demos = demonstrations(num=10)
    demos = concatenate([demos, demos])  # each under two numbers
    shown = np.random.default_rng(0).integers(20, size=60)
    settings, cpu = BCSettings(held_out=0.3), torch.device("cpu")
    cloning = BehaviourCloning(reference(), demos, shown, settings, 0, cpu)
    steps = [side[torch.arange(len(side))] for side in (cloning._train, cloning._held_out)]
    sides = [{tuple(row) for row in obs.numpy().tolist()} for obs, _ in steps]
    assert sides[0] and sides[1] and not sides[0] & sides[1]
    assert len(cloning._train) + len(cloning._held_out) == 60 * 10  # twice counts twice
