"""What the store refuses."""

from prefloop.errors import UserError


class StoreError(UserError):
    """It is refused for a reason.

    Attributes:
        code: names the reason, where a page says it in another language; empty: it has no name.
    """

    def __init__(self, sentence: str, code: str = "") -> None:
        super().__init__(sentence)
        self.code = code


class NotFoundError(StoreError):
    """There is no such run, segment or lease."""


class ConflictError(StoreError):
    """It contradicts what is stored."""


class ForbiddenError(StoreError):
    """It is somebody else's to do."""


class InvalidError(StoreError):
    """It is nothing that can be stored."""


def no_run(name: str) -> NotFoundError:
    """There is none of this name."""
    return NotFoundError(f"There is no run {name}.")


def full() -> ConflictError:
    """A study has no room for somebody, or nothing to ask them."""
    return ConflictError("This study has all the participants that it needs. Thank you!", "full")


def no_link() -> ForbiddenError:
    """A link is nobody's, or nobody's any more."""
    return ForbiddenError(
        "This link does not hold, or no longer; ask whoever gave it to you.", "ended"
    )
