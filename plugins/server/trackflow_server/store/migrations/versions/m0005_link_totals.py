"""Clicks of links, summed up."""

import sqlalchemy as sa
from alembic import op

from trackflow_server.store.schema import Moment

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the totals of links out of their clicks."""
    op.create_table(
        "link_total",
        sa.Column("link_code", sa.String(), nullable=False),
        sa.Column("clicks", sa.BigInteger(), nullable=False),
        sa.Column("visitors", sa.BigInteger(), nullable=False),
        sa.Column("last_click_at", Moment(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("link_code", name=op.f("pk_link_total")),
    )
    op.execute(
        "INSERT INTO link_total (link_code, clicks, visitors, last_click_at) "
        "SELECT link_code, count(*), count(DISTINCT visitor_id), max(occurred_at) "
        "FROM click WHERE counts AND link_code <> '' GROUP BY link_code"
    )


def downgrade() -> None:
    raise NotImplementedError("Restore a backup instead.")
