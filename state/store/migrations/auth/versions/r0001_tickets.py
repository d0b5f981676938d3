"""Tickets: one-time codes and sessions, by the hash of their secret."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "tickets",
        sa.Column("purpose", sa.Text, primary_key=True),
        sa.Column("secret_sha256", sa.Text, primary_key=True),
        sa.Column("payload", sa.Text, nullable=False),
        sa.Column("expires_at", sa.Float(53), nullable=False),
    )
    op.create_index("ix_tickets_expires_at", "tickets", ["expires_at"])
