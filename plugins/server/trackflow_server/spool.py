"""The spool: a local file in which facts are safe before the visitor gets an answer.

One thread writes. What arrives while it waits for the disk is written together next, so that a
flush is shared by all visitors of the moment. The facts leave in order, and only when whoever took
them has them safe: what is taken twice carries the same event ids.
"""

from __future__ import annotations

import asyncio
import json
import logging
import shutil
import sqlite3
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from trackflow_server import metrics
from trackflow_server.config import ServerConfig

_log = logging.getLogger("trackflow.spool")
_BUSY_SECONDS = 10
_MEGABYTE = 1024 * 1024
# Less than this, and the spool is nearly full.
_ENOUGH = 64 * _MEGABYTE
_ENOUGH_SHARE = 10
# How often it is said again that clicks are lost: a full disk needs no long log.
_REMINDER_SECONDS = 60.0
# A row is what was written at once: one statement, one flush, and the GIL is given up once.
_TABLES = """
CREATE TABLE IF NOT EXISTS spool (
    place INTEGER PRIMARY KEY AUTOINCREMENT,
    number INTEGER NOT NULL,
    facts TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS set_aside (
    place INTEGER PRIMARY KEY AUTOINCREMENT,
    fact TEXT NOT NULL,
    reason TEXT NOT NULL
);
"""

Fact = Mapping[str, Any]
_Waiting = list[tuple[Fact, "asyncio.Future[bool]"]]


def _open(path: Path) -> sqlite3.Connection:
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(
        path, isolation_level=None, timeout=_BUSY_SECONDS, check_same_thread=False
    )
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.executescript(_TABLES)
    return connection


def make(path: Path) -> None:
    """Make the file where there is none: two that make it at once stand in each other's way."""
    _open(path).close()


class SpoolWriter:
    """Appends facts for coroutines of one event loop; `start` before, `stop` after.

    The file takes at most `megabytes`, 0 for all that the disk has.
    """

    def __init__(self, path: Path, megabytes: int = 0) -> None:
        self.problem = ""
        """Why facts are being lost; "" while they are kept."""
        self._path = path
        self._megabytes = megabytes
        self._lost = 0
        self._reminded = 0.0
        self._waiting: _Waiting = []
        self._writing = False
        self._batches: SimpleQueue[_Waiting] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="trackflow-spool", daemon=True)

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._connection = _open(self._path)
        if self._megabytes:
            [(size,)] = self._connection.execute("PRAGMA page_size")
            pages = self._megabytes * _MEGABYTE // size
            self._connection.execute(f"PRAGMA max_page_count = {pages}")
        self._thread.start()

    async def stop(self) -> None:
        """Write what still waits and close the file."""
        while self._writing:
            await asyncio.sleep(0.001)
        self._batches.put([])
        self._thread.join()
        self._connection.close()

    def append(self, fact: Fact) -> asyncio.Future[bool]:
        """Whether the fact is on disk, once that is known; it never raises."""
        written = self._loop.create_future()
        self._waiting.append((fact, written))
        if not self._writing:
            self._writing = True
            # At the end of this turn of the loop, so that its other requests come along.
            self._loop.call_soon(self._hand_over)
        return written

    def _hand_over(self) -> None:
        self._writing = bool(self._waiting)
        if self._waiting:
            batch, self._waiting = self._waiting, []
            self._batches.put(batch)

    def _run(self) -> None:
        while batch := self._batches.get():
            kept = self._write([fact for fact, _ in batch])
            self._loop.call_soon_threadsafe(self._settle, batch, kept)

    def _write(self, facts: Sequence[Fact]) -> bool:
        try:
            self._connection.execute(
                "INSERT INTO spool (number, facts) VALUES (?, ?)",
                (len(facts), json.dumps(facts)),
            )
        except sqlite3.Error as error:
            self._say_lost(len(facts), error)
            return False
        if self.problem:
            _log.warning("%s can be written again; %d clicks are lost.", self._path, self._lost)
            self.problem, self._lost = "", 0
        return True

    def _say_lost(self, number: int, error: sqlite3.Error) -> None:
        first = not self.problem
        self.problem = f"Clicks are being lost: {self._path} cannot be written ({error})."
        self._lost += number
        if first or time.monotonic() - self._reminded > _REMINDER_SECONDS:
            self._reminded = time.monotonic()
            _log.error("%s So far %d of them; redirects go on.", self.problem, self._lost)

    def _settle(self, batch: _Waiting, kept: bool) -> None:
        self._hand_over()
        for _, written in batch:
            # A visitor may have hung up.
            if not written.done():
                written.set_result(kept)


@dataclass(frozen=True, slots=True)
class Spooled:
    """Some of the oldest facts; `last` is the place up to which they reach."""

    facts: Sequence[Fact]
    last: int


class SpoolReader:
    """Takes facts out in order; for one thread at a time."""

    def __init__(self, path: Path) -> None:
        self._connection = _open(path)

    def close(self) -> None:
        self._connection.close()

    def __len__(self) -> int:
        [(count,)] = self._connection.execute("SELECT coalesce(sum(number), 0) FROM spool")
        return int(count)

    def first(self, at_least: int) -> Spooled:
        """About `at_least` of the oldest facts, where there are so many; they stay until `drop`."""
        found: list[Fact] = []
        last = 0
        rows = self._connection.execute("SELECT place, facts FROM spool ORDER BY place")
        for place, facts in rows:
            found += json.loads(facts)
            last = place
            if len(found) >= at_least:
                break
        rows.close()
        return Spooled(found, last)

    def drop(self, spooled: Spooled) -> None:
        """Forget facts that somebody else has safe now."""
        if spooled.facts:
            self._connection.execute("DELETE FROM spool WHERE place <= ?", (spooled.last,))

    def set_aside(self, fact: Fact, reason: str) -> None:
        """Keep a fact that nobody takes, for people to see."""
        self._connection.execute(
            "INSERT INTO set_aside (fact, reason) VALUES (?, ?)", (json.dumps(fact), reason)
        )

    def aside(self) -> int:
        """How many facts nobody takes."""
        [(count,)] = self._connection.execute("SELECT count(*) FROM set_aside")
        return int(count)

    def used(self) -> int:
        """The bytes that facts take in the file."""
        [(pages,)] = self._connection.execute("PRAGMA page_count")
        [(free,)] = self._connection.execute("PRAGMA freelist_count")
        [(size,)] = self._connection.execute("PRAGMA page_size")
        return int((pages - free) * size)


def try_writing(path: Path) -> None:
    """Write a fact and take it back. Raises sqlite3.Error or OSError where that cannot be done."""
    connection = _open(path)
    try:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("INSERT INTO spool (number, facts) VALUES (1, '[]')")
        connection.execute("ROLLBACK")
    finally:
        connection.close()


def shortage(config: ServerConfig, room_bytes: int) -> str:
    """What is wrong with the room that is left, "" for nothing."""
    limit = config.spool_megabytes * _MEGABYTE
    if room_bytes < (limit / _ENOUGH_SHARE if limit else _ENOUGH):
        return f"The spool is nearly full: there is room for {room_bytes} more bytes."
    return ""


def room(config: ServerConfig) -> dict[str, int]:
    """How many facts are in the spool and set aside, and how many bytes there is room for."""
    reader = SpoolReader(config.spool_path)
    try:
        spooled, aside, used = len(reader), reader.aside(), reader.used()
    finally:
        reader.close()
    left = shutil.disk_usage(config.spool_path.parent).free
    if config.spool_megabytes:
        left = max(0, min(left, config.spool_megabytes * _MEGABYTE - used))
    metrics.SPOOLED.set(spooled)
    metrics.SPOOL_ROOM.set(left)
    return {"spooled": spooled, "set_aside": aside, "room_bytes": left}
