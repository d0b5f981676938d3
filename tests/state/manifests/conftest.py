"""A folder and a store: in memory for what follows a folder, and also in a file for what is written."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from state.store import open_store
from state.store.memory import memory_store
from state.store.port import Store
from tests.state.manifests.rig import Desk


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return _desk(tmp_path, memory_store())


@pytest.fixture(params=["memory", "sqlite"])
async def any_desk(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Desk]:
    in_file = request.param == "sqlite"
    store = await open_store(f"sqlite:///{tmp_path}/state.db") if in_file else memory_store()
    try:
        yield _desk(tmp_path, store)
    finally:
        await store.close()


def _desk(tmp_path: Path, store: Store) -> Desk:
    folder = tmp_path / "manifests"
    folder.mkdir()
    return Desk(folder, store)
