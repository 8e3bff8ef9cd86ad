"""A learned reward: one network or an ensemble, and the scale an agent sees it on."""

import functools
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from prefloop import checkpoints
from prefloop.data.preferences import Queries
from prefloop.data.segments import Segments
from prefloop.env_ids import is_version_of
from prefloop.envs import step_sizes
from prefloop.errors import UserError
from prefloop.networks import mlp

PARAMS = "reward.params"


def _linear_layers(network: nn.Module) -> list[nn.Linear]:
    return [layer for layer in network.modules() if isinstance(layer, nn.Linear)]


def last_layer(network: nn.Module) -> nn.Linear:
    """The layer of an `mlp` whose bias is the part of a reward that is the same in every step."""
    return _linear_layers(network)[-1]


class RewardModel(nn.Module):
    """An ensemble of networks from steps to rewards.

    The agent's reward is the mean of the members, brought to a scale of 1 (`set_scale`). The
    statistics are buffers, so they are saved and replaced together with the weights.

    Attributes:
        sizes: width of every layer, input and output included.
        networks: the members.
        uses_actions: whether the reward depends on actions.
    """

    def __init__(
        self,
        obs_dim: int,
        action_dim: int,
        discrete: bool,
        hidden_sizes: tuple[int, ...],
        members: int,
        uses_actions: bool = True,
    ) -> None:
        """Draws the weights; call `torch.manual_seed` before.

        Args:
            action_dim: size of an action, or how many there are if they are discrete.
        """
        super().__init__()
        self.obs_dim, self.action_dim, self.discrete = obs_dim, action_dim, discrete
        self.uses_actions, self.members = uses_actions, members
        self.sizes = [obs_dim + (action_dim if uses_actions else 0), *hidden_sizes, 1]
        # one after the other: on a CPU a batched product of small matrices takes twice as long
        relu = functools.partial(nn.ReLU, inplace=True)  # memory is what takes the time here
        self.networks = nn.ModuleList(mlp(self.sizes, relu) for _ in range(members))
        for network in self.networks:
            # at first all segments are worth nothing and every answer is a toss: drawn like the
            # others, the last layer would start out with sums of hundreds of steps that are sure
            # of anything
            last = last_layer(network)
            nn.init.normal_(last.weight, std=0.01 / math.sqrt(last.in_features))
            nn.init.zeros_(last.bias)
        self.register_buffer("input_mean", torch.zeros(self.sizes[0]))
        self.register_buffer("input_std", torch.ones(self.sizes[0]))
        self.register_buffer("reward_mean", torch.zeros(()))
        self.register_buffer("reward_std", torch.ones(()))

    input_mean: torch.Tensor
    input_std: torch.Tensor
    reward_mean: torch.Tensor
    reward_std: torch.Tensor

    def inputs(self, obs: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
        """What the networks see of steps.

        Args:
            obs: [..., obs_dim].
            actions: [...] where they are discrete, otherwise [..., action_dim].

        Returns:
            [..., sizes[0]].
        """
        return (self.raw_inputs(obs, actions) - self.input_mean) / self.input_std

    def raw_inputs(self, obs: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
        """As `inputs`, before they are standardised."""
        x = obs.float()
        if self.uses_actions:
            if self.discrete:
                actions = nn.functional.one_hot(actions.long(), self.action_dim)
            x = torch.cat([x, actions.float()], dim=-1)
        return x

    @torch.no_grad()
    def standardise_inputs(self, mean: torch.Tensor, std: torch.Tensor) -> None:
        """Sets what `inputs` subtracts and divides by; a reward that was learned stays what it was.

        The first layers are expressed in the new inputs where there were others before. Weights
        that are still as they were drawn are meant for inputs of mean 0 and deviation 1, and stay.

        Args:
            mean, std: of each input; [sizes[0]] both.
        """
        was_drawn = bool((self.input_mean == 0).all() and (self.input_std == 1).all())
        if not was_drawn:
            shift = ((mean.double() - self.input_mean) / self.input_std.double()).float()
            for network in self.networks:
                first = _linear_layers(network)[0]
                first.bias.add_(first.weight @ shift)
                first.weight.mul_(std / self.input_std)
        self.input_mean.copy_(mean)
        self.input_std.copy_(std)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Each member's reward for steps as `inputs` gives them, [steps, input]; [members, steps]."""
        return torch.stack([network(inputs)[..., 0] for network in self.networks])

    @torch.no_grad()
    def set_scale(self, segments: Segments) -> None:
        """Takes the scale of the agent's reward from these segments.

        Where segments differ in length, the reward's zero has a meaning: it says whether longer is
        better, and only the scale is normalised. Where all are of one length, adding a constant
        to the reward explains the labels just as well, so the mean is taken out, too.
        """
        rewards = self._rewards(segments)[torch.as_tensor(segments.mask)].double()
        lengths_differ = bool(np.ptp(segments.lengths))
        mean = torch.zeros(()) if lengths_differ else rewards.mean()
        std = (rewards - mean).square().mean().sqrt()
        self.reward_mean.copy_(mean)
        self.reward_std.copy_(std if std > 1e-8 else torch.ones(()))

    @torch.no_grad()
    def reward(self, obs: NDArray, actions: NDArray) -> NDArray:
        """The agent's reward: the members' mean, on a scale of 1.

        Args:
            obs: [..., obs_dim].
            actions: as the environment received them; [...] or [..., action_dim].

        Returns:
            float64; [...].
        """
        return self._normalised(obs, actions).mean(axis=0)

    def disagreement(self, obs: NDArray, actions: NDArray) -> NDArray:
        """Standard deviation of the members, on the agent's scale; as `reward`."""
        return self._normalised(obs, actions).std(axis=0)

    @torch.no_grad()
    def _normalised(self, obs: NDArray, actions: NDArray) -> NDArray:
        device = self.input_mean.device
        x = self.inputs(
            torch.as_tensor(obs, device=device), torch.as_tensor(actions, device=device)
        )
        shape = x.shape[:-1]
        rewards = (self(x.reshape(-1, x.shape[-1])) - self.reward_mean) / self.reward_std
        return rewards.reshape(self.members, *shape).double().cpu().numpy()

    def _rewards(self, segments: Segments) -> torch.Tensor:
        """The members' mean for every step, before it is brought to scale; [segments, length]."""
        device = self.input_mean.device
        x = self.inputs(
            torch.as_tensor(segments.obs, device=device),
            torch.as_tensor(segments.actions, device=device),
        )
        return self(x.flatten(0, 1)).mean(0).reshape(x.shape[:2]).cpu()

    @torch.no_grad()
    def returns(self, segments: Segments) -> NDArray:
        """Each member's predicted return, undiscounted and not normalised; [members, segments]."""
        device = self.input_mean.device
        x = self.inputs(
            torch.as_tensor(segments.obs, device=device),
            torch.as_tensor(segments.actions, device=device),
        )
        rewards = self(x.flatten(0, 1)).reshape(self.members, *x.shape[:2])
        mask = torch.as_tensor(segments.mask, device=device)
        # not times the mask: what stands in the padding may be no number
        return torch.where(mask, rewards, 0.0).sum(-1).double().cpu().numpy()

    def probabilities(self, queries: Queries) -> NDArray:
        """Each member's probability that the second segment is preferred; [members, queries]."""
        returns = self.returns(queries.segments)
        gap = returns[:, queries.second] - returns[:, queries.first]
        return 0.5 * (1 + np.tanh(gap / 2))  # a sigmoid that can't overflow

    def facts(self) -> dict[str, Any]:
        """What a file of its weights can't say of itself."""
        return {
            "obs_dim": self.obs_dim,
            "action_dim": self.action_dim,
            "discrete": self.discrete,
            "uses_actions": self.uses_actions,
            "hidden_sizes": self.sizes[1:-1],
            "members": self.members,
        }


def save(directory: Path, model: RewardModel) -> None:
    """Writes `reward.params`; `run.json` beside it must hold `model.facts()` as "reward_model".

    Raises:
        UserError: it can't be written; an old file is untouched.
    """
    checkpoints.save(directory / PARAMS, model.state_dict())


def file(path: Path) -> Path:
    """The file of a reward model that is given by its folder or by itself."""
    return path / PARAMS if path.is_dir() else path


def load(path: Path, envs: gym.Env | gym.vector.VectorEnv) -> RewardModel:
    """Reads a reward model for an environment.

    Args:
        path: the folder that `prefloop reward` wrote, or `reward.params` in it.

    Raises:
        UserError: it is missing, damaged, no reward model, or one for another environment.
    """
    env_id = envs.spec.id if envs.spec else ""
    path = file(path)
    weights = checkpoints.unwrapped(checkpoints.load_weights(path))
    facts = checkpoints.run_facts(path)
    described = facts.get("reward_model")
    if not isinstance(described, Mapping):
        raise UserError(
            f"{path} can't be read: {path.with_name('run.json')} says nothing of a reward model."
        )
    known = facts.get("env")
    if isinstance(known, str) and env_id and not is_version_of(known, env_id):
        raise UserError(f"{path} is a reward for {known}, not for {env_id}.")
    env_id = env_id or "this environment"
    try:
        if described["members"] > len(weights):
            raise ValueError("more members than weights")
        model = RewardModel(
            described["obs_dim"],
            described["action_dim"],
            described["discrete"],
            tuple(described["hidden_sizes"]),
            described["members"],
            described["uses_actions"],
        )
        model.load_state_dict(weights)
    except (KeyError, TypeError, RuntimeError, ValueError):
        raise UserError(f"{path} and its run.json do not belong together.") from None
    wanted = step_sizes(envs)
    if (model.obs_dim, model.action_dim, model.discrete) != wanted:
        raise UserError(
            f"{path} is a reward for {model.obs_dim} observations and {model.action_dim} "
            f"{'discrete' if model.discrete else 'continuous'} actions; {env_id} has {wanted[0]} and "
            f"{wanted[1]} {'discrete' if wanted[2] else 'continuous'} ones."
        )
    return model.eval()
