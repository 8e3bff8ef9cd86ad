"""Digests of what is written row after row, so that a reader knows whether it is what was written."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BLOCK = 4096  # rows of a digest, at most


@dataclass(frozen=True)
class Block:
    """Rows from `first` to before `stop`, as they are numbered by when they were written."""

    first: int
    stop: int
    digest: str


class RowDigests:
    """Digests of the newest rows of columns that are written in a circle, block by block.

    Blocks begin at multiples of a number, so that they depend on what was written alone and not on when
    digests were taken. One takes milliseconds, where a digest of each row takes seconds for a large buffer.

    Attributes:
        blocks: what was digested last, the oldest first.
    """

    def __init__(self, columns: Sequence[NDArray], rows: int) -> None:
        """Has digested nothing yet.

        Args:
            columns: [all_rows, ...] each; row i stands at i % all_rows.
            rows: how many of them are digested at most, the newest.
        """
        self._columns, self._all_rows = columns, len(columns[0])
        self._rows, self._step = rows, max(1, min(BLOCK, rows // 4))
        self.blocks: list[Block] = []

    def take(self, added: int) -> None:
        """Digests what was written since the last time, and forgets those of rows that are too old.

        Args:
            added: rows that were written, ever.
        """
        oldest = max(0, added - self._rows)
        whole = [b for b in self.blocks if b.first >= oldest and b.stop % self._step == 0]
        first = whole[-1].stop if whole else -(-oldest // self._step) * self._step
        self.blocks = whole
        for start in range(first, added, self._step):
            stop = min(start + self._step, added)
            self.blocks.append(Block(start, stop, self._digest(start, stop)))

    def agree(self, blocks: Sequence[Block], added: int) -> bool:
        """Whether blocks are of what stands there, and end with the last of so many rows."""
        if blocks and blocks[-1].stop != added:
            return False
        return all(
            0 < b.stop - b.first <= self._all_rows and self._digest(b.first, b.stop) == b.digest
            for b in blocks
        )

    def _digest(self, first: int, stop: int) -> str:
        place = first % self._all_rows
        end = place + stop - first
        digest = hashlib.blake2b(digest_size=16)
        for column in self._columns:
            for part in (column[place:end], column[: max(0, end - self._all_rows)]):
                digest.update(np.ascontiguousarray(part).reshape(-1).view(np.uint8).data)
        return digest.hexdigest()
