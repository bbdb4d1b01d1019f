"""What Twenty's people and opportunities say, in TrackFlow's terms. Pure.

A payload is a record as the REST API lists it, with its `object`, and beside it what a mapping
cannot look up: for a person `company_name`, for an opportunity `deal_status` (open, won or lost)
and `default_currency`.

What webhooks send has an `eventName`; only an opportunity that was deleted tells a fact by itself,
the others are hints to poll.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from decimal import Decimal
from typing import Any, NamedTuple

from trackflow_core.attribution.allocation import currency_digits, to_minor_units
from trackflow_core.errors import InvalidEvent
from trackflow_core.model import Deal, DealStatus, Lead
from trackflow_core.ports import Event

Payload = Mapping[str, Any]

PERSON, OPPORTUNITY = "person", "opportunity"
TOKEN = "trackflowToken"  # noqa: S105 -- a field's name
"""The custom field of a person that a form fills with the visitor's token."""

_GONE = (f"{OPPORTUNITY}.deleted", f"{OPPORTUNITY}.destroyed")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")
_CURRENCY = re.compile(r"[A-Za-z]{3}\Z")
_MICROS = re.compile(r"-?[0-9]{1,24}\Z")
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)\Z")


class Record(NamedTuple):
    """Which record a ref means: `object` is person or opportunity."""

    object: str
    id: str


def events_of(payload: Payload, namespace: str) -> Sequence[Event]:
    """The lead or deal that a payload tells; none for a webhook that is a mere hint.

    Raises InvalidEvent, naming the field and the remedy.
    """
    if "eventName" in payload:
        return _told_by_webhook(payload, namespace)
    kind = payload.get("object")
    if kind == PERSON:
        return (_lead(payload, namespace),)
    if kind == OPPORTUNITY:
        gone = payload.get("deletedAt") is not None
        return (_deleted(payload, namespace) if gone else _deal(payload, namespace),)
    raise _refused("object", kind, f"send a {PERSON} or an {OPPORTUNITY}")


def ref_of(namespace: str, kind: str, record_id: str) -> str:
    """The ref of a record."""
    return f"{namespace}/{kind}/{record_id}"


def record_of(ref: str, namespace: str) -> Record:
    """The inverse of `ref_of`. Raises InvalidEvent on a ref of another CRM."""
    kind, _, record_id = ref.removeprefix(f"{namespace}/").partition("/")
    if kind not in (PERSON, OPPORTUNITY) or not _UUID.match(record_id):
        raise InvalidEvent(f"{ref!r:.80} is no record of {namespace}.")
    return Record(kind, record_id)


def moment(payload: Payload, field: str) -> datetime:
    """A field's time. Raises InvalidEvent when it is none."""
    value = payload.get(field)
    if value is None:
        raise InvalidEvent(f"{_label(payload)}: {field} is missing: read it with the record.")
    found = None
    if isinstance(value, str) and _MOMENT.match(value):
        found = _read(value)
    if found is None or found.year < 1970:
        raise _refused(field, value, "expected a time such as 2026-03-01T12:00:00.000Z", payload)
    return found


def _read(text: str) -> datetime | None:
    # Python 3.10 reads neither 'Z' nor any number of decimals.
    seconds, _, rest = text.replace("Z", "+00:00").partition(".")
    if rest:
        decimals, zone = rest[:-6], rest[-6:]
        seconds = f"{seconds}.{decimals:0<6}{zone}"
    try:
        return datetime.fromisoformat(seconds).astimezone(timezone.utc)
    except (ValueError, OverflowError):
        return None


def _told_by_webhook(payload: Payload, namespace: str) -> Sequence[Event]:
    name, record = payload["eventName"], payload.get("record")
    if not isinstance(name, str):
        raise _refused("eventName", name, f"send an event such as {_GONE[0]}")
    if name not in _GONE:
        return ()
    if not isinstance(record, Mapping):
        raise InvalidEvent("record is missing: send Twenty's webhook as it is.")
    told = {
        **record,
        "object": OPPORTUNITY,
        "deletedAt": record.get("deletedAt") or payload.get("eventDate"),
        "default_currency": payload.get("default_currency"),
    }
    return (_deleted(told, namespace),)


def _lead(payload: Payload, namespace: str) -> Lead:
    ref = _ref(payload, namespace)
    changed = moment(payload, "updatedAt")
    company = _uuid(payload, "companyId")
    name = _full_name(payload)
    return Lead(
        ref=ref,
        event_id=f"{ref}@{changed.isoformat()}",
        occurred_at=changed,
        created_at=moment(payload, "createdAt"),
        name=name or _text(payload, "company_name"),
        contact_name=name,
        email=_text(_part(payload, "emails"), "primaryEmail"),
        phone=_phone(_part(payload, "phones")),
        company=_text(payload, "company_name"),
        visitor_token=_text(payload, TOKEN),
        account=f"{namespace}/company/{company}" if company else "",
    )


def _deal(payload: Payload, namespace: str) -> Deal:
    ref = _ref(payload, namespace)
    created, changed = moment(payload, "createdAt"), moment(payload, "updatedAt")
    person = _uuid(payload, "pointOfContactId")
    currency = _currency(payload)
    digits = currency_digits(currency)
    status = _status(payload)
    return Deal(
        ref=ref,
        event_id=f"{ref}@{changed.isoformat()}",
        occurred_at=changed,
        value=_value(payload, digits),
        currency=currency,
        digits=digits,
        lead_ref=ref_of(namespace, PERSON, person) if person else "",
        created_at=created,
        closed_at=None if status is DealStatus.OPEN else _closed_at(payload, created, changed),
        status=status,
        name=_text(payload, "name"),
    )


def _deleted(payload: Payload, namespace: str) -> Deal:
    """An opportunity that is gone: lost, and worth nothing."""
    ref = _ref(payload, namespace)
    gone = moment(payload, "deletedAt")
    currency = _currency(payload)
    return Deal(
        ref=ref,
        # Behind every other state of the same instant.
        event_id=f"{ref}@{gone.isoformat()}~deleted",
        occurred_at=gone,
        value=0,
        currency=currency,
        digits=currency_digits(currency),
        created_at=moment(payload, "createdAt"),
        status=DealStatus.LOST,
    )


def _ref(payload: Payload, namespace: str) -> str:
    record_id = payload.get("id")
    if not isinstance(record_id, str) or not _UUID.match(record_id):
        raise _refused("id", record_id, "send the record's UUID", payload)
    return ref_of(namespace, str(payload["object"]), record_id)


def _uuid(payload: Payload, field: str) -> str:
    """The id of a record that this one points to; "" for none."""
    value = payload.get(field)
    if value is None or value == "":
        return ""
    if not isinstance(value, str) or not _UUID.match(value):
        raise _refused(field, value, "send the record's UUID", payload)
    return value


def _status(payload: Payload) -> DealStatus:
    value = payload.get("deal_status")
    try:
        return DealStatus(value)
    except ValueError:
        raise _refused("deal_status", value, "send open, won or lost", payload) from None


def _closed_at(payload: Payload, created: datetime, changed: datetime) -> datetime:
    """When it was won or lost: its close date, which may be a plan, within what is known."""
    if payload.get("closeDate") is None:
        return changed
    return min(max(created, moment(payload, "closeDate")), changed)


def _currency(payload: Payload) -> str:
    code = _part(payload, "amount").get("currencyCode")
    currency = code or payload.get("default_currency")
    if not isinstance(currency, str) or not _CURRENCY.match(currency):
        raise _refused("currencyCode", currency, "give the amount a currency such as EUR", payload)
    return currency.upper()


def _value(payload: Payload, digits: int) -> int:
    """The amount in minor units; Twenty keeps millionths, as a number or as text."""
    micros = _part(payload, "amount").get("amountMicros")
    if micros is None:
        return 0
    if isinstance(micros, bool) or not _MICROS.match(str(micros)):
        raise _refused("amountMicros", micros, "expected a whole number of millionths", payload)
    return to_minor_units(Decimal(str(micros)).scaleb(-6), digits)


def _full_name(payload: Payload) -> str:
    name = _part(payload, "name")
    return f"{_text(name, 'firstName')} {_text(name, 'lastName')}".strip()


def _phone(phones: Payload) -> str:
    number = _text(phones, "primaryPhoneNumber")
    return f"{_text(phones, 'primaryPhoneCallingCode')} {number}".strip() if number else ""


def _part(payload: Payload, field: str) -> Payload:
    """A field that has fields of its own; empty where there is none."""
    value = payload.get(field)
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise InvalidEvent(f"{_label(payload)}: {field} is no object: read it from the record.")
    return value


def _text(payload: Payload, field: str) -> str:
    """A field's text. Messages never show it: it may be personal."""
    value = payload.get(field)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise InvalidEvent(f"{_label(payload)}: {field} is no text: read it from the record.")
    return value[:1000]


def _refused(
    field: str, value: object, remedy: str, payload: Payload | None = None
) -> InvalidEvent:
    label = f"{_label(payload)}: " if payload else ""
    return InvalidEvent(f"{label}{field} is {value!r:.60}; {remedy}.")


def _label(payload: Payload) -> str:
    return f"{payload.get('object')!s:.20} {payload.get('id')!s:.40}"
