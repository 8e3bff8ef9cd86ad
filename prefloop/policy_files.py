"""Policies read back: from the files of scripts and of this library, or as a function of somebody else's."""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import gymnasium as gym
import torch
from torch import nn

from prefloop import checkpoints
from prefloop.encoders import ENCODERS, Vectors, make_encoder
from prefloop.env_ids import is_version_of
from prefloop.envs.spaces import Spaces, spaces_of
from prefloop.envs.steps import note_other_steps
from prefloop.errors import UserError, note
from prefloop.networks import (
    ACTIVATIONS,
    NORMALISATION_WEIGHTS,
    layer_sizes,
    mlp,
    mlp_names,
    with_normalisation,
)
from prefloop.policies import (
    ENCODER,
    CategoricalPolicy,
    FunctionPolicy,
    GaussianPolicy,
    Policy,
)
from prefloop.squashed_gaussian import SquashedGaussianPolicy
from prefloop.startup import import_own


def load(
    path: Path,
    envs: gym.Env | gym.vector.VectorEnv,
    kinds: "Mapping[str, Rebuild] | None" = None,
) -> Any:
    """Reads a policy that `vpg.py` or this library wrote, for the environment it was trained in.

    Says so where a step is another there.

    Args:
        kinds: how each kind of policy is rebuilt; if not given, `KINDS`.

    Raises:
        UserError: as `checkpoints.load_weights`; it is no policy, or of an unknown kind, or one for
            another environment.
    """
    spaces, facts = spaces_of(envs), checkpoints.run_facts(path)
    known, env_id = facts.get("env"), envs.spec.id if envs.spec else ""
    if known and env_id and not is_version_of(known, env_id):
        raise UserError(f"{path} was trained in {known}, not in {env_id}.")
    note_other_steps(path, facts, envs)
    described = facts.get("policy")
    described = dict(described) if isinstance(described, Mapping) else {}
    weights = checkpoints.unwrapped(checkpoints.load_weights(path, checkpoints.LARGEST))
    kind = described.get("kind", "gaussian" if "log_std" in weights else "categorical")
    rebuild = (KINDS if kinds is None else kinds).get(kind) if isinstance(kind, str) else None
    if rebuild is None:
        raise UserError(f"{path} is a policy of a kind that is not known here: {kind!r}.")
    return rebuild(weights, path, spaces, described)


def _rebuilt_categorical(
    weights: dict[str, torch.Tensor], path: Path, spaces: Spaces, described: Mapping[str, Any]
) -> CategoricalPolicy:
    if not spaces.discrete:
        is_known = "kind" in described  # or the weights look like those of any network
        said = "is" if is_known else "is, as far as no run.json beside it says otherwise,"
        raise UserError(
            f"{path} {said} a policy with discrete actions; this environment has continuous ones."
        )
    return CategoricalPolicy(_layers(weights, path, spaces, described))


def _rebuilt_gaussian(
    weights: dict[str, torch.Tensor], path: Path, spaces: Spaces, described: Mapping[str, Any]
) -> GaussianPolicy:
    if spaces.discrete:
        raise UserError(
            f"{path} is a policy with continuous actions; this environment has discrete ones."
        )
    size = spaces.action_dim
    # earlier versions drew actions in the environment's own unit
    weights = {"shift": torch.zeros(size), "scale": torch.ones(size), **weights}
    names = ("log_std", "low", "high", "shift", "scale")
    if not weights.keys() >= set(names):
        raise UserError(f"{path} is damaged: its weights lack the bounds of the actions.")
    log_std, *bounds = extras = [weights.pop(name).float() for name in names]
    for extra in extras:
        if extra.shape != (size,):
            raise UserError(
                f"{path} is a policy for {extra.numel()} actions; this environment has {size}."
            )
    policy = GaussianPolicy(_layers(weights, path, spaces, described), *bounds)
    policy.log_std.data.copy_(log_std)
    return policy


def _layers(
    weights: dict[str, torch.Tensor], path: Path, spaces: Spaces, described: Mapping[str, Any]
) -> OrderedDict[str, nn.Module]:
    """A policy's layers for what the environment observes and does, the encoder of pictures before the others.

    Raises:
        UserError: as `load_layers`; or the encoder is not known, or one for other pictures.
    """
    kind = described.get(ENCODER, Vectors.kind)
    if kind not in ENCODERS:
        raise UserError(f"{path} has an encoder of a kind that is not known here: {kind!r}.")
    prefix = f"{ENCODER}."
    own = {name: weights.pop(name) for name in list(weights) if name.startswith(prefix)}
    if not own:
        policy = load_layers(weights, path, spaces.obs_size, spaces.action_dim)
        return OrderedDict(policy.named_children())
    encoder = make_encoder(spaces, kind)
    try:
        if not isinstance(encoder, nn.Module):
            raise ValueError("weights of an encoder that has none")
        encoder.load_state_dict({name.removeprefix(prefix): x for name, x in own.items()})
    except (RuntimeError, ValueError):
        raise UserError(
            f"{path} sees by an encoder ({kind}) that is none for {spaces}: its run.json says what it observed."
        ) from None
    policy = load_layers(weights, path, encoder.features, spaces.action_dim)
    return OrderedDict([(ENCODER, encoder), *policy.named_children()])


# weights by name, their file, the environment's spaces and what run.json says of the policy
Rebuild = Callable[[dict[str, torch.Tensor], Path, Spaces, Mapping[str, Any]], Policy]
KINDS: dict[str, Rebuild] = {
    CategoricalPolicy.kind: _rebuilt_categorical,
    GaussianPolicy.kind: _rebuilt_gaussian,
    SquashedGaussianPolicy.kind: SquashedGaussianPolicy.rebuilt,
}


def load_mlp(
    path: Path, obs_dim: int, num_actions: int, activation: str | None = None
) -> CategoricalPolicy:
    """Reads a policy of the course: of discrete actions, with the sizes of its weights.

    Args:
        obs_dim, num_actions: what the environment asks for.
        activation: its name, as in `prefloop.networks.ACTIVATIONS`; if not given, what `run.json`
            beside the file says. Where there is none it is taken for ReLU, which is said.

    Raises:
        UserError: as `checkpoints.load_weights`; or it is no policy, or one for another environment.
    """
    weights = checkpoints.unwrapped(checkpoints.load_weights(path))
    return load_layers(weights, path, obs_dim, num_actions, activation)


def load_layers(
    weights: dict[str, torch.Tensor],
    path: Path,
    obs_dim: int,
    num_outputs: int,
    activation: str | None = None,
) -> CategoricalPolicy:
    """The network of weights that were read from `path`; the rest as `load_mlp`."""
    norm = [weights.pop(name) for name in NORMALISATION_WEIGHTS if name in weights]
    sizes = layer_sizes(weights)
    if sizes is None or (sizes[-1] < 2 <= num_outputs):
        names = mlp_names(max(2, len(weights) // 2))
        odd = next((name for name in weights if name not in names), None)
        why = f": {odd!r} is none of {', '.join(names)}" if odd else ""
        raise UserError(f"{path} holds no policy{why}; is it a reward network?")
    if (sizes[0], sizes[-1]) != (obs_dim, num_outputs):
        raise UserError(
            f"{path} is a policy for {sizes[0]} observations and {sizes[-1]} actions; "
            f"this environment has {obs_dim} and {num_outputs}."
        )
    if activation is None:
        activation = checkpoints.run_facts(path).get("activation")
    if activation is None:
        activation = "relu"
        note(
            f"Nothing in {path.parent.resolve()} says which activation its policies have; ReLU is assumed. "
            "With another they load as well, and play otherwise."
        )
    if not isinstance(activation, str) or activation not in ACTIVATIONS:
        raise UserError(
            f"{path.with_name('run.json')} names an unknown activation: {activation!r}."
        )
    network = mlp(sizes, ACTIVATIONS[activation])
    network.load_state_dict(weights)
    layers = OrderedDict(network.named_children())
    if norm:
        fits = len(norm) == 2 and all(x.shape == (obs_dim,) for x in norm)
        if not fits or not (norm[1] > 0).all():
            raise UserError(f"{path} holds a normalisation of its observations that is damaged.")
        layers = with_normalisation(network, *(x.float() for x in norm))
    return CategoricalPolicy(layers)


def load_acting(named: str, envs: gym.Env | gym.vector.VectorEnv) -> Policy | FunctionPolicy:
    """Whoever acts: a checkpoint's file, or `module:function`, a Python function that does.

    Raises:
        UserError: as `load`; or there is no such function.
    """
    module, colon, name = named.rpartition(":")
    if not colon or Path(named).exists() or not module.replace(".", "").isidentifier():
        return load(Path(named), envs)
    try:
        function = getattr(import_own(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise UserError(f"There is no function {named}: {error}.") from None
    if not callable(function):
        raise UserError(f"{named} is no function from observations to actions.")
    return FunctionPolicy(function, named)
