"""Links for participants: the tokens that they hold, and the hashes that are kept of these."""

import hashlib
import secrets

# what such a token begins with: one that no longer holds must not pass for a stranger's
PREFIX = "link_"
TOKEN = rf"^{PREFIX}[A-Za-z0-9_-]{{43}}$"


def new_token() -> str:
    """One with 256 random bits."""
    return PREFIX + secrets.token_urlsafe(32)


def digest(token: str) -> str:
    """Hash of a token, which may be kept. Tokens are long and random, so a plain hash gives nothing away."""
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()


def address(url: str, token: str) -> str:
    """A link. The token stands where browsers send it to no server."""
    return f"{url.rstrip('/')}/#token={token}"
