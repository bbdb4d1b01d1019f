"""Facts as JSON: how they lie in the spool and travel from an edge to its upstream."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from trackflow_core.model import Click, Tier


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


def click_of(fact: Mapping[str, Any]) -> Click:
    """The inverse of `of_click`."""
    moment = datetime.fromisoformat(fact["occurred_at"])
    return Click(**{**fact, "occurred_at": moment, "tier": Tier(fact["tier"])})
