"""Until when a message is under way."""

import sqlalchemy as sa
from alembic import op

from trackflow_server.store.schema import Moment

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Keep it; a message of before is under way no longer."""
    op.add_column(
        "outbox_message", sa.Column("claimed_until", Moment(timezone=True), nullable=True)
    )
