"""Objects, their unique keys, the change log, the counter, leases and the leader."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_NAME = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_SEQUENCE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    _objects()
    _changes()
    _leases()


def _objects() -> None:
    op.create_table(
        "objects",
        sa.Column("kind", _NAME, primary_key=True),
        sa.Column("name", _NAME, primary_key=True),
        sa.Column("uid", sa.Text, nullable=False),
        sa.Column("resource_version", sa.BigInteger, nullable=False),
        sa.Column("document", sa.Text, nullable=False),
    )
    op.create_table(
        "unique_keys",
        sa.Column("kind", _NAME, primary_key=True),
        sa.Column("unique_key", _NAME, primary_key=True),
        sa.Column("name", _NAME, nullable=False),
        sa.ForeignKeyConstraint(("kind", "name"), ("objects.kind", "objects.name"), ondelete="CASCADE"),
    )
    op.create_index("ix_unique_keys_name", "unique_keys", ["name"])


def _changes() -> None:
    counter = op.create_table(
        "counter",
        sa.Column("id", sa.Integer, sa.CheckConstraint("id = 1"), primary_key=True),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("trimmed_revision", sa.BigInteger, nullable=False),
        sa.Column("barrier_revision", sa.BigInteger, nullable=False),
        sa.Column("boot", sa.Text, nullable=False),
    )
    row = {"id": 1, "revision": 0, "trimmed_revision": 0, "barrier_revision": 0, "boot": ""}
    op.bulk_insert(counter, [row])
    op.create_table(
        "change_log",
        sa.Column("sequence", _SEQUENCE, primary_key=True),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("kind", _NAME, nullable=False),
        sa.Column("name", _NAME, nullable=False),
        sa.Column("removed", sa.Boolean, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("at", sa.Text, nullable=False),
    )
    op.create_index("ix_change_log_revision", "change_log", ["revision"])


def _leases() -> None:
    op.create_table(
        "leases",
        sa.Column("worker", _NAME, primary_key=True),
        sa.Column("expires_s", sa.Float(53), nullable=False),
        sa.Column("acknowledged_revision", sa.BigInteger, nullable=False),
        sa.Column("boot", sa.Text, nullable=False),
    )
    leader = op.create_table(
        "leader",
        sa.Column("id", sa.Integer, sa.CheckConstraint("id = 1"), primary_key=True),
        sa.Column("holder", sa.Text, nullable=False),
        sa.Column("epoch", sa.BigInteger, nullable=False),
        sa.Column("expires_s", sa.Float(53), nullable=False),
        sa.Column("boot", sa.Text, nullable=False),
    )
    op.bulk_insert(leader, [{"id": 1, "holder": "", "epoch": 0, "expires_s": 0.0, "boot": ""}])
