"""Connectors with their secrets and cursors, what their CRMs told, and what became of it."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

from sqlalchemy import delete, func, select, update

from trackflow_core.connectors import Page
from trackflow_core.model import Lead
from trackflow_core.ports import Event
from trackflow_server.store.base import BaseStore
from trackflow_server.store.prepared import Prepared
from trackflow_server.store.schema import (
    connector,
    connector_event,
    connector_fact,
    connector_secret,
)

REVISION = "connector"
WEBHOOK, POLL = "webhook", "poll"
WAITING, DONE, FAILED = "waiting", "done", "failed"
_WRITES_BACK = Prepared(
    select(connector.c.namespace)
    .where(connector.c.enabled, connector.c.writes_back)
    .order_by(connector.c.namespace)
)


@dataclass(frozen=True, slots=True)
class Configured:
    """A connector as people set it up, and how its polling stands.

    `namespace` is "connector/instance". `settings` are its options without the secret ones.
    `due_at` is None where nothing is polled; `attempts` counts the polls that failed since the last
    good one, `problem` says why.
    """

    namespace: str
    settings: Mapping[str, Any]
    enabled: bool = True
    writes_back: bool = False
    poll_minutes: int = 5
    cursor: str = ""
    polled_at: datetime | None = None
    due_at: datetime | None = None
    attempts: int = 0
    problem: str = ""

    @property
    def connector(self) -> str:
        """The kind's name."""
        return self.namespace.partition("/")[0]

    @property
    def instance(self) -> str:
        """What tells this one from others of its kind."""
        return self.namespace.partition("/")[2]


@dataclass(frozen=True, slots=True)
class Received:
    """Something that a CRM told; `place` is 0 before it is kept.

    `state` is waiting, done or failed, the last with a `reason` in words.
    """

    namespace: str
    event_id: str
    received_at: datetime
    payload: Mapping[str, Any] = field(repr=False)
    via: str = WEBHOOK
    place: int = 0
    state: str = WAITING
    reason: str = ""
    attempts: int = 0
    settled_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class ToldFact:
    """A state of a lead or deal (`kind`) that a CRM told; `event` is the place of the `Received`
    that it came with, None where it was polled."""

    ref: str
    event_id: str
    kind: str
    occurred_at: datetime
    received_at: datetime
    event: int | None = None


class ConnectorStore(BaseStore):
    """The part of the store that keeps connectors and what they received."""

    # -- what people set up ------------------------------------------------------------------

    def save_connector(self, configured: Configured, secrets: str) -> None:
        """Keep a connector's settings, with its encrypted `secrets`; where it is known already its
        cursor stays."""
        values = {
            "namespace": configured.namespace,
            "settings": dict(configured.settings),
            "enabled": configured.enabled,
            "writes_back": configured.writes_back,
            "poll_minutes": configured.poll_minutes,
            "due_at": configured.due_at,
            "attempts": 0,
            "problem": "",
        }
        self._put(connector, [values])
        self._put(connector_secret, [{"namespace": configured.namespace, "secrets": secrets}])
        self.count_change(REVISION)

    def remove_connector(self, namespace: str) -> None:
        """Forget a connector, its secrets and what it received; leads and deals stay."""
        for table in (connector, connector_secret, connector_event, connector_fact):
            self.connection.execute(delete(table).where(table.c.namespace == namespace))
        self.count_change(REVISION)

    def connectors(self) -> Sequence[Configured]:
        """All connectors by name."""
        return [Configured(**row) for row in self.rows(select(connector).order_by("namespace"))]

    def connector(self, namespace: str) -> Configured | None:
        """The connector of this name."""
        found = self.rows(select(connector).where(connector.c.namespace == namespace))
        return Configured(**found[0]) if found else None

    def connectors_that_write_back(self) -> Sequence[str]:
        """The names of the connectors whose CRMs get attribution, in order."""
        return [row["namespace"] for row in _WRITES_BACK.rows(self.connection)]

    def stop_writing_back(self, namespace: str, reason: str) -> None:
        """Write nothing back until a person switches it on again."""
        self._change_connector(namespace, writes_back=False, problem=reason)

    def connector_secrets(self, namespace: str) -> str:
        """The encrypted secrets of a connector, "" where there are none."""
        query = select(connector_secret.c.secrets).where(connector_secret.c.namespace == namespace)
        return self.connection.scalar(query) or ""

    def connectors_revision(self) -> int:
        """A number that grows when a connector is added, changed or removed."""
        return self.revision_of(REVISION)

    # -- polling -----------------------------------------------------------------------------

    def claim_poll(self, now: datetime, until: datetime) -> Configured | None:
        """The connector whose poll has been due longest; nobody else gets it before `until`."""
        query = (
            select(connector)
            .where(connector.c.enabled, connector.c.due_at <= now)
            .order_by(connector.c.due_at, connector.c.namespace)
            .limit(1)
        )
        found = self.rows(query)
        if not found:
            return None
        self._change_connector(found[0]["namespace"], due_at=until)
        return Configured(**found[0])

    def keep_page(self, polled: Configured, page: Page, now: datetime) -> bool:
        """Go on behind `page`, and set aside what is wrong with it; False, with nothing changed,
        where somebody else has polled meanwhile."""
        held = self.connector(polled.namespace)
        if held is None or held.cursor != polled.cursor:
            return False
        self.receive(
            [
                Received(
                    polled.namespace,
                    f"{item.ref} {_digest(item.payload)}",
                    now,
                    item.payload,
                    POLL,
                    state=FAILED,
                    reason=item.reason,
                )
                for item in page.rejected
            ]
        )
        wait = timedelta(0) if page.more else timedelta(minutes=polled.poll_minutes)
        due_at = held.due_at
        # What is due by now was asked for by a hint while this page was read.
        if due_at is not None and due_at > now:
            due_at = now + wait
        self._change_connector(
            polled.namespace,
            cursor=page.cursor,
            due_at=due_at,
            polled_at=held.polled_at if page.more else now,
            attempts=0,
            problem="",
        )
        return True

    def fail_poll(self, polled: Configured, reason: str, due_at: datetime) -> None:
        """Say why a poll failed, and when to try again."""
        self._change_connector(
            polled.namespace, problem=reason, attempts=polled.attempts + 1, due_at=due_at
        )

    def poll_soon(self, namespace: str, now: datetime) -> None:
        """Ask this CRM next, because something changed there."""
        self.connection.execute(
            update(connector)
            .where(connector.c.namespace == namespace, connector.c.due_at > now)
            .values(due_at=now)
        )

    def _change_connector(self, namespace: str, **values: Any) -> None:
        self.connection.execute(
            update(connector).where(connector.c.namespace == namespace).values(**values)
        )

    # -- what was told -----------------------------------------------------------------------

    def receive(self, told: Collection[Received]) -> None:
        """Keep what CRMs told; what is kept already changes nothing."""
        self.add(
            connector_event,
            [
                {
                    "namespace": item.namespace,
                    "event_id": item.event_id,
                    "received_at": item.received_at,
                    "via": item.via,
                    "payload": json.dumps(item.payload, sort_keys=True),
                    "state": item.state,
                    "reason": item.reason,
                    "settled_at": item.received_at if item.state != WAITING else None,
                }
                for item in told
            ],
        )

    def waiting_events(self, limit: int) -> Sequence[Received]:
        """Up to `limit` events that wait, oldest first."""
        query = select(connector_event).where(connector_event.c.state == WAITING)
        found = self.rows(query.order_by(connector_event.c.place).limit(limit))
        return [_received(row) for row in found]

    def settle_event(self, event: Received, now: datetime, reason: str = "") -> None:
        """An event is done, or has failed for a `reason`."""
        self.connection.execute(
            update(connector_event)
            .where(connector_event.c.place == event.place)
            .values(
                state=FAILED if reason else DONE,
                reason=reason,
                attempts=event.attempts + 1,
                settled_at=now,
            )
        )

    def retry_events(self, namespace: str, place: int | None = None) -> Sequence[int]:
        """Let failed events of a connector, or the one at `place`, wait again; their places."""
        wanted = [connector_event.c.namespace == namespace, connector_event.c.state == FAILED]
        if place is not None:
            wanted.append(connector_event.c.place == place)
        changed = update(connector_event).where(*wanted).values(state=WAITING)
        return [*self.connection.scalars(changed.returning(connector_event.c.place))]

    def forget_events(self, before: datetime) -> int:
        """Drop events that were done before this time, which hold personal data; how many."""
        done = connector_event.c.state == DONE, connector_event.c.settled_at < before
        return self.connection.execute(delete(connector_event).where(*done)).rowcount

    def events(self, namespace: str, limit: int, state: str = "") -> Sequence[Received]:
        """The newest events of a connector, only those in `state` where given."""
        query = select(connector_event).where(connector_event.c.namespace == namespace)
        if state:
            query = query.where(connector_event.c.state == state)
        found = self.rows(query.order_by(connector_event.c.place.desc()).limit(limit))
        return [_received(row) for row in found]

    def event(self, namespace: str, place: int) -> Received | None:
        """One event of a connector."""
        query = select(connector_event).where(
            connector_event.c.namespace == namespace, connector_event.c.place == place
        )
        found = self.rows(query)
        return _received(found[0]) if found else None

    def count_events(self) -> Mapping[str, Mapping[str, int]]:
        """How many events each connector has, by state."""
        query = select(connector_event.c.namespace, connector_event.c.state, func.count()).group_by(
            connector_event.c.namespace, connector_event.c.state
        )
        counted: dict[str, dict[str, int]] = {}
        for namespace, state, number in self.connection.execute(query):
            counted.setdefault(namespace, {})[state] = number
        return counted

    # -- from receipt to credit --------------------------------------------------------------

    def keep_facts(
        self, namespace: str, events: Collection[Event], now: datetime, place: int | None = None
    ) -> None:
        """Remember where these facts came from."""
        self.add(
            connector_fact,
            [
                {
                    "ref": item.ref,
                    "event_id": item.event_id,
                    "namespace": namespace,
                    "kind": "lead" if isinstance(item, Lead) else "deal",
                    "occurred_at": item.occurred_at,
                    "received_at": now,
                    "event": place,
                }
                for item in events
            ],
        )

    def facts_of_event(self, place: int) -> Sequence[ToldFact]:
        """The facts that came with an event."""
        return self._facts(connector_fact.c.event == place, 1000)

    def facts_of_refs(self, refs: Collection[str]) -> Sequence[ToldFact]:
        """Everything that was told of some leads and deals, newest first."""
        return self._facts(self.among(connector_fact.c.ref, refs), 1000)

    def facts_of_connector(self, namespace: str, limit: int) -> Sequence[ToldFact]:
        """The facts that a connector told last."""
        return self._facts(connector_fact.c.namespace == namespace, limit)

    def _facts(self, condition: Any, limit: int) -> Sequence[ToldFact]:
        names = ("ref", "event_id", "kind", "occurred_at", "received_at", "event")
        columns = [connector_fact.c[name] for name in names]
        order = connector_fact.c.received_at.desc(), connector_fact.c.occurred_at.desc()
        query = select(*columns).where(condition).order_by(*order, connector_fact.c.ref)
        return [ToldFact(**row) for row in self.rows(query.limit(limit))]


def _digest(payload: Mapping[str, Any]) -> str:
    return sha256(json.dumps(payload, sort_keys=True).encode()).hexdigest()[:16]


def _received(row: Mapping[str, Any]) -> Received:
    return Received(**{**row, "payload": json.loads(row["payload"])})
