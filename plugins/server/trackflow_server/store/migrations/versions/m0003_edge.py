"""Copies of links at an edge."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Let links tell when they changed, and an edge remember how far it has copied them."""
    op.add_column(
        "link", sa.Column("revision", sa.BigInteger(), server_default="0", nullable=False)
    )
    op.create_index("ix_link_revision", "link", ["revision"])
    op.create_table(
        "edge_state",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("value", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_edge_state")),
    )


def downgrade() -> None:
    """Undo it."""
    raise NotImplementedError("Restore a backup instead.")
