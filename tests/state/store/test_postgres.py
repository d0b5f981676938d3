"""What is particular to PostgreSQL: a server that goes away, a wrong URL, a newer schema."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import psycopg
import pytest

from state.kinds.user_container import UserContainer
from state.store import open_store
from state.store.errors import StoreError, Unavailable
from tests.state.store.conftest import PATIENCE_S, Medium
from tests.state.store.objects import created


@pytest.fixture
async def postgres(postgres_database: str) -> AsyncIterator[Medium]:
    medium = Medium(postgres_database)
    yield medium
    await medium.close()


def execute(url: str, statement: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement)


def hang_up(url: str) -> None:
    """End every session but this one, as a restart would."""
    execute(
        url,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()",
    )


async def test_a_lost_connection_is_made_again(postgres: Medium) -> None:
    store = await postgres.open()
    await created(store, "alice")
    async with aclosing(store.watch((UserContainer,))) as batches:
        await anext(batches)
        hang_up(postgres.url)
        await created(store, "bob")
        batch = await asyncio.wait_for(anext(batches), PATIENCE_S)
        assert [obj.name for obj in batch.objects] == ["bob"]


async def test_a_connection_lost_inside_a_transaction_is_unavailable(postgres: Medium) -> None:
    store = await postgres.open()

    def write(tx: object) -> None:
        hang_up(postgres.url)

    with pytest.raises(Unavailable, match="does not answer") as refused:
        await store.transact(write, actor="test")
    assert "\n" not in str(refused.value)
    await created(store, "alice")
    assert await store.revision() == 1


async def test_a_watch_outlives_a_server_that_does_not_answer(postgres: Medium) -> None:
    store = await postgres.open()
    async with aclosing(store.watch((UserContainer,))) as batches:
        await anext(batches)
        database = postgres.url.partition("?")[0].rpartition("/")[2]
        server = postgres.url.replace(f"/{database}?", "/postgres?")
        execute(server, f"ALTER DATABASE {database} ALLOW_CONNECTIONS false")
        hang_up_from(server, database)
        following = asyncio.ensure_future(anext(batches))
        with pytest.raises(Unavailable):
            await store.revision()
        await asyncio.sleep(1.5)  # the poll has failed at least once
        execute(server, f"ALTER DATABASE {database} ALLOW_CONNECTIONS true")
        await created(store, "alice")
        batch = await asyncio.wait_for(following, PATIENCE_S)
        assert [obj.name for obj in batch.objects] == ["alice"]


def hang_up_from(server: str, database: str) -> None:
    execute(server, f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}'")


async def test_a_server_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(Unavailable) as refused:
        await open_store(f"postgresql://ann:secret@/state?host={tmp_path}")
    told = str(refused.value)
    assert "postgresql://ann@/state does not answer" in told
    assert "secret" not in told
    assert "\n" not in told


@pytest.mark.parametrize("address", ["ann:pa@ss:word@host/db", "ann:secret@host:port/db", "[::/db"])
async def test_an_address_that_cannot_be_read_is_one_line_without_the_password(address: str) -> None:
    with pytest.raises(StoreError, match=r"STORE_URL cannot be read; .* %40") as refused:
        await open_store(f"postgresql://{address}")
    assert not [word for word in ("word@", "ss:word", "secret") if word in str(refused.value)]


async def test_a_newer_schema_is_refused(postgres: Medium) -> None:
    await (await postgres.open()).close()
    execute(postgres.url, "UPDATE alembic_version SET version_num = '0999'")
    with pytest.raises(StoreError, match="has schema 0999"):
        await postgres.open()
