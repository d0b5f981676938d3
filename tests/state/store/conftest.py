"""Every medium in turn. A medium can be opened several times, as several processes would."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from state.store import Limits, open_store
from state.store.memory import MemoryBackend
from state.store.port import Store
from state.store.rowstore import RowStore

DEFAULTS = Limits()


class Medium:
    """One set of rows, and every store that was opened on it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._memory = MemoryBackend()
        self._stores: list[Store] = []

    async def open(self, limits: Limits = DEFAULTS) -> Store:
        store: Store
        if self.url == "memory:":
            store = RowStore(self._memory, change_log_rows_max=limits.change_log_rows_max)
        else:
            store = await open_store(self.url, limits)
        self._stores.append(store)
        return store

    async def close(self) -> None:
        for store in self._stores:
            await store.close()


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/state/state.db"


def _url(name: str, request: pytest.FixtureRequest) -> str:
    match name:
        case "memory":
            return "memory:"
        case "sqlite":
            return str(request.getfixturevalue("sqlite_url"))
        case _:
            return str(request.getfixturevalue("postgres_database"))


@pytest.fixture(params=["memory", "sqlite", "postgres"])
async def medium(request: pytest.FixtureRequest) -> AsyncIterator[Medium]:
    medium = Medium(_url(request.param, request))
    yield medium
    await medium.close()


@pytest.fixture(params=["sqlite", "postgres"])
async def shared_medium(request: pytest.FixtureRequest) -> AsyncIterator[Medium]:
    """Those that other processes can open too."""
    medium = Medium(_url(request.param, request))
    yield medium
    await medium.close()


@pytest.fixture
async def sqlite(sqlite_url: str) -> AsyncIterator[Medium]:
    medium = Medium(sqlite_url)
    yield medium
    await medium.close()


@pytest.fixture
async def store(medium: Medium) -> Store:
    return await medium.open()
