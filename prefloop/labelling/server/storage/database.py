"""The database under the store: connections, transactions, and the schema it must have.

Whoever wants to write hands in a job. One job at a time runs; those that arrive meanwhile wait and
then share one transaction, so that many people cost one write to disk and not one each. A job's
result is handed out only after the commit, which returns when the data are on disk. Processes take
turns too: SQLite has one writer, and on PostgreSQL a transaction that writes begins with a lock. So a
job never meets another's half, and needs no locks of its own.
"""

import contextlib
import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

import sqlalchemy
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError, SQLAlchemyError

from prefloop.errors import UserError
from prefloop.files import make_private
from prefloop.labelling.server.storage.tables import metadata

T = TypeVar("T")
AnyRow = Any  # of a result; which columns it has depends on the query
Clock = Callable[[], datetime]
State = Literal["newest", "empty", "as it is"]
logger = logging.getLogger(__name__)

BUSY_SECONDS = 30.0  # how long another process that writes is waited for
MAX_BATCH = 64  # jobs in one transaction
MAX_VALUES = 500  # in one statement; databases have limits
ATTEMPTS = 5  # at a transaction
_WRITER_LOCK = 5_017_230_948_117  # any number; whoever writes to PostgreSQL holds this lock

# As many connections are kept as there are threads: with fewer, 200 people at once had one opened for every twelfth
# transaction, which costs PostgreSQL a process. The latest is taken first, so that few are in use by turns.
_POOL: dict[str, Any] = {"pool_size": 40, "max_overflow": 10, "pool_use_lifo": True}

_SQLITE = b"SQLite format 3"  # how a file of labels begins

_TAKE_TURNS = sqlalchemy.select(sqlalchemy.func.pg_advisory_xact_lock(_WRITER_LOCK))


def chunks(values: Sequence[T]) -> list[Sequence[T]]:
    """Values in portions that one statement takes."""
    return [values[i : i + MAX_VALUES] for i in range(0, len(values), MAX_VALUES)]


def sqlite_url(path: Path) -> str:
    """The address of an SQLite file, whatever its name."""
    return URL.create("sqlite", database=str(path.absolute())).render_as_string()


class StoreUnavailableError(UserError):
    """The database could not be reached or written; nothing was stored."""


class _Ticket(Generic[T]):
    """A job that waits for its turn, and what came of it."""

    def __init__(self, job: Callable[[Connection], T]) -> None:
        self.job = job
        self.finished = False
        self.result: T
        self.error: Exception | None = None


def shown_address(url: str) -> str:
    """An address without its password.

    Raises:
        UserError: it is none.
    """
    return _parsed(url).render_as_string()


class Database:
    """SQLite or PostgreSQL, with the newest schema.

    Attributes:
        schema: the schema's number.

    Args:
        state: what is wanted there: `newest` makes it if it is not there, and brings it up to date; `empty`
            does so as well, and refuses one that holds something; `as it is` changes nothing.

    Raises:
        UserError: the address is none, nothing answers there, the file can't be written, its
            schema is newer than this prefloop knows, or it is not in the state that is wanted.
    """

    def __init__(self, url: str, state: State = "newest") -> None:
        self._url, self._state = _parsed(url), state
        if self._url.drivername == "sqlite":
            if state == "as it is" and not Path(str(self._url.database)).is_file():
                raise UserError(f"There is no database {self._url.database}.")
            _make_private(str(self._url.database))
        self._engine = _engine(self._url)
        # whoever got the writers' lock must see what the one before wrote
        in_turn = {} if self.is_sqlite else {"isolation_level": "READ COMMITTED"}
        self._writing = self._engine.execution_options(writing=True, **in_turn)
        self._writer = threading.Lock()
        self._waiting: deque[_Ticket[Any]] = deque()
        try:
            self.schema = self._upgrade()
        except UserError:
            self._engine.dispose()
            raise
        except SQLAlchemyError as error:
            self._engine.dispose()
            raise UserError(f"Can't open the database {self}: {_reason(error)}.") from None

    def __str__(self) -> str:
        """Its address, without a password."""
        return self._url.database or "" if self.is_sqlite else self._url.render_as_string()

    @property
    def is_sqlite(self) -> bool:
        """Whether it is a file of this machine."""
        return self._engine.dialect.name == "sqlite"

    def close(self) -> None:
        """Lets go of all connections."""
        self._engine.dispose()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection that changes nothing; each statement sees at least what was written before the first.

        SQLite shows one state of the database to all of them.

        Raises:
            StoreUnavailableError: the database does not answer.
        """
        with self._reading_from(self._engine) as connection:
            yield connection

    @contextmanager
    def _reading_from(self, engine: Engine) -> Iterator[Connection]:
        try:
            with engine.connect() as connection:
                yield connection
        except DBAPIError as error:
            _log("read", error)
            raise StoreUnavailableError(f"The database can't be read: {_reason(error)}.") from None

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """As `reading`; one that takes long sees nothing of what is written meanwhile, either."""
        engine: Engine = self._engine
        if not self.is_sqlite:  # where each statement else sees what was written before it
            engine = engine.execution_options(isolation_level="REPEATABLE READ")
        with self._reading_from(engine) as connection:
            yield connection

    def write(self, job: Callable[[Connection], T]) -> T:
        """Runs a job in a transaction and returns its result once that is on disk.

        Args:
            job: may run more than once, each time after what it did was taken back.

        Raises:
            UserError: the job raised it; it wrote nothing.
            StoreUnavailableError: the database does not answer or the disk is full; nothing was stored.
        """
        ticket = _Ticket(job)
        self._waiting.append(ticket)
        with self._writer:
            # whoever had the lock before may have done this job too
            while not ticket.finished:
                batch = [self._waiting.popleft() for _ in range(min(MAX_BATCH, len(self._waiting)))]
                self._run(batch)
        if ticket.error is not None:
            raise ticket.error
        return ticket.result

    def wipe(self, tables: Sequence[str]) -> bool:
        """Has nothing stay where deleted rows of these tables stood. Writers wait meanwhile: seconds a gigabyte.

        Returns:
            Whether it is so; not where the disk is full, or others hold on to what was there.
        """
        if self.is_sqlite:
            # what has yet to be moved into the file holds earlier pages, too
            statements = ["VACUUM", "PRAGMA wal_checkpoint(TRUNCATE)"]
            engine: Engine = self._engine.execution_options(alone=True)
        else:
            # analysed anew, since statistics name who labels most
            statements = [f"VACUUM (FULL, ANALYZE) {name}" for name in tables]
            engine = self._engine
        try:
            with self._writer, engine.connect() as connection:
                for statement in statements:
                    reply = connection.exec_driver_sql(statement)
                is_busy = self.is_sqlite and reply.one()[0]
        except DBAPIError as error:
            _log("wipe what was deleted", error)
            return False
        return not is_busy

    def _run(self, batch: list[_Ticket[Any]]) -> None:
        if len(batch) > 1:
            try:
                self._run_together(batch)
                return
            except Exception:
                # one of them failed and took the others with it: now each for itself
                logger.debug("a batch of %d is done one by one", len(batch), exc_info=True)
        for ticket in batch:
            try:
                self._run_together([ticket])
            except DBAPIError as error:
                _log("write", error)
                ticket.error = StoreUnavailableError(
                    f"The database can't be written: {_reason(error)}; nothing was stored."
                )
            except Exception as error:
                ticket.error = error
            ticket.finished = True

    def _run_together(self, batch: list[_Ticket[Any]]) -> None:
        for attempt in range(ATTEMPTS):
            try:
                with self._transaction() as connection:
                    results = [ticket.job(connection) for ticket in batch]
                break
            except DBAPIError as error:
                if attempt + 1 == ATTEMPTS or not _worth_another_try(error):
                    raise
        for ticket, result in zip(batch, results, strict=True):
            ticket.result, ticket.finished = result, True

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        with self._writing.begin() as connection:
            if not self.is_sqlite:
                connection.execute(_TAKE_TURNS)
            yield connection

    def _upgrade(self) -> int:
        config = Config()
        config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
        scripts = ScriptDirectory.from_config(config)
        head = scripts.get_current_head()
        looking = self.reading if self._state == "as it is" else self._transaction
        with looking() as connection:
            found = MigrationContext.configure(connection).get_current_revision()
            if found not in {None, *(script.revision for script in scripts.walk_revisions())}:
                raise UserError(
                    f"The database {self} has schema {found}, and this prefloop knows up to {head}; "
                    "install a newer one."
                )
            if self._state == "as it is" and found != head:
                has = f"has schema {found} of {head}; start `prefloop label` on it once"
                raise UserError(f"The database {self} {has if found else 'holds no labels'}.")
            if self._state == "empty":
                self.require_empty(connection)
            if found != head:
                config.attributes["connection"] = connection
                command.upgrade(config, "head")
        return int(head or 0)

    def require_empty(self, connection: Connection) -> None:
        """Refuses a database that holds something.

        Raises:
            UserError: it does.
        """
        for table in set(metadata.tables) & set(sqlalchemy.inspect(connection).get_table_names()):
            some = sqlalchemy.select(sqlalchemy.text("1")).select_from(metadata.tables[table])
            if connection.execute(some.limit(1)).first() is not None:
                raise UserError(f"The database {self} holds labels already; give an empty one.")


def _parsed(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise UserError(
            "The database's address must look like postgresql://user@host/name or "
            "sqlite:///folder/file."
        ) from None
    if parsed.drivername in ("postgres", "postgresql"):
        parsed = parsed.set(drivername="postgresql+psycopg")
    if parsed.drivername not in ("sqlite", "postgresql+psycopg"):
        raise UserError(
            f"Labels are stored in SQLite or PostgreSQL, not in {parsed.drivername[:40]}."
        )
    if parsed.drivername == "sqlite" and parsed.database in (None, "", ":memory:"):
        raise UserError("A database in memory would lose labels; give sqlite:///folder/file.")
    return parsed


def _make_private(path: str) -> None:
    """Nobody but its owner reads an SQLite file, from before the first label on.

    What SQLite keeps beside it gets the file's mode when it is made.
    """
    with contextlib.suppress(OSError):
        with Path(path).open("rb") as file:
            begins = file.read(len(_SQLITE))
        if begins not in (b"", _SQLITE):
            return  # somebody's file, which is no database
    beside = [Path(path + end) for end in ("-wal", "-shm", "-journal")]
    for one in [Path(path), *filter(Path.exists, beside)]:
        make_private(one)


def _engine(url: URL) -> Engine:
    if url.drivername != "sqlite":
        # An answer is acknowledged when it is on disk, whatever the database's own default is. Who
        # waits for the writers' lock is told in the end, and who holds it and is gone lets go.
        settings = {
            "synchronous_commit": "on",
            "lock_timeout": f"{1000 * BUSY_SECONDS:.0f}ms",
            "idle_in_transaction_session_timeout": "60s",
            # A plan that was made when a table was short would read all of it for as long as it is kept. What must be
            # read as a whole counts as endless then, which is no reason to compile it.
            "enable_seqscan": "off",
            "jit": "off",
        }
        given = " ".join(f"-c {key}={value}" for key, value in settings.items())
        options = {"options": given, "connect_timeout": 10}
        if "options" in url.query:
            options.pop("options")
        return sqlalchemy.create_engine(
            url,
            **_POOL,
            connect_args=options,
            hide_parameters=True,  # errors go to the log, which is to name nobody
            # Readers begin no transaction: the rollback at its end would have psycopg drop what is prepared on that
            # connection, so that PostgreSQL planned each statement anew, which takes it longer than to run them.
            isolation_level="AUTOCOMMIT",
        )
    engine = sqlalchemy.create_engine(
        url, **_POOL, connect_args={"timeout": BUSY_SECONDS}, hide_parameters=True
    )

    @event.listens_for(engine, "connect")
    def configure(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # `begin` below begins, not the driver
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        options = connection.get_execution_options()
        if options.get("alone", False):
            return  # what is done outside of any transaction
        # a reader that turns writer half-way may find that somebody else wrote in between
        writing = options.get("writing", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")

    return engine


def _worth_another_try(error: DBAPIError) -> bool:
    """A connection that a restart of PostgreSQL cut, or a deadlock with somebody else's statements."""
    return error.connection_invalidated or getattr(error.orig, "sqlstate", "") == "40P01"


def _log(what: str, error: DBAPIError) -> None:
    """Says what it refused; where that is no mistake of ours, such as a full disk, without a traceback."""
    is_ours = not isinstance(error, OperationalError)
    logger.error("the database refused to %s: %s", what, _reason(error), exc_info=is_ours)


def _reason(error: Exception) -> str:
    """The first line of what the database says, which is enough for a sentence."""
    text = str(getattr(error, "orig", None) or error).strip().partition("\n")[0]
    return text.rstrip(".")[:200]
