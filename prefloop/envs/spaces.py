"""What an environment's observations and actions are, as one value.

Gymnasium is imported by those functions alone that ask an environment: it takes long to load.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from prefloop.errors import UserError

if TYPE_CHECKING:
    import gymnasium as gym

    AnyEnv = gym.Env | gym.vector.VectorEnv  # one, or many that step together


def as_stored(obs: NDArray) -> NDArray:
    """Observations as they are kept: whole numbers as they come, all others in float32."""
    is_whole = obs.dtype.kind in "biu"
    return obs if is_whole else obs.astype(np.float32, copy=False)


@dataclass(frozen=True)
class Spaces:
    """Observations and actions of one environment.

    Attributes:
        obs_shape: of one observation.
        obs_dtype: in which observations are kept, for instance "float32" or "uint8".
        discrete: whether actions are numbers from 0, or else vectors.
        action_dim: numbers that stand for one action in a network: how many actions there are where they are
            discrete, or else the size of the vector.
        low, high: bounds of each number of an action; empty where actions are discrete.
        frame_stack: how many successive frames the first axis of an observation holds; 1: it
            is no such axis.
    """

    obs_shape: tuple[int, ...]
    obs_dtype: str
    discrete: bool
    action_dim: int
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    frame_stack: int = 1

    @property
    def obs_size(self) -> int:
        """Numbers in an observation."""
        return int(np.prod(self.obs_shape))

    @property
    def num_actions(self) -> int:
        """How many actions there are.

        Raises:
            TypeError: they are continuous.
        """
        if not self.discrete:
            raise TypeError(f"continuous actions can't be counted: {self}")
        return self.action_dim

    @property
    def action_shape(self) -> tuple[int, ...]:
        """Shape of one action."""
        return () if self.discrete else (self.action_dim,)

    @property
    def action_dtype(self) -> str:
        """NumPy's name of the type in which actions are kept."""
        return "int64" if self.discrete else "float32"

    @property
    def bounds(self) -> tuple[NDArray, NDArray]:
        """Lower and upper bounds of an action; float32; [action_dim] both."""
        return np.array(self.low, np.float32), np.array(self.high, np.float32)

    @property
    def finite_bounds(self) -> tuple[NDArray, NDArray]:
        """`bounds`, as a policy's actions are brought to them.

        Raises:
            UserError: there are none.
        """
        low, high = self.bounds
        if not (np.isfinite(low).all() and np.isfinite(high).all()):
            raise UserError(
                f"This environment has actions without bounds (from {low.min():g} to {high.max():g}), and a "
                "policy needs some; put a wrapper around it that gives it some, by --wrappers."
            )
        return low, high

    def allows(self, obs: NDArray, actions: NDArray) -> bool:
        """Whether steps [..., *obs_shape] and actions [..., *action_shape] can be of this environment."""
        obs_axes, action_axes = len(self.obs_shape), len(self.action_shape)
        if obs.shape[obs.ndim - obs_axes :] != self.obs_shape or obs.dtype != self.obs_dtype:
            return False
        if (actions.dtype.kind in "iu") != self.discrete:
            return False
        if self.discrete:
            fits = actions.ndim == obs.ndim - obs_axes
            return fits and bool(((actions >= 0) & (actions < self.num_actions)).all())
        return actions.shape[actions.ndim - action_axes :] == self.action_shape

    def agrees(self, other: "Spaces") -> bool:
        """Whether steps of one can be of the other; bounds may differ."""
        return replace(self, low=(), high=()) == replace(other, low=(), high=())

    @property
    def facts(self) -> dict[str, Any]:
        """Spaces as files and requests hold them; `from_facts` reads them."""
        facts: dict[str, Any] = {
            "obs_shape": list(self.obs_shape),
            "obs_dtype": self.obs_dtype,
            "discrete": self.discrete,
            # its name in files since their first version, where actions are continuous, too
            "num_actions": self.action_dim,
        }
        if not self.discrete:
            facts |= {"low": list(self.low), "high": list(self.high)}
        return facts | ({"frame_stack": self.frame_stack} if self.frame_stack > 1 else {})

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any]) -> "Spaces":
        """Spaces of what `facts` gave.

        Raises:
            KeyError, TypeError, ValueError: something is missing or of another kind.
        """
        return cls(
            tuple(map(int, facts["obs_shape"])),
            str(np.dtype(facts["obs_dtype"])),
            bool(facts["discrete"]),
            int(facts["num_actions"]),
            tuple(map(float, facts.get("low", ()))),
            tuple(map(float, facts.get("high", ()))),
            int(facts.get("frame_stack", 1)),
        )

    def __str__(self) -> str:
        """Sizes and kinds, as sentences name them."""
        shape = " x ".join(map(str, self.obs_shape)) or "1"
        kind = "discrete" if self.discrete else "continuous"
        return f"observations of {shape} and {self.action_dim} {kind} actions"


def single_spaces(env: "AnyEnv") -> "tuple[gym.Space, gym.Space]":
    """Spaces of one environment's observations and actions, of one or of many."""
    from gymnasium.vector import VectorEnv

    if isinstance(env, VectorEnv):
        return env.single_observation_space, env.single_action_space
    return env.observation_space, env.action_space


def spaces_of(env: "AnyEnv") -> Spaces:
    """Spaces of one environment, or of each of many that step together.

    Raises:
        UserError: observations are no Box, or actions neither Discrete from 0 nor a flat Box.
    """
    from gymnasium.spaces import Box, Discrete

    obs, actions = single_spaces(env)
    name = env.spec.id if env.spec else "This environment"
    if not isinstance(obs, Box):
        raise UserError(f"{name} has observations in {obs}; a Box is needed.")
    kept = str(as_stored(np.zeros(0, obs.dtype)).dtype)
    if isinstance(actions, Discrete) and actions.start == 0:
        return Spaces(obs.shape, kept, True, int(actions.n), frame_stack=frame_stack(env))
    if isinstance(actions, Box) and len(actions.shape) == 1:
        low, high = (tuple(map(float, bound)) for bound in _within(actions.low, actions.high))
        return Spaces(obs.shape, kept, False, actions.shape[0], low, high, frame_stack(env))
    raise UserError(f"{name} has actions in {actions}; Discrete from 0 or a flat Box is needed.")


def _within(low: NDArray, high: NDArray) -> tuple[NDArray, NDArray]:
    """Bounds in float32 that lie within those given: the nearest number to 0.1 is above it.

    What is too large for it has none.
    """
    with np.errstate(over="ignore"):
        low_32, high_32 = low.astype(np.float32), high.astype(np.float32)
    is_below, is_above = (
        (low_32 < low) & np.isfinite(low_32),
        (high_32 > high) & np.isfinite(high_32),
    )
    return (
        np.where(is_below, np.nextafter(low_32, np.float32(np.inf)), low_32),
        np.where(is_above, np.nextafter(high_32, np.float32(-np.inf)), high_32),
    )


def policy_sizes(env: "AnyEnv") -> tuple[int, int]:
    """Size of an observation and number of actions, for the course's policies.

    Raises:
        UserError: the observations are no flat Box or the actions are not Discrete from 0.
    """
    from gymnasium.spaces import Discrete

    obs_dim, actions = flat_obs_dim(env), single_spaces(env)[1]
    name = env.spec.id if env.spec else "This environment"
    if not isinstance(actions, Discrete) or actions.start != 0:
        raise UserError(
            f"{name} has actions in {actions}; this policy needs Discrete actions from 0."
        )
    return obs_dim, int(actions.n)


def flat_obs_dim(env: "AnyEnv") -> int:
    """Size of an observation that is a vector.

    Raises:
        UserError: the observations are no flat Box.
    """
    from gymnasium.spaces import Box

    obs = single_spaces(env)[0]
    name = env.spec.id if env.spec else "This environment"
    if not isinstance(obs, Box) or len(obs.shape) != 1:
        raise UserError(
            f"{name} has observations in {obs}; this policy needs a Box with one dimension."
        )
    return obs.shape[0]


def is_observed_as_made(env: "gym.Env") -> bool:
    """Whether wrappers hand on the observations that the environment makes, as far as that is known of them."""
    import gymnasium as gym

    while isinstance(env, gym.Wrapper):
        if isinstance(env, gym.ObservationWrapper) or getattr(env, "observes_zeros", False):
            return False
        is_known = type(env).__module__.partition(".")[0] in ("gymnasium", "prefloop")
        if not is_known and not isinstance(env, gym.ActionWrapper | gym.RewardWrapper):
            return False
        env = env.env
    return True


def frame_stack(env: Any) -> int:
    """How many successive frames are handed over, by Gymnasium's `FrameStackObservation` or by Atari; 1: one."""
    from gymnasium import Wrapper
    from gymnasium.wrappers import FrameStackObservation

    copies = getattr(env.unwrapped, "envs", None)
    env = copies[0] if copies else env
    while isinstance(env, Wrapper):
        if isinstance(env, FrameStackObservation):
            return env.stack_size
        env = env.env
    return int(getattr(env.unwrapped, "frame_stack", 1))
