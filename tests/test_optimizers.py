import copy
import subprocess
import sys

import pytest
import torch

from prefloop.networks import mlp
from prefloop.optimizers import Adam, FlatWeights


def train(optimizer_class, steps, state=None):
    torch.manual_seed(0)
    network = mlp([4, 8, 2])
    optimizer = optimizer_class(network.parameters(), lr=1e-2)
    if state:
        network.load_state_dict(state[0])
        optimizer.load_state_dict(state[1])
    for _ in range(steps):
        optimizer.zero_grad()
        network(torch.ones(3, 4)).square().sum().backward()
        optimizer.step()
    return network.state_dict(), optimizer.state_dict()


def same(first, second):
    return all(torch.equal(first[name], second[name]) for name in first)


def test_equals_pytorchs_adam():
    assert same(train(Adam, 20)[0], train(torch.optim.Adam, 20)[0])


def test_averages_end_at_zero_and_not_just_above():
    if not torch.set_flush_denormal(True):
        pytest.skip("this processor knows no other way")
    torch.set_flush_denormal(False)
    weight = torch.ones(4, requires_grad=True)
    optimizer = Adam([weight], fused=True)
    for step in range(1200):  # 0.9 ** 1200 is 1e-55
        weight.grad = torch.full((4,), float(step == 0))
        optimizer.step()
    assert not optimizer.state[weight]["exp_avg"].any()
    assert torch.tensor(1e-30) * torch.tensor(1e-10) > 0  # elsewhere nothing has changed


def test_flat_weights_learn_as_weights_do():
    apart, _ = train(Adam, 20)
    torch.manual_seed(0)
    network = mlp([4, 8, 2])
    weights = FlatWeights(network.parameters())
    optimizer = Adam([weights.flat], lr=1e-2)
    for _ in range(20):
        weights.backward(network(torch.ones(3, 4)).square().sum())
        optimizer.step()
    assert same(apart, network.state_dict())


def test_a_copy_of_flat_weights_is_its_own():
    network = mlp([4, 8, 2])
    FlatWeights(network.parameters())
    copied = copy.deepcopy(network)
    weights = FlatWeights(copied.parameters())
    weights.flat.zero_()
    assert all(not w.any() for w in copied.parameters())
    assert all(w.any() for w in network.parameters())


def test_state_moves_between_the_two():
    assert same(train(Adam, 10, train(torch.optim.Adam, 10))[0], train(Adam, 20)[0])


def test_the_compiler_is_not_imported():
    program = """
import sys, torch
from prefloop.optimizers import Adam
p = torch.nn.Parameter(torch.ones(2))
optimizer = Adam([p])
optimizer.zero_grad(); p.sum().backward(); optimizer.step()
optimizer.load_state_dict(optimizer.state_dict())
assert not p.grad.requires_grad
sys.exit("torch._dynamo" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
