"""Who may do what, and the tokens by which they show who they are.

Annotators and trainers each share a token; a trainer may do all that an annotator may. A participant of a
study has a link of their own, which may do what stands in `LINKS_MAY` and nothing else.
"""

import hmac
import json
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from prefloop.errors import UserError
from prefloop.files import make_private, read_json, write_atomically
from prefloop.labelling.links import digest

# a newcomer has the link that makes participants
Role = Literal["annotator", "trainer", "participant", "newcomer"]
# the only operations that a link may call, by name: a route that is new is closed to participants until it stands here
LINKS_MAY: dict[Role, frozenset[str]] = {
    "newcomer": frozenset({"get_health", "get_study", "join_study"}),
    "participant": frozenset(
        {
            "get_health", "get_study", "get_stored", "enter_study", "take_step", "practise", "check_comprehension",
            "get_study_settings", "lease_study_pairs", "release_study_pairs", "answer", "undo_in_study",
            "finish_study", "leave_study", "get_clip", "get_segment",
        }
    ),
}  # fmt: skip
# those of them that also a device may call on which the link works no longer: an answer is never lost
ON_ANY_DEVICE = frozenset({"get_health", "get_study", "get_stored", "enter_study", "answer"})


@dataclass(frozen=True)
class Tokens:
    """The hashes of the two tokens. They are long and random, so a plain hash gives nothing away."""

    annotator: str
    trainer: str

    def role(self, token: str) -> Role | None:
        """Whose token it is; None for nobody's."""
        given = digest(token)
        # both are compared in any case, so that time tells nothing
        is_trainer = hmac.compare_digest(given, self.trainer)
        is_annotator = hmac.compare_digest(given, self.annotator)
        return "trainer" if is_trainer else "annotator" if is_annotator else None


@dataclass(frozen=True)
class NewTokens:
    """Tokens as they are given out, once."""

    annotator: str
    trainer: str

    @property
    def hashed(self) -> Tokens:
        """What may be stored of them."""
        return Tokens(digest(self.annotator), digest(self.trainer))


def make_tokens() -> NewTokens:
    """Two new tokens of 256 random bits."""
    return NewTokens(secrets.token_urlsafe(32), secrets.token_urlsafe(32))


def read_tokens(path: Path) -> Tokens | None:
    """The hashes that `write_tokens` stored; None if there are none yet.

    Raises:
        UserError: the file is damaged.
    """
    if not path.exists():
        return None
    make_private(path)  # earlier versions let everybody on the machine read it
    content = read_json(path)
    try:
        tokens = Tokens(str(content["annotator"]), str(content["trainer"]))
    except KeyError:
        raise UserError(f"{path} is damaged: it holds no tokens; remove it for new ones.") from None
    if not all(len(value) == 64 and value.isascii() for value in asdict(tokens).values()):
        raise UserError(f"{path} is damaged: it holds no tokens; remove it for new ones.")
    return tokens


def write_tokens(path: Path, tokens: Tokens) -> None:
    """Stores the hashes."""
    write_atomically(
        path, (json.dumps(asdict(tokens), indent=2) + "\n").encode(), durable=True, private=True
    )
