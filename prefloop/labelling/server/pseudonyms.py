"""Names that stand in an export in place of people's: always the same, and nobody's who has not got the secret."""

import hashlib
import hmac
import re
import secrets
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from prefloop.errors import UserError
from prefloop.files import make_private, write_atomically
from prefloop.labelling.server.storage.records import Exported

_SECRET = re.compile(r"[0-9a-f]{64}")
# of a pseudonym: two of a million people have the same with a chance of 1 in 40 million
_DIGITS = 16


def secret_of(path: Path) -> bytes:
    """The secret that a file holds, which is made for its owner alone where there is none.

    Raises:
        UserError: the file is damaged, or can't be written.
    """
    try:
        if not path.exists():
            made = f"{secrets.token_hex(32)}\n".encode()
            write_atomically(path, made, durable=True, private=True)
        make_private(path)
        text = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise UserError(f"Can't read {path}: {reason}.") from None
    if not _SECRET.fullmatch(text):
        raise UserError(f"{path} is damaged: it holds no secret; remove it for other pseudonyms.")
    return bytes.fromhex(text)


def pseudonyms(secret: bytes) -> Callable[[str], str]:
    """A function from a name to what stands in its place.

    It is an HMAC, so whoever has an export and guesses a name can't see whether it is right.
    """

    def of(name: str) -> str:
        return f"p-{hmac.new(secret, name.encode(), hashlib.sha256).hexdigest()[:_DIGITS]}"

    return of


def without_names(exported: Exported, pseudonym: Callable[[str], str]) -> Exported:
    """A copy of an export in which nobody is named."""
    labels = [replace(event, annotator=pseudonym(event.annotator)) for event in exported.labels]
    return replace(exported, labels=labels, pseudonyms=True)
