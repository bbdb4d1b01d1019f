"""What a website's tracker tells: page views and events, from a request to clicks.

The body of `POST /trackflow/collect` is a JSON object: `events`, up to 50, each with `id` (32
hexadecimal digits), `type`, `url`, `referrer`, `age` (milliseconds since it happened) and `data`;
`consent` ("granted", "denied", "unknown"); `to`, an address of our own to carry the visitor to.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from trackflow_core.errors import InvalidEvent
from trackflow_core.model import CLICK, Click, Tier
from trackflow_core.tracking import identity
from trackflow_core.tracking.consent import Consent
from trackflow_core.tracking.urls import safe_destination

MAX_BODY = 64 * 1024
"""The longest body, in bytes, that a host should read."""

MAX_EVENTS = 50
OPEN = "email_open"
"""The event of a mail's pixel."""

_OLDEST = timedelta(days=2)
_ID = re.compile(r"[0-9a-f]{32}")
_MAX_URL = 2048


@dataclass(frozen=True, slots=True)
class Told:
    """One body, decoded; `events` are checked when clicks are made of them."""

    events: tuple[Mapping[str, Any], ...] = ()
    consent: Consent = Consent.UNKNOWN
    to: str = ""

    @property
    def page(self) -> str:
        """The page of the first event, by which the visitor may have come over from another site
        of ours; "" without one."""
        url = self.events[0].get("url") if self.events else ""
        return url if isinstance(url, str) else ""


@dataclass(frozen=True, slots=True)
class Observed:
    """What the host saw of a request; as in `Click`."""

    now: datetime
    visitor_id: str | None = None
    tier: Tier = Tier.AGGREGATE
    ip: str = ""
    user_agent: str = ""
    internal: bool = False


def read(body: bytes) -> Told:
    """Decode a body.

    Raises InvalidEvent, naming what is wrong.
    """
    if len(body) > MAX_BODY:
        raise InvalidEvent(f"The body has {len(body)} bytes: send {MAX_BODY} at most.")
    try:
        told = json.loads(body)
    except (ValueError, RecursionError):
        raise InvalidEvent("The body is no JSON.") from None
    events = told.get("events", []) if isinstance(told, dict) else None
    if not isinstance(events, list) or not all(isinstance(event, dict) for event in events):
        raise InvalidEvent("The body is no object with a list of objects as 'events'.")
    if len(events) > MAX_EVENTS:
        raise InvalidEvent(f"There are {len(events)} events: send {MAX_EVENTS} at most.")
    to = told.get("to", "")
    try:
        consent = Consent(told.get("consent", "unknown"))
    except ValueError:
        raise InvalidEvent("'consent' is none of granted, denied, unknown.") from None
    return Told(tuple(events), consent, to if isinstance(to, str) else "")


def clicks(told: Told, seen: Observed) -> tuple[Sequence[Click], Sequence[str]]:
    """The events as facts, and in words what is wrong with those that cannot be taken. `age`
    reaches back two days at most."""
    taken: list[Click] = []
    problems: list[str] = []
    for number, event in enumerate(told.events, 1):
        try:
            taken.append(_click(event, seen))
        except InvalidEvent as error:
            problems.append(f"Event {number}: {error}")
    return taken, problems


def _click(event: Mapping[str, Any], seen: Observed) -> Click:
    event_id, kind, url = (event.get(name) for name in ("id", "type", "url"))
    age, data = event.get("age", 0), event.get("data")
    if not isinstance(event_id, str) or not _ID.fullmatch(event_id):
        raise InvalidEvent("'id' is not 32 hexadecimal digits.")
    if not isinstance(kind, str) or kind == CLICK:
        raise InvalidEvent("'type' is missing, or is 'click', which links tell.")
    if not isinstance(url, str) or len(url) > _MAX_URL:
        raise InvalidEvent(f"'url' is missing or longer than {_MAX_URL}.")
    if not isinstance(age, int | float) or not 0 <= age < float("inf"):
        raise InvalidEvent("'age' is no number of milliseconds.")
    if data is not None and not isinstance(data, dict):
        raise InvalidEvent("'data' is no object.")
    came_from = event.get("referrer", "")
    referrer = identity.without_visitor(came_from) if isinstance(came_from, str) else ""
    return Click(
        event_id=event_id,
        occurred_at=seen.now - min(timedelta(milliseconds=min(age, 1e12)), _OLDEST),
        link_code="",
        destination=identity.without_visitor(safe_destination(url).replace("\0", "")),
        visitor_id=seen.visitor_id,
        ip=seen.ip,
        user_agent=seen.user_agent,
        referrer=referrer[:_MAX_URL].replace("\0", ""),
        internal=seen.internal,
        tier=seen.tier,
        kind=kind,
        data=json.dumps(data, ensure_ascii=False).replace("\\u0000", "") if data else "",
    )


def opened(event_id: str, url: str, seen: Observed) -> Click:
    """The event that a mail's pixel at `url` was fetched: counted by the UTM parameters of `url`,
    and of no visitor, because mail programs fetch pixels on their own."""
    return Click(
        event_id=event_id,
        occurred_at=seen.now,
        link_code="",
        destination=url[:_MAX_URL],
        user_agent=seen.user_agent,
        internal=seen.internal,
        tier=Tier.NONE if seen.tier is Tier.NONE else Tier.AGGREGATE,
        kind=OPEN,
    )


def answer(
    told: Told,
    visitor_id: str | None,
    keys: Sequence[str],
    now: datetime,
    domains: Collection[str] = (),
    problems: Sequence[str] = (),
) -> dict[str, Any]:
    """What the tracker is answered: a `token` for forms, `to` with a crossing where it leads to one
    of our `domains`, both for a known visitor only; and the `problems` as `errors`."""
    errors = {"errors": list(problems)} if problems else {}
    if visitor_id is None:
        return errors
    found: dict[str, Any] = errors | {"token": identity.issue_token(visitor_id, keys, now)}
    if told.to:
        found["to"] = identity.cross(told.to, visitor_id, keys, now, domains)
    return found


def may_call(origin: str, host: str, domains: Collection[str]) -> bool:
    """Whether a page of `origin` (the header, "" where none was sent) may tell the host `host`
    anything: pages of that host itself and of our own `domains` with their subdomains."""
    if not origin:
        return True
    try:
        name = (urlsplit(origin).hostname or "").lower()
    except ValueError:
        return False
    own = {host.partition(":")[0].lower(), *(domain.lower() for domain in domains)}
    return bool(name) and any(f".{name}".endswith(f".{domain}") for domain in own if domain)
