"""Acting for agents that learn on the way: so many steps at a time, whatever episodes they cut."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from prefloop.data.frames import Observations, Seen, joined, rows_of, swapped
from prefloop.data.rollouts import Act, Record
from prefloop.data.trajectories import Trajectories
from prefloop.envs.make import reset
from prefloop.envs.spaces import as_stored, spaces_of
from prefloop.envs.termination import DIVERGED
from prefloop.errors import UserError
from prefloop.seeding import Stream

NO_EPISODE = (
    "The simulator could go on in no episode (its numbers became NaN, infinite or huge), so there is "
    "nothing to learn from."
)


@dataclass(frozen=True)
class Rollout:
    """Steps of environments side by side; episodes may begin before it and end after it.

    Attributes:
        obs: float32, or whole numbers as they come; [steps + 1, num_envs, *obs_shape]. Row t + 1 is
            what step t led to, before any reset. Of stacked frames, `StackedFrames`.
        actions: as they were drawn; [steps, num_envs] or [steps, num_envs, action_dim].
        applied: as the environment received them, clipped to its bounds; shaped as `actions`.
        rewards: the environment's; [steps, num_envs].
        terminated, truncated: how the step ended an episode, if it did; [steps, num_envs].
        valid: False for a step that only resets and belongs to no episode; [steps, num_envs].
        diverged: the step was one that the simulator could not take, so that the episode was cut there;
            [steps, num_envs].
        states: what `record` gave before each step, as in `Trajectories`; None without it;
            [steps, num_envs, ...].
        frame_stack: as in `Trajectories`.
    """

    obs: Observations
    actions: NDArray
    applied: NDArray
    rewards: NDArray
    terminated: NDArray
    truncated: NDArray
    valid: NDArray
    diverged: NDArray
    states: NDArray | None = None
    frame_stack: int = field(default=1, kw_only=True)

    @property
    def next_obs(self) -> NDArray:
        """Observations that each step led to, before any reset; [steps, num_envs, *obs_shape]."""
        return self.obs[1:]

    @property
    def ended(self) -> NDArray:
        """The step ended an episode, in either way; [steps, num_envs]."""
        return self.terminated | self.truncated


class Stepping:
    """Environments that step together for an agent that learns on the way.

    Attributes:
        envs: as `prefloop.envs.make.make_vector_env` makes them.
        spaces: of one of them.
        on_steps: is told of steps when they are done, how many; for whoever shows how far it is.
    """

    def __init__(self, envs: gym.vector.VectorEnv, record: Record | None = None) -> None:
        """Takes environments over.

        Args:
            record: what is to stand in `Rollout.states`, if anything is.

        Raises:
            UserError: their observations or actions are of a kind that nothing here can handle.
        """
        self.envs, self.spaces = envs, spaces_of(envs)
        self._record = record
        self.on_steps: Callable[[int], None] = lambda steps: None

    @property
    def num_envs(self) -> int:
        """How many step together."""
        return self.envs.num_envs

    @property
    def state_kind(self) -> tuple[str, tuple[int, ...]] | None:
        """Type and shape of what is recorded of one environment's step; None where nothing is."""
        if self._record is None:
            return None
        states = self._record()
        return str(states.dtype), states.shape[1:]

    def begin(self, seed: int, iteration: int = 0) -> None:
        """Resets all environments; what follows depends on the seed, the number and the actions.

        Raises:
            UserError: as `act`.
        """
        self._obs = np.array(reset(self.envs, seed, Stream.ENVIRONMENTS, iteration)[0])
        self._require_known("an observation", self._obs)
        self._resets = np.zeros(self.num_envs, dtype=bool)

    def act(self, draw: Act, steps: int) -> Rollout:
        """Acts for some steps in each environment, going on where the last call stopped.

        Args:
            draw: chooses actions, which are clipped to the bounds before they are taken.

        Raises:
            UserError: the environment observes or pays NaN or infinity.
        """
        history: list[tuple[NDArray, ...]] = []
        seen = Seen(self.spaces.frame_stack)
        low, high = self.spaces.bounds
        for _ in range(steps):
            states = () if self._record is None else (self._record(),)
            action = draw(self._obs)
            applied = action if self.spaces.discrete else np.clip(action, low, high)
            # copies: some environments hand out arrays that the next step overwrites
            *step, info = self.envs.step(applied)
            obs, reward, terminated, truncated = map(np.array, step)
            diverged = np.array(info.get(DIVERGED, np.zeros(self.num_envs, bool)))
            seen.append(as_stored(self._obs))
            history.append((
                action, applied, reward, terminated, truncated, ~self._resets, diverged,
                *states,
            ))  # fmt: skip
            self._resets = terminated | truncated
            self._obs = obs
            self.on_steps(self.num_envs)
        seen.append(as_stored(self._obs))
        observed = seen.all()
        columns = [np.stack(column) for column in zip(*history, strict=True)]
        acted = _are_finite(columns[0])
        if observed.dtype.kind == "f":
            self._require_known("an observation", observed[1:], acted)
        self._require_known("a reward", columns[2], acted)
        return Rollout(observed, *columns, frame_stack=self.spaces.frame_stack)

    def _require_known(self, what: str, values: NDArray, is_asked: bool | NDArray = True) -> None:
        """Refuses what is no number, before an agent learns from it and learning seems to have diverged.

        Args:
            values: [steps, ...].
            is_asked: whether the environment was acted in by numbers; [steps].
        """
        if (is_asked & ~_are_finite(values)).any():
            name = self.envs.spec.id if self.envs.spec else "The environment"
            raise UserError(
                f"{name} gave {what} that is NaN or infinite, so nothing can be learned there."
            )


def _are_finite(values: NDArray) -> NDArray:
    """Whether all values of each step are finite; bool, [steps]."""
    if values.dtype.kind != "f":  # pictures, and discrete actions
        return np.ones(len(values), bool)
    return np.isfinite(values).reshape(len(values), -1).all(1)


def without_diverged(rollouts: Sequence[Rollout]) -> list[Rollout]:
    """Rollouts that follow each other, in which no step of a diverged episode is valid.

    Nobody knows when it began to go wrong, so the episode is left out from its beginning on, as far
    as that is here.
    """
    if not any(rollout.diverged.any() for rollout in rollouts):
        return list(rollouts)
    dropped, left = np.zeros(rollouts[-1].valid.shape[1], bool), []
    for rollout in reversed(rollouts):
        valid = rollout.valid.copy()
        for t in reversed(range(len(valid))):
            # where an episode ended, what stands before it is another one
            dropped = np.where(rollout.ended[t], rollout.diverged[t], dropped)
            valid[t] &= ~dropped
        left.append(replace(rollout, valid=valid))
    return left[::-1]


def as_trajectories(rollouts: Sequence[Rollout]) -> Trajectories:
    """Rollouts that follow each other, as episodes.

    What was under way when the first began or the last ended is cut there, as by a time limit.
    States are kept where all of them have some.
    """

    def columns(name: str) -> NDArray:
        """[num_envs, steps, ...]: one environment after the other."""
        return np.concatenate([getattr(r, name) for r in rollouts]).swapaxes(0, 1)

    obs = swapped(joined([rows_of(r.obs, slice(None, -1)) for r in rollouts]))
    next_obs = swapped(joined([rows_of(r.obs, slice(1, None)) for r in rollouts]))
    valid, terminated, truncated = (columns(x) for x in ("valid", "terminated", "truncated"))
    truncated = truncated & ~terminated
    # an environment's last valid step ends its last episode, whether the environment knows or not
    last = valid.shape[1] - 1 - valid[:, ::-1].argmax(axis=1)
    rows = np.arange(len(valid))
    truncated[rows, last] |= ~terminated[rows, last]
    ends = np.flatnonzero((terminated | truncated)[valid])
    return Trajectories(
        obs=rows_of(obs, valid),
        actions=columns("applied")[valid],
        rewards=columns("rewards")[valid],
        next_obs=rows_of(next_obs, valid),
        lengths=np.diff(ends, prepend=-1),
        terminated=terminated[valid][ends],
        truncated=truncated[valid][ends],
        states=None if any(r.states is None for r in rollouts) else columns("states")[valid],
        frame_stack=rollouts[0].frame_stack,
    )


def finished_returns(rollouts: Sequence[Rollout], time_limit: int | None) -> NDArray:
    """True returns of episodes that ended within rollouts that follow each other.

    Episodes that began less than `time_limit` steps before the end are left out, ended or not: of
    these the short ones are there and the long ones are not. Where the rollouts are shorter than
    that, only each environment's first episode counts, and the long ones are still missed.

    Args:
        rollouts: the first of them begins with a reset.
        time_limit: the most steps that an episode can have; None where there is no limit.

    Returns:
        [episodes]; empty where none ended.
    """
    rewards, valid, ended = (
        np.concatenate([getattr(r, name) for r in rollouts])
        for name in ("rewards", "valid", "ended")
    )
    last_start = max(len(rewards) - time_limit, 0) if time_limit else len(rewards)
    so_far, began = np.zeros(rewards.shape[1]), np.zeros(rewards.shape[1])
    returns = []
    for t in range(len(rewards)):
        so_far += np.where(valid[t], rewards[t], 0.0)
        if ended[t].any():
            returns.append(so_far[ended[t] & valid[t] & (began <= last_start)])
            so_far[ended[t]] = 0
            began[ended[t]] = t + 2  # the step in between resets
    return np.concatenate(returns) if returns else np.zeros(0)
