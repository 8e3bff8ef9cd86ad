import numpy as np
import pytest
import torch

from prefloop import checkpoints
from utils import Net, load_reward_network


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


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod."])
def test_a_reward_that_was_saved_inside_a_wrapper(tmp_path, prefix):
    net = Net()
    checkpoints.save(
        tmp_path / "r.params", {prefix + name: x for name, x in net.state_dict().items()}
    )
    again = load_reward_network(tmp_path / "r.params", "CartPole-v0", 4)
    assert torch.equal(again(torch.ones(3, 4)), net(torch.ones(3, 4)))
