"""A learned reward: one network or an ensemble, and the scale an agent sees it on."""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from prefloop import checkpoints, run_files
from prefloop.bradley_terry import probability_second
from prefloop.data.frames import PackedFrames
from prefloop.data.preferences import Queries
from prefloop.data.segments import Segments
from prefloop.devices import to_tensor
from prefloop.encoders import (
    ENCODERS,
    Apart,
    Convolutions,
    Encoder,
    OwnFeatures,
    Vectors,
    make_encoders,
)
from prefloop.env_ids import is_version_of
from prefloop.envs.spaces import Spaces, spaces_of
from prefloop.envs.steps import note_other_steps
from prefloop.errors import UserError
from prefloop.networks import InPlaceReLU, mlp

SCALE_SEGMENTS = 1000  # of pictures, that the agent's scale is taken from at most
CHUNK_NUMBERS = 2**24  # in one layer of a head, or in the observations: 64 MiB in float32


def _linear_layers(network: nn.Module) -> list[nn.Linear]:
    return [layer for layer in network.modules() if isinstance(layer, nn.Linear)]


def last_layer(network: nn.Module) -> nn.Linear:
    """The layer of an `mlp` whose bias is the part of a reward that is the same in every step."""
    return _linear_layers(network)[-1]


class RewardModel(nn.Module):
    """An encoder of observations, and an ensemble of heads from what it gives to rewards.

    The agent's reward is the mean of the members, brought to a scale of 1 (`set_scale`). The
    statistics are buffers, so they are saved and replaced together with the weights.

    Attributes:
        spaces: what a step is made of.
        encoder: from observations to features, the same for all members; or one for each, `Apart`.
        sizes: width of every layer of a head, input and output included.
        networks: the heads, one a member.
        uses_actions: whether the reward depends on actions.
    """

    def __init__(
        self,
        spaces: Spaces,
        hidden_sizes: tuple[int, ...],
        members: int,
        uses_actions: bool = True,
        encoder: Encoder | None = None,
    ) -> None:
        """Draws the weights of the heads; call `torch.manual_seed` before.

        Args:
            encoder: if not given, observations are taken as the vectors that they are.

        Raises:
            UserError: observations are no vectors, and no encoder is given.
        """
        super().__init__()
        if encoder is None and len(spaces.obs_shape) != 1:
            raise UserError(f"A reward of vectors can't judge {spaces}; it needs an encoder.")
        self.spaces, self.uses_actions, self.members = spaces, uses_actions, members
        self.encoder = encoder or Vectors(spaces.obs_size)
        actions = spaces.action_dim if uses_actions else 0
        seen = self.encoder.features
        if isinstance(self.encoder, Apart):
            seen //= members
        self.sizes = [seen + actions, *hidden_sizes, 1]
        # one after the other: on a CPU a batched product of small matrices takes twice as long
        heads = [mlp(self.sizes, InPlaceReLU) for _ in range(members)]
        if isinstance(self.encoder, Apart):
            owns = [OwnFeatures(i, self.encoder) for i in range(members)]
            heads = [nn.Sequential(own, *head) for own, head in zip(owns, heads, strict=True)]
        self.networks = nn.ModuleList(heads)
        for network in self.networks:
            # at first all segments are worth nothing and every answer is a toss: drawn like the
            # others, the last layer would start out with sums of hundreds of steps that are sure
            # of anything
            last = last_layer(network)
            nn.init.normal_(last.weight, std=0.01 / math.sqrt(last.in_features))
            nn.init.zeros_(last.bias)
        self.register_buffer("input_mean", torch.zeros(self.encoder.features + actions))
        self.register_buffer("input_std", torch.ones(self.encoder.features + actions))
        self.register_buffer("reward_mean", torch.zeros(()))
        self.register_buffer("reward_std", torch.ones(()))

    input_mean: torch.Tensor
    input_std: torch.Tensor
    reward_mean: torch.Tensor
    reward_std: torch.Tensor

    @property
    def encoder_learns(self) -> bool:
        """Whether the encoder has weights, so that its features change while it is fitted."""
        return any(True for _ in self.encoder.parameters())

    @property
    def moves_pictures(self) -> bool:
        """Whether its encoder can move what it sees, as `inputs` may ask; those of others need not."""
        return isinstance(self.encoder, Convolutions | Apart)

    def inputs(
        self, obs: torch.Tensor, actions: torch.Tensor, shifts: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Computes the inputs of the heads: encoded observations and actions, standardised.

        Args:
            obs: as they are stored; [..., *obs_shape].
            actions: [...] where they are discrete, otherwise [..., action_dim].
            shifts: of pictures, as an encoder takes them.

        Returns:
            float32; [..., features of the encoder, and those of actions].
        """
        return (self.raw_inputs(obs, actions, shifts) - self.input_mean) / self.input_std

    def raw_inputs(
        self, obs: torch.Tensor, actions: torch.Tensor, shifts: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Computes the inputs of the heads before they are standardised; as `inputs`."""
        if shifts is not None and isinstance(self.encoder, Convolutions | Apart):
            x = self.encoder(obs, shifts)
        else:
            x = self.encoder(obs)
        if self.uses_actions:
            if self.spaces.discrete:
                actions = nn.functional.one_hot(actions.long(), self.spaces.num_actions)
            x = torch.cat([x, actions.float()], dim=-1)
        return x

    @torch.no_grad()
    def standardise_inputs(self, mean: torch.Tensor, std: torch.Tensor) -> None:
        """Sets what `inputs` subtracts and divides by; a reward that was learned stays what it was.

        The first layers are expressed in the new inputs where there were others before. Weights
        that are still as they were drawn are meant for inputs of mean 0 and deviation 1, and stay.

        Args:
            mean, std: of each input; as many as `inputs` gives, both.
        """
        was_drawn = bool((self.input_mean == 0).all() and (self.input_std == 1).all())
        if not was_drawn:
            # on the CPU: not every device has float64
            now, before, unit = (x.cpu().double() for x in (mean, self.input_mean, self.input_std))
            shift = ((now - before) / unit).float().to(self.input_mean.device)
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
        to the reward explains the labels just as well, so the mean is taken out, too. Of many segments of
        pictures some will do.
        """
        lengths_differ = bool(np.ptp(segments.lengths))  # of all, as the fit looks at them
        if self.encoder_learns and len(segments) > SCALE_SEGMENTS:
            segments = segments[np.linspace(0, len(segments) - 1, SCALE_SEGMENTS).astype(np.int64)]
        mask = torch.as_tensor(segments.mask)
        rewards = self._members_rewards(segments.obs, segments.actions).mean(0).cpu()[mask].double()
        mean = torch.zeros(()) if lengths_differ else rewards.mean()
        std = (rewards - mean).square().mean().sqrt()
        self.reward_mean.copy_(mean)
        self.reward_std.copy_(std if std > 1e-8 else torch.ones(()))

    @torch.no_grad()
    def rescale(self, rewards: NDArray, centre: bool) -> None:
        """Brings the agent's reward to deviation 1 over some steps, and to mean 0 where that may be.

        Args:
            rewards: of these steps, as `reward` gives them now; any shape.
            centre: whether all segments are of one length, see `set_scale`.
        """
        mean = float(rewards.mean()) if centre else 0.0
        deviation = float(np.sqrt(np.square(rewards - mean).mean()))
        self.reward_mean.add_(self.reward_std * mean)
        self.reward_std.mul_(deviation if deviation > 1e-8 else 1.0)

    def reward(self, obs: NDArray, actions: NDArray, next_obs: NDArray | None = None) -> NDArray:
        """The agent's reward: the members' mean, on a scale of 1.

        Args:
            obs: [..., *obs_shape].
            actions: as the environment received them; [...] or [..., action_dim].
            next_obs: is not looked at.

        Returns:
            float64; [...].
        """
        return self._scaled(obs, actions).cpu().double().mean(dim=0).numpy()

    def members_rewards(self, obs: NDArray, actions: NDArray) -> NDArray:
        """Each member's reward on the agent's scale; as `reward`, [members, ...]."""
        return self._scaled(obs, actions).cpu().double().numpy()

    def step_by_step(self, obs: NDArray, actions: NDArray) -> dict[str, NDArray]:
        """Rewards of a segment's steps, as they are shown: `learned`, and `lowest` and `highest` of the members; [steps]."""
        members = self.members_rewards(obs, actions)
        return {
            "learned": members.mean(axis=0),
            "lowest": members.min(axis=0),
            "highest": members.max(axis=0),
        }

    def disagreement(self, obs: NDArray, actions: NDArray) -> NDArray:
        """Standard deviation of the members, on the agent's scale; as `reward`."""
        return self._scaled(obs, actions).cpu().double().std(dim=0, correction=0).numpy()

    def _scaled(self, obs: NDArray, actions: NDArray) -> torch.Tensor:
        return (self._members_rewards(obs, actions) - self.reward_mean) / self.reward_std

    @torch.no_grad()
    def _members_rewards(self, obs: NDArray | PackedFrames, actions: NDArray) -> torch.Tensor:
        """Each member's reward for each step, before it is brought to scale; [members, ...]."""
        device, actions = self.input_mean.device, np.asarray(actions)
        obs = obs if isinstance(obs, PackedFrames) else np.asarray(obs)
        shape = actions.shape[: actions.ndim - len(self.spaces.action_shape)]
        if not shape:  # of a single step
            return self._members_rewards(obs[None], actions[None])[:, 0]
        # as many rows at a time as are quick, and as fit into memory where observations are pictures
        row = math.prod(shape[1:]) * max(self.spaces.obs_size, *self.sizes)
        at_once = max(1, CHUNK_NUMBERS // max(row, 1))
        # written into place: small results between large ones that are let go of keep the memory of all of them
        rewards = torch.empty(self.members, len(obs), math.prod(shape[1:]), device=device)
        for start in range(0, len(obs), at_once):
            some = slice(start, start + at_once)
            # copies: of stacked frames these are views in which each frame stands once
            x = self.inputs(
                to_tensor(obs[some], device).flatten(0, len(shape) - 1),
                to_tensor(actions[some], device).flatten(0, len(shape) - 1),
            )
            rewards[:, some] = self(x).reshape(self.members, -1, rewards.shape[2])
        return rewards.reshape(self.members, *shape)

    @torch.no_grad()
    def returns(self, segments: Segments) -> NDArray:
        """Each member's predicted return, undiscounted and not normalised; [members, segments]."""
        rewards = self._members_rewards(segments.obs, segments.actions)
        mask = torch.as_tensor(segments.mask, device=rewards.device)
        # not times the mask: what stands in the padding may be no number
        return torch.where(mask, rewards, 0.0).sum(-1).cpu().double().numpy()

    def probabilities(self, queries: Queries) -> NDArray:
        """Each member's probability that the second segment is preferred; [members, queries]."""
        returns = self.returns(queries.segments)
        gap = returns[:, queries.second] - returns[:, queries.first]
        return probability_second(gap)

    def gap(self, queries: Queries) -> NDArray:
        """By how much the second's return is above the first's, as an agent climbs it: the members' mean; [queries].

        What a prediction is right about is its sign (`bradley_terry.agreement`). The mean of the members'
        probabilities may lie on the other side of 1/2.
        """
        returns = self.returns(queries.segments).mean(axis=0)
        gap: NDArray = returns[queries.second] - returns[queries.first]
        return gap

    def facts(self) -> dict[str, Any]:
        """Description for run.json, by which `load` rebuilds the model around its weights."""
        apart = {"encoders": "apart"} if isinstance(self.encoder, Apart) else {}
        return {
            "spaces": self.spaces.facts,
            "encoder": self.encoder.kind,
            **apart,
            "uses_actions": self.uses_actions,
            "hidden_sizes": self.sizes[1:-1],
            "members": self.members,
        }


def save(directory: Path, model: RewardModel) -> None:
    """Writes `reward.params`; `run.json` beside it must hold `model.facts()` as "reward_model".

    Raises:
        UserError: it can't be written; an old file is untouched.
    """
    checkpoints.save(directory / run_files.REWARD, model.state_dict())


def file(path: Path) -> Path:
    """The file of a reward model that is given by its folder or by itself."""
    return path / run_files.REWARD if path.is_dir() else path


def load(
    path: Path,
    envs: gym.Env | gym.vector.VectorEnv,
    encoders: "Mapping[str, Callable[[Spaces], Encoder]] | None" = None,
) -> RewardModel:
    """Reads a reward model for an environment; says so where a step is another there.

    Args:
        path: the folder that `prefloop reward` wrote, or `reward.params` in it.
        encoders: how each kind of encoder is made; if not given, `ENCODERS`.

    Raises:
        UserError: it is missing, damaged, no reward model, or one for another environment.
    """
    env_id = envs.spec.id if envs.spec else ""
    path = file(path)
    weights = checkpoints.unwrapped(checkpoints.load_weights(path, checkpoints.LARGEST))
    facts = checkpoints.run_facts(path)
    described = facts.get("reward_model")
    if not isinstance(described, Mapping):
        raise UserError(
            f"{path} can't be read: {path.with_name('run.json')} says nothing of a reward model."
        )
    trained_in = facts.get("env")
    if isinstance(trained_in, str) and env_id and not is_version_of(trained_in, env_id):
        raise UserError(f"{path} is a reward for {trained_in}, not for {env_id}.")
    note_other_steps(path, facts, envs)
    env_id = env_id or "this environment"
    wanted = spaces_of(envs)
    try:
        if described["members"] > len(weights):
            raise ValueError("more members than weights")
        spaces = described_spaces(described, wanted)
        kind, members = described.get("encoder", Vectors.kind), described["members"]
        make = (ENCODERS if encoders is None else encoders)[kind]
        apart = described.get("encoders") == "apart"
        model = RewardModel(
            spaces,
            tuple(described["hidden_sizes"]),
            members,
            described["uses_actions"],
            make_encoders(spaces, kind, members, make) if apart else make(spaces),
        )
        model.load_state_dict(weights)
    except (KeyError, TypeError, RuntimeError, ValueError, ArithmeticError):
        raise UserError(f"{path} and its run.json do not belong together.") from None
    if not spaces.agrees(wanted):
        raise UserError(f"{path} is a reward for {spaces}; {env_id} has {wanted}.")
    return model.eval()


def described_spaces(described: Mapping[str, Any], wanted: Spaces) -> Spaces:
    """Spaces of a reward model's steps, by its description.

    Earlier versions gave sizes; what they did not say is taken to be as it is wanted.
    """
    if "spaces" in described:
        return Spaces.from_facts(described["spaces"])
    return replace(
        wanted,
        obs_shape=(described["obs_dim"],),
        action_dim=described["action_dim"],
        discrete=described["discrete"],
    )
