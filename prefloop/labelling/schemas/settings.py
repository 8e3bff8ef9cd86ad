"""labelling.yaml as the page shows and changes it."""

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
    cache_size_mb: int | None = None
    sent_clips_mb: int | None = None
    annotators_per_query: int | None = None
    repeats: float | None = None
    max_queries_per_annotator: int | None = None
    lease_seconds: float | None = None
