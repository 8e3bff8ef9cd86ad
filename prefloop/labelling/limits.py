"""How long names may be, and traces, how many agents are compared, and what texts hold: what a request may, and a column of the database."""

import unicodedata

MAX_NAME = 64  # characters of the name of a run or of an annotator
MAX_ENV = 200  # characters of an environment's id
MAX_AGENTS = 20  # that an arena compares: each two of them want votes
MAX_COMPARED = 6  # runs side by side: no more fit a screen
MAX_FILMED = 10_000  # steps of an episode that is compared; a clip has at most as many frames
# bytes of JSON: twice what six runs with six policies and three episodes of 1000 steps have
MAX_COMPARISON = 8 * 2**20
MAX_TRACE = 250  # steps of a segment whose reward is told step by step
MAX_INSTRUCTIONS = 10_000  # characters that annotators are to read
MAX_AHEAD = 8  # queries that a page holds, with the one that is shown
MAX_STUDY = 24  # characters of a study's name, and
MAX_REF = (
    MAX_NAME - MAX_STUDY - 1
)  # of what names a participant within it: both together name an annotator
MAX_TEXT = 20_000  # characters of each text of a study
RUN_NAME = rf"^[A-Za-z0-9][A-Za-z0-9._-]{{0,{MAX_NAME - 1}}}$"
STUDY_NAME = rf"^[A-Za-z0-9][A-Za-z0-9._-]{{0,{MAX_STUDY - 1}}}$"
REF = rf"^[A-Za-z0-9][A-Za-z0-9._-]{{0,{MAX_REF - 1}}}$"


def is_plain(text: str) -> bool:
    """Whether it is without what no keyboard types and some databases refuse."""
    return all(unicodedata.category(one) not in ("Cc", "Cs") or one in "\n\t" for one in text)


def require_readable(flag: str, text: str) -> None:
    """Refuses what annotators can't be given to read.

    Raises:
        ValueError: it is too long, no UTF-8, or holds control characters.
    """
    if len(text) > MAX_INSTRUCTIONS:
        raise ValueError(
            f"{flag} has {len(text)} characters; people read at most {MAX_INSTRUCTIONS}"
        )
    if not is_plain(text):
        raise ValueError(f"{flag} holds control characters, or what is no UTF-8")
