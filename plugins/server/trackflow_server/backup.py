"""Backup and restore of a store on SQLite, while the server runs; PostgreSQL has its own tools."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path

from alembic.util import CommandError

from trackflow_core.errors import ConfigError
from trackflow_server.config import ServerConfig
from trackflow_server.job import take_in
from trackflow_server.spool import Fact, SpoolReader
from trackflow_server.store import Database


def save(config: ServerConfig, target: Path) -> int:
    """Write the store, with what waits in the spool, to the new file `target`; its size in bytes.

    Raises ConfigError where the store is on PostgreSQL, or `target` exists.
    """
    source = _file_of(config)
    if target.exists():
        raise ConfigError(f"{target} exists: name another file.")
    if not source.exists():
        raise ConfigError(f"There is no store at {source}.")
    unfinished = _part_of(target)
    # Before the copy: what the job takes over meanwhile is in both, and counts once.
    spooled = _spooled(config)
    _copy(source, unfinished)
    _take_in(unfinished, spooled)
    unfinished.rename(target)
    return target.stat().st_size


def restore(config: ServerConfig, backup: Path) -> None:
    """Make `backup` the store; the server must not run. What was there is kept beside it.

    Raises ConfigError where `backup` is no store that this version can read, the server runs, or
    what an earlier restore kept is still there. Then everything stays as it was.
    """
    target = _file_of(config)
    before = target.with_name(f"{target.name}.before-restore")
    _check(backup)
    if target.exists():
        _check_unused(target)
        if before.exists():
            raise ConfigError(f"{before} is from an earlier restore: move it away first.")
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = _part_of(target)
    _copy(backup, unfinished)
    _upgrade(unfinished, backup)
    if target.exists():
        target.rename(before)
    for name in (f"{target}-wal", f"{target}-shm"):
        Path(name).unlink(missing_ok=True)
    unfinished.rename(target)


def _file_of(config: ServerConfig) -> Path:
    database = Database(config.store)
    if not database.is_sqlite:
        raise ConfigError("The store is on PostgreSQL: use pg_dump and pg_restore.")
    return Path(str(database.url.database))


def _copy(source: Path, target: Path) -> None:
    reading = sqlite3.connect(source)
    writing = sqlite3.connect(target)
    try:
        reading.backup(writing)
        writing.execute("PRAGMA journal_mode = DELETE")
    finally:
        writing.close()
        reading.close()
    with target.open("rb") as file:
        os.fsync(file.fileno())


def _part_of(target: Path) -> Path:
    """Where `target` is written until it is whole."""
    unfinished = target.with_name(f"{target.name}.part")
    unfinished.unlink(missing_ok=True)
    return unfinished


def _spooled(config: ServerConfig) -> Sequence[Fact]:
    """All facts of the spool, which stay there for the running server."""
    if not config.spool_path.exists():
        return ()
    reader = SpoolReader(config.spool_path)
    try:
        return reader.first(len(reader) or 1).facts
    finally:
        reader.close()


def _take_in(copy: Path, spooled: Sequence[Fact]) -> None:
    database = Database(str(copy))
    try:
        with database.transaction() as store:
            take_in(store, spooled)
    finally:
        database.close()
    _settle(copy)


def _upgrade(copy: Path, backup: Path) -> None:
    database = Database(str(copy))
    try:
        database.upgrade()
    except CommandError:
        raise ConfigError(
            f"{backup} was made by a newer TrackFlow: restore it with that version."
        ) from None
    finally:
        database.close()
    _settle(copy)


def _settle(copy: Path) -> None:
    """Leave one file: no journal beside it."""
    connection = sqlite3.connect(copy)
    connection.execute("PRAGMA journal_mode = DELETE")
    connection.close()


def _check(backup: Path) -> None:
    if not backup.exists():
        raise ConfigError(f"There is no file {backup}.")
    try:
        connection = sqlite3.connect(f"file:{backup}?mode=ro", uri=True)
        try:
            connection.execute("SELECT count(*) FROM alembic_version, click").fetchone()
            [(state,)] = connection.execute("PRAGMA quick_check(1)").fetchall()
        finally:
            connection.close()
    except sqlite3.DatabaseError as error:
        raise ConfigError(f"{backup} is no backup of TrackFlow: {error}.") from None
    if state != "ok":
        raise ConfigError(f"{backup} is damaged: {state}.")


def _check_unused(target: Path) -> None:
    connection = sqlite3.connect(target, timeout=0.5, isolation_level=None)
    try:
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("BEGIN EXCLUSIVE")
        connection.execute("ROLLBACK")
    except sqlite3.OperationalError:
        raise ConfigError(f"{target} is in use: stop the server first.") from None
    finally:
        connection.close()
