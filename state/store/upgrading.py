"""Brings a database's tables to what this program knows, or refuses one that knows more.

Decides between nothing, an upgrade and a refusal. The caller holds the lock and the transaction, so an
upgrade that dies half-way was never there. Alembic is only loaded where there is something to do.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, inspect, text

from state.store.errors import StoreError
from state.store.schema import AUTH_SCHEMA, STATE_SCHEMA

_MIGRATIONS = Path(__file__).parent / "migrations"


@dataclass(frozen=True, slots=True)
class Steps:
    """A folder of migrations and the number of the newest."""

    folder: Path
    newest: str


STATE_STEPS: Final = Steps(_MIGRATIONS / "state", STATE_SCHEMA)
AUTH_STEPS: Final = Steps(_MIGRATIONS / "auth", AUTH_SCHEMA)


def upgrade(connection: Connection, steps: Steps, where: str) -> None:
    """Raises StoreError where a newer program made the tables."""
    found = found_schema(connection)
    if found is not None and found > steps.newest:
        raise StoreError(
            f"{where} has schema {found}, this program knows {steps.newest}: a newer mcp-gateway made it; "
            "run that version, or restore the backup taken before its upgrade"
        )
    if found != steps.newest:
        _run(connection, steps)


def found_schema(connection: Connection) -> str | None:
    """The number of the last step that was taken here; numbers are padded, so they compare as text."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return None if found is None else str(found)


def _run(connection: Connection, steps: Steps) -> None:
    from alembic import command  # noqa: PLC0415 (a quarter of a second that a current file does not cost)
    from alembic.config import Config  # noqa: PLC0415 (as above)

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(steps.folder).replace("%", "%%"))
    command.upgrade(config, "head")
