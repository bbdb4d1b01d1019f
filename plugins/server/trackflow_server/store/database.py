"""Opening the store's database, bringing its tables up to date, and its transactions."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from threading import Lock
from time import monotonic, sleep
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, OperationalError

from trackflow_core.attribution import BUILTIN_RULES, Rule
from trackflow_core.errors import ConfigError, RetriableError
from trackflow_server.store.clicks import ClickStore
from trackflow_server.store.connectors import ConnectorStore
from trackflow_server.store.deals import DealStore
from trackflow_server.store.leads import LeadStore
from trackflow_server.store.prepared import execute
from trackflow_server.store.visitors import VisitorStore

# Names the lock that every writing transaction on PostgreSQL holds.
_WRITERS = 7_280_365_621
_BUSY_SECONDS = 30
_RULES = {rule.name: rule for rule in BUILTIN_RULES}


class SqlStore(ClickStore, VisitorStore, LeadStore, DealStore, ConnectorStore):
    """`trackflow_core.ports.Store` in a database of SQLAlchemy's."""


class Database:
    """An SQLite file or a PostgreSQL database, with one pool of connections.

    Transactions that write take turns, on SQLite by its nature and on PostgreSQL by a lock, so
    that each sees all that the ones before it wrote. Appending clicks waits for nobody.
    """

    def __init__(self, url: str, rules: Mapping[str, Rule] | None = None) -> None:
        self.url = parse(url)
        self._rules = _RULES if rules is None else rules
        self.engine = _engine(self.url)
        self._reading = self.engine.execution_options(trackflow_reads=True)
        # SQLite lets those who wait sleep and try again: within a process there is a fairer way.
        self._turn: AbstractContextManager[object] = Lock() if self.is_sqlite else nullcontext()

    @property
    def shown(self) -> str:
        """The address for people, without a password."""
        return self.url.render_as_string(hide_password=True)

    @property
    def is_sqlite(self) -> bool:
        return self.url.get_backend_name() == "sqlite"

    @contextmanager
    def connect(self, engine: Engine | None = None) -> Iterator[Connection]:
        """A connection in no transaction; raises RetriableError where nobody answers."""
        try:
            connection = (engine or self.engine).connect()
        except OperationalError as error:
            raise RetriableError(
                f"The store {self.shown} cannot be opened: {error.orig}"
            ) from error
        with connection:
            yield connection

    @contextmanager
    def transaction(self) -> Iterator[SqlStore]:
        """A store whose writes are committed at the end of the block, or not at all."""
        with self._turn, self.connect() as connection, connection.begin():
            self._take_turn(connection)
            store = SqlStore(connection, self._rules)
            yield store
        store.committed()

    @contextmanager
    def reading(self) -> Iterator[SqlStore]:
        """A store for reading only: it waits for nobody."""
        with self.connect(self._reading) as connection, connection.begin():
            yield SqlStore(connection, self._rules)

    def _take_turn(self, connection: Connection) -> None:
        if not self.is_sqlite:
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _WRITERS})

    # -- migrations ------------------------------------------------------------------------

    def upgrade(self) -> None:
        """Make the tables, or bring them to this version; several processes may do so at once."""
        if self.is_sqlite and self.url.database not in (None, "", ":memory:"):
            Path(str(self.url.database)).parent.mkdir(parents=True, exist_ok=True)
        with self.connect() as connection, connection.begin():
            self._take_turn(connection)
            command.upgrade(_alembic(connection), "head")

    def is_current(self) -> bool:
        """Whether the tables are those of this version."""
        with self.connect() as connection:
            found = MigrationContext.configure(connection).get_current_revision()
        return found == ScriptDirectory.from_config(_alembic(None)).get_current_head()

    def close(self) -> None:
        self.engine.dispose()


def parse(url: str) -> URL:
    """The address of a store: a path of an SQLite file, or a `postgresql://` or `sqlite://` URL.

    Raises ConfigError on anything else.
    """
    if "://" not in url:
        return URL.create("sqlite", database=url)
    try:
        parsed = make_url(url)
        backend = parsed.get_backend_name()
    except (ArgumentError, NoSuchModuleError, ValueError):
        # What cannot be parsed may hold a password anywhere.
        raise ConfigError(
            "The store's address cannot be read: give the path of an SQLite file or "
            "postgresql://user:password@host:5432/database."
        ) from None
    if backend in ("postgresql", "postgres"):
        return parsed.set(drivername="postgresql+psycopg")
    if backend == "sqlite":
        return parsed
    raise ConfigError(
        f"The store cannot be kept in {backend!r}: give the path of an SQLite file or "
        "postgresql://user:password@host:5432/database."
    )


def _engine(url: URL) -> Engine:
    if url.get_backend_name() != "sqlite":
        try:
            return create_engine(url, pool_pre_ping=True, pool_size=8, max_overflow=8)
        except ModuleNotFoundError as error:
            raise ConfigError(
                "PostgreSQL needs its driver: pip install 'trackflow-server[postgresql]'."
            ) from error
    engine = create_engine(url, connect_args={"timeout": _BUSY_SECONDS})
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", _begin)
    return engine


def _prepare(connection: sqlite3.Connection, _record: Any) -> None:
    # The driver would begin transactions by its own rules; ours begin them below.
    connection.isolation_level = None
    _write_ahead(connection)
    for pragma in ("synchronous = FULL", "cache_size = -65536"):
        connection.execute(f"PRAGMA {pragma}")


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Keep the file's log of writes; SQLite does not wait itself while others switch it on."""
    end = monotonic() + _BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or monotonic() > end:
                raise
            sleep(0.01)


def _begin(connection: Connection) -> None:
    # A transaction that begins by reading and then writes may fail where another wrote meanwhile.
    reads = connection.get_execution_options().get("trackflow_reads")
    execute(connection, "BEGIN" if reads else "BEGIN IMMEDIATE")


def _alembic(connection: Connection | None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")))
    config.attributes["connection"] = connection
    return config
