"""The one JSON shape, decoded and mapped. Every event tells the whole state of its lead or deal.

Numbers with a fraction are decoded as strings, so that amounts stay exact and a host can keep the
payload as JSON until it is processed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime, timezone
from decimal import Decimal
from typing import Any, NoReturn

from trackflow_core.attribution.allocation import currency_digits, to_minor_units
from trackflow_core.errors import InvalidEvent
from trackflow_core.model import Deal, DealStatus, Lead
from trackflow_core.ports import Event

EVENT_ID = "webhook_id"
"""Where the verified id of the delivery is put into the payload."""

_STATUS = {
    "deal.created": DealStatus.OPEN,
    "deal.updated": DealStatus.OPEN,
    "deal.won": DealStatus.WON,
    "deal.lost": DealStatus.LOST,
}
_LEAD_TYPES = ("lead.created", "lead.updated")
TYPES = (*_LEAD_TYPES, *_STATUS)
"""The types of event there are."""

# What happened last when two events carry one timestamp: senders often have whole seconds only.
_STEP = {"created": 0, "updated": 1, "lost": 2, "won": 2}

_MAX_DEPTH = 12
_MAX_TEXT = 1000
_MAX_ID = 200
_AMOUNT = re.compile(r"[+-]?[0-9]{1,18}(\.[0-9]{1,12})?([eE][+-]?[0-9]{1,2})?\Z")
_CURRENCY = re.compile(r"[A-Za-z]{3}\Z")
_MOMENT = re.compile(
    r"(?P<day>[0-9]{4}-[0-9]{2}-[0-9]{2})[Tt ]"
    r"(?P<time>[0-9]{2}:[0-9]{2}:[0-9]{2})(?P<fraction>\.[0-9]{1,9})?"
    r"(?P<zone>[Zz]|[+-][0-9]{2}:[0-9]{2})\Z"
)
_YEARS = range(1970, 9999)


def decode(text: str, webhook_id: str) -> Mapping[str, Any]:
    """The payload in a webhook's body, with the delivery's id under `EVENT_ID`.

    The result consists of JSON's types without floats. Raises InvalidEvent when `text` is not a
    JSON object, is nested too deeply, or holds text that databases refuse.
    """
    payload = parse(text)
    if not isinstance(payload, dict):
        raise InvalidEvent(
            "The body is not a JSON object: send {'type': …, 'timestamp': …, 'data': {…}}."
        )
    return {**payload, EVENT_ID: webhook_id}


def parse(text: str) -> Any:
    """The JSON value in `text`, without floats: a number with a fraction becomes a string.

    Raises InvalidEvent when it is no JSON, is nested too deeply, or holds text that databases
    refuse.
    """
    try:
        value = json.loads(text, parse_float=str, parse_constant=_refuse_constant)
    except RecursionError:
        raise InvalidEvent(f"The body is nested deeper than {_MAX_DEPTH} levels.") from None
    except ValueError as error:
        raise InvalidEvent(f"The body is not JSON: {error}."[:200]) from None
    check_text(value)
    return value


def event_from_payload(payload: Mapping[str, Any], namespace: str) -> Event:
    """The lead or deal that a decoded payload tells.

    Its `event_id` is the delivery's id behind a digit, by which events of one instant are ordered:
    created, updated, closed. Raises InvalidEvent, naming the field, what it holds and what it should.
    """
    kind = payload.get("type")
    if kind not in TYPES:
        raise _refused("type", kind, f"send one of {', '.join(TYPES)}")
    step = _STEP[str(kind).partition(".")[2]]
    event_id = f"{step}:{_identifier(payload, EVENT_ID, EVENT_ID)}"
    occurred_at = _moment(payload, "timestamp", "timestamp")
    if occurred_at is None:
        raise _missing("timestamp", "when the event happened, as 2026-03-01T12:00:00Z")
    # A fact of tomorrow would outdo all that are told until then.
    occurred_at = min(occurred_at, datetime.now(timezone.utc))
    data = payload.get("data")
    if not isinstance(data, Mapping):
        raise _missing("data", "an object with the fields of the lead or deal")
    if kind in _LEAD_TYPES:
        return _lead(data, namespace, event_id, occurred_at)
    return _deal(data, namespace, event_id, occurred_at, _STATUS[str(kind)])


def _lead(data: Mapping[str, Any], namespace: str, event_id: str, occurred_at: datetime) -> Lead:
    return Lead(
        ref=f"{namespace}/{_identifier(data, 'id')}",
        event_id=event_id,
        occurred_at=occurred_at,
        created_at=_moment(data, "created_at"),
        name=_text(data, "name"),
        contact_name=_text(data, "contact_name"),
        email=_text(data, "email"),
        phone=_text(data, "phone"),
        company=_text(data, "company"),
        visitor_token=_text(data, "visitor_token"),
        visitor_cookie=_text(data, "visitor_cookie"),
    )


def _deal(
    data: Mapping[str, Any],
    namespace: str,
    event_id: str,
    occurred_at: datetime,
    status: DealStatus,
) -> Deal:
    currency = _currency(data)
    digits = currency_digits(currency)
    return Deal(
        ref=f"{namespace}/{_identifier(data, 'id')}",
        event_id=event_id,
        occurred_at=occurred_at,
        value=_value(data, digits),
        currency=currency,
        lead_ref=f"{namespace}/{_identifier(data, 'lead_id')}",
        digits=digits,
        created_at=_moment(data, "created_at"),
        closed_at=_moment(data, "closed_at"),
        status=status,
        name=_text(data, "name"),
    )


def _identifier(data: Mapping[str, Any], field: str, path: str = "") -> str:
    path = path or f"data.{field}"
    value = data.get(field)
    if value is None or value == "":
        raise _missing(path, "the sender's own stable identifier")
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or len(value) > _MAX_ID or not value.isprintable():
        raise _refused(path, value, f"send a string of up to {_MAX_ID} characters, or an integer")
    return value


def _text(data: Mapping[str, Any], field: str) -> str:
    """An optional text; its content is never shown, for it may be personal or a token."""
    value = data.get(field)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise InvalidEvent(
            f"data.{field} is of type {type(value).__name__}: send a string, or leave it out."
        )
    if len(value) > _MAX_TEXT:
        raise InvalidEvent(f"data.{field} has {len(value)} characters: send at most {_MAX_TEXT}.")
    return value


def _currency(data: Mapping[str, Any]) -> str:
    value = data.get("currency")
    if value is None or value == "":
        raise _missing("data.currency", "the ISO 4217 code, such as EUR")
    if not isinstance(value, str) or not _CURRENCY.match(value):
        raise _refused("data.currency", value, "send the ISO 4217 code, such as EUR")
    return value.upper()


def _value(data: Mapping[str, Any], digits: int) -> int:
    value = data.get("value")
    if value is None or value == "":
        raise _missing("data.value", "the deal's value, such as 250.00")
    refused = _refused("data.value", value, "send a number such as 250.00, without separators")
    number = isinstance(value, (int, float, Decimal)) and not isinstance(value, bool)
    if not (number or isinstance(value, str)) or not _AMOUNT.match(str(value)):
        raise refused
    try:
        return to_minor_units(value, digits)
    except InvalidEvent:
        raise refused from None


def _moment(data: Mapping[str, Any], field: str, path: str = "") -> datetime | None:
    value = data.get(field)
    if value is None or value == "":
        return None
    match = _MOMENT.match(value) if isinstance(value, str) else None
    moment = _parse_moment(match) if match else None
    if moment is None:
        raise _refused(
            path or f"data.{field}", value, "send a date and time with zone: 2026-03-01T12:00:00Z"
        )
    return moment


def _parse_moment(match: re.Match[str]) -> datetime | None:
    """Python 3.10 reads neither `Z` nor a fraction of any other length than 3 or 6."""
    fraction = (match["fraction"] or ".0")[:7].ljust(7, "0")
    zone = "+00:00" if match["zone"] in "Zz" else match["zone"]
    try:
        moment = datetime.fromisoformat(f"{match['day']}T{match['time']}{fraction}{zone}")
    except ValueError:
        return None
    return moment if moment.year in _YEARS else None


def check_text(payload: object) -> None:
    """Refuse what is nested too deeply and what databases cannot keep, without recursion."""
    waiting: list[tuple[object, str, int]] = [(payload, "", 0)]
    while waiting:
        value, path, depth = waiting.pop()
        if depth > _MAX_DEPTH:
            raise InvalidEvent(f"{path:.80} is nested deeper than {_MAX_DEPTH} levels: flatten it.")
        if isinstance(value, dict):
            for key, item in value.items():
                waiting += [(key, f"a name in {path or 'the body'}", 0)]
                waiting += [(item, f"{path}.{key}".lstrip("."), depth + 1)]
        elif isinstance(value, list):
            waiting += [(item, f"{path}[]", depth + 1) for item in value]
        elif isinstance(value, str) and ("\0" in value or not _encodable(value)):
            raise InvalidEvent(f"{path!a:.80} holds NUL or half a surrogate pair: remove it.")


def _encodable(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def _missing(path: str, what: str) -> InvalidEvent:
    return InvalidEvent(f"{path} is missing: send {what}.")


def _refused(path: str, value: object, remedy: str) -> InvalidEvent:
    return InvalidEvent(f"{path} is {value!r:.60}: {remedy}.")
