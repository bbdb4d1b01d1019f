"""What a crm.lead record says, in TrackFlow's terms.

A record is a dict as Odoo's `read()` returns it: empty fields are False, datetimes are naive UTC
or "YYYY-MM-DD HH:MM:SS". The caller adds the company's currency under `currency_name` (ISO code)
and `currency_digits` (decimal places), which saves a lookup for each record, and where the lead
brought a visitor's token along, that under `visitor_token`.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime, timezone
from typing import Any

from trackflow_core.attribution.allocation import currency_digits, to_minor_units
from trackflow_core.errors import InvalidEvent
from trackflow_core.model import Deal, DealStatus, Lead

Record = Mapping[str, Any]
"""One crm.lead as `read()` gives it."""

STANDARD_FIELDS = (
    "id",
    "type",
    "name",
    "contact_name",
    "email_from",
    "phone",
    "partner_name",
    "active",
    "won_status",
    "expected_revenue",
    "create_date",
    "write_date",
    "date_closed",
    "date_conversion",
)
"""The fields to read from an Odoo without the TrackFlow addon."""

ADDON_FIELDS = ("trackflow_lead_date", "trackflow_deal_date", "trackflow_closed_date")
"""The addon's own dates; where set, they go before Odoo's, which tell when a row was written."""

FIELDS = STANDARD_FIELDS + ADDON_FIELDS
"""The fields to read from an Odoo with the TrackFlow addon."""

_STATUS = {"won": DealStatus.WON, "lost": DealStatus.LOST, "pending": DealStatus.OPEN}


def lead_from_record(record: Record, namespace: str) -> Lead:
    """The lead that `record` is; an opportunity began as one, if only for an instant.

    Raises InvalidEvent when `id`, or both `write_date` and `create_date`, are missing.
    """
    ref = _ref(record, namespace)
    occurred_at = _written_at(record)
    return Lead(
        ref=ref,
        event_id=_event_id(ref, occurred_at),
        occurred_at=occurred_at,
        created_at=lead_date(record),
        name=_text(record, "name"),
        contact_name=_text(record, "contact_name"),
        email=_text(record, "email_from"),
        phone=_text(record, "phone"),
        company=_text(record, "partner_name"),
        visitor_token=_text(record, "visitor_token"),
    )


def lead_date(record: Record) -> datetime | None:
    """When the lead that `record` is came in (UTC); None where the record does not tell.

    Raises InvalidEvent when that is no date.
    """
    return _first_date(record, "trackflow_lead_date", "create_date")


def deal_from_record(record: Record, namespace: str) -> Deal | None:
    """The deal that `record` is, or None when it is still a lead.

    An archived opportunity stays what `won_status` says. `value` is `expected_revenue` in minor
    units, rounded half up.

    Raises InvalidEvent when `type`, `id`, the dates or the currency are missing, or when a field
    holds what Odoo cannot have written.
    """
    kind = _required(record, "type")
    if kind == "lead":
        return None
    if kind != "opportunity":
        raise _refused(record, "type", "read a crm.lead, whose type is lead or opportunity")
    ref = _ref(record, namespace)
    occurred_at = _written_at(record)
    currency, digits = _currency(record)
    return Deal(
        ref=ref,
        event_id=_event_id(ref, occurred_at),
        occurred_at=occurred_at,
        value=_value(record, digits),
        currency=currency,
        digits=digits,
        lead_ref=ref,
        created_at=_first_date(record, "trackflow_deal_date", "date_conversion", "create_date"),
        closed_at=_first_date(record, "trackflow_closed_date", "date_closed"),
        status=_status(record),
        name=_text(record, "name"),
    )


def _ref(record: Record, namespace: str) -> str:
    number = _required(record, "id")
    if not isinstance(number, int) or isinstance(number, bool) or number <= 0:
        raise _refused(record, "id", "read a saved record, whose id is a positive integer")
    return f"{namespace}/{number}"


def _event_id(ref: str, occurred_at: datetime) -> str:
    # A record has one state at each moment it was written; reading it again tells nothing new.
    return f"{ref}@{occurred_at.isoformat()}"


def _written_at(record: Record) -> datetime:
    moment = _first_date(record, "write_date", "create_date")
    if moment is None:
        raise _missing(record, "write_date")
    return moment


def _status(record: Record) -> DealStatus:
    won_status = record.get("won_status") or "pending"
    try:
        return _STATUS[won_status]
    except (KeyError, TypeError):
        raise _refused(record, "won_status", "expected won, lost or pending") from None


def _currency(record: Record) -> tuple[str, int]:
    name = record.get("currency_name") or _display_name(record.get("company_currency"))
    if not isinstance(name, str) or not name:
        raise InvalidEvent(
            f"{_label(record)} has no currency_name: add the company currency's ISO code."
        )
    digits = record.get("currency_digits")
    if digits is None or digits is False:
        return name, currency_digits(name)
    if not isinstance(digits, int) or not 0 <= digits <= 6:
        raise _refused(record, "currency_digits", "expected the currency's decimal places")
    return name, digits


def _display_name(many2one: object) -> object:
    """The name in Odoo's (id, name); a bare id has none."""
    if isinstance(many2one, (tuple, list)) and len(many2one) == 2:
        return many2one[1]
    return None


def _value(record: Record, digits: int) -> int:
    revenue = record.get("expected_revenue") or 0
    try:
        return to_minor_units(revenue, digits)
    except InvalidEvent:
        raise _refused(record, "expected_revenue", "expected a finite number") from None


def _text(record: Record, field: str) -> str:
    value = record.get(field)
    return value if isinstance(value, str) else ""


def _first_date(record: Record, *fields: str) -> datetime | None:
    """The first of `fields` that is set, as aware UTC."""
    for field in fields:
        value = record.get(field)
        if value:
            return _moment(record, field, value)
    return None


def _moment(record: Record, field: str, value: object) -> datetime:
    if isinstance(value, str):
        with suppress(ValueError):
            value = datetime.fromisoformat(value)
    if not isinstance(value, datetime):
        raise _refused(record, field, "expected a datetime or 'YYYY-MM-DD HH:MM:SS' in UTC")
    return value if value.tzinfo else value.replace(tzinfo=timezone.utc)


def _required(record: Record, field: str) -> Any:
    value = record.get(field)
    if value is None or value is False:
        raise _missing(record, field)
    return value


def _missing(record: Record, field: str) -> InvalidEvent:
    return InvalidEvent(f"{_label(record)} has no {field}: read it with the record (see FIELDS).")


def _refused(record: Record, field: str, remedy: str) -> InvalidEvent:
    return InvalidEvent(f"{_label(record)}: {field} is {record.get(field)!r:.80}; {remedy}.")


def _label(record: Record) -> str:
    number = record.get("id")
    return f"crm.lead {number}" if isinstance(number, int) and number else "The crm.lead record"
