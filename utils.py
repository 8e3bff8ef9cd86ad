"""The reward network: what Part 2 trains and Part 3 learns from."""

from pathlib import Path

import numpy as np
import torch
from torch import nn

from prefloop.checkpoints import load_weights, unwrapped
from prefloop.env_ids import is_version_of
from prefloop.errors import UserError
from prefloop.files import read_json, sha256
from prefloop.networks import layer_sizes, mlp

__all__ = ["Net", "load_reward_network", "make_reward_network", "mlp"]


class Net(nn.Module):
    """A reward for every state, learned from preferences between trajectories.

    Args:
        obs_dim: numbers in one observation; 4 in CartPole.
    """

    def __init__(self, obs_dim: int = 4) -> None:
        super().__init__()
        # BEGIN SOLUTION
        # HINT: CartPole is simple: one hidden layer is enough. `mlp` above builds networks.
        # HINT: a bounded output keeps a few odd states from outweighing the rest of an episode.
        self.network = mlp([obs_dim, 64, 1], output_activation=nn.Sigmoid)
        # END SOLUTION

    def forward(self, obs: torch.Tensor) -> torch.Tensor:
        """The reward of each state: [..., obs_dim] to [...]."""
        # BEGIN SOLUTION
        # HINT: one number a state; drop the last dimension of the network's output.
        return self.network(obs).squeeze(-1)
        # END SOLUTION

    def predict_return(self, traj: torch.Tensor | np.ndarray | list) -> torch.Tensor:
        """The trajectory's return under the learned reward.

        Args:
            traj: the states of a trajectory of any length T; [T, obs_dim].

        Returns:
            A scalar tensor that carries gradients to the network's weights.
        """
        # BEGIN SOLUTION
        # HINT: make `traj` a float32 tensor on the weights' device, then add up its rewards.
        weight = next(self.parameters())
        states = torch.as_tensor(np.asarray(traj) if isinstance(traj, list) else traj)
        return self(states.to(weight)).sum()
        # END SOLUTION


def make_reward_network(obs_dim: int) -> Net:
    """A `Net` for an environment, after a look at whether Parts 2 and 3 can use it.

    Raises:
        UserError: it does not take the number of observations, or states of that size, or gives no
            reward for each state.
    """
    try:
        network = Net(obs_dim)
    except TypeError as error:
        raise UserError(f"Net({obs_dim}) in utils.py can't be made: {error}.") from None
    states = torch.zeros(3, obs_dim)
    try:
        with torch.no_grad():
            shape = list(network.eval()(states).shape)
    except NotImplementedError:
        raise  # a blank that is yet to be filled in
    except RuntimeError as error:
        raise UserError(
            f"Net({obs_dim}) in utils.py can't take states of {obs_dim} numbers: {error}."
        ) from None
    if shape != [3]:
        raise UserError(
            "Net.forward in utils.py should give a reward for each state: for 3 states a tensor of "
            f"shape [3], not {shape}. (predict_return is what adds them up.)"
        )
    return network.train()


def require_predicted_return(network: Net, traj: np.ndarray) -> None:
    """Sees to it that a predicted return is a scalar that can be learned from, before time is spent.

    Args:
        network: before training.
        traj: [T, obs_dim].

    Raises:
        UserError: it is something else.
    """
    predicted = network.eval().predict_return(traj)
    network.train()
    is_tensor = isinstance(predicted, torch.Tensor)
    if not is_tensor or predicted.shape != ():
        found = (
            f"shape {list(predicted.shape)}" if is_tensor else f"type {type(predicted).__name__}"
        )
        raise UserError(
            "Net.predict_return in utils.py should give a trajectory's return as a tensor of shape "
            f"[], not of {found}."
        )
    if not predicted.requires_grad:
        raise UserError(
            "Net.predict_return in utils.py gives a return without a gradient, so nothing can be "
            "learned from it: is .item(), .detach() or NumPy on the way?"
        )


def load_reward_network(path: Path, env_id: str, obs_dim: int) -> Net:
    """Reads what Part 2 saved, ready to judge states of an environment.

    Raises:
        UserError: the file is missing or damaged, holds a policy, was trained for another
            environment, or does not fit `Net` as it is now.
    """
    weights = load_weights(path)
    sizes = layer_sizes(weights)
    if sizes is not None and sizes[-1] > 1:
        raise UserError(f"{path} is a policy with {sizes[-1]} actions, not a reward network.")
    facts = path.with_suffix(".json")
    described = read_json(facts) if facts.is_file() else {}
    # facts of another file of that name say nothing about this one
    if described.get("sha256") == sha256(path):
        # another version of the same environment has the same states: CartPole-v0 and CartPole-v1
        trained_for = str(described.get("env"))
        if not is_version_of(trained_for, env_id):
            raise UserError(
                f"{path} was trained for another environment: {trained_for}, not {env_id}."
            )
    network = make_reward_network(obs_dim)
    # a Net of one's own may have a part of a wrapper's name
    names = network.state_dict().keys()
    try:
        network.load_state_dict(weights if weights.keys() == names else unwrapped(weights))
    except RuntimeError:
        raise UserError(
            f"{path} does not fit Net(obs_dim={obs_dim}) in utils.py: it was trained for another "
            f"environment than {env_id}, or Net was changed since."
        ) from None
    return network.eval().requires_grad_(False)
