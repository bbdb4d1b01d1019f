"""What the engine needs from a host: somewhere to keep facts, and a way to read a CRM's events.

A host implements `Store`; a CRM integration implements `Connector`. Both are checked by the
contract kits in `trackflow_core.testing`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from trackflow_core.attribution import Attribution, Model, Path
from trackflow_core.model import (
    Click,
    ClickEvent,
    Conversion,
    Deal,
    Lead,
    LeadSummary,
    Link,
    Message,
    Outgoing,
    Session,
    Subscription,
    Touch,
)
from trackflow_core.tracking.sessions import Span

if TYPE_CHECKING:
    import pyarrow as pa

Clock = Callable[[], datetime]
"""Returns the present as an aware datetime; only hosts own one."""


class Store(Protocol):
    """Keeps TrackFlow's facts in the host's own transaction: it never commits.

    Every method takes and returns batches and runs a constant number of queries for a batch.
    Writing the same fact twice changes nothing. Any ref under which a lead or deal is known may be
    passed in; the leads and deals that come back carry the store's one canonical ref.
    """

    def atomic(self) -> AbstractContextManager[object]:
        """A part of the transaction that takes effect wholly or not at all.

        Errors of the database about the data itself leave it as `InvalidEvent`.
        """

    def after_commit(self, callback: Callable[[], None]) -> None:
        """Run `callback` once the host's transaction has committed; never if it rolls back."""

    # -- clicks ---------------------------------------------------------------------------

    def append_clicks(self, clicks: Sequence[Click]) -> None:
        """Add rows to the click queue; nothing else is written. What is queued or recorded already
        changes nothing."""

    def claim_clicks(
        self, limit: int, visitor_ids: Collection[str] | None = None
    ) -> Sequence[Click]:
        """Take up to `limit` queued clicks, oldest first, only of `visitor_ids` where given.

        A claimed click stays queued until `save_visits` or `reject_click` settles it, and is not
        given to another worker meanwhile. Clicks already recorded are settled here. A click of a
        visitor who was merged into another comes back as the other's.
        """

    def has_queued_clicks(self, visitor_ids: Collection[str]) -> bool:
        """Whether clicks of these visitors still wait, for instance in another worker's hands."""

    def reject_click(self, click: Click, reason: str) -> None:
        """Set a click aside with the reason, in words; it is never claimed again by itself."""

    def links(self, codes: Collection[str]) -> Mapping[str, Link]:
        """The links of these codes; a code that does not exist is left out."""

    def sessions(self, visitor_ids: Collection[str]) -> Sequence[Session]:
        """All sessions of these visitors, in any order."""

    def save_visits(self, events: Sequence[ClickEvent], sessions: Sequence[Session]) -> None:
        """Keep classified clicks and other events, their visitors, the changed sessions and the
        counters of links (of clicks alone), and settle the clicks in the queue."""

    def recorded(self, spans: Collection[Span]) -> Sequence[ClickEvent]:
        """The recorded clicks of visitors in these spans of time, in any order, each with the
        session that it is in now."""

    def move_clicks(self, sessions: Mapping[str, str], gone: Collection[str]) -> None:
        """Give recorded clicks another session (both by id), then drop the sessions in `gone`,
        which no click belongs to any more."""

    # -- visitors ----------------------------------------------------------------------------

    def merge_visitors(self, winner: str, losers: Collection[str]) -> str:
        """Give `winner` the clicks (queued and recorded), sessions and leads of `losers`, whose
        ids now mean `winner`: in clicks that are queued later, too, and in leads that are saved.

        Returns the id that all of them go by now: another's where `winner` was merged before.
        """

    def withdraw(self, visitor_id: str) -> None:
        """Keep of a visitor's clicks (queued and recorded) only what `consent.limit` keeps of a
        click of tier `aggregate`; erase the visitor's sessions and bindings to leads. A visitor that
        was merged goes by any of its ids."""

    # -- leads and deals -------------------------------------------------------------------

    def save_leads(self, leads: Sequence[Lead]) -> Sequence[Lead]:
        """Keep leads (merging each with what is held of it) and bind their visitors.

        Returns the resulting state of each, in the given order.
        """

    def save_deals(self, deals: Sequence[Deal]) -> Sequence[Deal]:
        """Keep deals (merging each with what is held of it); returns each resulting state."""

    def leads(self, refs: Collection[str]) -> Sequence[Lead]:
        """The leads of these refs; unknown and merged-away refs are left out."""

    def leads_of_visitors(self, visitor_ids: Collection[str]) -> Collection[str]:
        """The refs of all leads bound to any of these visitors."""

    def account_leads(self, lead_refs: Collection[str]) -> Mapping[str, Collection[str]]:
        """The other leads of each lead's account. A ref without an account or without others may
        be left out."""

    def mark_stale(self, lead_refs: Collection[str]) -> None:
        """Remember that these leads must be refreshed by the next run of the click job."""

    def take_stale(self, limit: int) -> Collection[str]:
        """Up to `limit` refs marked stale; they are unmarked when the transaction commits."""

    def deals_of_leads(self, lead_refs: Collection[str]) -> Sequence[Deal]:
        """All deals that came from these leads or from leads merged into them."""

    def deals(self, refs: Collection[str] | None = None) -> Sequence[Deal]:
        """The deals of these refs, or every deal."""

    def deal_refs(self) -> Sequence[str]:
        """The refs of all deals, in an order that stays: so that all are gone through in parts."""

    def touches(
        self,
        lead_refs: Collection[str],
        spans: Mapping[str, tuple[datetime, datetime]] | None = None,
    ) -> Mapping[str, Sequence[Touch]]:
        """Each lead's touches: every `ClickEvent.is_touch` of the visitors bound to it or to a lead
        merged into it, an event as kind "visit", and what `save_touches` keeps of these leads. A
        ref without any may be left out. In any order.

        Of a lead that `spans` names, what came before the first or after the second of these
        moments may be left out, except for the last touch before the first.
        """

    def save_touches(self, touches: Mapping[str, Sequence[Touch]]) -> Collection[str]:
        """Keep touches that are no clicks, by the ref of the lead whom they touched. One of an id
        that is already kept replaces it. A lead that is not known yet has them when it comes.

        Returns the refs by which these leads go now.
        """

    def save_summaries(self, summaries: Mapping[str, LeadSummary]) -> None:
        """Freeze first and last touch and their number on these leads."""

    def models(self, deal_refs: Collection[str]) -> Mapping[str, Model]:
        """The model of each deal that has chosen its own."""

    def replace_credits(self, attributions: Sequence[Attribution]) -> None:
        """Make these the only credits of their deals."""

    def replace_conversions(
        self, keys: Collection[tuple[str, str]], conversions: Iterable[Conversion]
    ) -> None:
        """Of the conversions named by `keys` (ref of the lead or deal, kind), keep only these."""

    def merge_leads(self, winner: str, losers: Collection[str]) -> None:
        """Give `winner` the visitors and deals of `losers`, whose refs now mean `winner`."""

    def forget(self, visitor_id: str) -> Collection[str]:
        """Erase a visitor with clicks (queued and recorded) and sessions, and every binding to
        leads. A visitor that was merged goes by any of its ids; returns all of them."""


class Outbox(Protocol):
    """Keeps what must leave the process, in the host's own transaction: it never commits.

    A message waits until it is sent or buried. One whose target is disabled waits on.
    """

    def subscriptions(self) -> Sequence[Subscription]:
        """Who wants to be told, disabled ones left out."""

    def post(self, told: Sequence[Outgoing]) -> None:
        """Add messages, due at once. Left out is one that says (by its digest) what the newest
        message of the same target, event and ref has said, where the ref is not "". One that is
        `latest` replaces those that still wait, and waits for one that is under way."""

    def claim(self, now: datetime, until: datetime, limit: int) -> Sequence[Message]:
        """Up to `limit` messages that are due, oldest first. Nobody else gets them before `until`,
        or before they are settled by one of the next three methods; until then they are under way.
        Of those that are `latest` one that is replaced is dropped, and nobody gets one while another of the
        same target, event and ref is under way: an older one could arrive last."""

    def sent(self, message: Message, now: datetime) -> None:
        """The receiver has taken the message."""

    def defer(self, message: Message, due: datetime, reason: str) -> None:
        """An attempt failed with `reason`, in words; the next one is due at `due`."""

    def bury(self, message: Message, reason: str) -> None:
        """The message will not be tried again by itself; it is kept, with the reason."""

    def replay(self, target: str, since: datetime, until: datetime, dead_only: bool = False) -> int:
        """Make messages of `target` that were created in this time due again, under their ids, as
        if they had never been tried; returns how many. Those that are replaced stay as they are."""

    def replay_one(self, target: str, message_id: str) -> int:
        """Make this message of `target` due now, whatever became of it, as if it had never been
        tried; returns 0 where there is no such message or it is replaced, otherwise 1."""

    def last_sent(self, target: str) -> datetime | None:
        """When a message was last sent to `target`."""

    def forget(self, visitor_ids: Collection[str]) -> None:
        """Take these visitors out of every message, whatever became of it, as
        `outbox.without_visitors` does."""

    def disable(self, target: str, reason: str) -> None:
        """Send nothing to `target` until a person enables it again, and tell people why."""


Event = Lead | Deal
"""What a connector makes of a CRM's event."""


@runtime_checkable
class Connector(Protocol):
    """Maps a CRM's own records or payloads to leads and deals. Pure: no network, no clock."""

    name: str
    """Stable, unique, lower case; part of every ref and of the webhook's address."""

    title: str
    """The CRM's name as people write it."""

    def map_events(self, payload: Mapping[str, Any], namespace: str) -> Sequence[Event]:
        """The leads and deals told by one payload; each `ref` begins with `namespace` + "/".

        Raises InvalidEvent, naming the field and the remedy.
        """


@dataclass(frozen=True, slots=True)
class IncomingRequest:
    """A webhook request as it came over the wire; header names are lower case.

    `from_trusted_proxy` says that a proxy which the host trusts handed it on, so that headers which
    only the proxy can know, such as a client certificate's fingerprint, may be believed.
    """

    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    from_trusted_proxy: bool = False


@dataclass(frozen=True, slots=True)
class Delivery:
    """A verified webhook: `event_id` is the same each time the sender repeats it."""

    event_id: str
    payload: Mapping[str, Any]


@runtime_checkable
class WebhookConnector(Connector, Protocol):
    """A connector whose CRM calls us."""

    def verify(self, request: IncomingRequest, secrets: Sequence[str], now: datetime) -> Delivery:
        """Check signature and timestamp, then decode; nothing is trusted before.

        `secrets` are the valid ones, newest first, so that they can be rotated.
        Raises InvalidEvent when the request is not authentic, is stale, or cannot be decoded.
        """

    def new_secret(self) -> str:
        """A fresh signing secret in the form that this connector's senders expect."""


@dataclass(frozen=True, slots=True)
class CreditRows:
    """What `trackflow attribute` prints or writes.

    `rows` are batches of `journey_id, touch_id, channel, weight, value`, or of `channel,
    conversions, value`, with values as decimals in major units. `notes` are sentences for whoever
    reads them.
    """

    rows: pa.RecordBatchReader
    conversions: int
    notes: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class PathRows:
    """What rules learn from: the paths of all journeys with a touch, those alike together.

    Values are in minor units of `currencies`, the codes that occur. `latest` is the moment of the
    last conversion; None without one.
    """

    paths: Sequence[Path]
    currencies: Sequence[str]
    latest: datetime | None


@runtime_checkable
class TableEngine(Protocol):
    """Splits the values of whole tables of conversions, where they lie."""

    name: str
    """What `trackflow attribute --engine` calls it."""

    schemes: Collection[str]
    """The schemes of the URLs of databases that it reads, such as "postgresql"."""

    def split(
        self,
        touches: str,
        conversions: str,
        model: Model,
        *,
        zone: str = "UTC",
        currency: str | None = None,
        summary: bool = False,
    ) -> CreditRows:
        """The credits of tables that are named by paths or by URLs; see docs/guides/warehouse.md.

        To the touch and the cent what `attribution.attribute` gives deal by deal, in any order.
        Raises InvalidEvent, naming table and column, and ConfigError where the model or the
        database cannot be used.
        """

    def paths(
        self,
        touches: str,
        conversions: str,
        lookback: timedelta,
        *,
        zone: str = "UTC",
        currency: str | None = None,
    ) -> PathRows:
        """What rules that learn take from the same tables.

        The same paths as `attribution.tables.paths` gives, in any order. Raises as `split`.
        """

    def write(self, url: str, rows: pa.RecordBatchReader) -> int:
        """Replace the table that `url` names by `rows`; returns how many.

        Raises ConfigError when there is a table of another form.
        """
