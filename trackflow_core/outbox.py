"""What must leave the process: outgoing webhooks and write-backs to CRMs.

The engine puts messages into the host's `ports.Outbox` in the transaction that makes the facts;
`deliver` sends them outside of any transaction, tries again, and buries what cannot be sent.
Webhooks follow Standard Webhooks 1.0 (https://www.standardwebhooks.com).
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import partial
from hashlib import sha256
from typing import Any, Protocol

from standardwebhooks import Webhook

from trackflow_core.attribution import Attribution
from trackflow_core.connectors import WriteBack, WritingBack
from trackflow_core.errors import (
    RetriableError,
    TerminalError,
    TrackFlowError,
    seconds_to_wait,
)
from trackflow_core.hooks import Hooks
from trackflow_core.model import (
    CLICK,
    ClickEvent,
    Context,
    Conversion,
    Lead,
    LeadSummary,
    Message,
    Outgoing,
    Subscription,
    Touch,
)
from trackflow_core.ports import Clock, Outbox

_log = logging.getLogger(__name__)

CLICK_RECORDED = "click.recorded"
LEAD_ATTRIBUTED = "lead.attributed"
DEAL_ATTRIBUTED = "deal.attributed"
CONVERSION_RECORDED = "conversion.recorded"
LINK_CREATED, LINK_CHANGED, LINK_DELETED = "link.created", "link.changed", "link.deleted"
TEST = "trackflow.test"
EVENTS = (
    CLICK_RECORDED,
    LEAD_ATTRIBUTED,
    DEAL_ATTRIBUTED,
    CONVERSION_RECORDED,
    LINK_CREATED,
    LINK_CHANGED,
    LINK_DELETED,
)
"""What a webhook endpoint may subscribe to; `TEST` comes without."""

WRITE_BACKS = frozenset((LEAD_ATTRIBUTED, DEAL_ATTRIBUTED))
"""What a connector that writes back subscribes to."""

WEBHOOK, CONNECTOR = "webhook", "connector"

SCHEDULE = tuple(
    timedelta(seconds=seconds)
    for seconds in (5, 5 * 60, 30 * 60, 2 * 3600, 5 * 3600, 10 * 3600, 14 * 3600, 20 * 3600)
)
"""The waits between attempts; after the last one a message is buried, two days after the first."""

CLICKS_OF_A_MESSAGE = 100
_LEASE = timedelta(minutes=10)
_LONGEST_WAIT = timedelta(days=1)


# -- what is told --------------------------------------------------------------------------------


def of_clicks(wanted: Iterable[Subscription], events: Sequence[ClickEvent]) -> list[Outgoing]:
    """Clicks that count, up to `CLICKS_OF_A_MESSAGE` in a message."""
    wanted = [item for item in wanted if CLICK_RECORDED in item.events]
    if not wanted:
        return []
    clicks = [_click(event) for event in events if event.counts and event.click.kind == CLICK]
    return [
        Outgoing(item.target, CLICK_RECORDED, "", _json({"clicks": batch}))
        for item in wanted
        for start in range(0, len(clicks), CLICKS_OF_A_MESSAGE)
        if (batch := clicks[start : start + CLICKS_OF_A_MESSAGE])
    ]


def of_facts(
    wanted: Iterable[Subscription],
    leads: Iterable[tuple[Lead, LeadSummary]] = (),
    conversions: Iterable[Conversion] = (),
    attributions: Iterable[Attribution] = (),
    silent: Collection[str] = frozenset(),
) -> list[Outgoing]:
    """Leads with their summaries, conversions and deals with their credits.

    Of the leads in `silent` there is nothing to write back, nor to take back.
    """
    wanted = list(wanted)
    if not wanted:
        return []
    facts: list[_Fact] = [
        *(
            _Fact(
                LEAD_ATTRIBUTED,
                lead.ref,
                partial(_lead, lead, summary),
                partial(WriteBack.of_lead, lead, summary),
            )
            for lead, summary in leads
        ),
        *(_Fact(CONVERSION_RECORDED, one.ref, partial(_conversion, one)) for one in conversions),
        *(
            _Fact(
                DEAL_ATTRIBUTED,
                one.deal.ref,
                partial(_receipt, one),
                partial(WriteBack.of_deal, one),
            )
            for one in attributions
        ),
    ]
    return [
        Outgoing(item.target, fact.event, fact.ref, fact.body_for(item), item.latest)
        for fact in facts
        for item in wanted
        if fact.event in item.events
        and fact.ref.startswith(item.namespace and f"{item.namespace}/")
        and not (
            fact.event == LEAD_ATTRIBUTED
            and fact.ref in silent
            and item.target.startswith(f"{CONNECTOR}/")
        )
    ]


def of_record(
    wanted: Iterable[Subscription], event: str, ref: str, data: Callable[[], Any]
) -> list[Outgoing]:
    """A link that was made, changed or deleted; `data` shows it, and is asked if anybody wants it."""
    targets = [item.target for item in wanted if event in item.events]
    body = _json(data()) if targets else ""
    return [Outgoing(target, event, ref, body) for target in targets]


def trial(target: str) -> Outgoing:
    """The message of an endpoint's test button."""
    text = "This is a test of TrackFlow: the endpoint works."
    return Outgoing(target, TEST, "", _json({"message": text}))


def without_visitors(body: str, visitor_ids: Collection[str]) -> str:
    """The `body` of a message without these visitors, as if they had never had an id."""

    def strip(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: strip(held) for name, held in value.items()}
        if isinstance(value, list):
            return [strip(held) for held in value if held not in names]
        return None if isinstance(value, str) and value in names else value

    names = [*visitor_ids]
    if not any(name in body for name in names):
        return body
    return _json(strip(json.loads(body)))


@dataclass(frozen=True, slots=True)
class _Fact:
    event: str
    ref: str
    data: Callable[[], Mapping[str, Any]]
    write_back: Callable[[], WriteBack] | None = None

    def body_for(self, item: Subscription) -> str:
        if self.write_back and item.target.startswith(f"{CONNECTOR}/"):
            return _json(self.write_back().to_json())
        return _json(self.data())


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def _moment(told: str) -> str:
    """A moment in UTC in the form of the REST API, which ends in Z."""
    return told.replace("+00:00", "Z")


def _receipt(attribution: Attribution) -> dict[str, Any]:
    told = attribution.receipt()
    milestones, fit = told["milestones"], told["fit"]
    return {
        **told,
        "anchor": _moment(told["anchor"]),
        "milestones": milestones
        and {name: moment and _moment(moment) for name, moment in milestones.items()},
        "fit": fit and {**fit, "fitted_at": _moment(fit["fitted_at"])},
        "credits": [
            {**credit, "occurred_at": credit["occurred_at"] and _moment(credit["occurred_at"])}
            for credit in told["credits"]
        ],
    }


def _click(event: ClickEvent) -> dict[str, Any]:
    source = event.source
    return {
        "id": event.click.event_id,
        "occurred_at": _moment(event.click.occurred_at.isoformat()),
        "link": event.click.link_code,
        "destination": event.click.destination,
        "visitor_id": event.click.visitor_id,
        "channel": source.channel,
        "source": source.source,
        "medium": source.medium,
        "campaign": source.campaign,
        "content": source.content,
        "term": source.term,
        "device": event.agent.device,
        "browser": event.agent.browser,
        "os": event.agent.os,
    }


def _lead(lead: Lead, summary: LeadSummary) -> dict[str, Any]:
    return {
        "lead": lead.ref,
        "created_at": _moment(lead.came_in_at.isoformat()),
        "visitor_ids": sorted(lead.visitor_ids),
        "touch_count": summary.touch_count,
        "first_touch": _touch(summary.first),
        "last_touch": _touch(summary.last),
    }


def _conversion(conversion: Conversion) -> dict[str, Any]:
    return {
        "ref": conversion.ref,
        "kind": conversion.kind,
        "occurred_at": _moment(conversion.occurred_at.isoformat()),
        "value": conversion.value,
        "currency": conversion.currency,
        "digits": conversion.digits,
        "touch": _touch(conversion.touch),
    }


def _touch(touch: Touch | None) -> dict[str, Any] | None:
    if touch is None:
        return None
    return {
        "id": touch.id,
        "kind": touch.kind,
        "occurred_at": _moment(touch.occurred_at.isoformat()),
        "channel": touch.channel,
        "source": touch.source,
        "medium": touch.medium,
        "campaign": touch.campaign,
        "content": touch.content,
        "term": touch.term,
        "link": touch.link_code,
    }


# -- sending -------------------------------------------------------------------------------------


class Gone(TerminalError):
    """The receiver wants no more messages at all."""


class Sender(Protocol):
    """Sends messages to one kind of target."""

    def __call__(self, message: Message, now: datetime) -> None:
        """Send one message.

        Raises `RetriableError` when it may be taken later, `ConfigError` when it may be once
        somebody has changed a setting, `TerminalError` when it never will, `Gone` when the
        target wants nothing any more.
        """


@dataclass(frozen=True, slots=True)
class Answer:
    """What a webhook's receiver answered; header names are lower case."""

    status: int
    headers: Mapping[str, str]


Post = Callable[[str, Mapping[str, str], bytes], Answer]
"""Sends a POST to a URL and does not follow redirects.

Raises RetriableError without an answer, ConfigError when the address may not be asked.
"""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where webhooks go. `secrets` are in the form "whsec_...", the newest first; there are two
    while they are changed."""

    url: str
    secrets: Sequence[str]

    def __repr__(self) -> str:
        return f"Endpoint(url={self.url!r})"


@dataclass(frozen=True, slots=True)
class WebhookSender:
    """Sends messages signed by Standard Webhooks 1.0; each attempt is signed anew.

    `endpoint_of` gives the endpoint of an id, None where it was deleted.
    """

    endpoint_of: Callable[[str], Endpoint | None]
    post: Post

    def __call__(self, message: Message, now: datetime) -> None:
        endpoint = self.endpoint_of(message.outgoing.target.partition("/")[2])
        if endpoint is None:
            raise TerminalError("The endpoint was deleted.")
        body = _json(
            {
                "type": message.outgoing.event,
                "timestamp": _moment(message.created_at.isoformat()),
                "data": json.loads(message.outgoing.body),
            }
        )
        answer = self.post(
            endpoint.url, signed(message.id, now, body, endpoint.secrets), body.encode()
        )
        _check(answer, now)


def signed(message_id: str, now: datetime, body: str, secrets: Sequence[str]) -> dict[str, str]:
    """The headers of a webhook with this body, sent at `now`."""
    return {
        "content-type": "application/json",
        "user-agent": "TrackFlow-Webhooks/1",
        "webhook-id": message_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": " ".join(
            # The library takes the clock's digits for UTC, whatever their zone.
            Webhook(secret).sign(message_id, now.astimezone(timezone.utc), body)
            for secret in secrets
        ),
    }


def _check(answer: Answer, now: datetime) -> None:
    status = answer.status
    if 200 <= status < 300:
        return
    if status == 410:
        raise Gone("The receiver answered 410: it wants no more messages.")
    if 300 <= status < 400:
        raise RetriableError(
            f"The receiver answered {status}, a redirect, which is not followed: "
            "enter the address that it leads to."
        )
    asked = seconds_to_wait(answer.headers.get("retry-after", ""), now)
    raise RetriableError(f"The receiver answered {status}.", retry_after=asked)


@dataclass(frozen=True, slots=True)
class WriteBackSender:
    """Writes attribution back into CRMs. `connection_of` gives the connection of a namespace, None
    where it was deleted or no longer writes back."""

    connection_of: Callable[[str], WritingBack | None]

    def __call__(self, message: Message, now: datetime) -> None:
        connection = self.connection_of(message.outgoing.target.partition("/")[2])
        if connection is None:
            raise TerminalError("The connector was deleted, or no longer writes back.")
        connection.write_back(WriteBack.from_json(json.loads(message.outgoing.body)))


# -- delivering ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Delivered:
    """What one run did: messages `sent`, `deferred` to a later attempt, and `buried`."""

    sent: int = 0
    deferred: int = 0
    buried: int = 0

    @property
    def claimed(self) -> int:
        """How many messages the run took."""
        return self.sent + self.deferred + self.buried


@dataclass(frozen=True, slots=True)
class Courier:
    """Sends what waits in an outbox. `senders` are by the first part of a target; `commit` ends
    the host's transaction, so that none is open while the network is used."""

    outbox: Outbox
    senders: Mapping[str, Sender]
    commit: Callable[[], None]
    clock: Clock
    hooks: Hooks
    context: Context

    def deliver(self, limit: int = 50) -> Delivered:
        """Try up to `limit` messages that are due, each once."""
        now = self.clock()
        messages = self.outbox.claim(now, now + _LEASE, limit)
        self.commit()
        done = [self._attempt(message) for message in messages]
        return Delivered(done.count("sent"), done.count("deferred"), done.count("buried"))

    def _attempt(self, message: Message) -> str:
        sender = self.senders[message.outgoing.target.partition("/")[0]]
        try:
            sender(message, self.clock())
        except Gone as error:
            outcome = self._bury(message, str(error), disable=True)
        except TerminalError as error:
            outcome = self._bury(message, str(error))
        except Exception as error:
            outcome = self._defer(message, error)
        else:
            self.outbox.sent(message, self.clock())
            outcome = "sent"
        self.commit()
        return outcome

    def _defer(self, message: Message, error: Exception) -> str:
        reason = str(error)
        if not isinstance(error, TrackFlowError):
            _log.exception("Sending the message %s failed unexpectedly.", message.id)
            reason = f"An error of TrackFlow ({type(error).__name__}); the log has it."
        if message.attempts >= len(SCHEDULE):
            last = self.outbox.last_sent(message.outgoing.target)
            silent = last is None or last < message.created_at
            return self._bury(message, reason, disable=silent)
        asked = error.retry_after if isinstance(error, RetriableError) else None
        self.outbox.defer(message, self.clock() + wait(message, asked), reason)
        self._report(message, reason, final=False)
        return "deferred"

    def _bury(self, message: Message, reason: str, *, disable: bool = False) -> str:
        self.outbox.bury(message, reason)
        if disable:
            self.outbox.disable(message.outgoing.target, reason)
        _log.warning("The message %s is given up: %s", message.id, reason)
        self._report(message, reason, final=True)
        return "buried"

    def _report(self, message: Message, reason: str, *, final: bool) -> None:
        if message.outgoing.target.startswith(f"{CONNECTOR}/"):
            self.hooks.on_writeback_error(message, reason, final, self.context)


def wait(message: Message, asked: float | None = None) -> timedelta:
    """How long to wait after a message's attempt failed: by `SCHEDULE`, up to a fifth more so that
    not all come back at once, and no less than the receiver `asked` for (seconds), a day at most."""
    planned = SCHEDULE[min(message.attempts, len(SCHEDULE) - 1)]
    seed = sha256(f"{message.id}:{message.attempts}".encode()).digest()
    planned += planned * 0.2 * (seed[0] / 255)
    return max(planned, min(timedelta(seconds=asked or 0), _LONGEST_WAIT))
