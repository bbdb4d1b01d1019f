"""What Frappe CRM's documents say, in TrackFlow's terms. Pure.

A payload is a document as the REST API lists it, with its `doctype`, and beside it what a mapping
cannot look up: `time_zone` (of the site: its times are naive), `site_currency`, for a deal also
`status_type`, `lead_creation` and, where it is known, `closed_at`. Documents are known by name and
creation together, because Frappe gives the name of a deleted document to the next one.

What the provisioned webhooks send has an `event`; only `on_trash` of a deal tells a fact by itself,
the others are hints to poll.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from trackflow_core.attribution.allocation import currency_digits, to_minor_units
from trackflow_core.errors import ConfigError, InvalidEvent
from trackflow_core.model import Deal, DealStatus, Lead, zone_named
from trackflow_core.ports import Event

Payload = Mapping[str, Any]

LEAD, DEAL = "CRM Lead", "CRM Deal"
TOKEN = "trackflow_token"  # noqa: S105 -- a field's name
"""The custom field of a lead that a form fills with the visitor's token."""

LEAD_FIELDS = (
    "name", "creation", "modified", "lead_name", "first_name", "email", "mobile_no", "phone",
    "organization",
)  # fmt: skip
DEAL_FIELDS = (
    "name", "creation", "modified", "status", "deal_value", "currency", "lead", "organization",
    "lead_name", "closed_date",
)  # fmt: skip
"""The fields to read."""

_KINDS = {LEAD: "lead", DEAL: "deal"}
_STATUS = {
    "Open": DealStatus.OPEN,
    "Ongoing": DealStatus.OPEN,
    "On Hold": DealStatus.OPEN,
    "Won": DealStatus.WON,
    "Lost": DealStatus.LOST,
}
_CURRENCY = re.compile(r"[A-Za-z]{3}\Z")
_STAMP = "%Y%m%dT%H%M%S.%f"


class Document(NamedTuple):
    """Which document a ref means: `creation` is naive, in the site's time zone."""

    kind: str
    name: str
    creation: datetime


def events_of(payload: Payload, namespace: str) -> Sequence[Event]:
    """The lead or deal that a payload tells; none for a webhook that is a mere hint.

    Raises InvalidEvent, naming the field and the remedy.
    """
    doctype = payload.get("doctype")
    if not isinstance(doctype, str) or doctype not in _KINDS:
        raise _refused("doctype", doctype, f"send a {LEAD} or a {DEAL}")
    if "event" in payload:
        gone = payload["event"] == "on_trash" and doctype == DEAL
        return (_deleted(payload, namespace),) if gone else ()
    return (_lead(payload, namespace) if doctype == LEAD else _deal(payload, namespace),)


def ref_of(namespace: str, doctype: str, name: str, creation: datetime) -> str:
    """The ref of a document; `creation` is naive."""
    return f"{namespace}/{_KINDS[doctype]}/{name}@{creation.strftime(_STAMP)}"


def document_of(ref: str, namespace: str) -> Document:
    """The inverse of `ref_of`. Raises InvalidEvent on a ref of another CRM."""
    kind, _, rest = ref.removeprefix(f"{namespace}/").partition("/")
    name, _, stamp = rest.rpartition("@")
    try:
        creation = datetime.strptime(stamp, _STAMP)
    except ValueError:
        creation = None
    if kind not in _KINDS.values() or not name or creation is None:
        raise InvalidEvent(f"{ref!r:.80} is no document of {namespace}.")
    return Document(kind, name, creation)


def naive(payload: Payload, field: str) -> datetime:
    """A time of the site as it is written there. Raises InvalidEvent when it is none."""
    value = payload.get(field)
    if value is None or value == "":
        raise InvalidEvent(f"{_label(payload)}: {field} is missing: read it with the document.")
    try:
        moment = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        moment = None
    if moment is None or moment.tzinfo is not None or moment.year < 1970:
        raise _refused(field, value, "expected 'YYYY-MM-DD HH:MM:SS.ffffff' of the site", payload)
    return moment


def _lead(payload: Payload, namespace: str) -> Lead:
    ref, event_id, changed, created = _identity(payload, namespace)
    organization = _text(payload, "organization")
    return Lead(
        ref=ref,
        event_id=event_id,
        occurred_at=changed,
        created_at=created,
        name=_text(payload, "lead_name") or _text(payload, "first_name") or organization,
        contact_name=_text(payload, "lead_name"),
        email=_text(payload, "email"),
        phone=_text(payload, "mobile_no") or _text(payload, "phone"),
        company=organization,
        visitor_token=_text(payload, TOKEN),
        account=f"{namespace}/organization/{organization}" if organization else "",
    )


def _deal(payload: Payload, namespace: str) -> Deal:
    ref, event_id, changed, created = _identity(payload, namespace)
    currency = _currency(payload)
    digits = currency_digits(currency)
    status = _status(payload)
    return Deal(
        ref=ref,
        event_id=event_id,
        occurred_at=changed,
        value=_value(payload, digits),
        currency=currency,
        digits=digits,
        lead_ref=_lead_ref(payload, namespace),
        created_at=created,
        closed_at=None if status is DealStatus.OPEN else _closed_at(payload, created, changed),
        status=status,
        name=_text(payload, "organization") or _text(payload, "lead_name"),
    )


def _deleted(payload: Payload, namespace: str) -> Deal:
    """A deal that is gone: lost, and worth nothing."""
    ref, event_id, changed, created = _identity(payload, namespace)
    currency = _currency(payload)
    deleted_at = _utc(payload, "deleted_at") if payload.get("deleted_at") else changed
    return Deal(
        ref=ref,
        # Behind every other state of the same instant.
        event_id=f"{event_id}~deleted",
        occurred_at=deleted_at,
        value=0,
        currency=currency,
        digits=currency_digits(currency),
        created_at=created,
        status=DealStatus.LOST,
    )


def _identity(payload: Payload, namespace: str) -> tuple[str, str, datetime, datetime]:
    name = payload.get("name")
    if not isinstance(name, str) or not name or len(name) > 140:
        raise _refused("name", name, "send the document's name", payload)
    ref = ref_of(namespace, str(payload["doctype"]), name, naive(payload, "creation"))
    changed = _utc(payload, "modified")
    return ref, f"{ref}@{changed.isoformat()}", changed, _utc(payload, "creation")


def _lead_ref(payload: Payload, namespace: str) -> str:
    """The ref of the lead that a deal came from; "" for a deal without one."""
    name = payload.get("lead")
    if not name:
        return ""
    if not isinstance(name, str):
        raise _refused("lead", name, "send the name of the lead", payload)
    return ref_of(namespace, LEAD, name, naive(payload, "lead_creation"))


def _status(payload: Payload) -> DealStatus:
    status_type = payload.get("status_type")
    try:
        return _STATUS[status_type]  # type: ignore[index]
    except (KeyError, TypeError):
        raise _refused(
            "status_type",
            status_type,
            f"the deal status must be of a type of {', '.join(_STATUS)}",
            payload,
        ) from None


def _closed_at(payload: Payload, created: datetime, changed: datetime) -> datetime:
    if payload.get("closed_at"):
        return _utc(payload, "closed_at")
    if payload.get("closed_date"):
        # A day only: not before the deal came to be, nor after its last change.
        return min(max(created, _utc(payload, "closed_date")), changed)
    return changed


def _currency(payload: Payload) -> str:
    currency = payload.get("currency") or payload.get("site_currency")
    if not isinstance(currency, str) or not _CURRENCY.match(currency):
        raise _refused("currency", currency, "give the deal a currency such as EUR", payload)
    return currency.upper()


def _value(payload: Payload, digits: int) -> int:
    value = payload.get("deal_value")
    refused = _refused("deal_value", value, "expected a number", payload)
    if isinstance(value, bool) or not isinstance(value, (int, float, str, type(None))):
        raise refused
    if isinstance(value, str) and not re.match(r"[+-]?[0-9]{1,18}(\.[0-9]{1,12})?\Z", value):
        raise refused
    try:
        return to_minor_units(value or 0, digits)
    except InvalidEvent:
        raise refused from None


def _text(payload: Payload, field: str) -> str:
    value = payload.get(field)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise InvalidEvent(f"{_label(payload)}: {field} is no text: read it from the document.")
    return value[:1000]


def _utc(payload: Payload, field: str) -> datetime:
    return naive(payload, field).replace(tzinfo=_zone(payload)).astimezone(timezone.utc)


def _zone(payload: Payload) -> ZoneInfo:
    name = payload.get("time_zone")
    try:
        if isinstance(name, str) and name:
            return zone_named(name)
    except ConfigError as error:
        raise InvalidEvent(f"{_label(payload)}: time_zone: {error}") from None
    raise _refused("time_zone", name, "send the site's time zone, such as Asia/Kolkata", payload)


def _refused(
    field: str, value: object, remedy: str, payload: Payload | None = None
) -> InvalidEvent:
    label = f"{_label(payload)}: " if payload else ""
    return InvalidEvent(f"{label}{field} is {value!r:.60}; {remedy}.")


def _label(payload: Payload) -> str:
    return f"{payload.get('doctype')!s:.20} {payload.get('name')!s:.60}"
