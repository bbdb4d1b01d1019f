"""Between the core's values and the database's: times, texts and references."""

import re
from dataclasses import asdict
from datetime import datetime, timezone
from functools import lru_cache

from trackflow_core.errors import InvalidEvent
from trackflow_core.model import Deal, DealStatus, Lead

NAMESPACE = "crm.lead"
LOCAL_REF = re.compile(rf"{re.escape(NAMESPACE)}/([0-9]{{1,9}})\Z")


def local_ref(lead_id):
    """The reference of a crm.lead of this database."""
    return f"{NAMESPACE}/{lead_id}"


def naive(moment):
    """An aware moment as Odoo keeps it: UTC without zone, exact to the microsecond."""
    return moment.astimezone(timezone.utc).replace(tzinfo=None)


# A click's time is that of its session and visitor too, and a day begins once for all of them.
@lru_cache(maxsize=8192)
def text_time(moment):
    """`naive` as PostgreSQL reads it."""
    return moment.astimezone(timezone.utc).isoformat().removesuffix("+00:00")


def array_text(values):
    """Numbers, truth values, times or single words as the text of an array of PostgreSQL's: a list
    of Python's is quoted item by item."""
    return f"{{{','.join(map(str, values)).replace('None', 'NULL')}}}"


# Many models give the whole of a deal to one touch.
@lru_cache(maxsize=4096)
def amount_text(value, digits):
    """Minor units as PostgreSQL reads and writes them in major units of so many places."""
    if not digits:
        return str(value)
    text = str(abs(value)).zfill(digits + 1)
    return f"{'-' if value < 0 else ''}{text[:-digits]}.{text[-digits:]}"


# What COPY writes for what would end a column or a line, or begin such a sign.
_COPIED = str.maketrans(
    {"\\": r"\\", "\b": r"\b", "\f": r"\f", "\n": r"\n", "\r": r"\r", "\t": r"\t", "\v": r"\v"}
)


def copied_text(value):
    """A value as COPY reads and writes it in its text format."""
    return r"\N" if value is None else str(value).translate(_COPIED)


def aware(moment):
    """A moment from the database with its zone, which is UTC."""
    return moment.replace(tzinfo=timezone.utc)


def clean(text):
    """A text as a Char field takes it."""
    return text.replace("\0", "").strip() or False


def version(fact):
    """Which fact a record holds; tells whether another one is newer."""
    return f"{fact.occurred_at.isoformat()}|{clean(fact.event_id) or ''}"


def parse_version(text):
    """The moment and event id in a `version`; (None, "") when there is none."""
    if not text:
        return None, ""
    moment, _, event_id = text.partition("|")
    return datetime.fromisoformat(moment), event_id


def touch_columns(touch):
    """What the ledger and conversions keep of a touch, for a JSON recordset."""
    if touch is None:
        return {}
    return {
        "event_id": touch.id,
        "touch_kind": touch.kind,
        "touch_at": text_time(touch.occurred_at),
        "channel": touch.channel,
        "source": touch.source,
        "medium": touch.medium,
        "campaign": touch.campaign,
        "content": touch.content,
        "term": touch.term,
    }


def fact_json(fact):
    """A lead or deal as plain JSON; `fact_from_json` is the inverse."""
    told = {
        name: sorted(value)
        if isinstance(value, frozenset)
        else value.isoformat()
        if isinstance(value, datetime)
        else value
        for name, value in asdict(fact).items()
    }
    return {**told, "fact": "deal" if isinstance(fact, Deal) else "lead"}


def fact_from_json(payload):
    """The fact that `fact_json` was given. Raises InvalidEvent when `payload` is something else."""
    told = {name: value for name, value in payload.items() if name != "fact"}
    try:
        for name in ("occurred_at", "created_at", "closed_at", "lead_told_at"):
            if told.get(name):
                told[name] = datetime.fromisoformat(told[name])
        for name in ("visitor_ids", "email_visitor_ids"):
            if name in told:
                told[name] = frozenset(told[name])
        if payload.get("fact") == "deal":
            return Deal(**{**told, "status": DealStatus(told["status"])})
        return Lead(**told)
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidEvent("The payload is no lead or deal that was kept.") from error
