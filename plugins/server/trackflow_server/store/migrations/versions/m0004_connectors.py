"""Connectors and what they received."""

import sqlalchemy as sa
from alembic import op

from trackflow_server.store.schema import Moment

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables of connectors."""
    op.create_table(
        "connector",
        sa.Column("namespace", sa.String(), nullable=False),
        sa.Column("settings", sa.JSON(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("writes_back", sa.Boolean(), nullable=False),
        sa.Column("poll_minutes", sa.Integer(), nullable=False),
        sa.Column("cursor", sa.String(), server_default="", nullable=False),
        sa.Column("polled_at", Moment(timezone=True), nullable=True),
        sa.Column("due_at", Moment(timezone=True), nullable=True),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("problem", sa.String(), server_default="", nullable=False),
        sa.PrimaryKeyConstraint("namespace", name=op.f("pk_connector")),
    )
    op.create_table(
        "connector_secret",
        sa.Column("namespace", sa.String(), nullable=False),
        sa.Column("secrets", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("namespace", name=op.f("pk_connector_secret")),
    )
    op.create_table(
        "connector_event",
        sa.Column("place", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("namespace", sa.String(), nullable=False),
        sa.Column("event_id", sa.String(), nullable=False),
        sa.Column("received_at", Moment(timezone=True), nullable=False),
        sa.Column("via", sa.String(), nullable=False),
        sa.Column("payload", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), server_default="", nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("settled_at", Moment(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("place", name=op.f("pk_connector_event")),
        sa.UniqueConstraint(
            "namespace", "event_id", name=op.f("uq_connector_event_namespace_event_id")
        ),
    )
    op.create_index(op.f("ix_connector_event_settled_at"), "connector_event", ["settled_at"])
    op.create_index("ix_connector_event_state", "connector_event", ["state", "place"])
    op.create_table(
        "connector_fact",
        sa.Column("ref", sa.String(), nullable=False),
        sa.Column("event_id", sa.String(), nullable=False),
        sa.Column("namespace", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("occurred_at", Moment(timezone=True), nullable=False),
        sa.Column("received_at", Moment(timezone=True), nullable=False),
        sa.Column("event", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("ref", "event_id", name=op.f("pk_connector_fact")),
    )
    op.create_index(op.f("ix_connector_fact_event"), "connector_fact", ["event"])
    op.create_index(
        "ix_connector_fact_namespace_received_at",
        "connector_fact",
        ["namespace", "received_at"],
    )


def downgrade() -> None:
    raise NotImplementedError("Restore a backup instead.")
