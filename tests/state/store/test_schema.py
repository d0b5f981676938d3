"""The tables that migrations make are those that queries name, and the numbers agree."""

from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import MetaData, create_engine

from state.store import schema
from state.store.upgrading import AUTH_STEPS, STATE_STEPS, Steps, found_schema, upgrade

FILES = [(STATE_STEPS, schema.state), (AUTH_STEPS, schema.auth)]
IDS = ["state", "auth"]


@pytest.mark.parametrize(("steps", "tables"), FILES, ids=IDS)
def test_the_steps_make_the_tables(steps: Steps, tables: MetaData, tmp_path: Path) -> None:
    _compare(f"sqlite:///{tmp_path}/new.db", steps, tables)


def test_the_steps_make_the_tables_on_postgres(postgres_database: str) -> None:
    url = postgres_database.replace("postgresql:", "postgresql+psycopg:")
    _compare(url, STATE_STEPS, schema.state)


@pytest.mark.parametrize(("steps", "tables"), FILES, ids=IDS)
def test_the_newest_step_is_the_one_that_the_program_knows(steps: Steps, tables: MetaData) -> None:
    config = Config()
    config.set_main_option("script_location", str(steps.folder))
    numbers = [step.revision for step in ScriptDirectory.from_config(config).walk_revisions()]
    assert numbers[0] == steps.newest
    assert numbers == sorted(numbers, reverse=True)
    assert {len(number) for number in numbers} == {4}


def _compare(url: str, steps: Steps, tables: MetaData) -> None:
    engine = create_engine(url)
    with engine.begin() as connection:
        assert found_schema(connection) is None
        upgrade(connection, steps, "here")
        assert found_schema(connection) == steps.newest
        upgrade(connection, steps, "here")
        assert compare_metadata(MigrationContext.configure(connection), tables) == []
    engine.dispose()
