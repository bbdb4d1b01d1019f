"""The tables. What a column means is said by the field of the same name in `trackflow_core.model`.

Changes to this file need a migration under `migrations/versions`; a test compares the two.
"""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Date,
    DateTime,
    Float,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    UniqueConstraint,
    text,
)
from sqlalchemy.types import TypeDecorator

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


class Moment(TypeDecorator[datetime]):
    """An aware datetime with microseconds; SQLite, which knows no zones, holds it in UTC."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Any) -> datetime | None:
        if value is None or dialect.name != "sqlite":
            return value
        return value.astimezone(timezone.utc).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Any) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            return value.replace(tzinfo=timezone.utc)
        return value.astimezone(timezone.utc)


def _placed(*keys: str) -> list[Any]:
    """A number by which pages turn, and the columns that are the real key of a row."""
    return [
        Column("place", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
        *(Column(key, String, nullable=False) for key in keys),
        UniqueConstraint(*keys),
    ]


def key_of(table: Table) -> list[str]:
    """The names of the columns by which a row of `table` is told from others."""
    for constraint in table.constraints:
        if isinstance(constraint, UniqueConstraint):
            return [column.name for column in constraint.columns]
    return [column.name for column in table.primary_key]


def _text(name: str, **options: Any) -> Column[str]:
    return Column(name, String, nullable=False, server_default="", **options)


def _source() -> list[Column[Any]]:
    names = ("source", "medium", "campaign", "channel", "content", "term")
    return [_text(name) for name in names]


def _agent() -> list[Column[Any]]:
    return [_text(name) for name in ("verdict", "reason", "device", "browser", "os")]


def _click() -> list[Any]:
    return [
        *_placed("event_id"),
        Column("occurred_at", Moment, nullable=False),
        Column("link_code", String, nullable=False),
        _text("destination"),
        Column("visitor_id", String),
        _text("ip"),
        _text("user_agent"),
        _text("referrer"),
        Column("internal", Boolean, nullable=False, server_default=text("false")),
        Column("prefetch", Boolean, nullable=False, server_default=text("false")),
        Column("tier", String, nullable=False, server_default="full"),
        Column("kind", String, nullable=False, server_default="click"),
        _text("data"),
    ]


link = Table(
    "link",
    metadata,
    *_placed("code"),
    _text("title"),
    Column("created_at", Moment),
    Column("destination", String, nullable=False),
    _text("source"),
    _text("medium"),
    _text("campaign"),
    _text("content"),
    _text("term"),
    Column("status", String, nullable=False, server_default="active"),
    # A day or a moment, as ISO 8601 text: they mean different things (see `model.Link`).
    Column("starts", String),
    Column("ends", String),
    Column("zone", String, nullable=False, server_default="UTC"),
    _text("fallback"),
    _text("language"),
    Column("variants", JSON, nullable=False, server_default="[]"),
    Column("rules", JSON, nullable=False, server_default="[]"),
    # What `revision` counted when the link was last changed.
    Column("revision", BigInteger, nullable=False, server_default="0", index=True),
)

# Numbers that grow with every change, by what changes: whoever keeps copies compares them.
revision = Table(
    "revision",
    metadata,
    Column("name", String, primary_key=True),
    Column("number", BigInteger, nullable=False),
)

# What an edge knows of itself and its upstream; `value` is encrypted where it is secret.
edge_state = Table(
    "edge_state",
    metadata,
    Column("name", String, primary_key=True),
    Column("value", String, nullable=False),
)

# A click waits while `rejected` is null; one that was set aside keeps the reason there.
click_queue = Table("click_queue", metadata, *_click(), Column("rejected", String))
Index("ix_click_queue_occurred_at", click_queue.c.occurred_at)
Index("ix_click_queue_visitor_id", click_queue.c.visitor_id)

click = Table(
    "click",
    metadata,
    *_click(),
    *_agent(),
    *_source(),
    Column("counts", Boolean, nullable=False),
    Column("returns", Boolean, nullable=False, server_default=text("false")),
    Column("session_id", String, index=True),
)
Index("ix_click_visitor_id_occurred_at", click.c.visitor_id, click.c.occurred_at)
Index("ix_click_link_code_occurred_at", click.c.link_code, click.c.occurred_at)

session = Table(
    "session",
    metadata,
    Column("id", String, primary_key=True),
    Column("visitor_id", String, nullable=False, index=True),
    Column("started_at", Moment, nullable=False),
    Column("ended_at", Moment, nullable=False),
    Column("hits", Integer, nullable=False),
    *_source(),
    *_agent(),
    _text("entry_page"),
    _text("exit_page"),
)

# What `click` holds of a link that counts, summed up as it is written.
link_total = Table(
    "link_total",
    metadata,
    Column("link_code", String, primary_key=True),
    Column("clicks", BigInteger, nullable=False),
    Column("visitors", BigInteger, nullable=False),
    Column("last_click_at", Moment),
)

# Which visitor an id means now; an id that was never merged is not here.
merged_visitor = Table(
    "merged_visitor",
    metadata,
    Column("id", String, primary_key=True),
    Column("winner", String, nullable=False, index=True),
)

lead = Table(
    "lead",
    metadata,
    *_placed("ref"),
    Column("event_id", String, nullable=False),
    Column("occurred_at", Moment, nullable=False),
    Column("created_at", Moment, nullable=False),
    _text("name"),
    _text("contact_name"),
    _text("email"),
    _text("phone"),
    _text("company"),
    _text("account", index=True),
    # First and last touch as they were before the lead came in, null before they are summed up.
    Column("first_touch", JSON(none_as_null=True)),
    Column("last_touch", JSON(none_as_null=True)),
    Column("touch_count", Integer),
)

lead_visitor = Table(
    "lead_visitor",
    metadata,
    Column("lead_ref", String, primary_key=True),
    Column("visitor_id", String, primary_key=True, index=True),
)

# Which lead a ref means now; a ref that was never merged away is not here.
merged_lead = Table(
    "merged_lead",
    metadata,
    Column("ref", String, primary_key=True),
    Column("winner", String, nullable=False, index=True),
)

stale_lead = Table("stale_lead", metadata, Column("ref", String, primary_key=True))

attribution_model = Table(
    "attribution_model",
    metadata,
    Column("name", String, primary_key=True),
    Column("rule", String, nullable=False),
    Column("parameters", JSON, nullable=False, server_default="{}"),
    Column("lookback_seconds", BigInteger, nullable=False),
    Column("anchor", String, nullable=False),
    Column("channel_rules", JSON, nullable=False, server_default="[]"),
)

deal = Table(
    "deal",
    metadata,
    *_placed("ref"),
    Column("event_id", String, nullable=False),
    Column("occurred_at", Moment, nullable=False),
    Column("value", BigInteger, nullable=False),
    Column("currency", String, nullable=False),
    # As it was told: the lead may have been merged into another since.
    _text("lead_ref", index=True),
    Column("lead_told_at", Moment),
    Column("digits", Integer, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("closed_at", Moment),
    Column("status", String, nullable=False),
    _text("name"),
    Column("model", String),
)

# What people did that was no click. `lead_ref` is as it was told.
touch = Table(
    "touch",
    metadata,
    Column("id", String, primary_key=True),
    Column("lead_ref", String, nullable=False, index=True),
    Column("occurred_at", Moment, nullable=False),
    *_source(),
    _text("visitor_id"),
    _text("link_code"),
    Column("kind", String, nullable=False),
)

attribution = Table(
    "attribution",
    metadata,
    Column("deal_ref", String, primary_key=True),
    Column("model", String, nullable=False),
    Column("anchor", Moment, nullable=False),
    Column("digest", String, nullable=False),
    Column("receipt", JSON, nullable=False),
)

credit = Table(
    "credit",
    metadata,
    Column("deal_ref", String, primary_key=True),
    Column("place", Integer, primary_key=True),
    Column("touch_id", String),
    Column("occurred_at", Moment),
    *_source(),
    _text("link_code", index=True),
    Column("kind", String, nullable=False),
    Column("position", String, nullable=False),
    Column("weight", Float, nullable=False),
    Column("value", BigInteger, nullable=False),
)

conversion = Table(
    "conversion",
    metadata,
    *_placed("ref", "kind"),
    Column("occurred_at", Moment, nullable=False),
    Column("touch_id", String),
    *_source(),
    _text("link_code", index=True),
    _text("visitor_id"),
    Column("touch", JSON(none_as_null=True)),
    Column("value", BigInteger, nullable=False),
    Column("currency", String, nullable=False),
    Column("digits", Integer, nullable=False),
)

# -- what the REST API keeps ---------------------------------------------------------------------

campaign = Table(
    "campaign",
    metadata,
    *_placed("name"),
    _text("title"),
    _text("description"),
    Column("budget", BigInteger, nullable=False, server_default="0"),
    _text("currency"),
    Column("starts", Date),
    Column("ends", Date),
)

link_template = Table(
    "link_template",
    metadata,
    *_placed("name"),
    Column("template", JSON, nullable=False),
    _text("description"),
)

webhook_endpoint = Table(
    "webhook_endpoint",
    metadata,
    Column("place", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("url", String, nullable=False),
    Column("events", JSON, nullable=False),
    _text("description"),
    Column("enabled", Boolean, nullable=False),
    # Encrypted under a key of the installation.
    Column("secrets", JSON, nullable=False),
    _text("problem"),
)

# What must leave; `state` is "waiting", "sent" or "dead", `reason` why the last attempt failed.
outbox_message = Table(
    "outbox_message",
    metadata,
    *_placed("id"),
    Column("target", String, nullable=False),
    Column("event", String, nullable=False),
    _text("ref"),
    Column("body", String, nullable=False),
    Column("digest", String, nullable=False),
    Column("latest", Boolean, nullable=False),
    Column("state", String, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("due_at", Moment, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("sent_at", Moment),
    _text("reason"),
    Column("claimed_until", Moment),
)
Index("ix_outbox_message_state_due_at", outbox_message.c.state, outbox_message.c.due_at)
Index(
    "ix_outbox_message_ref_target_event",
    outbox_message.c.ref,
    outbox_message.c.target,
    outbox_message.c.event,
)
Index("ix_outbox_message_target_created_at", outbox_message.c.target, outbox_message.c.created_at)

api_key = Table(
    "api_key",
    metadata,
    *_placed("id"),
    Column("name", String, nullable=False),
    Column("hashed", String, nullable=False),
    Column("scopes", JSON, nullable=False),
    Column("networks", JSON, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("expires_at", Moment),
    Column("revoked_at", Moment),
    _text("previous_hashed"),
    Column("previous_until", Moment),
    Column("hourly_limit", Integer, nullable=False),
    Column("last_used_at", Moment),
    Column("usage_count", BigInteger, nullable=False, server_default="0"),
)

api_request = Table(
    "api_request",
    metadata,
    Column("place", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("requested_at", Moment, nullable=False, index=True),
    Column("method", String, nullable=False),
    Column("path", String, nullable=False),
    Column("status", Integer, nullable=False),
    Column("duration", Integer, nullable=False),
    _text("key_id"),
    _text("address"),
    _text("request"),
    _text("response"),
)

idempotency = Table(
    "idempotency",
    metadata,
    Column("id", String, primary_key=True),
    Column("fingerprint", String, nullable=False),
    Column("created_at", Moment, nullable=False, index=True),
    Column("status", Integer, nullable=False),
    Column("headers", JSON, nullable=False),
    Column("body", String, nullable=False),
)

# -- connectors ----------------------------------------------------------------------------------

# One CRM that leads and deals come from; `namespace` is "connector/instance", as in "frappe/acme".
connector = Table(
    "connector",
    metadata,
    Column("namespace", String, primary_key=True),
    Column("settings", JSON, nullable=False),
    Column("enabled", Boolean, nullable=False),
    Column("writes_back", Boolean, nullable=False),
    Column("poll_minutes", Integer, nullable=False),
    _text("cursor"),
    # When all that there was had been read, and when to ask again; null where nothing is polled.
    Column("polled_at", Moment),
    Column("due_at", Moment),
    Column("attempts", Integer, nullable=False, server_default="0"),
    _text("problem"),
)

# Apart from the settings, so that what is shown is never read together with them.
connector_secret = Table(
    "connector_secret",
    metadata,
    Column("namespace", String, primary_key=True),
    # JSON, encrypted under a key of the installation.
    Column("secrets", String, nullable=False),
)

# What a CRM told by a webhook, and what a poll found that cannot be understood.
connector_event = Table(
    "connector_event",
    metadata,
    *_placed("namespace", "event_id"),
    Column("received_at", Moment, nullable=False),
    Column("via", String, nullable=False),
    # As text: a database's own JSON refuses characters that a CRM may send.
    Column("payload", String, nullable=False),
    Column("state", String, nullable=False),
    _text("reason"),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("settled_at", Moment, index=True),
)
Index("ix_connector_event_state", connector_event.c.state, connector_event.c.place)

# Which facts came from where: `event` is the place of a `connector_event`, null for a poll.
connector_fact = Table(
    "connector_fact",
    metadata,
    Column("ref", String, primary_key=True),
    Column("event_id", String, primary_key=True),
    Column("namespace", String, nullable=False),
    Column("kind", String, nullable=False),
    Column("occurred_at", Moment, nullable=False),
    Column("received_at", Moment, nullable=False),
    Column("event", BigInteger, index=True),
)
Index(
    "ix_connector_fact_namespace_received_at",
    connector_fact.c.namespace,
    connector_fact.c.received_at,
)
