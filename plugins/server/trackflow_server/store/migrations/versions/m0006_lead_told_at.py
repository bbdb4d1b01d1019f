"""When a deal's lead was named."""

import sqlalchemy as sa
from alembic import op

from trackflow_server.store.schema import Moment

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Keep it; a deal of before counts as told by its newest fact."""
    op.add_column("deal", sa.Column("lead_told_at", Moment(timezone=True), nullable=True))
