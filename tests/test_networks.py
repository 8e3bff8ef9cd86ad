import numpy as np
import pytest
import torch
from torch import nn

from prefloop.networks import NETWORKS, as_numpy_function, mlp, sample_categorical, stacked
from prefloop.policies import CategoricalPolicy, acting


def test_mlp_layers():
    network = mlp([4, 32, 8, 2], nn.Tanh, nn.Sigmoid)
    kinds = [type(layer).__name__ for layer in network]
    assert kinds == ["Linear", "Tanh", "Linear", "Tanh", "Linear", "Sigmoid"]
    assert network(torch.zeros(5, 7, 4)).shape == (5, 7, 2)


@pytest.mark.parametrize("activation", [nn.ReLU, nn.Tanh])
def test_numpy_function_equals_the_network(activation):
    network = mlp([4, 32, 16, 3], activation)
    obs = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
    with torch.no_grad():
        expected = network(torch.as_tensor(obs)).numpy()
    np.testing.assert_allclose(as_numpy_function(network)(obs), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", NETWORKS)
def test_stacked_networks_are_each_what_it_was(kind):
    torch.manual_seed(0)
    networks = [NETWORKS[kind]([4, 16, 16, 3]) for _ in range(3)]
    for network in networks:  # what a normalisation begins with would hide one left out
        for weight in network.parameters():
            nn.init.normal_(weight)
    inputs = torch.randn(3, 7, 4)
    apart = torch.stack([network(x) for network, x in zip(networks, inputs, strict=True)])
    torch.testing.assert_close(stacked(networks)(inputs), apart, rtol=1e-4, atol=1e-4)


def test_samples_follow_the_softmax():
    logits = np.tile(np.log([0.5, 0.3, 0.2]), (20_000, 1)) + 7
    actions = sample_categorical(logits, np.random.default_rng(0))
    np.testing.assert_allclose(np.bincount(actions) / 20_000, [0.5, 0.3, 0.2], atol=0.015)


def test_greedy_takes_the_most_probable_action():
    policy = CategoricalPolicy(*mlp([2, 2]))
    with torch.no_grad():
        policy[0].weight.copy_(torch.eye(2))
        policy[0].bias.zero_()
    obs = np.array([[0.1, 0.0], [0.0, 0.1]] * 50, dtype=np.float32)
    rng = np.random.default_rng(0)
    assert acting(policy, rng, greedy=True)(obs).tolist() == [0, 1] * 50
    assert acting(policy, rng)(obs).tolist() != [0, 1] * 50
