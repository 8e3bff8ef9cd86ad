"""What stands in the database. Labels are events that are only ever added, until somebody is forgotten.

    runs      a labelling job for one environment
    segments  what was done, as arrays, and the clip that shows it
    queries   which two segments are compared, and how many people are to say
    leases    who was shown a query, which segment on the left, and until when it is theirs
    events    answers, skips and undos, in the order in which they were stored
    agents    of an arena: who is compared; a run without any is an ordinary one
    contests  which two agents a query of an arena is about
    comparisons       policies side by side, as `prefloop show` sends them
    comparison_clips  the videos that one shows, by the hash of their content
    exclusions    whose labels of a run are neither learned from nor compared with others
    studies       whom strangers answer for, and how a participant goes through it
    study_runs    what runs a study shows, and what for
    participants  who takes part in one, by a link of their own, and how far they are

`current_labels` is the view of those answers and skips that no undo has taken back. `queries.done`
counts them once more, but for those of whoever is excluded, so that the next free query is found without
looking at every answer.
"""

from datetime import datetime, timezone
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)
from sqlalchemy.types import TypeDecorator

from prefloop.labelling.limits import MAX_ENV, MAX_NAME, MAX_REF, MAX_STUDY


class UtcDateTime(TypeDecorator[datetime]):
    """A time with its zone on both sides; SQLite keeps no zone, so it is stored in UTC."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        """The value as it is stored."""
        if value is None:
            return None
        value = value.astimezone(timezone.utc)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """The value as it is read."""
        if value is None or value.tzinfo is not None:
            return value
        return value.replace(tzinfo=timezone.utc)


metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _run() -> Column[Any]:
    return Column("run", Uuid, ForeignKey("runs.id", ondelete="CASCADE"), nullable=False)


runs = Table(
    "runs",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("name", String(MAX_NAME), nullable=False, unique=True),
    Column("env", String(MAX_ENV), nullable=False),
    Column("instructions", Text, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("env_changes", Text, nullable=False),  # JSON: what is not as its makers have it
    Column("spaces", Text, nullable=False),  # JSON: observations and actions
    Column("frames_per_second", Float),
    Column("annotators_per_query", Integer, nullable=False),
    Column("repeats", Float, nullable=False),
    # label-again begins a new round; labels of earlier ones stay, and no longer count
    Column("round", Integer, nullable=False),
    Column("reward_report", Text),  # JSON: what the trainer last said of its reward model
    Column("own_settings", Text),  # JSON: where it differs from labelling.yaml
    Column("archived_at", UtcDateTime),  # until somebody brings it back, nobody is asked about it
    # how often somebody's labels were deleted: whoever has read some of them begins anew
    Column("forgotten", Integer, nullable=False, server_default="0"),
)

segments = Table(
    "segments",
    metadata,
    Column("id", Uuid, primary_key=True),
    _run(),
    Column("digest", String(64), nullable=False),
    # An archive of NumPy arrays, in the database rather than beside it: a segment is a few
    # kilobytes, one commit stores it with its row, and a backup of the database is complete.
    Column("arrays", LargeBinary, nullable=False),
    Column("length", Integer, nullable=False),
    Column("clip", String(64)),
    Column("clip_was_sent", Boolean, nullable=False),
    Column("clip_error", Text),
    Column("created_at", UtcDateTime, nullable=False),
    UniqueConstraint("run", "digest"),
)

queries = Table(
    "queries",
    metadata,
    Column("id", Uuid, primary_key=True),
    _run(),
    Column("first", Uuid, ForeignKey("segments.id", ondelete="CASCADE"), nullable=False),
    Column("second", Uuid, ForeignKey("segments.id", ondelete="CASCADE"), nullable=False),
    Column("iteration", Integer, nullable=False),
    Column("position", BigInteger, nullable=False),
    Column("wanted", Integer, nullable=False),
    Column("done", Integer, nullable=False),
    # a repeat asks one annotator again, to see whether they agree with themselves
    Column("repeat_of", Uuid, ForeignKey("queries.id", ondelete="CASCADE")),
    Column("only_for", String(MAX_NAME)),
    Column("created_at", UtcDateTime, nullable=False),
    UniqueConstraint("run", "position"),
    UniqueConstraint("repeat_of", "only_for"),
    CheckConstraint("done >= 0 AND done <= wanted", name="done"),
)
_open = text("done < wanted")
Index("ix_queries_open", queries.c.run, queries.c.position, sqlite_where=_open, postgresql_where=_open)  # fmt: skip
# in which order a study's are given out
_wants = text("done < wanted AND repeat_of IS NULL")
Index("ix_queries_evenly", queries.c.run, queries.c.done, queries.c.id, sqlite_where=_wants, postgresql_where=_wants)  # fmt: skip
Index(None, queries.c.first)
Index(None, queries.c.second)

leases = Table(
    "leases",
    metadata,
    Column("id", Uuid, primary_key=True),
    _run(),
    Column("query", Uuid, ForeignKey("queries.id", ondelete="CASCADE"), nullable=False),
    Column("annotator", String(MAX_NAME), nullable=False),
    Column("session", Uuid, nullable=False),
    Column("round", Integer, nullable=False),
    Column("first_is_left", Boolean, nullable=False),
    # since when it is theirs: it was made then, or given anew
    Column("created_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False),
    # False once answered; a lease is live while it is open and has not run out
    Column("open", Boolean, nullable=False),
)
Index(None, leases.c.query)
Index(None, leases.c.session, leases.c.open)
Index(None, leases.c.annotator)
# those that are live are few among all that ever were
Index("ix_leases_open", leases.c.run, leases.c.expires_at, sqlite_where=text("open = 1"), postgresql_where=text("open"))  # fmt: skip

trainings = Table(
    "trainings",
    metadata,
    Column("run", Uuid, ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
    Column("trainer", Uuid, nullable=False),  # which one it is
    Column("state", Text, nullable=False),  # JSON: what it last said
    Column("wishes", Text, nullable=False),  # JSON: what people wish of it
    Column("video", String(64)),
    Column("traces", Text),  # JSON: what its reward says of each step of segments, by their ids
    Column("heard_at", UtcDateTime, nullable=False),
)

ANSWER, SKIP, UNDO = "answer", "skip", "undo"
events = Table(
    "events",
    metadata,
    # made by whoever answers, so that an answer that is sent again is known
    Column("id", Uuid, primary_key=True),
    _run(),
    Column("number", BigInteger, nullable=False),
    Column("query", Uuid, ForeignKey("queries.id", ondelete="CASCADE"), nullable=False),
    Column("lease", Uuid, ForeignKey("leases.id", ondelete="CASCADE")),
    Column("annotator", String(MAX_NAME), nullable=False),
    Column("round", Integer, nullable=False),
    Column("kind", String(8), nullable=False),
    Column("label", Float),
    Column("first_was_left", Boolean),
    # steps, half-open; None: the whole segments were compared
    Column("trim_start", Integer),
    Column("trim_stop", Integer),
    Column("seconds", Float),
    Column("created_at", UtcDateTime, nullable=False),
    Column("undoes", Uuid, ForeignKey("events.id", ondelete="CASCADE"), unique=True),
    UniqueConstraint("run", "number"),
    CheckConstraint("kind IN ('answer', 'skip', 'undo')", name="kind"),
    CheckConstraint("(kind = 'answer') = (label IS NOT NULL)", name="label"),
    CheckConstraint("(kind = 'undo') = (undoes IS NOT NULL)", name="undoes"),
)
Index(None, events.c.query, events.c.annotator)
Index(None, events.c.run, events.c.annotator, events.c.number)

agents = Table(
    "agents",
    metadata,
    Column("id", Uuid, primary_key=True),
    _run(),
    Column("name", String(MAX_NAME), nullable=False),
    # of what acts under this name: another policy under a known one would mix the votes of two
    Column("digest", String(64), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    UniqueConstraint("run", "name"),
)

# Beside the query and not beside its segments: two agents that do the same share a segment.
contests = Table(
    "contests",
    metadata,
    Column("query", Uuid, ForeignKey("queries.id", ondelete="CASCADE"), primary_key=True),
    Column("first", Uuid, ForeignKey("agents.id", ondelete="CASCADE"), nullable=False),
    Column("second", Uuid, ForeignKey("agents.id", ondelete="CASCADE"), nullable=False),
    CheckConstraint("first <> second", name="agents"),
)
Index(None, contests.c.first)
Index(None, contests.c.second)

comparisons = Table(
    "comparisons",
    metadata,
    # made by whoever sends it
    Column("id", Uuid, primary_key=True),
    Column("env", Text, nullable=False),
    Column("runs", Text, nullable=False),  # JSON: their names
    Column("by", String(MAX_NAME)),
    Column("about", Text, nullable=False),  # JSON: all that is shown
    Column("complete", Boolean, nullable=False),  # whether all of its clips have come
    Column("created_at", UtcDateTime, nullable=False),
)

comparison_clips = Table(
    "comparison_clips",
    metadata,
    Column("comparison", Uuid, ForeignKey("comparisons.id", ondelete="CASCADE"), primary_key=True),
    Column("clip", String(64), primary_key=True),
)

studies = Table(
    "studies",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("name", String(MAX_STUDY), nullable=False, unique=True),
    Column("about", Text, nullable=False),  # JSON: how it goes
    # the hash of the token that makes a participant of whoever opens its link
    Column("open_link", String(64), unique=True),
    Column("created_at", UtcDateTime, nullable=False),
    Column("closed_at", UtcDateTime),
)

exclusions = Table(
    "exclusions",
    metadata,
    Column("run", Uuid, ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
    Column("annotator", String(MAX_NAME), primary_key=True),
    Column("created_at", UtcDateTime, nullable=False),
)

# what a run is there for
PAIRS, PRACTICE, EXAMPLES, CHECKS = "pairs", "practice", "examples", "checks"
study_runs = Table(
    "study_runs",
    metadata,
    Column("study", Uuid, ForeignKey("studies.id", ondelete="CASCADE"), primary_key=True),
    Column("run", Uuid, ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True),
    Column("purpose", String(8), primary_key=True),
    Column("position", Integer, nullable=False),
)
Index(None, study_runs.c.run)

participants = Table(
    "participants",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("study", Uuid, ForeignKey("studies.id", ondelete="CASCADE"), nullable=False),
    Column("number", Integer, nullable=False),  # within the study, from 0
    Column("ref", String(MAX_REF), nullable=False),  # within the study; a recruiting site's id
    Column("annotator", String(MAX_NAME), nullable=False, unique=True),
    Column("token", String(64), nullable=False, unique=True),  # its hash
    Column("device", Uuid),  # on which the link works now
    Column("progress", Text, nullable=False),  # JSON: what of the way is behind them
    Column("consented_at", UtcDateTime),
    Column("consent", String(64)),  # the digest of the text that was accepted
    Column("code", String(64)),  # what they are given at the end
    Column("started_at", UtcDateTime),
    Column("ended_at", UtcDateTime),
    Column("outcome", String(8)),
    Column("revoked_at", UtcDateTime),
    Column("created_at", UtcDateTime, nullable=False),
    UniqueConstraint("study", "ref"),
    UniqueConstraint("study", "number"),
)

# the view is made by the migrations
# a view reads like a table; it has metadata of its own, so that nobody creates it as one
current_labels = Table(
    "current_labels", MetaData(), *(Column(c.name, c.type, key=c.key) for c in events.columns)
)
