"""Studies as files, and as a command line gives them."""

from pathlib import Path
from typing import Any

from prefloop.sweeps.settings import StudySettings

# a small search
SEARCH = """
out: {root}/c
env: CartPole-v1
methods: [pref-ppo]
labels: 20
seeds: 0-1
steps: 20000
search:
  trials: 6
  ranges:
    learning_rate: {{low: 1e-4, high: 1e-2, log: true}}
    ensemble: [2, 3]
"""


def as_given(file: Path, **flags: Any) -> StudySettings:
    """With flags in place of what the file says."""
    return StudySettings(study=str(file), **flags)
