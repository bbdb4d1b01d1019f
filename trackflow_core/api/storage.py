"""What the API keeps and reads in a host, beside the facts that the engine keeps in `ports.Store`.

A host implements `Catalog` over the same transaction as its `Store`; `CatalogContract` in
`trackflow_core.testing` checks it. The methods are few and take the kind of record as an argument:
`MANAGED` kinds are made and changed by people through the API, `FACTS` are read only.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from types import MappingProxyType
from typing import Any, Generic, Protocol, TypeVar

from trackflow_core.errors import InvalidEvent
from trackflow_core.model import ClickEvent, Conversion, Deal, Lead, Link, Source
from trackflow_core.tracking.templates import Template


class Conflict(InvalidEvent):
    """`field` must be unique and is taken; without one, the record is still in use."""


# -- what people make and change ---------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Campaign:
    """A marketing campaign. `name` is unique and stands in `utm_campaign`; `title` is for people.

    `budget` is in minor units of `currency`, which is "" where a host has one currency anyway.
    `starts` and `ends` are days, both included.
    """

    id: str
    name: str
    title: str = ""
    description: str = ""
    budget: int = 0
    currency: str = ""
    starts: date | None = None
    ends: date | None = None


@dataclass(frozen=True, slots=True)
class TrackedLink:
    """A link as people see it; `link.code` is its id, "" lets the host choose one.

    The host alone fills `short_url`, `created_at` and the counters, which count people.
    A `link.campaign` that does not exist yet is made.
    """

    link: Link
    title: str = ""
    short_url: str = ""
    created_at: datetime | None = None
    clicks: int = 0
    visitors: int = 0
    last_click_at: datetime | None = None

    @property
    def id(self) -> str:
        """The short code."""
        return self.link.code


@dataclass(frozen=True, slots=True)
class LinkTemplate:
    """A named template from which links are made. `name` is unique."""

    id: str
    name: str
    template: Template
    description: str = ""


@dataclass(frozen=True, slots=True)
class WebhookEndpoint:
    """Where outgoing webhooks go. A host never stores `secrets` readable.

    `events` are the types that are wanted. `secrets` sign, newest first; there are two while they
    are changed. `problem` says in words why the outbox disabled it.
    """

    id: str
    url: str
    events: frozenset[str]
    description: str = ""
    enabled: bool = True
    secrets: tuple[str, ...] = field(default=(), repr=False)
    problem: str = ""


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key of the API. `id` is its visible prefix, chosen by the API; only a hash is kept.

    `scopes` are such as "links:read". `networks` in CIDR form are the only ones it may be used
    from; without any it may be used from everywhere. `hashed` is of the secret, `previous_hashed`
    of the one before, good until `previous_until`. `hourly_limit` is in requests, 0 for the
    host's own. `Catalog.log` alone changes `last_used_at` and `usage_count`.
    """

    id: str
    name: str
    hashed: str = field(repr=False)
    scopes: frozenset[str]
    networks: tuple[str, ...] = ()
    created_at: datetime | None = None
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    previous_hashed: str = field(default="", repr=False)
    previous_until: datetime | None = None
    hourly_limit: int = 0
    last_used_at: datetime | None = None
    usage_count: int = 0


@dataclass(frozen=True, slots=True)
class Idempotency:
    """A POST that was answered, to be answered alike when it is repeated.

    `id` is of the API key and the header `Idempotency-Key`, `fingerprint` of the request;
    `status` is 0 until the answer is known.
    """

    id: str
    fingerprint: str
    created_at: datetime
    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str = ""


# -- what is read only ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Visitor:
    """A visitor over all visits; `source` is that of the first event that counts.

    Page views and other events that count are seen, too, but no `clicks`.
    """

    id: str
    first_seen: datetime
    last_seen: datetime
    clicks: int
    source: Source = field(default_factory=Source)


@dataclass(frozen=True, slots=True)
class LoggedRequest:
    """One answered request; bodies are masked and cut before they come here.

    `key_id` is "" for a request without a good key. `duration` is in milliseconds, `address`
    anonymised. One that is not `kept` is only counted on its key. The host chooses `id`.
    """

    requested_at: datetime
    method: str
    path: str
    status: int
    duration: int
    key_id: str = ""
    address: str = ""
    request: str = ""
    response: str = ""
    id: str = ""
    kept: bool = True


@dataclass(frozen=True, slots=True)
class WebhookMessage:
    """A message to a webhook endpoint, and what became of it.

    `endpoint` is that endpoint's id. `state` is "waiting", "sent" or "dead" (given up). `due_at` is
    when it is tried next while it waits, `reason` why the last attempt failed, in words. `body` is
    the JSON object that it tells, as text; `attempts` counts since it was made or replayed.
    """

    id: str
    endpoint: str
    event: str
    body: str
    created_at: datetime
    state: str = "waiting"
    attempts: int = 0
    due_at: datetime | None = None
    sent_at: datetime | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Stats:
    """How often links were clicked by people, and how many conversions had one as last touch.

    `ignored` hits are of bots, previews and staff. The mappings hold clicks by day (UTC, ISO
    8601), channel, device and browser.
    """

    clicks: int = 0
    visitors: int = 0
    conversions: int = 0
    ignored: int = 0
    last_click_at: datetime | None = None
    days: Mapping[str, int] = field(default_factory=dict)
    channels: Mapping[str, int] = field(default_factory=dict)
    devices: Mapping[str, int] = field(default_factory=dict)
    browsers: Mapping[str, int] = field(default_factory=dict)


MANAGED: tuple[type[Any], ...] = (
    Campaign,
    TrackedLink,
    LinkTemplate,
    WebhookEndpoint,
    ApiKey,
    Idempotency,
)
FACTS: tuple[type[Any], ...] = (
    Visitor,
    ClickEvent,
    Conversion,
    Lead,
    Deal,
    LoggedRequest,
    WebhookMessage,
)

FILTERS: Mapping[type[Any], frozenset[str]] = MappingProxyType(
    {
        Campaign: frozenset({"search"}),
        TrackedLink: frozenset({"search", "campaign"}),
        LinkTemplate: frozenset({"search"}),
        WebhookEndpoint: frozenset(),
        ApiKey: frozenset(),
        LoggedRequest: frozenset({"since", "until"}),
        WebhookMessage: frozenset({"endpoint", "event", "state", "since", "until"}),
        Visitor: frozenset({"since", "until"}),
        ClickEvent: frozenset({"link_code", "campaign", "visitor_id", "since", "until"}),
        Conversion: frozenset({"link_code", "campaign", "visitor_id", "since", "until"}),
        Lead: frozenset({"since", "until"}),
        Deal: frozenset({"since", "until"}),
    }
)
"""Which fields of `Query` narrow the pages of a kind; no others are ever given."""


@dataclass(frozen=True, slots=True)
class Query:
    """Which records a page holds.

    `search` is a part of a name, title, code or destination, without regard to case. `campaign`
    is a campaign's name: of a link, of a click's source, of a conversion's touch. `link_code` and
    `visitor_id` are of a click or of a conversion's touch. `since` is included, `until` is not:
    they bound when a click or conversion occurred, a request or message was made, a visitor was last
    seen, a lead came in, a deal began. `endpoint`, `event` and `state` are of a message. `after` is
    the `next` of the page before.
    """

    limit: int = 50
    after: str = ""
    search: str = ""
    campaign: str = ""
    link_code: str = ""
    visitor_id: str = ""
    endpoint: str = ""
    event: str = ""
    state: str = ""
    since: datetime | None = None
    until: datetime | None = None


Record = TypeVar("Record")


@dataclass(frozen=True, slots=True)
class Page(Generic[Record]):
    """Some records, newest first as the host took them in; `next` is "" on the last page."""

    items: tuple[Record, ...]
    next: str = ""


@dataclass(frozen=True, slots=True)
class Changes:
    """Links that changed, in the order of their changes.

    `cursor` is where to go on, `more` says that the next part is ready now.
    """

    links: tuple[Link, ...]
    cursor: str
    more: bool


class Catalog(Protocol):
    """The API's records in the host's own transaction: it never commits.

    Ids are strings that the host chooses, unless the record says otherwise. Every method runs a
    constant number of queries for a batch.
    """

    def read(
        self, kind: type[Record], ids: Collection[str], *, lock: bool = False
    ) -> Mapping[str, Record]:
        """The records of these ids; one that does not exist is left out.

        `kind` is one of `MANAGED`, `Visitor`, `WebhookMessage`, `Lead` or `Deal`; the last two may
        be named by any ref and come back under the name that was asked for. `lock` tells that they
        are going to be written: records of `MANAGED` kinds stay as they are until the transaction
        ends, and a host with rights of its own checks the right to write.
        """

    def page(self, kind: type[Record], query: Query) -> Page[Record]:
        """Some records of `kind`, which is one of `FILTERS`, that meet `query`.

        A record that is there all the time stands on exactly one page, however many others are
        made while pages are turned. Raises InvalidEvent when `query.after` is of no page.
        """

    def create(self, records: Sequence[Record]) -> Sequence[Record]:
        """Keep new records of one `MANAGED` kind; returns them with what the host filled in.

        Raises Conflict when an id or name is taken (then nothing of the batch is kept, if the
        caller is in `Store.atomic`), InvalidEvent when the host refuses a value.
        """

    def update(self, records: Sequence[Record]) -> Sequence[Record]:
        """Make these the state of the records of their ids, which exist; returns them as kept.

        What only the host fills in is ignored. Raises as `create` does.
        """

    def delete(self, kind: type[Any], ids: Collection[str]) -> None:
        """Delete campaigns, templates, endpoints; ids that do not exist are ignored.

        Raises Conflict where a campaign still has links.
        """

    def stats(self, query: Query) -> Stats:
        """The clicks (no other events) on links of `query.campaign` or `query.link_code`, between `since` and
        `until`; of all links where neither is given."""

    def changed_links(self, cursor: str, limit: int) -> Changes:
        """About `limit` links that were made or changed since `cursor`; "" for all that there are.

        For whoever keeps a copy: a link may come twice, never not at all; each of its codes is a
        link. One that is deleted for good does not come any more. Raises InvalidEvent when `cursor`
        is none.
        """

    def log(self, entries: Sequence[LoggedRequest]) -> None:
        """Keep these entries, and count them on their keys: usage, and when it was last used."""

    def purge(self, kind: type[Any], before: datetime) -> int:
        """Delete what is older of `LoggedRequest` or `Idempotency`; returns how many."""
