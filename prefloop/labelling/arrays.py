"""Segments on their way: the archive that a trainer sends, and one segment as the store keeps it.

Both are NumPy archives (.npz) without pickles. What is sent has the arrays of segments.npz
(docs/data_format.md); `mask`, `rewards`, `policy` and `first_step` may be missing. Arrays named
`replay_...`, one row a segment, are kept as they are: what it takes to show the segment again.
"""

import contextlib
import io
import math
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, TypeVar

import numpy as np
from numpy.typing import NDArray

from prefloop.data.frames import single_frames, stacked
from prefloop.data.segments import Segments
from prefloop.envs.spaces import as_stored
from prefloop.errors import UserError

T = TypeVar("T")

REPLAY = "replay_"
MAX_UNPACKED = 512 * 2**20  # bytes of all arrays together
MAX_ARRAYS = 50  # in an archive
ALWAYS_UNPACKED = 64 * 2**20  # bytes, however small they were packed
MOST_PACKED = 200  # times that segments are larger unpacked; nothing but zeros is so 1000 times
MAX_SEGMENTS = 10_000
MAX_STEPS = 100_000
MAX_FRAME_STACK = 64
MAX_FIRST_STEP = 2**53  # of an episode; no episode is as long
MAX_NUMBERS = 64 * 2**20  # of all observations, actions and rewards together, as they are kept

_MAX_HEADER = 16 * 2**10  # bytes of what an array says before its numbers; NumPy allows 10,000

# what zipfile and NumPy raise on damaged archives; NotImplementedError: packed in an unknown way,
# RuntimeError: encrypted, SyntaxError: a header that is no literal
_DAMAGE = (
    ValueError, TypeError, KeyError, EOFError, OSError, OverflowError, RuntimeError, RecursionError,
    SyntaxError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip


@dataclass(frozen=True)
class Segment:
    """One segment without padding.

    Attributes:
        obs: float32, or whole numbers as they come; [length, *obs_shape].
        actions: int64 [length], or float32 [length, action_dim].
        rewards: the environment's, 0 where they are not known; float32; [length].
        policy: which of the collecting policies acted.
        first_step: where in its episode the segment begins, in steps.
        replay: what it takes to show the segment again, by names that begin with `replay_`.
        frame_stack: how many successive frames the first axis of an observation holds; 1: none.
    """

    obs: NDArray
    actions: NDArray
    rewards: NDArray
    policy: int = 0
    first_step: int = 0
    replay: Mapping[str, NDArray] = field(default_factory=dict)
    frame_stack: int = 1

    @property
    def frames(self) -> NDArray:
        """Observations with each frame once."""
        return single_frames(self.obs[None], self.frame_stack)[0]

    @property
    def length(self) -> int:
        """Number of steps."""
        return len(self.obs)

    @property
    def discrete(self) -> bool:
        """Whether actions are numbers of actions rather than vectors."""
        return self.actions.ndim == 1

    @property
    def digest(self) -> str:
        """Digest of a segment, the same for two that differ only in where they come from."""
        return pad([self]).identities[0].hex()

    def part(self, start: int, stop: int) -> "Segment":
        """The steps from `start` up to but without `stop`."""
        return Segment(
            self.obs[start:stop],
            self.actions[start:stop],
            self.rewards[start:stop],
            self.policy,
            self.first_step + start,
            frame_stack=self.frame_stack,
        )


def one_of(segments: Segments, i: int) -> Segment:
    """One of the segments, without its padding."""
    one = segments[i : i + 1]
    steps = int(one.lengths[0])
    return Segment(
        np.asarray(one.obs[0, :steps]),  # which may be packed
        one.actions[0, :steps],
        one.rewards[0, :steps],
        int(one.policy[0]),
        int(one.first_step[0]),
        {name: array[0] for name, array in one.replay.items()},
        one.frame_stack,
    )


def pack(segment: Segment) -> bytes:
    """One segment as the store keeps it."""
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        allow_pickle=False,
        obs=segment.frames,
        actions=segment.actions,
        rewards=segment.rewards,
        policy=np.int64(segment.policy),
        first_step=np.int64(segment.first_step),
        **_said(segment.frame_stack),
        **dict(segment.replay),
    )
    return buffer.getvalue()


def unpack(data: bytes) -> Segment:
    """Reads what `pack` wrote."""
    with np.load(io.BytesIO(data), allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    replay = {name: array for name, array in arrays.items() if name.startswith(REPLAY)}
    stack = int(arrays.get("frame_stack", 1))
    return Segment(
        stacked(arrays["obs"][None], stack)[0],
        arrays["actions"],
        arrays["rewards"],
        int(arrays["policy"]),
        int(arrays["first_step"]),
        replay,
        stack,
    )


def _said(frame_stack: int) -> dict[str, NDArray]:
    """Is said of stacks alone."""
    return {"frame_stack": np.array(frame_stack)} if frame_stack > 1 else {}


def to_archive(segments: Segments) -> bytes:
    """Segments as a trainer sends them, and what shows them again."""
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        allow_pickle=False,
        obs=segments.frames,
        actions=segments.actions,
        mask=segments.mask,
        rewards=segments.rewards,
        policy=segments.policy,
        first_step=segments.first_step,
        **_said(segments.frame_stack),
        **dict(segments.replay),
    )
    return buffer.getvalue()


def from_archive(data: bytes) -> list[Segment]:
    """Reads the archive that a trainer, or a stranger, sent.

    Raises:
        UserError: it is no such archive, too large unpacked, or its arrays do not belong together.
    """
    require_small(data, MOST_PACKED)
    headers = read_headers(data)
    missing = {"obs", "actions"} - headers.keys()
    if missing:
        raise UserError(f"The archive holds no array {' and no array '.join(sorted(missing))}.")
    # small in the archive and large here: whole numbers of a byte, rewards that are not there
    (obs, _), (actions, _) = headers["obs"], headers["actions"]
    numbers = math.prod(obs) + math.prod(actions) + 2 * math.prod(obs[:-1])
    if numbers > MAX_NUMBERS:
        raise UserError(f"An archive holds at most {MAX_NUMBERS} numbers, not {numbers}.")
    arrays = read_arrays(data)
    try:
        segments = _as_segments(arrays)
    except (ValueError, TypeError) as error:
        raise UserError(f"The segments do not fit together: {error}.") from None
    if not 0 < len(segments) <= MAX_SEGMENTS:
        raise UserError(f"An archive holds 1 to {MAX_SEGMENTS} segments, not {len(segments)}.")
    if segments.mask.shape[1] > MAX_STEPS:
        raise UserError(f"A segment has at most {MAX_STEPS} steps.")
    for name, finite in segments.finite.items():
        if not finite:
            raise UserError(f"Segments with NaN or infinite {name} are not stored.")
    if not ((segments.first_step >= 0) & (segments.first_step < MAX_FIRST_STEP)).all():
        raise UserError(f"A segment's first step is 0 to {MAX_FIRST_STEP}.")
    replay = {name: array for name, array in arrays.items() if name.startswith(REPLAY)}
    for name, array in replay.items():
        if array.ndim == 0 or len(array) != len(segments) or not name.isidentifier():
            raise UserError(f"{name[:50]} needs one row for each segment.")
        if array.dtype.kind not in "biuf":
            raise UserError(f"{name[:50]} must hold numbers.")
    return [
        Segment(
            segments.obs[i, :length],
            segments.actions[i, :length],
            segments.rewards[i, :length],
            int(segments.policy[i]),
            int(segments.first_step[i]),
            {name: array[i] for name, array in replay.items()},
            segments.frame_stack,
        )
        for i, length in enumerate(segments.lengths)
    ]


def pad(segments: Sequence[Segment], with_replay: bool = False) -> Segments:
    """Segments side by side, padded at the end to the longest.

    Args:
        with_replay: with what shows them again, which must be of one kind (`replay_kind`).

    Raises:
        ValueError: there are none, or they are of different kinds.
    """
    if not segments:
        raise ValueError("no segments")
    length = max(segment.length for segment in segments)

    def padded(arrays: list[NDArray], length: int = length) -> NDArray:
        out = np.zeros((len(arrays), length, *arrays[0].shape[1:]), dtype=arrays[0].dtype)
        for row, array in zip(out, arrays, strict=True):
            row[: len(array)] = array
        return out

    lengths = np.array([segment.length for segment in segments])
    stack = segments[0].frame_stack
    frames = padded([segment.frames for segment in segments], length + stack - 1)
    return Segments(
        obs=stacked(frames, stack),
        actions=padded([segment.actions for segment in segments]),
        mask=np.arange(length) < lengths[:, None],
        rewards=padded([segment.rewards for segment in segments]),
        policy=np.array([segment.policy for segment in segments], dtype=np.int64),
        first_step=np.array([segment.first_step for segment in segments], dtype=np.int64),
        frame_stack=stack,
        replay={
            name: _rows([segment.replay[name] for segment in segments])
            for name in (segments[0].replay if with_replay else ())
        },
    )


def replay_kind(segment: Segment) -> tuple[object, ...]:
    """Names and kinds of the arrays that show a segment again: two that are alike in this can stand in one array; empty: nothing."""
    return tuple(
        (name, array.dtype.str, array.ndim, array.shape[1:])
        for name, array in sorted(segment.replay.items())
    )


def _rows(arrays: Sequence[NDArray]) -> NDArray:
    """One row each, padded to the longest."""
    if arrays[0].ndim == 0:
        return np.array(arrays)
    rows = np.zeros((len(arrays), max(map(len, arrays)), *arrays[0].shape[1:]), arrays[0].dtype)
    for row, array in zip(rows, arrays, strict=True):
        row[: len(array)] = array
    return rows


def _as_segments(arrays: Mapping[str, NDArray]) -> Segments:
    frames, actions = arrays["obs"], arrays["actions"]
    stack = arrays.get("frame_stack", np.array(1))
    if stack.ndim or not 1 <= stack <= MAX_FRAME_STACK:
        raise ValueError(f"frame_stack is a number from 1 to {MAX_FRAME_STACK}")
    if frames.ndim < 2 or frames.shape[1] < stack:
        raise ValueError(f"obs must be [segments, length, ...], not {list(frames.shape)}")
    obs = stacked(as_stored(frames), int(stack))
    shape = obs.shape[:2]
    kind = np.int64 if actions.ndim == 2 else np.float32
    if actions.dtype.kind not in ("iu" if actions.ndim == 2 else "f"):
        raise ValueError("actions must be whole numbers, [segments, length], or vectors of floats")
    zeros = np.zeros(shape[0], dtype=np.int64)
    return Segments(
        obs=obs,
        actions=actions.astype(kind),
        mask=arrays.get("mask", np.ones(shape, dtype=bool)),
        rewards=arrays.get("rewards", np.zeros(shape)).astype(np.float32),
        policy=arrays.get("policy", zeros),
        first_step=arrays.get("first_step", zeros),
        frame_stack=int(stack),
    )


def require_small(data: bytes, most_packed: float = math.inf) -> None:
    """Refuses an archive that is dear to open, by its directory alone.

    Args:
        most_packed: how many times as large it may become where that is more than a little; pictures
            that stand still pack as well as nothing does.

    Raises:
        UserError: it is no archive, has too many arrays, or would be too large unpacked.
    """
    unpacked = sum(member.file_size for member in _members(data))
    if unpacked > ALWAYS_UNPACKED and unpacked > most_packed * len(data):
        raise UserError(
            f"The archive is {unpacked // len(data)} times as large unpacked; no segments pack so well."
        )


def read_headers(data: bytes) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
    """Shapes and kinds of the arrays of an archive that a stranger may have made; unpacks nothing else.

    Raises:
        UserError: as `read_arrays`.
    """
    return _of_each_member(data, _read_header)


def read_arrays(data: bytes) -> dict[str, NDArray]:
    """The arrays of an archive that a stranger may have made.

    Raises:
        UserError: it is no archive of numbers, or too large unpacked.
    """
    return _of_each_member(data, lambda file, size: _read_array(file.read()))


def _of_each_member(data: bytes, read: Callable[[IO[bytes], int], T]) -> dict[str, T]:
    found = {}
    with _damage_told():
        members = _members(data)
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for member in members:
                with archive.open(member) as file:
                    found[member.filename.removesuffix(".npy")] = read(file, member.file_size)
    return found


def _members(data: bytes) -> list[zipfile.ZipInfo]:
    """The archive's directory. Reading it takes long where there is much of it, so it is counted before."""
    count = data.count(b"PK\1\2")  # an entry begins so; other bytes may, too, once in 4 GB
    if count > 2 * MAX_ARRAYS:
        raise UserError(f"The archive holds {count} arrays; {MAX_ARRAYS} are too many already.")
    with _damage_told(), zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = archive.infolist()
    if len(members) > MAX_ARRAYS:
        raise UserError(
            f"The archive holds {len(members)} arrays; {MAX_ARRAYS} are too many already."
        )
    unpacked = sum(member.file_size for member in members)
    if unpacked > MAX_UNPACKED:
        raise UserError(f"The archive is larger than {MAX_UNPACKED >> 20} MiB unpacked.")
    return members


@contextlib.contextmanager
def _damage_told() -> Iterator[None]:
    try:
        yield
    except _DAMAGE as error:
        reason = str(error).partition("\n")[0][:100] or type(error).__name__
        raise UserError(f"This is no archive of NumPy arrays: {reason.rstrip('.')}.") from None


def _read_header(file: IO[bytes], size: int) -> tuple[tuple[int, ...], np.dtype]:
    stream = io.BytesIO(file.read(_MAX_HEADER))
    shape, _, dtype = _header(stream)
    if math.prod(shape) * dtype.itemsize != size - stream.tell():
        raise ValueError("an array of another size than its header says")
    return shape, dtype


def _read_array(data: bytes) -> NDArray:
    """One array. NumPy's own reader makes room for as much as the header claims; this does not."""
    stream = io.BytesIO(data)
    shape, fortran, dtype = _header(stream)
    content = data[stream.tell() :]
    if math.prod(shape) * dtype.itemsize != len(content):
        raise ValueError("an array of another size than its header says")
    return np.frombuffer(content, dtype=dtype).reshape(shape, order="F" if fortran else "C")


def _header(stream: io.BytesIO) -> tuple[tuple[int, ...], bool, np.dtype]:
    version = np.lib.format.read_magic(stream)
    if version not in ((1, 0), (2, 0)):
        raise ValueError("an array in an unknown format")
    read_header = getattr(np.lib.format, f"read_array_header_{version[0]}_0")
    shape, fortran, dtype = read_header(stream)
    if dtype.hasobject or dtype.kind not in "biuf":
        raise ValueError("an array of something else than numbers")
    return shape, fortran, dtype
