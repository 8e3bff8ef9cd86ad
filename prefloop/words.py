"""Sentences that several rooms say alike."""


def counted(number: int, one: str, many: str = "") -> str:
    """1 label, 2 labels; `many` where an s is not enough."""
    return f"{number} {one if number == 1 else many or one + 's'}"
