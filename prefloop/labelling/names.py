"""Names that people mistype."""

import difflib
from collections.abc import Iterable


def perhaps(name: str, known: Iterable[str]) -> str:
    """How a sentence ends that says that there is no such name: with those that are like it, if any is."""
    close = difflib.get_close_matches(name, known, n=3)
    return f"; did you mean {' or '.join(close)}?" if close else "."
