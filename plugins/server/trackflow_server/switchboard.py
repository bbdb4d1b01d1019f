"""What people do with connectors on the command line: add, look, provision, poll, try again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from trackflow_core import hooks
from trackflow_core.connectors import (
    Change,
    Connection,
    Finding,
    Page,
    Polling,
    Provisioning,
    RemoteConnector,
    Webhooks,
)
from trackflow_core.errors import ConfigError
from trackflow_core.outbox import CONNECTOR
from trackflow_core.ports import WebhookConnector
from trackflow_server import config as configuration
from trackflow_server.config import ServerConfig
from trackflow_server.connections import Connections, Secrets, polling, provisioning, writing_back
from trackflow_server.inbox import Inbox
from trackflow_server.polling import Polls
from trackflow_server.store import Database, SqlStore, outbox
from trackflow_server.store.connectors import Configured, Received

_SIGNING_SECRETS = 2


class Switchboard:
    """The connectors of one database; each method is a transaction of its own."""

    def __init__(self, config: ServerConfig, database: Database) -> None:
        self._config = config
        self._database = database
        self.connections = Connections(config, hooks.load())

    # -- setting up --------------------------------------------------------------------------

    def add(
        self,
        connector: str,
        instance: str,
        settings: Mapping[str, Any],
        secrets: Secrets,
        **choices: Any,
    ) -> Configured:
        """A new connector; `choices` are fields of `Configured`."""
        namespace = f"{connector}/{instance}"
        kind = self.connections.kind(connector)
        with self._database.transaction() as store:
            if store.connector(namespace) is not None:
                raise ConfigError(
                    f"There is a connector {namespace} already: change it with `trackflow "
                    f"connector change {connector} {instance}`."
                )
            able = kind.capabilities if isinstance(kind, RemoteConnector) else None
            # Whoever provisions the CRM tells it the secret; any other is made when it is wanted.
            if able and able.provisioning and able.webhooks is not Webhooks.NONE:
                secrets = Secrets(secrets.options, secrets.signing or [self._new_secret(connector)])
            return self._save(store, Configured(namespace, settings, **choices), secrets)

    def change(
        self, namespace: str, settings: Mapping[str, Any], secrets: Secrets, **choices: Any
    ) -> Configured:
        """A connector with other settings or renewed secrets; what is not given stays."""
        with self._database.transaction() as store:
            known = self._known(store, namespace)
            held = self.connections.secrets(store, namespace)
            renewed = Secrets(
                {**held.options, **secrets.options},
                [*secrets.signing, *held.signing][:_SIGNING_SECRETS],
            )
            changed = replace(known, settings={**known.settings, **settings}, **choices)
            return self._save(store, changed, renewed)

    def remove(self, namespace: str) -> None:
        """Forget a connector; its leads and deals stay."""
        with self._database.transaction() as store:
            self._known(store, namespace)
            store.remove_connector(namespace)
            outbox.forget(store, [f"{CONNECTOR}/{namespace}"])

    def new_signing_secret(self, namespace: str) -> str:
        """A fresh secret for the sender; the one before stays good beside it."""
        with self._database.transaction() as store:
            known = self._known(store, namespace)
            held = self.connections.secrets(store, namespace)
            secret = self._new_secret(known.connector)
            signing = [secret, *held.signing][:_SIGNING_SECRETS]
            self._save(store, known, Secrets(held.options, signing))
        return secret

    def _save(self, store: SqlStore, configured: Configured, secrets: Secrets) -> Configured:
        connection = self.connections.connect(configured, secrets)
        if configured.writes_back:
            writing_back(connection)
        polls = isinstance(connection, Polling) and configured.poll_minutes > 0
        due_at = datetime.now(timezone.utc) if polls else None
        saved = replace(configured, due_at=due_at)
        self.connections.save(store, saved, secrets)
        return saved

    def _new_secret(self, connector: str) -> str:
        kind = self.connections.kind(connector)
        if not isinstance(kind, WebhookConnector):
            raise ConfigError(f"{kind.title} sends no webhooks, so that there is nothing to sign.")
        return kind.new_secret()

    def _known(self, store: SqlStore, namespace: str) -> Configured:
        found = store.connector(namespace)
        if found is None:
            known = ", ".join(item.namespace for item in store.connectors()) or "none"
            raise ConfigError(f"There is no connector {namespace!r}; there are: {known}.")
        return found

    # -- looking -----------------------------------------------------------------------------

    def rows(self) -> Sequence[dict[str, Any]]:
        """What may be shown of each connector."""
        with self._database.reading() as store:
            counted = store.count_events()
            return [
                {
                    "name": item.namespace,
                    "enabled": item.enabled,
                    "settings": dict(item.settings),
                    "writes_back": item.writes_back,
                    "polled_at": item.polled_at.isoformat() if item.polled_at else None,
                    "problem": item.problem,
                    "events": dict(counted.get(item.namespace, {})),
                }
                for item in store.connectors()
            ]

    def check(self, namespace: str) -> Sequence[Finding]:
        """What the connection finds of its CRM, now."""
        return self._connection(namespace).check()

    # -- doing -------------------------------------------------------------------------------

    def provision(self, namespace: str, *, dry_run: bool, undo: bool = False) -> Sequence[Change]:
        """What was made in the CRM, or with `undo` removed; with `dry_run`, what would be."""
        connection: Provisioning = provisioning(self._connection(namespace))
        return connection.deprovision(dry_run) if undo else connection.provision(dry_run)

    def poll(self, namespace: str) -> Iterator[Page]:
        """Every page that there is to read now, each kept before it is handed out."""
        polling(self._connection(namespace))
        rules = hooks.load()
        settings = self._config.settings(rules.rules)
        yield from Polls(self._database, rules, settings, self.connections).read_all(namespace)

    def retry(self, namespace: str, place: int | None) -> Sequence[Received]:
        """Work again on failed events, or on the one at `place`; how each stands afterwards."""
        with self._database.transaction() as store:
            self._known(store, namespace)
            places = store.retry_events(namespace, place)
        if place is not None and not places:
            raise ConfigError(f"{namespace} has no failed event {place}.")
        loaded = hooks.load()
        settings = self._config.settings(loaded.rules)
        Inbox(self._database, loaded, settings, self.connections).drain()
        with self._database.reading() as store:
            found = (store.event(namespace, number) for number in sorted(places))
            return [event for event in found if event is not None]

    def _connection(self, namespace: str) -> Connection:
        with self._database.reading() as store:
            return self.connections.open(store, self._known(store, namespace))


@contextmanager
def opened(path: Path | None, store: str | None) -> Iterator[Switchboard]:
    """The connectors of the configured store."""
    config = configuration.load(path, store=store)
    database = Database(config.store, hooks.load().rules)
    try:
        database.upgrade()
        yield Switchboard(config, database)
    finally:
        database.close()
