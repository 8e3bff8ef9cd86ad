"""How long names may be, and traces, how many agents are compared, what texts hold, and how names are kept: what a request may, and a column of the database."""

import unicodedata

MAX_NAME = 64  # characters of the name of a run or of an annotator
MAX_ENV = 200  # characters of an environment's id
MAX_AGENTS = 20  # that an arena compares: each two of them want votes
MAX_COMPARED = 6  # runs side by side: no more fit a screen
MAX_FILMED = 10_000  # steps of an episode that is compared; a clip has at most as many frames
# bytes of JSON: twice what six runs with six policies and three episodes of 1000 steps have
MAX_COMPARISON = 8 * 2**20
MAX_TRACE = 250  # steps of a segment whose reward is told step by step
MAX_INPUTS = 20  # of a reward, that the results page names: the rest changes it less
MAX_STRETCHES = 8  # of a run's sessions, of which it is told how well they are predicted
MAX_NAMED = 50  # annotators of whom that is told
MAX_INPUT_NAME = 200  # characters of what an input is called
MAX_INSTRUCTIONS = 10_000  # characters that annotators are to read
MAX_AHEAD = 8  # queries that a page holds, with the one that is shown
# characters of a study's name, and of what names a participant within it: both together name an annotator
MAX_STUDY = 24
MAX_REF = MAX_NAME - MAX_STUDY - 1
MAX_TEXT = 20_000  # characters of each text of a study
RUN_NAME = rf"^[A-Za-z0-9][A-Za-z0-9._-]{{0,{MAX_NAME - 1}}}$"
STUDY_NAME = rf"^[A-Za-z0-9][A-Za-z0-9._-]{{0,{MAX_STUDY - 1}}}$"
REF = rf"^[A-Za-z0-9][A-Za-z0-9._-]{{0,{MAX_REF - 1}}}$"


def is_plain(text: str) -> bool:
    """Whether it is without what no keyboard types and some databases refuse."""
    return all(unicodedata.category(one) not in ("Cc", "Cs") or one in "\n\t" for one in text)


# what looks like nothing, or turns the text around it, and is none of the category Cf
_UNSEEN = frozenset((
    *range(0x180B, 0x1810), *range(0xFE00, 0xFE10), *range(0xFFF0, 0xFFF9),
    *range(0xE0000, 0xE1000), 0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2065, 0x2800, 0x3164, 0xFFA0,
))  # fmt: skip


def as_shown(name: str) -> str:
    """A name without what can't be seen or turns it around, so that names that differ look different.

    Composed (NFC), and each blank is a single space. Letters that look like others (Cyrillic a) stay.
    """
    seen = (c for c in name if unicodedata.category(c) != "Cf" and ord(c) not in _UNSEEN)
    return " ".join(unicodedata.normalize("NFC", "".join(seen)).split())


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
