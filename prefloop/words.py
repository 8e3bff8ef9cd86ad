"""Sentences that several rooms say alike."""

from collections.abc import Sequence


def counted(number: int, one: str, many: str = "") -> str:
    """1 label, 2 labels; `many` where an s is not enough."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def listed(words: Sequence[str], last: str = "and") -> str:
    """`a, b and c`, or with another word before the last one."""
    return f" {last} ".join(filter(None, (", ".join(words[:-1]), *words[-1:])))
