"""What connectors received: mapped to leads and deals and taken in, or set aside with the cause."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime, timezone

from trackflow_core.config import Settings
from trackflow_core.connectors import Connection, Polling
from trackflow_core.engine import Engine
from trackflow_core.errors import TrackFlowError
from trackflow_core.hooks import Hooks
from trackflow_core.model import Deal, Lead
from trackflow_server.background import keep_all_or_each
from trackflow_server.connections import Connections
from trackflow_server.store import Database, SqlStore
from trackflow_server.store.connectors import Received
from trackflow_server.store.outbox import SqlOutbox

_log = logging.getLogger("trackflow.inbox")
_BATCH = 100


class Inbox:
    """Works on the events that wait in one database."""

    def __init__(
        self, database: Database, hooks: Hooks, settings: Settings, connections: Connections
    ) -> None:
        self._database = database
        self._hooks = hooks
        self._settings = settings
        self._connections = connections

    def step(self) -> int:
        """Work on some of the events that wait, oldest first; returns how many."""
        with self._database.reading() as store:
            if not store.waiting_events(1):
                return 0
        with self._database.transaction() as store:
            waiting = store.waiting_events(_BATCH)
            opened: dict[str, Connection] = {}
            for received in waiting:
                now = datetime.now(timezone.utc)
                reason = self._take_in(store, received, opened, now)
                store.settle_event(received, now, reason)
                if reason:
                    _log.warning(
                        "The event %d of %s is set aside: %s",
                        received.place,
                        received.namespace,
                        reason,
                    )
        return len(waiting)

    def drain(self) -> None:
        """Work until nothing waits."""
        while self.step():
            pass

    def _take_in(
        self, store: SqlStore, received: Received, opened: dict[str, Connection], now: datetime
    ) -> str:
        """Tell the engine what an event means; the reason where that is impossible."""
        namespace = received.namespace
        try:
            if namespace not in opened:
                opened[namespace] = self._connections.named(store, namespace)
            connection = opened[namespace]
            events = connection.map_events(received.payload)
            with store.atomic():
                engine = Engine(store, self._hooks, self._settings, SqlOutbox(lambda: store))
                engine.apply(
                    [event for event in events if isinstance(event, Lead)],
                    [event for event in events if isinstance(event, Deal)],
                )
                store.keep_facts(namespace, events, now, received.place)
        except TrackFlowError as error:
            return str(error)
        # A plugin's mapping may fail in any way, and must not stop the others' events.
        except Exception as error:
            _log.exception("The connector %s failed unexpectedly.", namespace)
            return f"An error of the connector ({type(error).__name__}); the log has it."
        if isinstance(connection, Polling):
            store.poll_soon(namespace, now)
        return ""


def keep(store: SqlStore, told: Sequence[Received]) -> None:
    """Keep what was received; what the database refuses is left out, with an error in the log."""
    keep_all_or_each(
        store,
        told,
        store.receive,
        lambda item, error: _log.error(
            "The event %s of %s is left out: %s", item.event_id, item.namespace, error
        ),
    )
