"""The custom fields and webhooks that the connector keeps in a Frappe site."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from trackflow_core.connectors import Change, Instance
from trackflow_frappe.mapping import DEAL, LEAD, TOKEN
from trackflow_frappe.site import Missing, Site

EVENTS = ("after_insert", "on_change", "on_trash")
"""`on_change` also catches a conversion, which `on_update` misses."""


class Field(NamedTuple):
    """A custom field; `holds` names what of `WriteBack` it holds, "" for one that we only read."""

    doctype: str
    name: str
    label: str
    type: str
    holds: str


_BOTH = (
    ("trackflow_source", "TrackFlow Source", "Data", "source"),
    ("trackflow_medium", "TrackFlow Medium", "Data", "medium"),
    ("trackflow_campaign", "TrackFlow Campaign", "Data", "campaign"),
    ("trackflow_first_touch_date", "First Touch", "Datetime", "first_touch_at"),
    ("trackflow_last_touch_date", "Last Touch", "Datetime", "last_touch_at"),
    ("trackflow_touch_count", "Touches", "Int", "touch_count"),
)

# Fields of one name on lead and deal are carried over when Frappe converts a lead.
FIELDS = (
    Field(LEAD, TOKEN, "TrackFlow Token", "Small Text", ""),
    Field(LEAD, "trackflow_visitor_id", "TrackFlow Visitor", "Data", "visitor_id"),
    *(Field(LEAD, *field) for field in _BOTH),
    *(Field(DEAL, *field) for field in _BOTH),
    Field(DEAL, "trackflow_attribution_model", "Attribution Model", "Data", "model"),
    Field(DEAL, "trackflow_first_touch_source", "First Touch Source", "Data", "first_touch_source"),
    Field(DEAL, "trackflow_last_touch_source", "Last Touch Source", "Data", "last_touch_source"),
    Field(DEAL, "trackflow_marketing_influenced", "Marketing Influenced", "Check", "influenced"),
)

_COMPARED = (
    "webhook_doctype", "webhook_docevent", "request_url", "request_method", "request_structure",
    "webhook_json", "enabled", "enable_security",
)  # fmt: skip


def fields_of(kind: str) -> Sequence[Field]:
    """The fields that hold what is written back to a lead or deal."""
    doctype = LEAD if kind == "lead" else DEAL
    return [field for field in FIELDS if field.doctype == doctype and field.holds]


def missing_fields(site: Site) -> Sequence[Field]:
    """The custom fields that do not exist yet."""
    known = {doctype: site.fields_of(doctype) for doctype in (LEAD, DEAL)}
    return [field for field in FIELDS if field.name not in known[field.doctype]]


def provision(site: Site, instance: Instance, dry_run: bool) -> Sequence[Change]:
    """Make what is missing, and mend webhooks that differ."""
    changes = []
    for field in missing_fields(site):
        changes.append(Change("create", f"the field {field.label} on {field.doctype}"))
        if not dry_run:
            site.create(
                "Custom Field",
                {
                    "dt": field.doctype,
                    "fieldname": field.name,
                    "label": field.label,
                    "fieldtype": field.type,
                    "insert_after": "source",
                    "no_copy": 1,
                },
            )
    for name, wanted in _webhooks(site, instance):
        changes += _keep_webhook(site, name, wanted, dry_run)
    return changes


def deprovision(site: Site, instance: Instance, dry_run: bool) -> Sequence[Change]:
    """Remove the webhooks of this instance and the custom fields."""
    changes = []
    for doctype in (LEAD, DEAL):
        for event in EVENTS:
            name = _webhook_name(instance, doctype, event)
            if site.exists("Webhook", name):
                changes.append(Change("delete", f"the webhook {name}"))
                if not dry_run:
                    site.delete("Webhook", name)
    there = {doctype: site.fields_of(doctype) for doctype in (LEAD, DEAL)}
    for field in FIELDS:
        if field.name in there[field.doctype]:
            changes.append(Change("delete", f"the field {field.label} on {field.doctype}"))
            if not dry_run:
                site.delete("Custom Field", f"{field.doctype}-{field.name}")
    return changes


def missing_webhooks(site: Site, instance: Instance) -> Sequence[str]:
    """The names of webhooks that do not exist or are not as they should be."""
    return [
        name
        for name, wanted in _webhooks(site, instance)
        if _keep_webhook(site, name, wanted, dry_run=True)
    ]


def _keep_webhook(
    site: Site, name: str, wanted: Mapping[str, Any], dry_run: bool
) -> Sequence[Change]:
    try:
        found = site.document("Webhook", name)
    except Missing:
        if not dry_run:
            site.create("Webhook", {"name": name, **wanted})
        return (Change("create", f"the webhook {name}"),)
    same = all(found.get(field) == wanted[field] for field in _COMPARED)
    if same and _headers(found) == _headers(wanted):
        return ()
    if not dry_run:
        site.update("Webhook", name, wanted)
    return (Change("update", f"the webhook {name}"),)


def _webhooks(site: Site, instance: Instance) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The webhooks to keep; none where the site cannot reach us or nothing would sign."""
    if not (instance.webhook_url and instance.secrets):
        return
    zone, secret = site.time_zone(), instance.secrets[0]
    for doctype in (LEAD, DEAL):
        for event in EVENTS:
            yield (
                _webhook_name(instance, doctype, event),
                {
                    "webhook_doctype": doctype,
                    "webhook_docevent": event,
                    "request_url": instance.webhook_url,
                    "request_method": "POST",
                    "request_structure": "JSON",
                    "webhook_json": _template(doctype, event, zone),
                    "enabled": 1,
                    "enable_security": 1,
                    "webhook_secret": secret,
                    "timeout": 5,
                    "webhook_headers": [
                        {"key": "Content-Type", "value": "application/json"},
                        # Frappe never shows the secret: by this we see that it is an old one.
                        {"key": "X-TrackFlow-Key", "value": _fingerprint(secret)},
                    ],
                },
            )


def _template(doctype: str, event: str, zone: str) -> str:
    """Jinja that renders to the payload of a hint; nothing personal leaves the site."""
    told = {
        "event": event,
        "doctype": doctype,
        "name": "@name",
        "creation": "{{ doc.creation }}",
        "modified": "{{ doc.modified }}",
        "time_zone": zone,
    }
    if doctype == DEAL:
        # A deleted deal is worth nothing in any currency.
        told |= {"currency": "@currency", "site_currency": "USD"}
    text = json.dumps(told)
    text = text.replace('"@name"', "{{ doc.name | tojson }}")
    return text.replace('"@currency"', "{{ doc.currency | tojson }}")


def _webhook_name(instance: Instance, doctype: str, event: str) -> str:
    return f"TrackFlow {instance.namespace.rpartition('/')[2]} {doctype} {event}"


def _headers(webhook: Mapping[str, Any]) -> Mapping[str, str]:
    return {row["key"]: row["value"] for row in webhook.get("webhook_headers", ())}


def _fingerprint(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()[:8]
