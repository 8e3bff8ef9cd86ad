"""A study's file as a command line gives it."""

from pathlib import Path
from typing import Any

from prefloop.sweeps.settings import StudySettings


def as_given(file: Path, **flags: Any) -> StudySettings:
    """With flags in place of what the file says."""
    return StudySettings(study=str(file), **flags)
