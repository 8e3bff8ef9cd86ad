"""`prefloop convert`: preferences to Parquet and back."""

from dataclasses import MISSING, dataclass

from prefloop.settings import setting
from prefloop.words import counted

DESCRIPTION = """Writes a preference dataset as one Parquet file with a row for each query, which
pandas, Polars and DuckDB read; or turns such a file into a preference dataset again."""
EPILOG = """Example: prefloop convert prefs prefs.parquet, and back: prefloop convert prefs.parquet
prefs-again. Needs pyarrow: pip install 'prefloop[data]'. The columns: docs/data_format.md."""
IMPORTS = ("numpy",)
SUFFIX = ".parquet"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What becomes what.

    Raises:
        ValueError: not exactly one of the two is a Parquet file by its name.
    """

    # fmt: off
    source: str = setting(MISSING, "folder of a preference dataset, or a file that ends in .parquet", positional=True)
    destination: str = setting(MISSING, "the other of the two; must not exist yet", positional=True)
    # fmt: on

    def __post_init__(self) -> None:
        if self.source.endswith(SUFFIX) == self.destination.endswith(SUFFIX):
            raise ValueError(
                f"one of SOURCE and DESTINATION must be a file that ends in {SUFFIX}, and the other "
                f"the folder of a preference dataset, not {self.source} and {self.destination}"
            )

    @property
    def when_interrupted(self) -> str:
        """What to say after Ctrl-C."""
        return "Stopped; nothing was written."


def main(settings: Settings) -> None:
    """Converts; the destination appears when it is whole."""
    import tempfile
    from pathlib import Path

    from prefloop.data import dataset
    from prefloop.data.parquet import read_parquet, require_vectors, write_parquet
    from prefloop.errors import UserError

    source, destination = Path(settings.source), Path(settings.destination)
    if destination.exists():
        raise UserError(f"{destination} exists already; choose another destination.")
    try:
        if settings.source.endswith(SUFFIX):
            preferences, metadata = read_parquet(source)
            destination.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=destination.parent, prefix=".") as scratch:
                whole = Path(scratch) / "dataset"
                with dataset.writing(whole, metadata) as writer:
                    writer.append(preferences)
                whole.rename(destination)
            hint = f"prefloop reward --preferences {destination} --out reward"
        else:
            preferences, metadata = dataset.read(source), dataset.read_metadata(source)
            require_vectors(preferences.segments)  # before there is a folder for it
            destination.parent.mkdir(parents=True, exist_ok=True)
            write_parquet(destination, preferences, metadata)
            hint = f"prefloop convert {destination} FOLDER makes a preference dataset of it again"
    except OSError as error:
        raise UserError(f"Can't write {destination}: {error.strerror or error}.") from None
    answered = preferences.answered
    print(
        f"Wrote {destination}: {counted(len(preferences), 'query', 'queries')}, {len(answered)} answered "
        f"({counted(answered.num_ties, 'tie')}), {len(preferences) - len(answered)} skipped."
    )
    print(f"Next: {hint}")
