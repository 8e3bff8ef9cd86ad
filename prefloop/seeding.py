"""Every stream of random numbers, from the one seed that a run is given.

A stream has a name, `Stream`, and where it is needed again and again a number or more (an
iteration, an episode). Streams of one seed are independent of each other, and so are those of
different seeds: `seed + i` would give two runs the same episodes, and one integer for two
generators makes a policy's dice those of its environment.

Whoever seeds anything does it here. NumPy's `SeedSequence` does the mixing:
https://numpy.org/doc/stable/reference/random/parallel.html
"""

import hashlib
from collections.abc import Iterable, Sequence
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

MAX_SEED = 2**31  # of an environment: simulators that are written in C take no larger one


class Stream(IntEnum):
    """What random numbers are for.

    A new member is added at the end: what a run draws depends on the numbers.
    """

    ENVIRONMENTS = 0  # that are learned in
    POLICY = 1  # actions there
    WEIGHTS = 2  # of networks, before they are trained
    MINIBATCHES = 3
    EVALUATION_ENVIRONMENTS = 4
    EVALUATION_POLICY = 5
    SEGMENTS = 6  # which parts of episodes are shown
    QUERIES = 7  # which pairs are asked about
    TEACHER = 8  # errors of a simulated one
    HELD_OUT = 9  # which data judges
    MEMBERS = 10  # bootstraps of an ensemble
    DEMONSTRATIONS = 11  # acting that is shown, not learned from
    HELD_OUT_DEMONSTRATIONS = 12
    RESAMPLING = 13  # of a statistic's bootstrap
    REWARD_MODEL = 14  # beside an agent that is trained with the same seed
    DISCRIMINATOR = 15
    NOISE = 16  # of an update that draws actions again
    REPLAY = 17  # which steps of the past are learned from
    CRITIC = 18  # that begins anew in the middle of a run
    DYNAMICS = 19  # which steps a reward learns what follows from
    UNLABELLED = 20  # which pairs are learned from that nobody answered
    RESTARTS = 21  # of what begins anew in the middle of an episode
    SEARCH = 22  # which settings are tried


def sequence(seed: int, *stream: int) -> np.random.SeedSequence:
    """The root of a stream.

    Args:
        seed: of the run, at least 0.
        stream: its name, and the numbers that tell it from others of that name.
    """
    return np.random.SeedSequence(seed, spawn_key=tuple(int(part) for part in stream))


def generator(seed: int, *stream: int) -> np.random.Generator:
    """A stream's generator; arguments as in `sequence`."""
    return np.random.default_rng(sequence(seed, *stream))


def integers(seed: int, *stream: int, num: int) -> list[int]:
    """Seeds for what takes integers, below 2**31; the first of many are those of few.

    Arguments as in `sequence`.
    """
    return (sequence(seed, *stream).generate_state(num) % MAX_SEED).tolist()


def integer(seed: int, *stream: int) -> int:
    """As `integers`, a single one: for `torch.manual_seed`, or as the seed of a part of a run."""
    return integers(seed, *stream, num=1)[0]


def uniform_of(keys: Iterable[bytes], seed: int, *stream: int) -> NDArray:
    """A number for each key that depends on the key and the stream alone, not on what stands beside it.

    So what is decided about a thing stays decided when others come before or after it.

    Args:
        keys: what tells the things apart.
        seed, stream: as in `sequence`.

    Returns:
        Uniform in [0, 1), independent for different keys; [keys].

    Source: BLAKE2b as a keyed hash, RFC 7693. (To seed a generator for every key takes twenty times as
    long.)
    """
    secret = sequence(seed, *stream).generate_state(8, np.uint64).astype("<u8").tobytes()
    digests = (hashlib.blake2b(key, digest_size=8, key=secret).digest() for key in keys)
    words = np.frombuffer(b"".join(digests), dtype="<u8")
    return (words >> np.uint64(11)) * 2.0**-53  # as many bits as a float64 holds


class RowGenerator:
    """A generator whose rows are streams of their own: what one draws is the same beside any others.

    Stands in for `numpy.random.Generator` where actions are drawn, a row an environment.
    """

    BLOCK = 64  # steps drawn at once: a call for each would cost more than the numbers

    def __init__(self, rngs: Sequence[np.random.Generator]) -> None:
        self._rngs = rngs
        self._drawn: NDArray = np.empty((0, 0, 0))
        self._next = 0
        self._kind: tuple[Any, ...] = ()

    def gumbel(self, size: tuple[int, ...]) -> NDArray:
        """Standard Gumbel noise; [rows, n]."""
        return self._draw("gumbel", size, {})

    def standard_normal(self, size: tuple[int, ...], dtype: DTypeLike = np.float64) -> NDArray:
        """Standard normal noise; [rows, n]."""
        return self._draw("standard_normal", size, {"dtype": dtype})

    def _draw(self, method: str, size: tuple[int, ...], options: dict[str, Any]) -> NDArray:
        rows, *row = size
        kind = (method, *row, *options.values())
        if rows != len(self._rngs) or self._kind not in ((), kind):
            raise ValueError(f"{len(self._rngs)} rows of {self._kind} are drawn here, not {size}")
        if self._next == len(self._drawn):
            self._kind, self._next = kind, 0
            block = (self.BLOCK, *row)
            self._drawn = np.stack(
                [getattr(rng, method)(size=block, **options) for rng in self._rngs], axis=1
            )
        self._next += 1
        return self._drawn[self._next - 1]


# whoever draws actions: for all rows, or a stream a row
Rng = np.random.Generator | RowGenerator
