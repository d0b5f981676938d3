"""Every medium in turn. A medium can be opened several times, as several processes would."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path

import pytest

from state.store import Limits, open_store
from state.store.memory import MemoryBackend
from state.store.port import Store
from state.store.rowstore import RowStore

DEFAULTS = Limits()
PATIENCE_S = 60.0
PROJECT_DIR = Path(__file__).parents[3]

Process = asyncio.subprocess.Process
Start = Callable[..., Coroutine[None, None, Process]]


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


@pytest.fixture
async def elsewhere() -> AsyncIterator[Start]:
    """Start another process that does something to a store; killed after the test."""
    started: list[Process] = []

    async def start(*words: str) -> Process:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.state.store.elsewhere",
            *words,
            stdout=asyncio.subprocess.PIPE,
            cwd=PROJECT_DIR,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def said(process: Process) -> str:
    """The next line that ``process`` says."""
    assert process.stdout is not None
    line = await asyncio.wait_for(process.stdout.readline(), PATIENCE_S)
    assert line, "it ended before it said anything"
    return line.decode().strip()
