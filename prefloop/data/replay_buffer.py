"""A replay buffer in files that are mapped into memory: it is saved by being there.

    obs.npy, actions.npy, rewards.npy, terminated.npy, ends.npy, resets.npy, dropped.npy, and what else is
    to be kept

Row i is one step of every environment. What a step led to stands in the next row, so an observation
is stored once; `ends` says where an episode was over, in either way, and the row after it, which
only resets, is never drawn.

A run that was killed goes on from its last state: what was added after that stands in rows that the
state does not count, and is added again. So that these never lie where the oldest steps do, there
are more rows than are drawn from. Rewards are written over in place: a loop relabels at the
beginning of an iteration, so that one that is done again begins alike.

What was added is held against digests of the state, block by block, as long as it is drawn from.
"""

import io
import os
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prefloop.data.digests import Block, RowDigests
from prefloop.data.stepping import NO_EPISODE, Rollout
from prefloop.data.trajectories import Trajectories
from prefloop.envs.spaces import Spaces
from prefloop.errors import CanNotGoOnError, UserError
from prefloop.files import write_atomically

DROPPED = "dropped"  # steps of episodes that are left out
# what may change after a step was added
WRITTEN_OVER = ("rewards", DROPPED)
TRUE_REWARDS, STATES = "true_rewards", "states"  # what a loop may keep of each step besides
# all that there can be, each a file of its name
COLUMNS = (
    "obs", "actions", "rewards", "terminated", "ends", "resets", DROPPED, TRUE_REWARDS, STATES,
)  # fmt: skip
# of one environment: in which type it is kept, and of which shape
Kind = tuple[str, tuple[int, ...]]


class NothingToDrawError(ValueError):
    """There is no step yet that can be learned from."""


@dataclass(frozen=True)
class Transitions:
    """Steps that were drawn.

    Attributes:
        obs, next_obs: as they are stored; [batch, *obs_shape].
        actions: [batch], or [batch, action_dim].
        rewards: float32; [batch].
        terminated: whether the step led to a terminal state, beyond which nothing is worth anything;
            a time limit is none; [batch].
    """

    obs: NDArray
    actions: NDArray
    rewards: NDArray
    next_obs: NDArray
    terminated: NDArray


class ReplayBuffer:
    """The newest steps of environments that step together.

    Attributes:
        rows: how many are drawn from, at most.
    """

    def __init__(
        self,
        directory: Path,
        spaces: Spaces,
        num_envs: int,
        capacity: int,
        between_states: int = 0,
        extras: Mapping[str, Kind] = MappingProxyType({}),
    ) -> None:
        """Opens the files of a directory, or makes them.

        Args:
            spaces: what is stored; observations as they come.
            num_envs: environments that step together.
            capacity: steps of all environments together that are drawn from.
            between_states: steps of all environments together, at most, that are added between two
                states.
            extras: what else is kept of each step, by name: `TRUE_REWARDS`, `STATES`.

        Raises:
            CanNotGoOnError: the files are of another buffer, or damaged.
            UserError: they can't be written.
        """
        self.directory, self.spaces, self.num_envs = directory, spaces, num_envs
        self.rows = max(2, capacity // num_envs)
        self._all_rows = self.rows + -(-between_states // num_envs)
        self._added = 0  # rows, ever
        self._made: list[Path] = []  # columns that were not there, before anything is added
        kinds: dict[str, Kind] = {
            "obs": (spaces.obs_dtype, spaces.obs_shape),
            "actions": (spaces.action_dtype, spaces.action_shape),
            "rewards": ("float32", ()),
            **dict.fromkeys(("terminated", "ends", "resets", DROPPED), ("bool", ())),
            **extras,
        }
        assert kinds.keys() <= set(COLUMNS)
        self._files = {
            name: self._opened(name, np.dtype(dtype), (self._all_rows, num_envs, *shape))
            for name, (dtype, shape) in kinds.items()
        }
        # plain arrays on the same memory: reading a few rows of a memmap takes twice as long
        self._columns = {name: np.asarray(column) for name, column in self._files.items()}
        # what a run that was killed added after its state stands in rows that are not drawn from: so what
        # is drawn from is as it was, also when the oldest are pushed out
        lasting = [column for name, column in self._columns.items() if name not in WRITTEN_OVER]
        self._digests = RowDigests(lasting, self.rows)

    def _opened(self, name: str, dtype: np.dtype, shape: tuple[int, ...]) -> np.memmap:
        path = self.directory / f"{name}.npy"
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            if not path.exists():
                column = _made(path, dtype, shape)
                if name != DROPPED:  # which earlier versions did not have
                    self._made.append(path)
                return column
            found = np.lib.format.open_memmap(path, "r+")
        except OSError as error:
            raise UserError(f"Can't use {path}: {error.strerror or error}.") from None
        except ValueError as error:
            raise CanNotGoOnError(f"{path} is damaged: {error}.") from None
        if found.shape != shape or found.dtype != dtype:
            raise CanNotGoOnError(
                f"{path} holds {found.dtype} of {list(found.shape)}, not {dtype} of {list(shape)}; it is "
                "of another run."
            )
        return found

    @property
    def _filled(self) -> int:
        """Rows that hold something."""
        return min(self._added, self._all_rows)

    @property
    def _next(self) -> int:
        """Where the next row goes."""
        return self._added % self._all_rows

    @property
    def size(self) -> int:
        """Rows that are drawn from."""
        return min(self._filled, self.rows)

    def __len__(self) -> int:
        """Steps that are drawn from, those that only reset included."""
        return self.size * self.num_envs

    def _places(self, ages: NDArray) -> NDArray:
        """Where rows of these ages are; the newest is 0 steps old."""
        return (self._next - 1 - ages) % self._all_rows

    def add(
        self,
        obs: NDArray,
        actions: NDArray,
        rewards: NDArray,
        terminated: NDArray,
        truncated: NDArray,
        resets: NDArray,
        **extras: NDArray,
    ) -> None:
        """Adds a step of every environment, in the place of the oldest where there is no room.

        Args:
            obs: the observation each action was chosen in; [num_envs, *obs_shape]. Call it step by
                step: what a step led to is the next row's.
            actions: as the environment received them; [num_envs, ...].
            rewards: [num_envs].
            terminated, truncated: how the step ended an episode, if it did; [num_envs].
            resets: the step only reset, and belongs to no episode; [num_envs].
            extras: what else is kept, by name; [num_envs, ...] each.
        """
        row: dict[str, NDArray] = {
            "obs": obs, "actions": actions, "rewards": rewards, "terminated": terminated,
            "ends": terminated | truncated, "resets": resets, DROPPED: np.zeros_like(resets), **extras,
        }  # fmt: skip
        for name, column in self._columns.items():
            column[self._next] = row[name]
        self._made = []
        self._added += 1

    def sample(self, batch_size: int, rng: np.random.Generator) -> Transitions:
        """Draws steps, all alike likely; what only resets and what has no next row is left out.

        Raises:
            NothingToDrawError: no step can be drawn yet.
        """
        if self.size < 2:
            raise NothingToDrawError("a step can be drawn once there is one after it")
        left_out = self._columns["resets"], self._columns[DROPPED]
        rows, envs = np.zeros(0, np.int64), np.zeros(0, np.int64)
        while len(rows) < batch_size:
            # the newest row is left out: what it led to is not known yet
            row = self._places(rng.integers(1, self.size, size=batch_size))
            env = rng.integers(self.num_envs, size=batch_size)
            may_be = ~(left_out[0][row, env] | left_out[1][row, env])
            if not may_be.any():
                all_rows = self._places(np.arange(1, self.size))
                if (left_out[0][all_rows] | left_out[1][all_rows]).all():
                    raise NothingToDrawError(
                        "there are only steps that reset, or that were left out"
                    )
            rows, envs = np.append(rows, row[may_be]), np.append(envs, env[may_be])
        rows, envs = rows[:batch_size], envs[:batch_size]
        obs = self._columns["obs"]
        return Transitions(
            obs=obs[rows, envs],
            actions=self._columns["actions"][rows, envs],
            rewards=self._columns["rewards"][rows, envs],
            next_obs=obs[(rows + 1) % self._all_rows, envs],
            terminated=self._columns["terminated"][rows, envs],
        )

    def every_state(self) -> NDArray:
        """Observations that the steps that can be drawn led to; [states, *obs_shape]."""
        rows = self._places(np.arange(1, self.size))
        may_be = ~(self._columns["resets"][rows] | self._columns[DROPPED][rows])
        states: NDArray = self._columns["obs"][(rows + 1) % self._all_rows][may_be]
        return states

    def drop_episodes(self, envs: NDArray) -> None:
        """Leaves out what was added last of the episodes under way, from their beginning on.

        Args:
            envs: of which environments; bool, [num_envs].
        """
        for env in np.flatnonzero(envs):
            rows = self._places(np.arange(self._filled))
            resets = np.flatnonzero(self._columns["resets"][rows, env])
            self._columns[DROPPED][rows[: resets[0] if len(resets) else len(rows)], env] = True

    def trajectories(self, newest: int | None = None) -> Trajectories:
        """Whole episodes, in the order in which they began; what is under way is cut as by a time limit.

        An episode whose beginning was pushed out is left out.

        Args:
            newest: only so many, the last ones.

        Raises:
            UserError: all were dropped, or their beginnings pushed out.
            ValueError: nothing was added yet.
        """
        if self.size < 2:  # what the last step led to is not known yet
            raise ValueError("there is no episode yet")
        rows = self._places(np.arange(self.size - 1, -1, -1))  # the oldest first
        resets = self._columns["resets"][rows]
        begins = ~(resets | self._columns[DROPPED][rows])
        begins[1:] &= resets[:-1]
        # once rows were pushed out, what the first one goes on with is not here
        if self._filled > self.size or self._filled == self._all_rows:
            begins[0] = False
        found = []
        for number in range(self.num_envs):
            first = np.flatnonzero(begins[:, number])
            # up to the next row that only resets; what the very last one led to is not known yet
            stops = np.append(np.flatnonzero(resets[:, number]), self.size - 1)
            length = stops[np.searchsorted(stops, first)] - first
            found.append(np.stack([first, np.full_like(first, number), length], axis=1))
        places = np.concatenate(found)
        places = places[np.argsort(places[:, 0], kind="stable")]
        places = places[places[:, 2] > 0]
        if not len(places):
            if self._columns[DROPPED][rows].any():
                raise UserError(NO_EPISODE)
            raise UserError(
                f"No episode is kept from its beginning on: the last {len(self)} steps are (--capacity), and an "
                "episode is longer; keep more of them."
            )
        starts, envs, lengths = places[-newest if newest else 0 :].T
        step = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        row, env = rows[np.repeat(starts, lengths) + step], np.repeat(envs, lengths)
        columns = self._columns
        terminated = columns["terminated"][row, env][np.cumsum(lengths) - 1]
        return Trajectories(
            obs=columns["obs"][row, env],
            actions=columns["actions"][row, env],
            rewards=columns.get(TRUE_REWARDS, columns["rewards"])[row, env],
            next_obs=columns["obs"][(row + 1) % self._all_rows, env],
            lengths=lengths,
            terminated=terminated,
            truncated=~terminated,
            states=columns[STATES][row, env] if STATES in columns else None,
            frame_stack=self.spaces.frame_stack,
        )

    def newest(self, steps: int) -> Rollout:
        """The last steps but one, as they were made: what the very last row holds is where they led to.

        Rewards are the true ones where these are kept.

        Args:
            steps: of each environment; no more than have been added since the last state.
        """
        rows = self._places(np.arange(steps, -1, -1))
        columns = {name: column[rows] for name, column in self._columns.items()}
        terminated, actions = columns["terminated"][:-1], columns["actions"][:-1]
        return Rollout(
            columns["obs"],
            actions,
            actions,
            columns.get(TRUE_REWARDS, columns["rewards"])[:-1],
            terminated,
            columns["ends"][:-1] & ~terminated,
            ~(columns["resets"] | columns[DROPPED])[:-1],
            np.zeros_like(terminated),  # what diverged was dropped
            frame_stack=self.spaces.frame_stack,
        )

    def relabel(
        self, reward: Callable[[NDArray, NDArray, NDArray], NDArray], chunk: int = 4096
    ) -> None:
        """Gives every step the reward that is right now.

        Args:
            reward: of observations, actions and next observations; [steps, ...].
            chunk: rows that are judged at once, whatever they take in memory.
        """
        for start in range(0, self.size, chunk):
            rows = self._places(np.arange(start, min(start + chunk, self.size)))
            obs, next_obs = (self._columns["obs"][i % self._all_rows] for i in (rows, rows + 1))
            self._columns["rewards"][rows] = reward(obs, self._columns["actions"][rows], next_obs)

    def mean_rewards(self, rows: Sequence[int]) -> NDArray:
        """Mean reward of the steps in so many rows one after the other; NaN where they are not all here any more.

        Args:
            rows: how many each time, the newest last; of each environment, those that only reset among them.

        Returns:
            float64; as many.
        """
        means, stop = np.full(len(rows), np.nan), 0
        for i in reversed(range(len(rows))):
            start, stop = stop, stop + rows[i]
            if stop > self.size:
                break
            places = self._places(np.arange(start, stop))
            counts = ~(self._columns["resets"][places] | self._columns[DROPPED][places])
            if counts.any():
                means[i] = self._columns["rewards"][places].mean(where=counts)
        return means

    def write(self, path: Path) -> None:
        """Writes what was added so far, while nothing was pushed out yet, as an archive of arrays.

        Raises:
            UserError: it can't be written.
        """
        filled: Any = {name: column[: self._filled] for name, column in self._columns.items()}
        content = io.BytesIO()
        np.savez_compressed(content, **filled)
        write_atomically(path, content.getvalue())

    def fill(self, path: Path) -> None:
        """Takes over what `write` wrote, before anything was added; `load_state_dict` says how much counts.

        Raises:
            UserError: it is missing or damaged, or of another kind of steps.
        """
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
                arrays = {name: archive[name] for name in self._columns}
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise UserError(f"{path} holds no steps: {error}.") from None
        for name, column in self._columns.items():
            rows = arrays[name]
            if rows.shape[1:] != column.shape[1:] or len(rows) > len(column):
                raise UserError(f"{path} holds other steps.")
            column[: len(rows)] = rows
        self._made = []

    def state_dict(self) -> dict[str, Any]:
        """How far it is, and digests of what is drawn from; what was added is in the files.

        Everything is on disk when this returns.
        """
        for column in self._files.values():
            column.flush()
        self._digests.take(self._added)
        blocks = [[block.first, block.stop, block.digest] for block in self._digests.blocks]
        return {"added": self._added, "digests": blocks}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on where the state was taken; what was added after that is added again.

        Raises:
            UserError: the state is of no such buffer, which then is as it was.
        """
        added, blocks = self._counted(state)
        if added and self._made:
            names = ", ".join(path.name for path in self._made)
            for path in self._made:  # or it would pass for what was lost, next time
                path.unlink(missing_ok=True)
            raise UserError(f"{self.directory} has lost {names}.")
        if not self._digests.agree(blocks, added):
            raise UserError(f"{self.directory} does not hold what this run has done.")
        self._added, self._digests.blocks = added, blocks

    def _counted(self, state: dict[str, Any]) -> tuple[int, list[Block]]:
        """How many rows a state is about, and their digests."""
        if "added" in state:
            return int(state["added"]), [Block(*block) for block in state["digests"]]
        # of an earlier version, whose digest was of another kind
        filled, following = int(state["filled"]), int(state["next"])
        return (filled if filled < self._all_rows else self._all_rows + following), []


def _made(path: Path, dtype: np.dtype, shape: tuple[int, ...]) -> np.memmap:
    """A new file that has its place on the disk: mapped into memory, one without ends the program.

    Raises:
        OSError: there is no such place.
    """
    part = path.with_suffix(".tmp")
    column = np.lib.format.open_memmap(part, "w+", dtype, shape)
    try:
        if hasattr(os, "posix_fallocate"):  # Linux
            with part.open("r+b") as file:
                os.posix_fallocate(file.fileno(), 0, part.stat().st_size)
    except OSError:
        del column
        part.unlink()
        raise
    if os.name == "nt":  # what is mapped can't be renamed there
        del column
        part.rename(path)
        return np.lib.format.open_memmap(path, "r+")
    part.rename(path)
    return column
