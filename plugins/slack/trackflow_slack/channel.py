"""Sending messages in the background, each once."""

from __future__ import annotations

import logging
import os
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from threading import BoundedSemaphore
from urllib.parse import urlsplit

from trackflow_core.errors import TrackFlowError
from trackflow_http import Client, Pace

_log = logging.getLogger("trackflow.slack")

# Slack asks for one message a second in a channel.
_PACE = Pace(per_second=1, attempts=3, longest_wait=5, connect_timeout=3, read_timeout=5)
_MOST_WAITING = 1000


class Channel:
    """Messages are sent by one thread, in the order they were told."""

    def __init__(self, pace: Pace = _PACE, waiting: int = _MOST_WAITING) -> None:
        self._pace = pace
        self._most = waiting
        self._forked()
        os.register_at_fork(after_in_child=self._forked)

    def _forked(self) -> None:
        # A thread and its queue stay with the parent.
        self._room = BoundedSemaphore(self._most)
        self._threads = ThreadPoolExecutor(1, "trackflow-slack")
        self._memory: dict[str, sqlite3.Connection] = {}

    def tell(self, url: str, text: str, memory: str, key: str) -> None:
        """Send `text` to the webhook at `url` soon, unless `key` was told before.

        `memory` is the SQLite file that remembers keys, "" for this process's own memory. A message
        that cannot be sent is logged, and its key forgotten.
        """
        if not self._room.acquire(blocking=False):
            _log.error("Slack is not told of %s: %d messages wait for it.", key, self._most)
            return
        self._threads.submit(self._send, url, text, memory, key)

    def finish(self) -> None:
        """Return when everything that was told so far is sent or given up."""
        self._threads.submit(lambda: None).result()

    def _send(self, url: str, text: str, memory: str, key: str) -> None:
        try:
            if self._is_new(memory, key):
                self._post(url, text, memory, key)
        except sqlite3.Error as error:
            _log.error("What Slack was told cannot be kept in %s: %s.", memory, error)
        finally:
            self._room.release()

    def _post(self, url: str, text: str, memory: str, key: str) -> None:
        parts = urlsplit(url)
        base = f"{parts.scheme}://{parts.netloc}"
        path = url.removeprefix(base)
        try:
            Client(base, pace=self._pace).send("POST", path, json={"text": text}, repeat=True)
        except TrackFlowError as error:
            # The path is the secret of an incoming webhook.
            reason = str(error).replace(path or "\0", "/…")
            _log.error("Slack was not told of %s: %s", key, reason)
            self._forget(memory, key)

    def _is_new(self, memory: str, key: str) -> bool:
        with self._told(memory) as told, closing(told.cursor()) as cursor:
            cursor.execute("INSERT OR IGNORE INTO told VALUES (?, datetime())", (key,))
            return cursor.rowcount == 1

    def _forget(self, memory: str, key: str) -> None:
        with self._told(memory) as told:
            told.execute("DELETE FROM told WHERE key = ?", (key,))

    def _told(self, memory: str) -> sqlite3.Connection:
        if memory not in self._memory:
            opened = sqlite3.connect(memory or ":memory:", timeout=10)
            opened.execute("CREATE TABLE IF NOT EXISTS told (key TEXT PRIMARY KEY, at TEXT)")
            # Older deals are no news any more, see _NEWS; failures are numbered anew.
            opened.execute("DELETE FROM told WHERE at < datetime('now', '-30 days')")
            opened.commit()
            self._memory[memory] = opened
        return self._memory[memory]
