"""Segments as they are stored: looked at, and packed."""

from collections.abc import Sequence
from dataclasses import dataclass

from prefloop.envs.spaces import Spaces
from prefloop.labelling.arrays import Segment, from_archive, pack
from prefloop.labelling.server.storage.errors import ConflictError


@dataclass(frozen=True)
class Packed:
    """One segment, ready to be stored.

    Attributes:
        digest: what makes it the same as another.
        arrays: as `prefloop.labelling.arrays.pack` writes them.
        length: in steps.
    """

    digest: str
    arrays: bytes
    length: int


def packed_archive(data: bytes, spaces: Spaces) -> list[Packed]:
    """Reads the archive that a trainer, or a stranger, sent for a run with these spaces.

    Raises:
        ConflictError: segments are of other spaces.
        UserError: it is none (`prefloop.labelling.arrays.from_archive`).
    """
    return packed(from_archive(data), spaces)


def packed(segments: Sequence[Segment], spaces: Spaces) -> list[Packed]:
    """Segments of a run with these spaces.

    Raises:
        ConflictError: they are of other spaces.
    """
    for segment in segments:
        _require_fitting(segment, spaces)
    return [Packed(segment.digest, pack(segment), segment.length) for segment in segments]


def _require_fitting(segment: Segment, spaces: Spaces) -> None:
    """Refuses a segment of other observations or actions than the run's."""
    if segment.obs.shape[1:] != spaces.obs_shape:
        raise ConflictError(
            f"The run has observations of {list(spaces.obs_shape)}, not {list(segment.obs.shape[1:])}."
        )
    if segment.obs.dtype != spaces.obs_dtype or segment.frame_stack != spaces.frame_stack:
        raise ConflictError(
            f"The run has observations in {spaces.obs_dtype} in stacks of {spaces.frame_stack}, not "
            f"{segment.obs.dtype} in stacks of {segment.frame_stack}."
        )
    if segment.discrete != spaces.discrete:
        kind = "numbers of actions" if spaces.discrete else "vectors"
        raise ConflictError(f"The run's actions are {kind}.")
    if spaces.allows(segment.obs, segment.actions):
        return
    if spaces.discrete:
        raise ConflictError(f"The run's actions are 0 to {spaces.num_actions - 1}.")
    raise ConflictError(
        f"The run's actions have {spaces.action_dim} numbers, not {segment.actions.shape[1]}."
    )
