"""What a website's tracker tells and is answered, whoever serves the request."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from trackflow_core import tracker
from trackflow_core.errors import InvalidEvent
from trackflow_core.model import Click, Tier
from trackflow_core.tracking import collect, consent, identity

from .privacy import Hit

SCRIPT_HEADERS = [
    ("Content-Type", "text/javascript; charset=utf-8"),
    ("Cache-Control", "public, max-age=3600"),
    ("ETag", tracker.etag()),
    ("X-Content-Type-Options", "nosniff"),
]


@dataclass(frozen=True, slots=True)
class Reply:
    """What the page is answered, as JSON of `data`.

    `origin` is the site that may read it, `visitor_id` is to be remembered by a cookie, and
    `events` are to be queued.
    """

    status: int
    data: dict[str, Any]
    origin: str = ""
    visitor_id: str | None = None
    events: list[Click] = field(default_factory=list)

    @property
    def headers(self) -> list[tuple[str, str]]:
        headers = [
            ("Content-Type", "application/json"),
            ("Cache-Control", "no-store"),
            ("Vary", "Origin"),
        ]
        if self.origin:
            headers += [
                ("Access-Control-Allow-Origin", self.origin),
                ("Access-Control-Allow-Credentials", "true"),
                ("Access-Control-Allow-Headers", "Content-Type"),
            ]
        return headers


def reply(hit: Hit, domains: frozenset[str], now: datetime) -> Reply:
    """The answer to a page of one of `domains`; the caller queues its events."""
    origin = hit.http.headers.get("Origin", "")
    if not collect.may_call(origin, hit.http.host, domains):
        return Reply(403, {"error": "This site may not tell anything here."})
    if hit.http.method == "OPTIONS":
        return Reply(200, {}, origin)
    if (hit.http.content_length or 0) > collect.MAX_BODY:
        return Reply(413, {"error": "The body is too long."}, origin)
    try:
        told = collect.read(hit.http.get_data())
        seen = _observe(hit, told, now, domains)
    except InvalidEvent as error:
        return Reply(400, {"error": str(error)}, origin)
    clicks, problems = collect.clicks(told, seen)
    events = [left for click in clicks if (left := consent.limit(click)) is not None]
    known = None if seen.internal else seen.visitor_id
    answer = collect.answer(told, known, hit.keys, now, domains, problems)
    return Reply(200, answer, origin, seen.visitor_id, events)


def _observe(hit, told, now, domains):
    """Who tells this, as far as consent allows to know."""
    internal, tier = hit.internal, hit.tier
    if told.consent is consent.Consent.DENIED and tier is not Tier.NONE:
        tier = Tier.AGGREGATE
    visitor_id = None
    if tier is Tier.FULL and not internal:
        arrived = identity.read_crossing(told.page, hit.keys, now, domains)
        visitor_id = hit.known_visitor or arrived or identity.new_visitor_id()
    return collect.Observed(
        now=now,
        visitor_id=visitor_id,
        tier=tier,
        ip=hit.address,
        user_agent=hit.header("User-Agent"),
        internal=internal,
    )
