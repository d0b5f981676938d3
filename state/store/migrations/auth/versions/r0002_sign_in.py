"""Sign-in: OAuth clients, what they were granted, codes, refresh tokens and signing keys."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "clients",
        sa.Column("client_id", sa.Text, primary_key=True),
        sa.Column("document", sa.Text, nullable=False),
        sa.Column("secret_sha256", sa.Text, nullable=False),
        sa.Column("created_at", sa.Float(53), nullable=False),
        sa.Column("used_at", sa.Float(53), nullable=False),
        sa.Column("is_used", sa.Boolean, nullable=False),
    )
    op.create_index("ix_clients_unused", "clients", ["is_used", "used_at"])
    op.create_table(
        "grants",
        sa.Column("grant_id", sa.Text, primary_key=True),
        sa.Column("user", sa.Text, nullable=False),
        sa.Column("client_id", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("scope", sa.Text, nullable=False),
        sa.Column("resource", sa.Text, nullable=False),
        sa.Column("token_sha256", sa.Text, nullable=True, unique=True),
        sa.Column("created_at", sa.Float(53), nullable=False),
        sa.Column("used_at", sa.Float(53), nullable=False),
        sa.Column("expires_at", sa.Float(53), nullable=False),
        sa.Column("revoked_at", sa.Float(53), nullable=True),
        sa.Column("is_announced", sa.Boolean, nullable=False),
    )
    op.create_index("ix_grants_user", "grants", ["user"])
    op.create_index("ix_grants_client_id", "grants", ["client_id"])
    op.create_index("ix_grants_expires_at", "grants", ["expires_at"])
    op.create_index("ix_grants_announced", "grants", ["is_announced", "revoked_at"])
    op.create_table(
        "codes",
        sa.Column("code_sha256", sa.Text, primary_key=True),
        sa.Column("grant_id", sa.Text, sa.ForeignKey("grants.grant_id", ondelete="CASCADE"), nullable=False),
        sa.Column("redirect_uri", sa.Text, nullable=False),
        sa.Column("challenge", sa.Text, nullable=False),
        sa.Column("expires_at", sa.Float(53), nullable=False),
        sa.Column("used_at", sa.Float(53), nullable=True),
    )
    op.create_index("ix_codes_grant_id", "codes", ["grant_id"])
    op.create_index("ix_codes_expires_at", "codes", ["expires_at"])
    op.create_table(
        "refresh_tokens",
        sa.Column("token_sha256", sa.Text, primary_key=True),
        sa.Column("grant_id", sa.Text, sa.ForeignKey("grants.grant_id", ondelete="CASCADE"), nullable=False),
        sa.Column("parent_sha256", sa.Text, nullable=True),
        sa.Column("is_spent", sa.Boolean, nullable=False),
        sa.Column("expires_at", sa.Float(53), nullable=False),
    )
    op.create_index("ix_refresh_tokens_grant_id", "refresh_tokens", ["grant_id"])
    op.create_index("ix_refresh_tokens_parent_sha256", "refresh_tokens", ["parent_sha256"])
    op.create_index("ix_refresh_tokens_expires_at", "refresh_tokens", ["expires_at"])
    op.create_table(
        "signing_keys",
        sa.Column("kid", sa.Text, primary_key=True),
        sa.Column("sealed", sa.LargeBinary, nullable=False),
        sa.Column("public", sa.Text, nullable=False),
        sa.Column("created_at", sa.Float(53), nullable=False),
        sa.Column("retires_at", sa.Float(53), nullable=True),
    )
