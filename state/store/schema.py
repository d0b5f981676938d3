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
    ForeignKeyConstraint,
    Integer,
    MetaData,
    Table,
    Text,
)

# The newest migration of each file. A file with a newer one was made by a newer program.
STATE_SCHEMA: Final = "0001"
AUTH_SCHEMA: Final = "0001"

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
