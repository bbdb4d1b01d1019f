"""What a connector to a CRM elsewhere does, beyond mapping: check, provision, poll, write back.

A connector (`RemoteConnector`) is a kind, such as Frappe CRM; it has no state. Joined with the
configuration of one CRM it makes a `Connection`, whose abilities are protocols of their own, so
that a connector implements what its CRM can do and nothing else. `Capabilities` says which.

Who calls: a host, outside of its transactions. Every call may use the network, and raises
`ConfigError` when somebody must change a setting (expired credentials, a missing permission),
`RetriableError` when the same call may succeed later, and `TerminalError` when it never will.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from enum import Enum
from typing import Any, Protocol, runtime_checkable

from trackflow_core.attribution import Attribution
from trackflow_core.errors import InvalidEvent
from trackflow_core.model import Lead, LeadSummary, Touch
from trackflow_core.ports import (
    Connector,
    Delivery,
    Event,
    IncomingRequest,
)

UNCHECKED = (
    "The request cannot be checked now: TrackFlow's log says what to mend. Nothing is lost to who "
    "will send this again later."
)
"""What the sender of a webhook is told, with 503, that could not be verified for no fault of its."""

UNCHECKED_SECONDS = 60
"""After how many seconds it is to be sent again."""


class Webhooks(str, Enum):
    """What a CRM's calls are good for.

    `events` tell leads and deals themselves. `hints` say that something changed: poll now.
    """

    NONE = "none"
    EVENTS = "events"
    HINTS = "hints"


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What connections of one kind can do; `versions` of the CRM are in words."""

    versions: str
    webhooks: Webhooks = Webhooks.NONE
    polling: bool = False
    write_back: bool = False
    provisioning: bool = False


@dataclass(frozen=True, slots=True)
class Instance:
    """Where a connection belongs in its host.

    Refs of its leads and deals begin with `namespace` + "/", as in "frappe/acme". `webhook_url` is
    where the CRM reaches the host, "" where it cannot. `secrets` sign its calls, newest first.
    """

    namespace: str
    webhook_url: str = ""
    secrets: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"Instance(namespace={self.namespace!r}, webhook_url={self.webhook_url!r})"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that `check` looked at, in words; `remedy` says what to do when it is not `ok`."""

    what: str
    ok: bool = True
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Change:
    """Something that `provision` made in the CRM, or would make: `verb` is create, update or
    delete."""

    verb: str
    what: str


@dataclass(frozen=True, slots=True)
class Merge:
    """Several leads became one: `winner` keeps its ref, `losers` are refs that now mean it."""

    winner: str
    losers: frozenset[str]


@dataclass(frozen=True, slots=True)
class Rejected:
    """A record that cannot be mapped, set aside so that the others go on."""

    ref: str
    reason: str
    payload: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Page:
    """One step of reading a CRM.

    `cursor` is where to go on, to be kept in the transaction that takes in the page. `more` says
    that the next page is ready now. `merges` come after `events`.
    """

    cursor: str
    more: bool
    events: Sequence[Event] = ()
    merges: Sequence[Merge] = ()
    rejected: Sequence[Rejected] = ()


@dataclass(frozen=True, slots=True)
class WriteBack:
    """What a CRM is told of one lead or deal. All moments are UTC.

    Of a lead: who came, from where, when first and last, how often. Of a deal: by which model it
    was attributed, its first and last touch, and whether any marketing touched it. `source`,
    `medium` and `campaign` are the first touch's.
    """

    ref: str
    kind: str
    visitor_id: str = ""
    source: str = ""
    medium: str = ""
    campaign: str = ""
    first_touch_at: datetime | None = None
    last_touch_at: datetime | None = None
    touch_count: int = 0
    model: str = ""
    first_touch_source: str = ""
    last_touch_source: str = ""
    last_touch_medium: str = ""
    last_touch_campaign: str = ""
    influenced: bool = False

    @classmethod
    def of_lead(cls, lead: Lead, summary: LeadSummary) -> WriteBack:
        """What the touches before a lead say of it; source, medium and campaign are the first's."""
        first, last = summary.first, summary.last
        return cls(
            ref=lead.ref,
            kind="lead",
            visitor_id=min(lead.visitor_ids, default=""),
            source=first.source if first else "",
            medium=first.medium if first else "",
            campaign=first.campaign if first else "",
            first_touch_at=first.occurred_at if first else None,
            last_touch_at=last.occurred_at if last else None,
            touch_count=summary.touch_count,
            first_touch_source=_source_of(first) if first else "",
            last_touch_source=_source_of(last) if last else "",
            last_touch_medium=last.medium if last else "",
            last_touch_campaign=last.campaign if last else "",
            influenced=first is not None,
        )

    @classmethod
    def of_deal(cls, attribution: Attribution) -> WriteBack:
        """What a deal's credits say of it."""
        touches = [credit.touch for credit in attribution.credits if credit.touch is not None]
        ends: Sequence[Touch] = (touches[0], touches[-1]) if touches else ()
        return cls(
            ref=attribution.deal.ref,
            kind="deal",
            source=ends[0].source if ends else "",
            medium=ends[0].medium if ends else "",
            campaign=ends[0].campaign if ends else "",
            first_touch_at=ends[0].occurred_at if ends else None,
            last_touch_at=ends[1].occurred_at if ends else None,
            touch_count=len(touches),
            model=attribution.model.name,
            first_touch_source=_source_of(ends[0]) if ends else "",
            last_touch_source=_source_of(ends[1]) if ends else "",
            last_touch_medium=ends[1].medium if ends else "",
            last_touch_campaign=ends[1].campaign if ends else "",
            influenced=bool(ends),
        )

    def to_json(self) -> dict[str, Any]:
        """This as plain JSON values, for an outbox."""
        return {
            name: value.isoformat() if isinstance(value, datetime) else value
            for name, value in asdict(self).items()
        }

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> WriteBack:
        """The inverse of `to_json`. Raises InvalidEvent when `told` is something else."""
        try:
            moments = {
                name: datetime.fromisoformat(told[name])
                for name in ("first_touch_at", "last_touch_at")
                if told.get(name)
            }
            return cls(**{**told, **moments})
        except (TypeError, ValueError):
            names = ", ".join(item.name for item in fields(cls))
            raise InvalidEvent(f"This is no write-back, which has the fields {names}.") from None


def _source_of(touch: Touch) -> str:
    return touch.source or touch.channel


class Connection(Protocol):
    """One CRM, as its configuration reaches it."""

    def check(self) -> Sequence[Finding]:
        """Whether the CRM is reachable, its credentials are good and its permissions enough."""

    def map_events(self, payload: Mapping[str, Any]) -> Sequence[Event]:
        """The leads and deals told by the payload of a delivery. Pure.

        Raises InvalidEvent, naming the field and the remedy.
        """


@runtime_checkable
class Receiving(Protocol):
    """A connection whose CRM calls us."""

    def verify(self, request: IncomingRequest, now: datetime) -> Delivery:
        """Check that a request is authentic and fresh, then decode it. Pure.

        Raises InvalidEvent when it is not, ConfigError when the settings cannot tell: the sender is
        told `UNCHECKED` then, and sends it again.
        """


@runtime_checkable
class Polling(Protocol):
    """A connection that reads its CRM."""

    def poll(self, cursor: str) -> Page:
        """The next page of what was made, changed or deleted; "" begins with all that there is.

        Facts may come twice, never not at all. A cursor stays good when settings change. Without
        `more` the next call begins a little earlier again, for what was committed late.
        """


@runtime_checkable
class WritingBack(Protocol):
    """A connection that can put attribution into its CRM's records."""

    def write_back(self, told: WriteBack) -> None:
        """Put `told` into the record's fields. Doing it again changes nothing, nor the record.

        Raises ConfigError when the fields do not exist (provision first), TerminalError when the
        record is gone.
        """


@runtime_checkable
class Provisioning(Protocol):
    """A connection that can prepare its CRM."""

    def provision(self, dry_run: bool) -> Sequence[Change]:
        """Make the fields and webhooks that are missing, and say which; none on a second call."""

    def deprovision(self, dry_run: bool) -> Sequence[Change]:
        """Undo `provision`: remove fields and webhooks, with what the fields hold."""


@runtime_checkable
class RemoteConnector(Connector, Protocol):
    """A kind of CRM that can be connected with from elsewhere."""

    options: type[Any]
    """The configuration of a connection, a dataclass of `options.option` fields."""

    capabilities: Capabilities

    def connect(self, options: Any, instance: Instance) -> Connection:
        """The connection of an `options` object; the network is not used yet."""
