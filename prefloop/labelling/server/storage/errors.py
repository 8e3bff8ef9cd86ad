"""What the store refuses."""

from prefloop.errors import UserError


class NotFoundError(UserError):
    """There is no such run, segment or lease."""


class ConflictError(UserError):
    """It contradicts what is stored."""


class ForbiddenError(UserError):
    """It is somebody else's to do."""


def no_run(name: str) -> NotFoundError:
    """There is none of this name."""
    return NotFoundError(f"There is no run {name}.")
