"""The tables of ``state.db`` and ``auth.db``, as queries name them. Migrations make them; a test compares.

Decides columns only. An object is one JSON document; beside it stands what queries need.
Next: :mod:`state.store.sql_rows`.
"""

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Float,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
)

# The newest migration of each file. A file with a newer one was made by a newer program.
STATE_SCHEMA: Final = "0001"
AUTH_SCHEMA: Final = "0002"

# Names sort by their bytes everywhere, as they do in Python and in SQLite.
_Name = Text().with_variant(Text(collation="C"), "postgresql")
_Sequence = BigInteger().with_variant(Integer(), "sqlite")

state = MetaData()

counter = Table(
    "counter",
    state,
    Column("id", Integer, CheckConstraint("id = 1"), primary_key=True),
    Column("revision", BigInteger, nullable=False),
    Column("trimmed_revision", BigInteger, nullable=False),
    Column("barrier_revision", BigInteger, nullable=False),
    Column("boot", Text, nullable=False),  # of the kernel that uses the file
)

objects = Table(
    "objects",
    state,
    Column("kind", _Name, primary_key=True),
    Column("name", _Name, primary_key=True),
    Column("uid", Text, nullable=False),
    Column("resource_version", BigInteger, nullable=False),
    Column("document", Text, nullable=False),
)

unique_keys = Table(
    "unique_keys",
    state,
    Column("kind", _Name, primary_key=True),
    Column("unique_key", _Name, primary_key=True),
    Column("name", _Name, nullable=False, index=True),
    ForeignKeyConstraint(("kind", "name"), ("objects.kind", "objects.name"), ondelete="CASCADE"),
)

change_log = Table(
    "change_log",
    state,
    Column("sequence", _Sequence, primary_key=True),
    Column("revision", BigInteger, nullable=False, index=True),
    Column("kind", _Name, nullable=False),
    Column("name", _Name, nullable=False),
    Column("removed", Boolean, nullable=False),
    Column("actor", Text, nullable=False),
    Column("at", Text, nullable=False),  # ISO 8601, UTC
)

leases = Table(
    "leases",
    state,
    Column("worker", _Name, primary_key=True),
    Column("expires_s", Float(53), nullable=False),
    Column("acknowledged_revision", BigInteger, nullable=False),
    Column("boot", Text, nullable=False),  # a lease of an earlier boot is void
)

leader = Table(
    "leader",
    state,
    Column("id", Integer, CheckConstraint("id = 1"), primary_key=True),
    Column("holder", Text, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("expires_s", Float(53), nullable=False),
    Column("boot", Text, nullable=False),
)

auth = MetaData()

tickets = Table(
    "tickets",
    auth,
    Column("purpose", Text, primary_key=True),
    Column("secret_sha256", Text, primary_key=True),
    Column("payload", Text, nullable=False),
    Column("expires_at", Float(53), nullable=False, index=True),  # Unix seconds
)

clients = Table(
    "clients",
    auth,
    Column("client_id", Text, primary_key=True),
    Column("document", Text, nullable=False),
    Column("secret_sha256", Text, nullable=False),  # empty: a public client
    Column("created_at", Float(53), nullable=False),
    Column("used_at", Float(53), nullable=False),
    Column("is_used", Boolean, nullable=False),
    Index("ix_clients_unused", "is_used", "used_at"),
)

grants = Table(
    "grants",
    auth,
    Column("grant_id", Text, primary_key=True),
    Column("user", Text, nullable=False, index=True),
    Column("client_id", Text, nullable=False, index=True),  # empty: a personal token
    Column("name", Text, nullable=False),
    Column("scope", Text, nullable=False),
    Column("resource", Text, nullable=False),
    Column("token_sha256", Text, nullable=True, unique=True),  # a personal token's
    Column("created_at", Float(53), nullable=False),
    Column("used_at", Float(53), nullable=False),
    Column("expires_at", Float(53), nullable=False, index=True),
    Column("revoked_at", Float(53), nullable=True),
    Column("is_announced", Boolean, nullable=False),  # that it was revoked: to every worker
    Index("ix_grants_announced", "is_announced", "revoked_at"),
)

codes = Table(
    "codes",
    auth,
    Column("code_sha256", Text, primary_key=True),
    Column("grant_id", Text, ForeignKey("grants.grant_id", ondelete="CASCADE"), nullable=False, index=True),
    Column("redirect_uri", Text, nullable=False),
    Column("challenge", Text, nullable=False),
    Column("expires_at", Float(53), nullable=False, index=True),
    Column("used_at", Float(53), nullable=True),
)

refresh_tokens = Table(
    "refresh_tokens",
    auth,
    Column("token_sha256", Text, primary_key=True),
    Column("grant_id", Text, ForeignKey("grants.grant_id", ondelete="CASCADE"), nullable=False, index=True),
    Column("parent_sha256", Text, nullable=True, index=True),
    Column("is_spent", Boolean, nullable=False),
    Column("expires_at", Float(53), nullable=False, index=True),
)

signing_keys = Table(
    "signing_keys",
    auth,
    Column("kid", Text, primary_key=True),
    Column("sealed", LargeBinary, nullable=False),
    Column("public", Text, nullable=False),
    Column("created_at", Float(53), nullable=False),
    Column("retires_at", Float(53), nullable=True),
)
