"""The languages that the page has words in for participants: a file each, found by being there."""

from collections.abc import Sequence
from pathlib import Path

from prefloop.labelling.server.storage.errors import ConflictError

FOLDER = Path("js", "words")  # of the page
DEFAULT = "en"


def languages_of(static: Path) -> list[str]:
    """The languages whose words stand in the page's folder, such as `de`; English in any case."""
    return sorted({DEFAULT, *(path.stem for path in (static / FOLDER).glob("*.js"))})


def require_language(language: str, known: Sequence[str]) -> None:
    """Refuses a language that the page has no words in.

    Raises:
        ConflictError: says which there are.
    """
    if language not in known:
        raise ConflictError(
            f"The page has no words in the language {language!r}; choose from {', '.join(known)}."
        )
