"""Between the core's values and the database's: times, texts and references."""

import re
from datetime import datetime, timezone

NAMESPACE = "crm.lead"
LOCAL_REF = re.compile(rf"{re.escape(NAMESPACE)}/([0-9]{{1,9}})\Z")


def local_ref(lead_id):
    """The reference of a crm.lead of this database."""
    return f"{NAMESPACE}/{lead_id}"


def naive(moment):
    """An aware moment as Odoo keeps it: UTC without zone, exact to the microsecond."""
    return moment.astimezone(timezone.utc).replace(tzinfo=None)


def text_time(moment):
    """`naive` for a JSON recordset."""
    return naive(moment).isoformat()


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
