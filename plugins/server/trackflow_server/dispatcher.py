"""Sends what waits in the outbox, beside the job and the answers."""

from __future__ import annotations

import logging
import threading
from contextlib import ExitStack
from datetime import datetime, timezone
from ipaddress import ip_network
from types import TracebackType

from trackflow_core.api.storage import WebhookEndpoint
from trackflow_core.connectors import WritingBack
from trackflow_core.hooks import Hooks
from trackflow_core.model import Context
from trackflow_core.outbox import (
    CONNECTOR,
    WEBHOOK,
    Courier,
    Endpoint,
    WebhookSender,
    WriteBackSender,
)
from trackflow_http.guarded import GuardedPost
from trackflow_server.background import repeat
from trackflow_server.config import ServerConfig
from trackflow_server.connections import Connections, writing_back
from trackflow_server.store import Database, SqlStore
from trackflow_server.store.catalog import SqlCatalog
from trackflow_server.store.outbox import SqlOutbox

_log = logging.getLogger("trackflow.outbox")
# Several, so that one receiver that stalls does not keep the others waiting.
_THREADS = 3
# Few at a time: what a thread holds when the process dies waits until its lease is over.
_BATCH = 5
_IDLE_SECONDS = 0.5
_GRACE_SECONDS = 20.0


class Dispatcher:
    """Works in threads from `start` to `stop`."""

    def __init__(self, config: ServerConfig, database: Database, hooks: Hooks) -> None:
        self._config = config
        self._database = database
        self._hooks = hooks
        self._connections = Connections(config, hooks)
        self._post = GuardedPost([ip_network(network) for network in config.webhook_networks])
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, name=f"trackflow-outbox-{number}", daemon=True)
            for number in range(_THREADS)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Let the messages at hand be sent; one that takes too long is sent again later."""
        self._stopping.set()
        for thread in self._threads:
            thread.join(_GRACE_SECONDS / _THREADS)

    def _run(self) -> None:
        repeat(
            lambda: 0 if self.step() else _IDLE_SECONDS,
            self._stopping,
            _log,
            "Nothing can be sent",
            first_wait=_IDLE_SECONDS,
        )

    def step(self) -> bool:
        """Send a few messages that are due; whether there were any."""
        with self._database.reading() as store:
            if not SqlOutbox(lambda: store).is_due(_now()):
                return False
        with _Turns(self._database) as turns:
            courier = Courier(
                outbox=SqlOutbox(turns.store),
                senders={
                    WEBHOOK: WebhookSender(self._endpoint_of, self._post),
                    CONNECTOR: WriteBackSender(self._connection_of),
                },
                commit=turns.commit,
                clock=_now,
                hooks=self._hooks,
                context=Context(host="server"),
            )
            return bool(courier.deliver(_BATCH).claimed)

    def _endpoint_of(self, number: str) -> Endpoint | None:
        with self._database.reading() as store:
            catalog = SqlCatalog(store, self._config.public_url, self._config.secrets)
            found = catalog.read(WebhookEndpoint, [number]).get(number)
        return Endpoint(found.url, found.secrets) if found else None

    def _connection_of(self, namespace: str) -> WritingBack | None:
        with self._database.reading() as store:
            configured = store.connector(namespace)
            if configured is None or not configured.writes_back:
                return None
            return writing_back(self._connections.open(store, configured))


class _Turns:
    """One transaction after the other: each begins when its store is first needed and ends by
    `commit`, so that none is open while the network is used."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._stack = ExitStack()
        self._store: SqlStore | None = None

    def store(self) -> SqlStore:
        if self._store is None:
            self._store = self._stack.enter_context(self._database.transaction())
        return self._store

    def commit(self) -> None:
        self._store = None
        self._stack.close()

    def __enter__(self) -> _Turns:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._store = None
        self._stack.__exit__(kind, error, trace)


def _now() -> datetime:
    return datetime.now(timezone.utc)
