"""`prefloop compare merge`: what two machines ran, in one folder."""

from dataclasses import MISSING, dataclass
from pathlib import Path

from prefloop.settings import setting

DESCRIPTION = """Brings the runs of several folders of prefloop compare together in a new one, and writes
results, tables and page about all of them. Folders in which anything is set otherwise, or that hold
another result of the same run, are refused; nothing is changed in them."""
EPILOG = """Example: prefloop compare merge laptop/study cluster/study --out study."""
IMPORTS = ("numpy", "scipy.stats", "matplotlib.figure")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What is merged.

    Raises:
        ValueError: there is nothing to merge.
    """

    # fmt: off
    folders: tuple[str, ...] = setting(MISSING, "folders that prefloop compare wrote", positional=True)
    out: str = setting(MISSING, "folder that everything is written to; made if missing")
    # fmt: on

    def __post_init__(self) -> None:
        if len(self.folders) < 2:
            raise ValueError("merge takes two folders or more")

    @property
    def when_interrupted(self) -> str:
        """What to say after Ctrl-C."""
        return f"Stopped; the folders are as they were, and {self.out} was not made."


def main(settings: Settings) -> None:
    """Merges them."""
    from prefloop.sweeps.merging import merge

    merge([Path(folder) for folder in settings.folders], Path(settings.out))
