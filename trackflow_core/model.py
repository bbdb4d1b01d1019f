"""The frozen facts that cross a boundary between host, engine, store and plugins.

All datetimes are aware; naive ones raise `InvalidEvent`. All money is an integer in the
currency's minor unit (cents for EUR, yen for JPY, fils for KWD).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta, timezone
from enum import Enum
from hashlib import sha256
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from trackflow_core.errors import ConfigError, InvalidEvent

UNATTRIBUTED = "Unattributed"


class Verdict(str, Enum):
    """Who is behind a hit, judged from its user agent and request."""

    HUMAN = "human"
    BOT = "bot"
    PREVIEW = "preview"
    UNKNOWN = "unknown"


class DealStatus(str, Enum):
    """Where a deal stands in its CRM."""

    OPEN = "open"
    WON = "won"
    LOST = "lost"


class Tier(str, Enum):
    """How much may be kept of a person, from most to least.

    `full`: everything, under an id that lasts. `session`: everything, under an id that ends with
    the visit. `aggregate`: a count without a visitor. `none`: nothing.
    """

    FULL = "full"
    SESSION = "session"
    AGGREGATE = "aggregate"
    NONE = "none"


def _utc(owner: str, name: str, moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise InvalidEvent(f"{owner}.{name} has no time zone: pass an aware datetime.")
    # Most are of touches that a host reads by the thousand.
    return moment if moment.tzinfo is timezone.utc else moment.astimezone(timezone.utc)


def zone_named(name: str) -> ZoneInfo:
    """The time zone of an IANA name such as "Europe/Berlin".

    Raises ConfigError when there is none of that name.
    """
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ConfigError(
            f"There is no time zone {name!r}: use a name such as 'Europe/Berlin'."
        ) from None


@dataclass(frozen=True, slots=True)
class Agent:
    """What a user agent tells of its owner: `reason` says in words why `verdict` was given."""

    verdict: Verdict
    reason: str
    device: str = ""
    browser: str = ""
    os: str = ""


@dataclass(frozen=True, slots=True)
class Source:
    """Where a visit came from, in the field's terms; `channel` is the default channel group."""

    source: str = ""
    medium: str = ""
    campaign: str = ""
    channel: str = "Direct"
    content: str = ""
    term: str = ""


class LinkStatus(str, Enum):
    """Whether a link leads anywhere: a paused one may come back, an archived one is history."""

    ACTIVE = "active"
    PAUSED = "paused"
    ARCHIVED = "archived"


@dataclass(frozen=True, slots=True)
class Variant:
    """One side of an A/B test: it gets `weight` parts of all clicks; 0 switches it off."""

    name: str
    destination: str
    weight: int = 1


@dataclass(frozen=True, slots=True)
class LinkRule:
    """Sends the clicks that meet all of its conditions to `destination`; an empty one is met.

    `device` is an `Agent.device`. `language` is a tag such as "de" or "de-AT". `countries` are in
    two letters. `query` are parameters of the request with their values, "" for any value. `since`
    and `until` are days in the link's zone, both included.
    """

    destination: str
    device: str = ""
    language: str = ""
    countries: frozenset[str] = frozenset()
    query: tuple[tuple[str, str], ...] = ()
    since: date | None = None
    until: date | None = None


@dataclass(frozen=True, slots=True)
class Link:
    """A marketer's tracked link as the redirect and the click's classification need it.

    It leads somewhere from `starts` to `ends`. A moment is exact (`ends` not included); a day lasts
    from its midnight to the next in `zone`, so that a link that ends today works all day. Outside
    of that, clicks go to `fallback`, where there is one. `language` is that of `destination`.

    Raises ConfigError on a zone that does not exist or a negative weight, InvalidEvent on a moment
    without a time zone.
    """

    code: str
    destination: str
    source: str = ""
    medium: str = ""
    campaign: str = ""
    content: str = ""
    term: str = ""
    status: LinkStatus = LinkStatus.ACTIVE
    starts: date | None = None
    ends: date | None = None
    zone: str = "UTC"
    fallback: str = ""
    language: str = ""
    variants: tuple[Variant, ...] = ()
    rules: tuple[LinkRule, ...] = ()

    def __post_init__(self) -> None:
        for name in ("starts", "ends"):
            moment = getattr(self, name)
            if isinstance(moment, datetime):
                object.__setattr__(self, name, _utc("Link", name, moment))
        zone_named(self.zone)
        for variant in self.variants:
            if variant.weight < 0:
                raise ConfigError(
                    f"The variant {variant.name!r} of the link {self.code!r} has the weight "
                    f"{variant.weight}; use zero or more."
                )


CLICK, PAGE_VIEW = "click", "page_view"
_EVENT_KIND = re.compile(r"[a-z][a-z0-9_]{0,63}")
_MAX_DATA = 4096


@dataclass(frozen=True, slots=True)
class Click:
    """One answered redirect, or another event of a visitor, exactly as it was observed; nothing is
    judged yet.

    `event_id` is unique for ever; recording it again changes nothing. `destination` is the URL
    the visitor was sent to, or the page of the event. `ip` is already anonymised. `visitor_id` is
    None where consent or a missing cookie left the click without a visitor. `internal` marks
    staff. `prefetch` marks a request that a browser or previewer made ahead of a person. `tier` is
    how much may be kept. `kind` is "click", "page_view" or a name of the site's own, such as
    "signup"; only a click has a `link_code`. `data` are an event's own properties: a JSON object
    as text, or "".

    Raises InvalidEvent on a time without a zone, a malformed kind, or data over 4,096 characters.
    """

    event_id: str
    occurred_at: datetime
    link_code: str
    destination: str
    visitor_id: str | None = None
    ip: str = ""
    user_agent: str = ""
    referrer: str = ""
    internal: bool = False
    prefetch: bool = False
    tier: Tier = Tier.FULL
    kind: str = CLICK
    data: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "occurred_at", _utc("Click", "occurred_at", self.occurred_at))
        if self.kind == CLICK:
            return
        if not _EVENT_KIND.fullmatch(self.kind):
            raise InvalidEvent(
                f"The event is called {self.kind!r}: use up to 64 lower-case letters, digits and "
                "'_', beginning with a letter."
            )
        if len(self.data) > _MAX_DATA:
            raise InvalidEvent(
                f"The event's data have {len(self.data)} characters: send {_MAX_DATA} at most."
            )


@dataclass(frozen=True, slots=True)
class ClickEvent:
    """A click or another event after classification, with the session it belongs to (None without
    a visitor).

    `returns` marks who comes back from the site's own pages or from paying: that goes on with an
    earlier visit.
    """

    click: Click
    agent: Agent
    source: Source
    session_id: str | None = None
    returns: bool = False

    @property
    def counts(self) -> bool:
        """Whether this is a person from outside: only such clicks become touches."""
        return not self.click.internal and self.agent.verdict in (Verdict.HUMAN, Verdict.UNKNOWN)

    @property
    def is_touch(self) -> bool:
        """Whether this is a touch: a click that counts, or the event that opened a session. What
        comes after it in the session is the same touch."""
        if self.click.kind == CLICK:
            return self.counts
        return self.counts and not self.returns and self.session_id == self.click.event_id


@dataclass(frozen=True, slots=True)
class Session:
    """One visit of a visitor. `id` is the event that opened it; source and agent are its own.

    Where a visit ends: `tracking.sessions`.
    """

    id: str
    visitor_id: str
    started_at: datetime
    ended_at: datetime
    hits: int
    source: Source
    agent: Agent
    entry_page: str = ""
    exit_page: str = ""

    @property
    def duration(self) -> timedelta:
        """The time from the first hit to the last; zero for a single hit."""
        return self.ended_at - self.started_at

    @property
    def is_bounce(self) -> bool:
        """Whether the visit was a single hit."""
        return self.hits == 1


@dataclass(frozen=True, slots=True)
class Touch:
    """One contact with marketing that may earn credit. Journeys are ordered by `order_key`.

    `kind` is "click", "visit" (a session that no click opened), or what people did instead: "call",
    "meeting", "event", "referral". No rule tells kinds apart; a receipt shows them.
    """

    id: str
    occurred_at: datetime
    channel: str
    source: str = ""
    medium: str = ""
    campaign: str = ""
    content: str = ""
    term: str = ""
    visitor_id: str = ""
    link_code: str = ""
    kind: str = "click"

    def __post_init__(self) -> None:
        object.__setattr__(self, "occurred_at", _utc("Touch", "occurred_at", self.occurred_at))

    @property
    def order_key(self) -> tuple[datetime, str]:
        """Time first, then id, so that equal times still have one order."""
        return (self.occurred_at, self.id)


@dataclass(frozen=True, slots=True)
class Lead:
    """A lead as its CRM last told it.

    `ref` is the host-wide reference. `occurred_at` is when this state was true, `event_id` which
    fact told it. `created_at` is when the lead came in (defaults to `occurred_at`).
    `visitor_token` and `visitor_cookie` came with the lead and are not verified; the engine turns
    them into a visitor id or drops them. `email_visitor_ids` are visitors who opened a signed link
    in a mail to the lead's address. `account` is the ref of the company or household that the lead
    belongs to.
    """

    ref: str
    event_id: str
    occurred_at: datetime
    created_at: datetime | None = None
    visitor_ids: frozenset[str] = frozenset()
    name: str = ""
    contact_name: str = ""
    email: str = ""
    phone: str = ""
    company: str = ""
    visitor_token: str = field(default="", repr=False)
    visitor_cookie: str = field(default="", repr=False)
    email_visitor_ids: frozenset[str] = frozenset()
    account: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "occurred_at", _utc("Lead", "occurred_at", self.occurred_at))
        created = self.created_at or self.occurred_at
        object.__setattr__(self, "created_at", _utc("Lead", "created_at", created))

    @property
    def came_in_at(self) -> datetime:
        """`created_at`, which is never None once the lead is built."""
        return self.created_at or self.occurred_at

    def merged_with(self, other: Lead) -> Lead:
        """The state after both facts, whichever arrived first: the later fact's fields, the
        earlier creation, every visitor of both."""
        newest = max(self, other, key=lambda lead: (lead.occurred_at, lead.event_id))
        return replace(
            newest,
            created_at=min(self.came_in_at, other.came_in_at),
            visitor_ids=self.visitor_ids | other.visitor_ids,
        )


@dataclass(frozen=True, slots=True)
class Deal:
    """A deal (opportunity) as its CRM last told it.

    `value` is in the minor unit of `currency`, which has `digits` decimal places. `created_at` is
    when the deal came to be, `closed_at` when it was won or lost, `lead_told_at` when the fact
    occurred that named `lead_ref`.
    """

    ref: str
    event_id: str
    occurred_at: datetime
    value: int
    currency: str
    lead_ref: str = ""
    digits: int = 2
    created_at: datetime | None = None
    closed_at: datetime | None = None
    status: DealStatus = DealStatus.OPEN
    name: str = ""
    lead_told_at: datetime | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "occurred_at", _utc("Deal", "occurred_at", self.occurred_at))
        created = self.created_at or self.occurred_at
        object.__setattr__(self, "created_at", _utc("Deal", "created_at", created))
        told = self.lead_told_at or self.occurred_at
        told_at = _utc("Deal", "lead_told_at", told) if self.lead_ref else None
        object.__setattr__(self, "lead_told_at", told_at)
        if self.status is DealStatus.OPEN:
            object.__setattr__(self, "closed_at", None)
        else:
            closed = self.closed_at or self.occurred_at
            object.__setattr__(self, "closed_at", _utc("Deal", "closed_at", closed))

    @property
    def began_at(self) -> datetime:
        """`created_at`, which is never None once the deal is built."""
        return self.created_at or self.occurred_at

    @property
    def won_at(self) -> datetime | None:
        """When the deal was won; None while it is open or lost."""
        return self.closed_at if self.status is DealStatus.WON else None

    def merged_with(self, other: Deal) -> Deal:
        """The state after both facts, whichever arrived first: the later fact's fields, the
        earlier creation, the lead that was last named."""
        newest = max(self, other, key=lambda deal: (deal.occurred_at, deal.event_id))
        naming = max(
            self,
            other,
            key=lambda deal: (
                deal.lead_ref != "",
                deal.lead_told_at or deal.occurred_at,
                deal.lead_ref,
            ),
        )
        return replace(
            newest,
            created_at=min(self.began_at, other.began_at),
            lead_ref=naming.lead_ref,
            lead_told_at=naming.lead_told_at,
        )


@dataclass(frozen=True, slots=True)
class LeadSummary:
    """What the touches before a lead say of it, frozen on the lead: first, last and how many."""

    first: Touch | None = None
    last: Touch | None = None
    touch_count: int = 0


@dataclass(frozen=True, slots=True)
class Conversion:
    """A lead that came in (`kind` "lead") or a deal that was won ("won").

    `ref` is the lead's or deal's reference; one ref has at most one conversion of each kind.
    `touch` is the last touch before it. `value` is in minor units of `currency`.
    """

    ref: str
    kind: str
    occurred_at: datetime
    touch: Touch | None = None
    value: int = 0
    currency: str = ""
    digits: int = 2


@dataclass(frozen=True, slots=True)
class Credit:
    """One touch's share of a deal. `value` (minor units) is exact; `weight` (0 to 1) is for display.

    `touch` is None for the one `Unattributed` credit of a journey without touches. `position` is
    first, middle, last or only.
    """

    touch: Touch | None
    channel: str
    weight: float
    value: int
    position: str


@dataclass(frozen=True, slots=True)
class Subscription:
    """Who wants to be told of what: `target` is "webhook/" or "connector/" and an id.

    `events` are such as "deal.attributed". Of facts with a ref, only those whose ref begins with
    `namespace` + "/" are wanted, or all where it is "". `latest` says that only the latest of a
    ref matters, so that what still waits is replaced.
    """

    target: str
    events: frozenset[str]
    namespace: str = ""
    latest: bool = False


@dataclass(frozen=True, slots=True)
class Outgoing:
    """Something to tell a subscriber; `body` is a JSON object as text, `digest` tells whether it
    says anything new."""

    target: str
    event: str
    ref: str
    body: str
    latest: bool = False

    @property
    def digest(self) -> str:
        """SHA-256 of the body, in hexadecimal."""
        return sha256(self.body.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Message:
    """An `Outgoing` in an outbox: `id` is what its receiver tells repetitions by, `attempts` how
    often it was tried."""

    id: str
    outgoing: Outgoing
    created_at: datetime
    attempts: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "created_at", _utc("Message", "created_at", self.created_at))


@dataclass(frozen=True, slots=True)
class Context:
    """What a hook may know of its host: which one, and which database or tenant."""

    host: str = "memory"
    tenant: str = ""
