"""A folder and a store in memory."""

from pathlib import Path

import pytest

from state.store.memory import memory_store
from tests.state.manifests.rig import Desk


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    folder = tmp_path / "manifests"
    folder.mkdir()
    return Desk(folder, memory_store())
