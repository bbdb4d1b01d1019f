"""Facts as JSON: how they lie in the spool and travel from an edge to its upstream."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from trackflow_core.model import Click, Tier
from trackflow_core.tracking import consent
from trackflow_server.store.connectors import Received


def of_click(click: Click) -> dict[str, Any]:
    """A click as plain JSON values."""
    return {
        "event_id": click.event_id,
        "occurred_at": click.occurred_at.isoformat(),
        "link_code": click.link_code,
        "destination": click.destination,
        "visitor_id": click.visitor_id,
        "ip": click.ip,
        "user_agent": click.user_agent,
        "referrer": click.referrer,
        "internal": click.internal,
        "prefetch": click.prefetch,
        "tier": click.tier.value,
        "kind": click.kind,
        "data": click.data,
    }


def limited(fact: Mapping[str, Any]) -> dict[str, Any] | None:
    """What the tier of a click allows to keep of it; None for nothing."""
    kept = consent.limit(click_of(fact))
    return of_click(kept) if kept else None


def click_of(fact: Mapping[str, Any]) -> Click:
    """The inverse of `of_click`."""
    moment = datetime.fromisoformat(fact["occurred_at"])
    return Click(**{**fact, "occurred_at": moment, "tier": Tier(fact["tier"])})


def of_received(received: Received) -> dict[str, Any]:
    """What a CRM told, as plain JSON values."""
    return {
        "namespace": received.namespace,
        "event_id": received.event_id,
        "received_at": received.received_at.isoformat(),
        "payload": received.payload,
    }


def is_received(fact: Mapping[str, Any]) -> bool:
    """Whether a fact is `of_received`, otherwise it is `of_click`."""
    return "namespace" in fact


def received_of(fact: Mapping[str, Any]) -> Received:
    """The inverse of `of_received`."""
    return Received(**{**fact, "received_at": datetime.fromisoformat(fact["received_at"])})
