"""Connections with CRMs, made of what the store keeps of each connector and its secrets."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from trackflow_core.connectors import (
    Connection,
    Finding,
    Instance,
    Polling,
    Provisioning,
    RemoteConnector,
    WritingBack,
)
from trackflow_core.errors import ConfigError
from trackflow_core.hooks import Hooks
from trackflow_core.options import Option, configure, options_of
from trackflow_core.ports import Connector, Delivery, Event, IncomingRequest, WebhookConnector
from trackflow_server import keys
from trackflow_server.config import CONNECTOR, ServerConfig
from trackflow_server.store import SqlStore
from trackflow_server.store.connectors import Configured

SIGNING = "signing"
"""What the secrets that sign a CRM's calls are called, beside the connector's own options."""

_INSTANCE = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?\Z")


@dataclass(frozen=True, slots=True)
class Secrets:
    """A connector's secret options, and the secrets that sign its CRM's calls, newest first."""

    options: Mapping[str, str] = field(default_factory=dict, repr=False)
    signing: Sequence[str] = field(default=(), repr=False)


class Connections:
    """Makes connections; keeps none."""

    def __init__(self, config: ServerConfig, hooks: Hooks) -> None:
        self._config = config
        self._hooks = hooks

    def kind(self, name: str) -> Connector:
        """The connector of this name; raises ConfigError where no plugin brings it."""
        found = self._hooks.connectors
        if name not in found:
            known = ", ".join(sorted(found)) or "none"
            raise ConfigError(f"There is no connector {name!r}; there are: {known}.")
        return found[name]

    def options(self, name: str) -> Sequence[Option]:
        """The options of a connector; a simple one has none."""
        kind = self.kind(name)
        return options_of(kind.options) if isinstance(kind, RemoteConnector) else ()

    def webhook_url(self, namespace: str) -> str:
        """Where a CRM reaches us, "" while `base_url` does not say how we are reached."""
        base = self._config.base_url.rstrip("/")
        return base and f"{base}/trackflow/hooks/{namespace}"

    # -- secrets -----------------------------------------------------------------------------

    def secrets(self, store: SqlStore, namespace: str) -> Secrets:
        """What is stored of a connector's secrets; those of the environment are not among them."""
        held = store.connector_secrets(namespace)
        stored = json.loads(keys.decrypt(held, self._config.secrets)) if held else {}
        return Secrets(stored.get("options", {}), stored.get(SIGNING, ()))

    def save(self, store: SqlStore, configured: Configured, secrets: Secrets) -> None:
        """Keep a connector with the secrets to be stored.

        Raises ConfigError when its options are wrong, or there is no secret to encrypt with.
        """
        if not _INSTANCE.match(configured.instance):
            raise ConfigError(
                f"{configured.instance!r:.80} is no name for a connector: use lower-case letters, "
                "digits and dashes."
            )
        self.connect(configured, secrets)
        kept = {"options": dict(secrets.options), SIGNING: [*secrets.signing]}
        store.save_connector(configured, self._encrypted(kept) if any(kept.values()) else "")

    def _encrypted(self, kept: Mapping[str, Any]) -> str:
        # Without the installation's secret this says how to set one.
        _ = self._config.visitor_keys
        return keys.encrypt(json.dumps(kept), self._config.secrets)

    def _from_environment(self, namespace: str) -> dict[str, str]:
        secret = (item.name for item in self.options(namespace.partition("/")[0]) if item.secret)
        found = self._config.connector_secrets
        variables = {name: variable(namespace, name) for name in (*secret, SIGNING)}
        return {name: found[item] for name, item in variables.items() if item in found}

    # -- connecting --------------------------------------------------------------------------

    def open(self, store: SqlStore, configured: Configured) -> Connection:
        """The connection of a connector that is kept. Raises ConfigError when it cannot be made."""
        return self.connect(configured, self.secrets(store, configured.namespace))

    def named(self, store: SqlStore, namespace: str) -> Connection:
        """The connection of the connector of this name. Raises ConfigError when there is none."""
        configured = store.connector(namespace)
        if configured is None:
            raise ConfigError(f"There is no connector {namespace!r}: add it first.")
        return self.open(store, configured)

    def connect(self, configured: Configured, secrets: Secrets) -> Connection:
        """The connection of these settings and secrets; nothing is asked of the CRM. What the
        environment says of its secrets goes before what is stored.

        Raises ConfigError when an option is missing or wrong.
        """
        kind = self.kind(configured.connector)
        namespace = configured.namespace
        environment = self._from_environment(namespace)
        signing = (*filter(None, [environment.pop(SIGNING, "")]), *secrets.signing)
        if not isinstance(kind, RemoteConnector):
            return _Plain(kind, namespace, signing)
        given = {**configured.settings, **secrets.options, **environment}
        instance = Instance(namespace, self.webhook_url(namespace), signing)
        return kind.connect(configure(kind.options, given), instance)


class _Plain:
    """The connection of a connector that only maps, and verifies where its CRM calls us."""

    def __init__(self, kind: Connector, namespace: str, secrets: Sequence[str]) -> None:
        self._kind, self._namespace, self._secrets = kind, namespace, secrets

    def check(self) -> Sequence[Finding]:
        """Whether a secret is known; there is nobody to ask."""
        if not isinstance(self._kind, WebhookConnector):
            return (Finding("It maps what a host hands to it."),)
        return (
            Finding(
                f"Signing secrets known: {len(self._secrets)}.",
                bool(self._secrets),
                "Make one and give it to the sender, or enter the sender's.",
            ),
        )

    def verify(self, request: IncomingRequest, now: datetime) -> Delivery:
        """The delivery in a request, by the connector itself."""
        if not isinstance(self._kind, WebhookConnector):
            raise ConfigError(f"{self._kind.title} sends no webhooks.")
        return self._kind.verify(request, self._secrets, now)

    def map_events(self, payload: Mapping[str, Any]) -> Sequence[Event]:
        """The leads and deals of a payload."""
        return self._kind.map_events(payload, self._namespace)


def polling(connection: Connection) -> Polling:
    """`connection` as one that is polled; raises ConfigError when it cannot be."""
    if not isinstance(connection, Polling):
        raise ConfigError("This connector is not polled: its CRM calls us.")
    return connection


def provisioning(connection: Connection) -> Provisioning:
    """`connection` as one whose CRM can be prepared; raises ConfigError when it cannot."""
    if not isinstance(connection, Provisioning):
        raise ConfigError("There is nothing to prepare in the CRM of this connector.")
    return connection


def writing_back(connection: Connection) -> WritingBack:
    """`connection` as one that writes back; raises ConfigError when it cannot."""
    if not isinstance(connection, WritingBack):
        raise ConfigError("This connector writes nothing back.")
    return connection


def variable(namespace: str, option: str) -> str:
    """The variable of the environment that a secret of a connector may be in."""
    name = "".join(letter if letter.isalnum() else "_" for letter in namespace)
    return f"{CONNECTOR}_{name}_{option}".upper()
