"""The custom fields and the webhook that the connector keeps in a Twenty workspace."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from trackflow_core.connectors import Change, Instance
from trackflow_twenty.mapping import OPPORTUNITY, PERSON, TOKEN
from trackflow_twenty.workspace import Schema, Workspace

OPERATIONS = (
    *(f"{PERSON}.{event}" for event in ("created", "updated")),
    *(
        f"{OPPORTUNITY}.{event}"
        for event in ("created", "updated", "deleted", "restored", "destroyed")
    ),
)
"""The events that the webhook tells."""


class Field(NamedTuple):
    """A custom field; `holds` names what of `WriteBack` it holds, "" for one that we only read."""

    object: str
    name: str
    label: str
    type: str
    holds: str


_BOTH = (
    ("trackflowSource", "TrackFlow Source", "TEXT", "source"),
    ("trackflowMedium", "TrackFlow Medium", "TEXT", "medium"),
    ("trackflowCampaign", "TrackFlow Campaign", "TEXT", "campaign"),
    ("trackflowFirstTouchAt", "First Touch", "DATE_TIME", "first_touch_at"),
    ("trackflowLastTouchAt", "Last Touch", "DATE_TIME", "last_touch_at"),
    ("trackflowTouchCount", "Touches", "NUMBER", "touch_count"),
)

FIELDS = (
    Field(PERSON, TOKEN, "TrackFlow Token", "TEXT", ""),
    Field(PERSON, "trackflowVisitorId", "TrackFlow Visitor", "TEXT", "visitor_id"),
    *(Field(PERSON, *field) for field in _BOTH),
    *(Field(OPPORTUNITY, *field) for field in _BOTH),
    Field(OPPORTUNITY, "trackflowModel", "Attribution Model", "TEXT", "model"),
    Field(OPPORTUNITY, "trackflowFirstSource", "First Touch Source", "TEXT", "first_touch_source"),
    Field(OPPORTUNITY, "trackflowLastSource", "Last Touch Source", "TEXT", "last_touch_source"),
    Field(OPPORTUNITY, "trackflowInfluenced", "Marketing Influenced", "BOOLEAN", "influenced"),
)


def fields_of(kind: str) -> Sequence[Field]:
    """The fields that hold what is written back to a person or opportunity."""
    return [field for field in FIELDS if field.object == kind and field.holds]


def missing_fields(schemas: Mapping[str, Schema]) -> Sequence[Field]:
    """The custom fields that do not exist yet."""
    return [field for field in FIELDS if field.name not in schemas[field.object].fields]


def provision(workspace: Workspace, instance: Instance, dry_run: bool) -> Sequence[Change]:
    """Make what is missing, and mend the webhook when it differs."""
    schemas, changes = workspace.schemas(), []
    for field in missing_fields(schemas):
        changes.append(Change("create", f"the field {field.label} of a {field.object}"))
        if not dry_run:
            workspace.create_field(schemas[field.object], field.name, field.label, field.type)
    if instance.webhook_url and instance.secrets:
        changes += _keep_webhook(workspace, instance, dry_run)
    return changes


def deprovision(workspace: Workspace, instance: Instance, dry_run: bool) -> Sequence[Change]:
    """Remove the webhook of this instance and the custom fields."""
    changes = []
    for webhook in _ours(workspace, instance):
        changes.append(Change("delete", f"the webhook {_title(instance)}"))
        if not dry_run:
            workspace.delete_webhook(webhook["id"])
    schemas = workspace.schemas()
    for field in FIELDS:
        field_id = schemas[field.object].fields.get(field.name)
        if field_id:
            changes.append(Change("delete", f"the field {field.label} of a {field.object}"))
            if not dry_run:
                workspace.delete_field(field_id)
    return changes


def webhook_is_right(workspace: Workspace, instance: Instance) -> bool:
    """Whether the webhook exists and is as it should be."""
    return not _keep_webhook(workspace, instance, dry_run=True)


def _keep_webhook(workspace: Workspace, instance: Instance, dry_run: bool) -> Sequence[Change]:
    wanted = _webhook(instance)
    found = next(iter(_ours(workspace, instance)), None)
    if found is None:
        if not dry_run:
            workspace.create_webhook(wanted)
        return (Change("create", f"the webhook {_title(instance)}"),)
    if (
        found.get("targetUrl") == wanted["targetUrl"]
        and found.get("description") == wanted["description"]
        and set(found.get("operations") or ()) == set(OPERATIONS)
    ):
        return ()
    if not dry_run:
        workspace.update_webhook(found["id"], wanted)
    return (Change("update", f"the webhook {_title(instance)}"),)


def _ours(workspace: Workspace, instance: Instance) -> Sequence[Mapping[str, Any]]:
    # Without a space after it, "acme" would also be the beginning of "acme-two".
    title = f"{_title(instance)} "
    return [
        found
        for found in workspace.webhooks()
        if str(found.get("description") or "").startswith(title)
    ]


def _webhook(instance: Instance) -> Mapping[str, Any]:
    secret = instance.secrets[0]
    return {
        "targetUrl": instance.webhook_url,
        "operations": [*OPERATIONS],
        # By the key's fingerprint we see that the secret is an old one.
        "description": f"{_title(instance)} (key {_fingerprint(secret)})",
        "secret": secret,
    }


def _title(instance: Instance) -> str:
    return f"TrackFlow {instance.namespace.rpartition('/')[2]}"


def _fingerprint(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()[:8]
