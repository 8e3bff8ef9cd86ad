import numpy as np
import pytest
import torch

from utils import Net


@pytest.mark.parametrize("length", [1, 7, 200])
def test_return_of_a_trajectory(length):
    net = Net()
    traj = np.random.default_rng(0).normal(size=(length, 4)).astype(np.float32)
    predicted = net.predict_return(torch.as_tensor(traj))
    assert predicted.shape == ()
    rewards = [net(torch.as_tensor(state)).item() for state in traj]
    assert predicted.item() == pytest.approx(sum(rewards), rel=1e-5)
    assert net.predict_return(traj).item() == pytest.approx(predicted.item())
    assert net.predict_return(traj.astype(np.float64)).item() == pytest.approx(predicted.item())
    assert net.predict_return(traj.tolist()).item() == pytest.approx(predicted.item())
    assert net.predict_return(list(traj)).item() == pytest.approx(predicted.item())


def test_gradients_reach_every_parameter():
    net = Net(6)
    net.predict_return(torch.randn(5, 6)).backward()
    assert all(p.grad is not None and p.grad.norm() > 0 for p in net.parameters())
