"""What commands share that do one of several things: `runs` and `study` take words and flags by the action."""

from collections.abc import Mapping
from typing import Any


def require_words(action: str, words: tuple[str, ...], takes: tuple[str, ...]) -> None:
    """Refuses more or fewer words than an action takes.

    Args:
        words: what stands after the action.
        takes: what each word is, for the sentence; for instance NAME.

    Raises:
        ValueError: says what it takes.
    """
    if len(words) != len(takes):
        raise ValueError(
            f"{action} takes {' and '.join(takes) or 'nothing'} after it, not {' '.join(words) or 'nothing'}"
        )


def require_action(settings: Any, takers: Mapping[str, tuple[str, ...]]) -> None:
    """Refuses a flag that does nothing with the action.

    Args:
        settings: a command's, with its `action`.
        takers: of each flag, the actions that it is for.

    Raises:
        ValueError: names the first such flag.
    """
    for flag, actions in takers.items():
        value = getattr(settings, flag)
        is_given = value not in (None, (), "") and value is not False
        if is_given and settings.action not in actions:
            raise ValueError(f"--{flag} does nothing with {settings.action}")
