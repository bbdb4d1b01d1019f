"""Reading CRMs in the background, page by page, each page with its cursor in one transaction."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from dataclasses import asdict, replace
from datetime import datetime, timedelta, timezone

from sqlalchemy.exc import DBAPIError

from trackflow_core.config import Settings
from trackflow_core.connectors import Page
from trackflow_core.engine import Engine
from trackflow_core.errors import ConfigError, InvalidEvent, RetriableError, TrackFlowError
from trackflow_core.hooks import Hooks
from trackflow_core.ports import Event
from trackflow_core.sync import take_in
from trackflow_server.background import repeat
from trackflow_server.connections import Connections, polling
from trackflow_server.store import Database, SqlStore
from trackflow_server.store.connectors import FAILED, POLL, Configured, Received
from trackflow_server.store.outbox import SqlOutbox

_log = logging.getLogger("trackflow.polling")
_IDLE_SECONDS = 1.0
# A process that died with a poll in hand lets go of it after this time.
_LEASE = timedelta(minutes=10)
_FIRST_WAIT = timedelta(seconds=30)
_LONGEST_WAIT = timedelta(hours=1)


class Polls:
    """Polls the connectors of one database."""

    def __init__(
        self, database: Database, hooks: Hooks, settings: Settings, connections: Connections
    ) -> None:
        self._database = database
        self._hooks = hooks
        self._settings = settings
        self._connections = connections

    def step(self) -> bool:
        """Read the next page of the connector that is due, if any; whether there was one."""
        now = datetime.now(timezone.utc)
        with self._database.reading() as store:
            due = [item.due_at for item in store.connectors() if item.enabled and item.due_at]
        if not any(moment <= now for moment in due):
            return False
        with self._database.transaction() as store:
            configured = store.claim_poll(now, now + _LEASE)
        if configured is None:
            return False
        try:
            self._read(configured)
        except TrackFlowError as error:
            self._put_off(configured, str(error), error)
        # A plugin's connection may fail in any way, and must not stop the others.
        except Exception as error:
            if isinstance(error, DBAPIError):
                raise
            _log.exception("Polling %s failed unexpectedly.", configured.namespace)
            reason = f"An error of the connector ({type(error).__name__}); the log has it."
            self._put_off(configured, reason, error)
        return True

    def read_all(self, namespace: str) -> Iterator[Page]:
        """Every page until there is no more now, each kept before it is handed out.

        Raises what the connection raises; the pages before stay kept.
        """
        more = True
        while more:
            with self._database.reading() as store:
                configured = store.connector(namespace)
            if configured is None:
                raise ConfigError(f"There is no connector {namespace!r}.")
            page = self._read(configured)
            more = page.more
            yield page

    def _read(self, configured: Configured) -> Page:
        with self._database.reading() as store:
            connection = polling(self._connections.open(store, configured))
        page = connection.poll(configured.cursor)
        now = datetime.now(timezone.utc)
        with self._database.transaction() as store:
            if store.keep_page(configured, page, now):
                self._take_in(store, configured.namespace, page, now)
        return page

    def _take_in(self, store: SqlStore, namespace: str, page: Page, now: datetime) -> None:
        """Tell the engine a page; a fact that it refuses is set aside, and the others go on."""
        engine = Engine(store, self._hooks, self._settings, SqlOutbox(lambda: store))
        try:
            with store.atomic():
                take_in(engine, page)
                store.keep_facts(namespace, page.events, now)
        except InvalidEvent:
            for event in page.events:
                self._take_in_alone(store, engine, namespace, event, now)
            take_in(engine, replace(page, events=()))

    def _take_in_alone(
        self, store: SqlStore, engine: Engine, namespace: str, event: Event, now: datetime
    ) -> None:
        try:
            with store.atomic():
                take_in(engine, Page("", False, [event]))
                store.keep_facts(namespace, [event], now)
        except InvalidEvent as error:
            told = {name: str(value) for name, value in asdict(event).items()}
            refused = Received(
                namespace, event.event_id, now, told, POLL, state=FAILED, reason=str(error)
            )
            store.receive([refused])

    def _put_off(self, configured: Configured, reason: str, error: Exception) -> None:
        asked = error.retry_after if isinstance(error, RetriableError) else None
        wait = min(_FIRST_WAIT * 2 ** min(configured.attempts, 20), _LONGEST_WAIT)
        wait = max(wait, min(timedelta(seconds=asked or 0), timedelta(days=1)))
        _log.warning("Polling %s failed: %s", configured.namespace, reason)
        with self._database.transaction() as store:
            store.fail_poll(configured, reason, datetime.now(timezone.utc) + wait)


class Poller:
    """Polls in a thread of its own from `start` to `stop`, so that a slow CRM holds up no click."""

    def __init__(self, polls: Polls) -> None:
        self._polls = polls
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="trackflow-polling", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, seconds: float = 5.0) -> None:
        """Finish the page at hand; one that takes longer is read again after the next start."""
        self._stopping.set()
        self._thread.join(seconds)

    def _run(self) -> None:
        repeat(
            lambda: 0 if self._polls.step() else _IDLE_SECONDS,
            self._stopping,
            _log,
            "Polling cannot go on",
            first_wait=_IDLE_SECONDS,
        )
