"""Sentences that several rooms say alike."""

import difflib
from collections.abc import Iterable, Sequence


def counted(number: int, one: str, many: str = "") -> str:
    """1 label, 2 labels; `many` where an s is not enough."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def listed(words: Sequence[str], last: str = "and") -> str:
    """`a, b and c`, or with another word before the last one."""
    return f" {last} ".join(filter(None, (", ".join(words[:-1]), *words[-1:])))


def perhaps(name: str, known: Iterable[str], most: int = 3) -> str:
    """How a sentence ends that says that there is no such name: with those that are like it, if any is.

    Args:
        most: how many of these.
    """
    close = difflib.get_close_matches(name, known, n=most)
    return f"; did you mean {' or '.join(close)}?" if close else "."
