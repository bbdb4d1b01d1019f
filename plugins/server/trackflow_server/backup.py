"""Backup and restore of a store on SQLite, while the server runs; PostgreSQL has its own tools."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from alembic.util import CommandError

from trackflow_core.errors import ConfigError
from trackflow_server.config import ServerConfig
from trackflow_server.job import take_in
from trackflow_server.spool import SpoolReader
from trackflow_server.store import Database

_FACTS_AT_ONCE = 1000


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
    spool = unfinished.with_name(f"{unfinished.name}.spool")
    # The spool first: what the job takes over meanwhile is in both, and counts once.
    if config.spool_path.exists():
        _copy(config.spool_path, spool)
    _copy(source, unfinished)
    if spool.exists():
        _take_in(unfinished, spool)
        spool.unlink()
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
    for left in (unfinished, unfinished.with_name(f"{unfinished.name}.spool")):
        left.unlink(missing_ok=True)
    return unfinished


def _take_in(copy: Path, spool: Path) -> None:
    """Move the facts of a copied spool into a copied store, some at a time."""
    database, reader = Database(str(copy)), SpoolReader(spool)
    try:
        while (spooled := reader.first(_FACTS_AT_ONCE)).facts:
            with database.transaction() as store:
                take_in(store, spooled.facts)
            reader.drop(spooled)
    finally:
        reader.close()
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
