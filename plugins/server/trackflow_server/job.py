"""The job: takes what is in the spool into the store and lets the engine work on it."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from functools import cached_property
from pathlib import Path

from trackflow_core.api.storage import Idempotency, LoggedRequest
from trackflow_core.config import Settings
from trackflow_core.engine import Engine
from trackflow_core.hooks import Hooks
from trackflow_server import facts, inbox
from trackflow_server.background import keep_all_or_each, repeat
from trackflow_server.inbox import Inbox
from trackflow_server.spool import Fact, SpoolReader
from trackflow_server.store import Database, SqlStore
from trackflow_server.store.catalog import SqlCatalog
from trackflow_server.store.outbox import SqlOutbox

_log = logging.getLogger("trackflow.job")
# Small, because on SQLite whoever else writes waits for the batch.
_BATCH = 500
_IDLE_SECONDS = 0.2
_NICENESS = 10
_TIDY_SECONDS = 3600
_KEPT_LOG = timedelta(days=30)
_KEPT_ANSWERS = timedelta(days=1)


class Job:
    """Works in one thread from `start` to `stop`; what fails is tried again, later and later."""

    def __init__(
        self, database: Database, spool: Path, hooks: Hooks, settings: Settings, told: Inbox
    ) -> None:
        self._database = database
        self._inbox = told
        self._path = spool
        self._hooks = hooks
        self._settings = settings
        self._stopping = threading.Event()
        self._tidied: float | None = None
        self._thread = threading.Thread(target=self._run, name="trackflow-job", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Finish the batch at hand; what is left waits in the spool for the next start."""
        self._stopping.set()
        self._thread.join()

    @cached_property
    def _spool(self) -> SpoolReader:
        return SpoolReader(self._path)

    def _run(self) -> None:
        # Of this thread alone: redirects go first where the machine is busy.
        os.nice(_NICENESS)
        repeat(self._work, self._stopping, _log, "The job cannot go on", first_wait=_IDLE_SECONDS)

    def _work(self) -> float:
        if self.step():
            return 0
        self._tidy_at_times()
        return _IDLE_SECONDS

    def step(self) -> bool:
        """Take in and process one batch; whether there was anything to do."""
        spooled = self._spool.first(_BATCH)
        with self._database.transaction() as store:
            take_in(store, spooled.facts)
            outbox = SqlOutbox(lambda: store)
            engine = Engine(store, self._hooks, self._settings, outbox)
            drained = engine.process_clicks(_BATCH)
        # Only now is it safe there; a crash before this line tells it twice, which changes nothing.
        self._spool.drop(spooled)
        if drained.rejected:
            _log.warning("%d clicks were set aside; see the dashboard for why.", drained.rejected)
        understood = self._inbox.step()
        return bool(spooled.facts or drained.claimed or drained.refreshed or understood)

    def _tidy_at_times(self) -> None:
        now = time.monotonic()
        if self._tidied is None or now - self._tidied > _TIDY_SECONDS:
            self._tidied = now
            self.tidy(datetime.now(timezone.utc))

    def tidy(self, now: datetime) -> None:
        """Delete what nobody needs any more of the API's log, of its answers to be repeated, and
        of webhooks that were sent or understood."""
        with self._database.transaction() as store:
            catalog = SqlCatalog(store, "", ())
            catalog.purge(LoggedRequest, now - _KEPT_LOG)
            catalog.purge(Idempotency, now - _KEPT_ANSWERS)
            SqlOutbox(lambda: store).purge(now - _KEPT_LOG)
            store.forget_events(now - _KEPT_LOG)

    def drain(self) -> None:
        """Work until nothing is left."""
        while self.step():
            pass


def take_in(store: SqlStore, told: Sequence[Fact]) -> None:
    """Take over what facts of the spool tell: clicks, and what CRMs sent."""
    received = [facts.received_of(fact) for fact in told if facts.is_received(fact)]
    if received:
        inbox.keep(store, received)
    clicks = [facts.click_of(fact) for fact in told if not facts.is_received(fact)]
    keep_all_or_each(
        store,
        clicks,
        store.append_clicks,
        lambda click, error: _log.error("The click %s is left out: %s", click.event_id, error),
    )
