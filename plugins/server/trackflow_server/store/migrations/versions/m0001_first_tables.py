"""The first tables."""

import sqlalchemy as sa
from alembic import op

from trackflow_server.store.schema import Moment

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "api_key",
        sa.Column("place", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("hashed", sa.String(), nullable=False),
        sa.Column("scopes", sa.JSON(), nullable=False),
        sa.Column("networks", sa.JSON(), nullable=False),
        sa.Column("created_at", Moment(timezone=True), nullable=False),
        sa.Column("expires_at", Moment(timezone=True), nullable=True),
        sa.Column("revoked_at", Moment(timezone=True), nullable=True),
        sa.Column("previous_hashed", sa.String(), server_default="", nullable=False),
        sa.Column("previous_until", Moment(timezone=True), nullable=True),
        sa.Column("hourly_limit", sa.Integer(), nullable=False),
        sa.Column("last_used_at", Moment(timezone=True), nullable=True),
        sa.Column("usage_count", sa.BigInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("place", name=op.f("pk_api_key")),
        sa.UniqueConstraint("id", name=op.f("uq_api_key_id")),
    )
    op.create_table(
        "api_request",
        sa.Column("place", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("requested_at", Moment(timezone=True), nullable=False),
        sa.Column("method", sa.String(), nullable=False),
        sa.Column("path", sa.String(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("duration", sa.Integer(), nullable=False),
        sa.Column("key_id", sa.String(), server_default="", nullable=False),
        sa.Column("address", sa.String(), server_default="", nullable=False),
        sa.Column("request", sa.String(), server_default="", nullable=False),
        sa.Column("response", sa.String(), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("place", name=op.f("pk_api_request")),
    )
    with op.batch_alter_table("api_request", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_api_request_requested_at"), ["requested_at"], unique=False
        )

    op.create_table(
        "attribution",
        sa.Column("deal_ref", sa.String(), nullable=False),
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("anchor", Moment(timezone=True), nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("receipt", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("deal_ref", name=op.f("pk_attribution")),
    )
    op.create_table(
        "attribution_model",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("rule", sa.String(), nullable=False),
        sa.Column("parameters", sa.JSON(), server_default="{}", nullable=False),
        sa.Column("lookback_seconds", sa.BigInteger(), nullable=False),
        sa.Column("anchor", sa.String(), nullable=False),
        sa.Column("channel_rules", sa.JSON(), server_default="[]", nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_attribution_model")),
    )
    op.create_table(
        "campaign",
        sa.Column("place", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("title", sa.String(), server_default="", nullable=False),
        sa.Column("description", sa.String(), server_default="", nullable=False),
        sa.Column("budget", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("currency", sa.String(), server_default="", nullable=False),
        sa.Column("starts", sa.Date(), nullable=True),
        sa.Column("ends", sa.Date(), nullable=True),
        sa.PrimaryKeyConstraint("place", name=op.f("pk_campaign")),
        sa.UniqueConstraint("name", name=op.f("uq_campaign_name")),
    )
    op.create_table(
        "click",
        sa.Column("place", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("event_id", sa.String(), nullable=False),
        sa.Column("occurred_at", Moment(timezone=True), nullable=False),
        sa.Column("link_code", sa.String(), nullable=False),
        sa.Column("destination", sa.String(), server_default="", nullable=False),
        sa.Column("visitor_id", sa.String(), nullable=True),
        sa.Column("ip", sa.String(), server_default="", nullable=False),
        sa.Column("user_agent", sa.String(), server_default="", nullable=False),
        sa.Column("referrer", sa.String(), server_default="", nullable=False),
        sa.Column("internal", sa.Boolean(), server_default=sa.text("(false)"), nullable=False),
        sa.Column("prefetch", sa.Boolean(), server_default=sa.text("(false)"), nullable=False),
        sa.Column("tier", sa.String(), server_default="full", nullable=False),
        sa.Column("kind", sa.String(), server_default="click", nullable=False),
        sa.Column("data", sa.String(), server_default="", nullable=False),
        sa.Column("verdict", sa.String(), server_default="", nullable=False),
        sa.Column("reason", sa.String(), server_default="", nullable=False),
        sa.Column("device", sa.String(), server_default="", nullable=False),
        sa.Column("browser", sa.String(), server_default="", nullable=False),
        sa.Column("os", sa.String(), server_default="", nullable=False),
        sa.Column("source", sa.String(), server_default="", nullable=False),
        sa.Column("medium", sa.String(), server_default="", nullable=False),
        sa.Column("campaign", sa.String(), server_default="", nullable=False),
        sa.Column("channel", sa.String(), server_default="", nullable=False),
        sa.Column("content", sa.String(), server_default="", nullable=False),
        sa.Column("term", sa.String(), server_default="", nullable=False),
        sa.Column("counts", sa.Boolean(), nullable=False),
        sa.Column("returns", sa.Boolean(), server_default=sa.text("(false)"), nullable=False),
        sa.Column("session_id", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("place", name=op.f("pk_click")),
        sa.UniqueConstraint("event_id", name=op.f("uq_click_event_id")),
    )
    with op.batch_alter_table("click", schema=None) as batch_op:
        batch_op.create_index(
            "ix_click_link_code_occurred_at", ["link_code", "occurred_at"], unique=False
        )
        batch_op.create_index(batch_op.f("ix_click_session_id"), ["session_id"], unique=False)
        batch_op.create_index(
            "ix_click_visitor_id_occurred_at", ["visitor_id", "occurred_at"], unique=False
        )

    op.create_table(
        "click_queue",
        sa.Column("place", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("event_id", sa.String(), nullable=False),
        sa.Column("occurred_at", Moment(timezone=True), nullable=False),
        sa.Column("link_code", sa.String(), nullable=False),
        sa.Column("destination", sa.String(), server_default="", nullable=False),
        sa.Column("visitor_id", sa.String(), nullable=True),
        sa.Column("ip", sa.String(), server_default="", nullable=False),
        sa.Column("user_agent", sa.String(), server_default="", nullable=False),
        sa.Column("referrer", sa.String(), server_default="", nullable=False),
        sa.Column("internal", sa.Boolean(), server_default=sa.text("(false)"), nullable=False),
        sa.Column("prefetch", sa.Boolean(), server_default=sa.text("(false)"), nullable=False),
        sa.Column("tier", sa.String(), server_default="full", nullable=False),
        sa.Column("kind", sa.String(), server_default="click", nullable=False),
        sa.Column("data", sa.String(), server_default="", nullable=False),
        sa.Column("rejected", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("place", name=op.f("pk_click_queue")),
        sa.UniqueConstraint("event_id", name=op.f("uq_click_queue_event_id")),
    )
    with op.batch_alter_table("click_queue", schema=None) as batch_op:
        batch_op.create_index("ix_click_queue_occurred_at", ["occurred_at"], unique=False)
        batch_op.create_index("ix_click_queue_visitor_id", ["visitor_id"], unique=False)

    op.create_table(
        "conversion",
        sa.Column("place", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("ref", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("occurred_at", Moment(timezone=True), nullable=False),
        sa.Column("touch_id", sa.String(), nullable=True),
        sa.Column("source", sa.String(), server_default="", nullable=False),
        sa.Column("medium", sa.String(), server_default="", nullable=False),
        sa.Column("campaign", sa.String(), server_default="", nullable=False),
        sa.Column("channel", sa.String(), server_default="", nullable=False),
        sa.Column("content", sa.String(), server_default="", nullable=False),
        sa.Column("term", sa.String(), server_default="", nullable=False),
        sa.Column("link_code", sa.String(), server_default="", nullable=False),
        sa.Column("visitor_id", sa.String(), server_default="", nullable=False),
        sa.Column("touch", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("value", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(), nullable=False),
        sa.Column("digits", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("place", name=op.f("pk_conversion")),
        sa.UniqueConstraint("ref", "kind", name=op.f("uq_conversion_ref_kind")),
    )
    with op.batch_alter_table("conversion", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_conversion_link_code"), ["link_code"], unique=False)

    op.create_table(
        "credit",
        sa.Column("deal_ref", sa.String(), nullable=False),
        sa.Column("place", sa.Integer(), nullable=False),
        sa.Column("touch_id", sa.String(), nullable=True),
        sa.Column("occurred_at", Moment(timezone=True), nullable=True),
        sa.Column("source", sa.String(), server_default="", nullable=False),
        sa.Column("medium", sa.String(), server_default="", nullable=False),
        sa.Column("campaign", sa.String(), server_default="", nullable=False),
        sa.Column("channel", sa.String(), server_default="", nullable=False),
        sa.Column("content", sa.String(), server_default="", nullable=False),
        sa.Column("term", sa.String(), server_default="", nullable=False),
        sa.Column("link_code", sa.String(), server_default="", nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("position", sa.String(), nullable=False),
        sa.Column("weight", sa.Float(), nullable=False),
        sa.Column("value", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("deal_ref", "place", name=op.f("pk_credit")),
    )
    with op.batch_alter_table("credit", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_credit_link_code"), ["link_code"], unique=False)

    op.create_table(
        "deal",
        sa.Column("place", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("ref", sa.String(), nullable=False),
        sa.Column("event_id", sa.String(), nullable=False),
        sa.Column("occurred_at", Moment(timezone=True), nullable=False),
        sa.Column("value", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(), nullable=False),
        sa.Column("lead_ref", sa.String(), server_default="", nullable=False),
        sa.Column("digits", sa.Integer(), nullable=False),
        sa.Column("created_at", Moment(timezone=True), nullable=False),
        sa.Column("closed_at", Moment(timezone=True), nullable=True),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("name", sa.String(), server_default="", nullable=False),
        sa.Column("model", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("place", name=op.f("pk_deal")),
        sa.UniqueConstraint("ref", name=op.f("uq_deal_ref")),
    )
    with op.batch_alter_table("deal", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_deal_lead_ref"), ["lead_ref"], unique=False)

    op.create_table(
        "idempotency",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("fingerprint", sa.String(), nullable=False),
        sa.Column("created_at", Moment(timezone=True), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("headers", sa.JSON(), nullable=False),
        sa.Column("body", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_idempotency")),
    )
    with op.batch_alter_table("idempotency", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_idempotency_created_at"), ["created_at"], unique=False)

    op.create_table(
        "lead",
        sa.Column("place", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("ref", sa.String(), nullable=False),
        sa.Column("event_id", sa.String(), nullable=False),
        sa.Column("occurred_at", Moment(timezone=True), nullable=False),
        sa.Column("created_at", Moment(timezone=True), nullable=False),
        sa.Column("name", sa.String(), server_default="", nullable=False),
        sa.Column("contact_name", sa.String(), server_default="", nullable=False),
        sa.Column("email", sa.String(), server_default="", nullable=False),
        sa.Column("phone", sa.String(), server_default="", nullable=False),
        sa.Column("company", sa.String(), server_default="", nullable=False),
        sa.Column("account", sa.String(), server_default="", nullable=False),
        sa.Column("first_touch", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("last_touch", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("touch_count", sa.Integer(), nullable=True),
        sa.PrimaryKeyConstraint("place", name=op.f("pk_lead")),
        sa.UniqueConstraint("ref", name=op.f("uq_lead_ref")),
    )
    with op.batch_alter_table("lead", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_lead_account"), ["account"], unique=False)

    op.create_table(
        "lead_visitor",
        sa.Column("lead_ref", sa.String(), nullable=False),
        sa.Column("visitor_id", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("lead_ref", "visitor_id", name=op.f("pk_lead_visitor")),
    )
    with op.batch_alter_table("lead_visitor", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_lead_visitor_visitor_id"), ["visitor_id"], unique=False
        )

    op.create_table(
        "link",
        sa.Column("place", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("code", sa.String(), nullable=False),
        sa.Column("title", sa.String(), server_default="", nullable=False),
        sa.Column("created_at", Moment(timezone=True), nullable=True),
        sa.Column("destination", sa.String(), nullable=False),
        sa.Column("source", sa.String(), server_default="", nullable=False),
        sa.Column("medium", sa.String(), server_default="", nullable=False),
        sa.Column("campaign", sa.String(), server_default="", nullable=False),
        sa.Column("content", sa.String(), server_default="", nullable=False),
        sa.Column("term", sa.String(), server_default="", nullable=False),
        sa.Column("status", sa.String(), server_default="active", nullable=False),
        sa.Column("starts", sa.String(), nullable=True),
        sa.Column("ends", sa.String(), nullable=True),
        sa.Column("zone", sa.String(), server_default="UTC", nullable=False),
        sa.Column("fallback", sa.String(), server_default="", nullable=False),
        sa.Column("language", sa.String(), server_default="", nullable=False),
        sa.Column("variants", sa.JSON(), server_default="[]", nullable=False),
        sa.Column("rules", sa.JSON(), server_default="[]", nullable=False),
        sa.PrimaryKeyConstraint("place", name=op.f("pk_link")),
        sa.UniqueConstraint("code", name=op.f("uq_link_code")),
    )
    op.create_table(
        "link_template",
        sa.Column("place", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("template", sa.JSON(), nullable=False),
        sa.Column("description", sa.String(), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("place", name=op.f("pk_link_template")),
        sa.UniqueConstraint("name", name=op.f("uq_link_template_name")),
    )
    op.create_table(
        "merged_lead",
        sa.Column("ref", sa.String(), nullable=False),
        sa.Column("winner", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("ref", name=op.f("pk_merged_lead")),
    )
    with op.batch_alter_table("merged_lead", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_merged_lead_winner"), ["winner"], unique=False)

    op.create_table(
        "merged_visitor",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("winner", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_merged_visitor")),
    )
    with op.batch_alter_table("merged_visitor", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_merged_visitor_winner"), ["winner"], unique=False)

    op.create_table(
        "revision",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_revision")),
    )
    op.create_table(
        "session",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("visitor_id", sa.String(), nullable=False),
        sa.Column("started_at", Moment(timezone=True), nullable=False),
        sa.Column("ended_at", Moment(timezone=True), nullable=False),
        sa.Column("hits", sa.Integer(), nullable=False),
        sa.Column("source", sa.String(), server_default="", nullable=False),
        sa.Column("medium", sa.String(), server_default="", nullable=False),
        sa.Column("campaign", sa.String(), server_default="", nullable=False),
        sa.Column("channel", sa.String(), server_default="", nullable=False),
        sa.Column("content", sa.String(), server_default="", nullable=False),
        sa.Column("term", sa.String(), server_default="", nullable=False),
        sa.Column("verdict", sa.String(), server_default="", nullable=False),
        sa.Column("reason", sa.String(), server_default="", nullable=False),
        sa.Column("device", sa.String(), server_default="", nullable=False),
        sa.Column("browser", sa.String(), server_default="", nullable=False),
        sa.Column("os", sa.String(), server_default="", nullable=False),
        sa.Column("entry_page", sa.String(), server_default="", nullable=False),
        sa.Column("exit_page", sa.String(), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_session")),
    )
    with op.batch_alter_table("session", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_session_visitor_id"), ["visitor_id"], unique=False)

    op.create_table(
        "stale_lead",
        sa.Column("ref", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("ref", name=op.f("pk_stale_lead")),
    )
    op.create_table(
        "touch",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("lead_ref", sa.String(), nullable=False),
        sa.Column("occurred_at", Moment(timezone=True), nullable=False),
        sa.Column("source", sa.String(), server_default="", nullable=False),
        sa.Column("medium", sa.String(), server_default="", nullable=False),
        sa.Column("campaign", sa.String(), server_default="", nullable=False),
        sa.Column("channel", sa.String(), server_default="", nullable=False),
        sa.Column("content", sa.String(), server_default="", nullable=False),
        sa.Column("term", sa.String(), server_default="", nullable=False),
        sa.Column("visitor_id", sa.String(), server_default="", nullable=False),
        sa.Column("link_code", sa.String(), server_default="", nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_touch")),
    )
    with op.batch_alter_table("touch", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_touch_lead_ref"), ["lead_ref"], unique=False)

    op.create_table(
        "webhook_endpoint",
        sa.Column("place", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("url", sa.String(), nullable=False),
        sa.Column("events", sa.JSON(), nullable=False),
        sa.Column("description", sa.String(), server_default="", nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("secrets", sa.JSON(), nullable=False),
        sa.Column("problem", sa.String(), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("place", name=op.f("pk_webhook_endpoint")),
    )


def downgrade() -> None:
    """Drop the tables."""
    raise NotImplementedError("Restore a backup instead.")
