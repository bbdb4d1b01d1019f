"""What the dashboard shows of connectors: how each stands, and each event from receipt to credit."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

from trackflow_core.connectors import RemoteConnector
from trackflow_core.hooks import Hooks
from trackflow_core.options import options_of
from trackflow_core.outbox import CONNECTOR
from trackflow_server.store import SqlStore
from trackflow_server.store.connectors import FAILED, WAITING, Configured, ToldFact
from trackflow_server.store.outbox import DEAD, SENT, SqlOutbox

_LISTED = 50


def overview(store: SqlStore, hooks: Hooks) -> Mapping[str, Any]:
    """All connectors with their counts."""
    events, messages = store.count_events(), SqlOutbox(lambda: store).counts()
    return {
        "rows": [
            {
                "told": item,
                "title": _title(item, hooks),
                "state": _state(item),
                "events": events.get(item.namespace, {}),
                "messages": messages.get(f"{CONNECTOR}/{item.namespace}", {}),
            }
            for item in store.connectors()
        ]
    }


def one(store: SqlStore, hooks: Hooks, namespace: str) -> Mapping[str, Any] | None:
    """One connector with its failures, its last facts and its write-backs."""
    item = store.connector(namespace)
    if item is None:
        return None
    outbox, target = SqlOutbox(lambda: store), f"{CONNECTOR}/{namespace}"
    return {
        "told": item,
        "title": _title(item, hooks),
        "state": _state(item),
        "settings": _settings(item, hooks),
        "events": store.count_events().get(namespace, {}),
        "failures": store.events(namespace, _LISTED, FAILED),
        "received": store.events(namespace, _LISTED),
        "facts": _named(store, store.facts_of_connector(namespace, _LISTED)),
        "messages": outbox.messages(target, _LISTED),
        "counts": outbox.counts().get(target, {}),
    }


def event(store: SqlStore, namespace: str, place: int) -> Mapping[str, Any] | None:
    """One event with its payload and what came of it."""
    found = store.event(namespace, place)
    if found is None:
        return None
    payload = json.dumps(found.payload, indent=2, ensure_ascii=False, sort_keys=True)
    facts = _named(store, store.facts_of_event(place))
    return {"event": found, "payload": payload, "facts": facts, "namespace": namespace}


def told_of_deal(store: SqlStore, deal_ref: str, lead_ref: str) -> Sequence[Mapping[str, Any]]:
    """What CRMs told of a deal and the lead that it came from, newest first."""
    refs = {ref for ref in (deal_ref, lead_ref) if ref}
    return _named(store, store.facts_of_refs(refs)[:_LISTED])


def act(store: SqlStore, namespace: str, action: str, number: str) -> bool:
    """Do what a button says; whether there is such a connector and such an action."""
    if store.connector(namespace) is None:
        return False
    if action == "poll":
        store.poll_soon(namespace, datetime.now(timezone.utc))
    elif action == "retry":
        if number and not number.isdecimal():
            return False
        store.retry_events(namespace, int(number) if number else None)
    elif action == "write" and number:
        SqlOutbox(lambda: store).retry(number)
    else:
        return False
    return True


def _title(item: Configured, hooks: Hooks) -> str:
    kind = hooks.connectors.get(item.connector)
    return kind.title if kind else f"{item.connector} (not installed)"


def _state(item: Configured) -> str:
    if not item.enabled:
        return "disabled"
    return "problem" if item.problem else "good"


def _settings(item: Configured, hooks: Hooks) -> Sequence[tuple[str, Any]]:
    """The options that were given, by their titles; none is a secret, which are not read here."""
    kind = hooks.connectors.get(item.connector)
    options = options_of(kind.options) if isinstance(kind, RemoteConnector) else ()
    titles = {option.name: option.title for option in options}
    return [(titles.get(name, name), value) for name, value in item.settings.items()]


def _named(store: SqlStore, facts: Sequence[ToldFact]) -> Sequence[Mapping[str, Any]]:
    """Facts with the names of their records, and the deals that came of a lead."""
    leads = {fact.ref for fact in facts if fact.kind == "lead"}
    deals = {fact.ref for fact in facts if fact.kind == "deal"}
    names = {("lead", item.ref): item.name or item.contact_name for item in store.leads(leads)}
    names |= {("deal", item.ref): item.name for item in store.deals(deals)}
    of_leads: dict[str, list[str]] = {}
    for deal in store.deals_of_leads(leads) if leads else ():
        of_leads.setdefault(deal.lead_ref, []).append(deal.ref)
    return [
        {
            "fact": fact,
            "name": names.get((fact.kind, fact.ref), ""),
            "deals": [fact.ref] if fact.kind == "deal" else sorted(of_leads.get(fact.ref, ())),
        }
        for fact in facts
    ]


WORDS = {
    WAITING: "waiting",
    FAILED: "failed",
    SENT: "written",
    DEAD: "given up",
    "done": "taken in",
}
