"""Short ways to build facts in tests; every default is valid."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

from trackflow_core.model import PAGE_VIEW, Click, Deal, Lead, Link, Touch

START = datetime(2026, 3, 2, 9, 0, tzinfo=timezone.utc)
"""A Monday morning; `days` and `minutes` below count from here."""

BROWSER = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/126.0.0.0 Safari/537.36"
)
ANNA, BEN = "a" * 32, "b" * 32
LINKS = (
    Link("adsGogl", "https://shop.example/offer", "google", "cpc", "spring"),
    Link("mailNws", "https://shop.example/news", "newsletter", "email", "spring"),
    Link("postFbk", "https://shop.example/story", "facebook", "social", "brand"),
)


def at(days: float = 0, minutes: float = 0) -> datetime:
    """`START` plus so many days and minutes."""
    return START + timedelta(days=days, minutes=minutes)


def click(event_id: str, days: float, code: str = "adsGogl", **changes: Any) -> Click:
    """A person's click on one of `LINKS`, by the visitor `ANNA`."""
    values: dict[str, Any] = {
        "event_id": event_id,
        "occurred_at": at(days),
        "link_code": code,
        "destination": "https://shop.example/offer",
        "visitor_id": ANNA,
        "user_agent": BROWSER,
    }
    return Click(**{**values, **changes})


def page_view(event_id: str, days: float, minutes: float = 0, **changes: Any) -> Click:
    """A page that `ANNA` looked at, as the tracker tells it."""
    values: dict[str, Any] = {
        "occurred_at": at(days, minutes),
        "link_code": "",
        "destination": "https://shop.example/prices",
        "kind": PAGE_VIEW,
    }
    return click(event_id, days, **{**values, **changes})


def lead(ref: str = "crm/lead-1", days: float = 10, **changes: Any) -> Lead:
    """A lead of `ANNA`."""
    values: dict[str, Any] = {
        "ref": ref,
        "event_id": f"{ref}@{days}",
        "occurred_at": at(days),
        "visitor_ids": frozenset({ANNA}),
        "name": "Anna asks",
    }
    return Lead(**{**values, **changes})


def deal(ref: str = "crm/deal-1", days: float = 12, value: int = 10_000, **changes: Any) -> Deal:
    """An open deal of 100.00 EUR from the lead above."""
    values: dict[str, Any] = {
        "ref": ref,
        "event_id": f"{ref}@{days}",
        "occurred_at": at(days),
        "value": value,
        "currency": "EUR",
        "lead_ref": "crm/lead-1",
        "created_at": at(12),
    }
    return Deal(**{**values, **changes})


def touch(touch_id: str, days: float, channel: str = "Paid Search", **changes: Any) -> Touch:
    """A touch so many days after `START`."""
    return Touch(**{"id": touch_id, "occurred_at": at(days), "channel": channel, **changes})
