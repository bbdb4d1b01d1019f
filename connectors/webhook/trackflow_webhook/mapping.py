"""Any JSON as leads and deals, by expressions that a person writes and can try.

    [webhook]
    items = events              # where the body holds several; without it the body is the one

    [lead]
    when = type == 'signup'
    id = user.id
    occurred_at = created
    email = user.email

    [deal]
    when = type == 'order'
    id = order.number
    lead_id = user.id
    occurred_at = created
    value = order.total
    currency = order.currency
    status = paid && 'won' || 'open'

Expressions are JMESPath (https://jmespath.org). With `items`, each is applied to an object with
`item` and `body`. There may be several sections of a kind: `[lead signup]`, `[lead survey]`.
"""

from __future__ import annotations

import configparser
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import lru_cache
from typing import Any

import jmespath
from jmespath.exceptions import JMESPathError

from trackflow_core.attribution.allocation import currency_digits, to_minor_units
from trackflow_core.errors import ConfigError, InvalidEvent
from trackflow_core.model import Deal, DealStatus, Lead, zone_named
from trackflow_core.ports import Event

_TEXTS = ("name", "contact_name", "email", "phone", "company", "visitor_token", "visitor_cookie")
_MOMENTS = ("occurred_at", "created_at", "closed_at")
_FIELDS = {
    "lead": ("when", "event", "id", "occurred_at", "created_at", "account", *_TEXTS),
    "deal": (
        "when", "event", "id", "lead_id", "occurred_at", "created_at", "closed_at", "value",
        "value_minor", "currency", "status", "name", "deleted",
    ),
}  # fmt: skip
_REQUIRED = {"lead": ("id", "occurred_at"), "deal": ("id", "occurred_at", "currency")}
_PRIVATE = frozenset(_TEXTS)
_MAX_ITEMS = 1000
_MAX_TEXT = 1000
_MAX_ID = 200
_MAX_MAPPING = 20_000
_AMOUNT = re.compile(r"[+-]?[0-9]{1,18}(\.[0-9]{1,12})?([eE][+-]?[0-9]{1,2})?\Z")
_CURRENCY = re.compile(r"[A-Za-z]{3}\Z")
_SECONDS = re.compile(r"[0-9]{9,14}(\.[0-9]{1,9})?\Z")
_MILLISECONDS = 10**11
_YEARS = range(1970, 9999)


@dataclass(frozen=True, slots=True)
class Section:
    """What one section says: the expression of each field."""

    name: str
    kind: str
    fields: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Rules:
    """A mapping, read and checked. `zone` is that of times without one."""

    sections: tuple[Section, ...]
    items: str = ""
    zone: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """One field in a preview: what its expression found, or what is wrong with it."""

    section: str
    item: int
    field: str
    expression: str
    value: Any = None
    problem: str = ""


@dataclass(slots=True)
class Preview:
    """What a mapping makes of one body: row by row, and the facts it would tell."""

    rows: list[Row] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


@lru_cache(maxsize=64)
def read(text: str) -> Rules:
    """The rules in a mapping. Raises ConfigError that names section, field and remedy."""
    if len(text) > _MAX_MAPPING:
        raise ConfigError(f"The mapping has {len(text)} characters; at most {_MAX_MAPPING}.")
    parser = configparser.RawConfigParser(
        delimiters=("=",), comment_prefixes=("#",), inline_comment_prefixes=(" #",), strict=True
    )
    try:
        parser.read_string(text)
    except configparser.Error as error:
        reason = " ".join(str(error).replace("<string>", "the mapping").split())
        raise ConfigError(f"The mapping cannot be read: {reason}"[:300]) from None
    common = dict(parser["webhook"]) if parser.has_section("webhook") else {}
    _check_names("webhook", common, ("items", "zone"))
    if common.get("items"):
        _compiled("webhook", "items", common["items"])
    if common.get("zone"):
        zone_named(common["zone"])
    sections = tuple(
        _section(name, dict(parser[name])) for name in parser.sections() if name != "webhook"
    )
    if not sections:
        raise ConfigError("The mapping has no section [lead] or [deal]: add one.")
    return Rules(sections, common.get("items", ""), common.get("zone", ""))


def events_of(rules: Rules, body: Any, delivery_id: str, namespace: str) -> Sequence[Event]:
    """The leads and deals that a body tells; none where no section applies.

    Raises InvalidEvent that names section, field, expression and remedy.
    """
    return [
        _event(rules, section, root, f"{delivery_id}:{number}", namespace)
        for number, root in enumerate(_roots(rules, body))
        for section in rules.sections
        if _applies(section, root)
    ]


def preview(text: str, body: Any, namespace: str = "preview/one") -> Preview:
    """What the mapping `text` makes of a sample; problems are told, not raised."""
    found = Preview()
    try:
        rules = read(text)
        roots = list(_roots(rules, body))
    except (ConfigError, InvalidEvent) as error:
        found.problems.append(str(error))
        return found
    for number, root in enumerate(roots):
        for section in rules.sections:
            _preview_section(found, rules, section, number, root, namespace)
    if not found.rows and not found.problems:
        found.problems.append("No section applies to this body: look at the expressions of 'when'.")
    return found


def _preview_section(
    found: Preview, rules: Rules, section: Section, number: int, root: Any, namespace: str
) -> None:
    try:
        if not _applies(section, root):
            return
    except InvalidEvent as error:
        found.problems.append(str(error))
        return
    for name, expression in section.fields.items():
        try:
            value, problem = _search(section, name, root), ""
        except InvalidEvent as error:
            value, problem = None, str(error)
        found.rows.append(Row(section.name, number, name, expression, value, problem))
    try:
        found.events.append(_event(rules, section, root, f"preview:{number}", namespace))
    except InvalidEvent as error:
        found.problems.append(str(error))


def _section(name: str, fields: Mapping[str, str]) -> Section:
    kind = name.partition(" ")[0]
    if kind not in _FIELDS:
        raise ConfigError(f"The mapping has a section [{name}]: use [webhook], [lead] or [deal].")
    _check_names(name, fields, _FIELDS[kind])
    for needed in _REQUIRED[kind]:
        if not fields.get(needed):
            raise ConfigError(f"[{name}] has no {needed}: give an expression for it.")
    if kind == "deal" and not (fields.get("value") or fields.get("value_minor")):
        raise ConfigError(f"[{name}] has neither value nor value_minor: give one of them.")
    for field_name, expression in fields.items():
        _compiled(name, field_name, expression)
    return Section(name, kind, fields)


def _check_names(section: str, fields: Mapping[str, str], known: Sequence[str]) -> None:
    for name in fields:
        if name not in known:
            raise ConfigError(f"[{section}] has a field {name}; there are {', '.join(known)}.")


@lru_cache(maxsize=1024)
def _compiled(section: str, name: str, expression: str) -> Any:
    try:
        return jmespath.compile(expression)
    except (JMESPathError, RecursionError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ConfigError(
            f"[{section}] {name} = {expression:.80}: this is no JMESPath: {reason}"[:400]
        ) from None


def _roots(rules: Rules, body: Any) -> Iterator[Any]:
    """What expressions are applied to: the body, or an object for each of its items."""
    if not rules.items:
        yield body
        return
    section = Section("webhook", "", {"items": rules.items})
    items = _search(section, "items", body)
    if items is None:
        return
    if not isinstance(items, list):
        raise InvalidEvent(f"[webhook] items = {rules.items:.80} is no list in this body.")
    if len(items) > _MAX_ITEMS:
        raise InvalidEvent(f"The body holds {len(items)} items; at most {_MAX_ITEMS} are read.")
    for item in items:
        yield {"item": item, "body": body}


def _applies(section: Section, root: Any) -> bool:
    return "when" not in section.fields or not _is_absent(_search(section, "when", root))


def _search(section: Section, name: str, root: Any) -> Any:
    expression = section.fields.get(name)
    if not expression:
        return None
    try:
        return _compiled(section.name, name, expression).search(root)
    except (JMESPathError, RecursionError, TypeError, ValueError, AttributeError) as error:
        reason = type(error).__name__ if name in _PRIVATE else str(error).splitlines()[0]
        raise InvalidEvent(f"{_at(section, name)} fails: {reason:.200}.") from None


def _event(rules: Rules, section: Section, root: Any, delivery_id: str, namespace: str) -> Event:
    found = {name: _search(section, name, root) for name in section.fields}
    told = {
        name: _moment(rules, section, name, found.get(name))
        for name in _MOMENTS
        if name in section.fields
    }
    if told["occurred_at"] is None:
        raise _missing(section, "occurred_at")
    # A fact of tomorrow would outdo all that are told until then.
    told["occurred_at"] = min(told["occurred_at"], datetime.now(timezone.utc))
    ref = f"{namespace}/{_identifier(section, 'id', found)}"
    own_id = found.get("event")
    event_id = _identifier(section, "event", found) if not _is_absent(own_id) else delivery_id
    build = _lead if section.kind == "lead" else _deal
    return build(section, found, told, ref, event_id, namespace)


def _lead(
    section: Section,
    found: Mapping[str, Any],
    told: Mapping[str, Any],
    ref: str,
    event_id: str,
    namespace: str,
) -> Lead:
    account = found.get("account")
    texts: dict[str, Any] = {name: _text(section, name, found.get(name)) for name in _TEXTS}
    return Lead(
        ref=ref,
        event_id=event_id,
        **told,
        **texts,
        account=(
            "" if _is_absent(account) else f"{namespace}/{_identifier(section, 'account', found)}"
        ),
    )


def _deal(
    section: Section,
    found: Mapping[str, Any],
    told: Mapping[str, Any],
    ref: str,
    event_id: str,
    namespace: str,
) -> Deal:
    currency = found.get("currency")
    if _is_absent(currency):
        raise _missing(section, "currency")
    if not isinstance(currency, str) or not _CURRENCY.match(currency):
        raise _refused(section, "currency", currency, "give the ISO 4217 code, such as EUR")
    digits = currency_digits(currency)
    deleted = not _is_absent(found.get("deleted"))
    lead = found.get("lead_id")
    return Deal(
        ref=ref,
        event_id=event_id,
        **told,
        value=0 if deleted else _value(section, found, digits),
        currency=currency.upper(),
        digits=digits,
        lead_ref=""
        if _is_absent(lead)
        else f"{namespace}/{_identifier(section, 'lead_id', found)}",
        status=DealStatus.LOST if deleted else _status(section, found.get("status")),
        name=_text(section, "name", found.get("name")),
    )


def _is_absent(value: Any) -> bool:
    return value is None or value is False or value in ("", [], {})


def _identifier(section: Section, name: str, found: Mapping[str, Any]) -> str:
    value = found.get(name)
    if _is_absent(value):
        raise _missing(section, name)
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or len(value) > _MAX_ID or not value.isprintable():
        raise _refused(section, name, value, f"find a text of up to {_MAX_ID} characters")
    return value


def _text(section: Section, name: str, value: Any) -> str:
    """A text whose content no message shows: it may be personal or a token."""
    if value is None:
        return ""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        raise InvalidEvent(f"{_at(section, name)} is of type {type(value).__name__}: find a text.")
    return value[:_MAX_TEXT]


def _value(section: Section, found: Mapping[str, Any], digits: int) -> int:
    name = "value_minor" if "value_minor" in section.fields else "value"
    value = found.get(name)
    if _is_absent(value):
        return 0
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    refused = _refused(section, name, value, "find a number such as 250.00, without separators")
    if not (number or isinstance(value, str)) or not _AMOUNT.match(str(value)):
        raise refused
    try:
        return to_minor_units(str(value), 0 if name == "value_minor" else digits)
    except InvalidEvent:
        raise refused from None


def _status(section: Section, value: Any) -> DealStatus:
    if _is_absent(value):
        return DealStatus.OPEN
    try:
        return DealStatus(str(value).lower())
    except ValueError:
        raise _refused(section, "status", value, "let it give open, won or lost") from None


def _moment(rules: Rules, section: Section, name: str, value: Any) -> datetime | None:
    if _is_absent(value):
        return None
    moment = _read_moment(value, rules.zone)
    if moment is None or moment.year not in _YEARS:
        zone = "" if rules.zone else ", and give the zone of times without one in [webhook] zone"
        raise _refused(
            section,
            name,
            value,
            f"find a time such as 2026-03-01T12:00:00Z, or seconds since 1970{zone}",
        )
    return moment


def _read_moment(value: Any, zone: str) -> datetime | None:
    text = str(value).strip()
    try:
        if _SECONDS.match(text) and not isinstance(value, bool):
            number = float(text)
            seconds = number / 1000 if number >= _MILLISECONDS else number
            return datetime.fromtimestamp(seconds, timezone.utc)
        if not isinstance(value, str):
            return None
        moment = _read_iso(text)
        if moment.tzinfo is None:
            return moment.replace(tzinfo=zone_named(zone)) if zone else None
        return moment.astimezone(timezone.utc)
    except (ValueError, OverflowError, OSError):
        return None


def _read_iso(text: str) -> datetime:
    """Python 3.10 reads neither Z, nor +0000, nor any number of digits of a fraction."""
    match = re.fullmatch(
        r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d(?::\d\d)?)(\.\d{1,9})?\s*(Z|z|[+-]\d\d:?\d\d)?", text
    )
    if match is None:
        return datetime.fromisoformat(text)
    fraction = (match[3] or ".0")[:7].ljust(7, "0")
    clock = match[2] if len(match[2]) == 8 else f"{match[2]}:00"
    zone = match[4] or ""
    if zone in ("Z", "z"):
        zone = "+00:00"
    elif zone and ":" not in zone:
        zone = f"{zone[:3]}:{zone[3:]}"
    return datetime.fromisoformat(f"{match[1]}T{clock}{fraction}{zone}")


def _at(section: Section, name: str) -> str:
    return f"[{section.name}] {name} = {section.fields.get(name, '')!s:.80}"


def _missing(section: Section, name: str) -> InvalidEvent:
    return InvalidEvent(f"{_at(section, name)} finds nothing in this body: mend the expression.")


def _refused(section: Section, name: str, value: object, remedy: str) -> InvalidEvent:
    return InvalidEvent(f"{_at(section, name)} finds {value!r:.60}; {remedy}.")
