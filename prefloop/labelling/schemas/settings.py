"""labelling.yaml as the page shows and changes it."""

from pydantic import Field

from prefloop.labelling.schemas.base import In, Out


class SettingsOut(Out):
    """labelling.yaml, and what each key means."""

    values: dict[str, bool | int | float | None]
    keys: list["KeyOut"]
    may_change: bool


class KeyOut(Out):
    """A key of labelling.yaml."""

    key: str
    default: bool | int | float | None
    help: str
    low: float | None
    high: float | None


class SettingsIn(In):
    """Keys to change; those that are not given stay."""

    allow_ties: bool | None = None
    allow_skip: bool | None = None
    allow_trim: bool | None = None
    frames_per_second: float | None = None
    playback_speed: float | None = None
    rendered_queue_size: int | None = None
    pairs_ahead: int | None = None
    cache_size_mb: int | None = None
    sent_clips_mb: int | None = None
    annotators_per_query: int | None = None
    repeats: float | None = None
    max_queries_per_annotator: int | None = None
    lease_seconds: float | None = None


class RunSettingsOut(Out):
    """What of labelling.yaml may be other for a run."""

    values: dict[str, bool | int | float | None] = Field(
        description="What holds for the run, of all keys."
    )
    own: dict[str, int | float] = Field(description="What was set for it.")
    everywhere: dict[str, int | float | None] = Field(
        description="What labelling.yaml says of the keys that may be other."
    )
    keys: list[KeyOut]
    may_change: bool
    locked: bool = Field(description="Whether nobody may, on the page.")


class RunSettingsIn(In):
    """Keys to set for a run; null: as labelling.yaml says. Those that are not given stay."""

    frames_per_second: float | None = None
    playback_speed: float | None = None
    rendered_queue_size: int | None = None
    pairs_ahead: int | None = None
