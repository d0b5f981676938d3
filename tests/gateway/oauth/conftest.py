"""One authorization server on a file of its own."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.gateway.oauth.rig import Rig, serving


@pytest.fixture(scope="session")
def fresh_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with its tables and a signing key, made once: both take longer than most tests."""
    path = tmp_path_factory.mktemp("fresh") / "auth.db"

    async def make() -> None:
        async with serving(path):
            pass

    asyncio.run(make())
    return path


@pytest.fixture
async def rig(tmp_path: Path, fresh_file: Path) -> AsyncIterator[Rig]:
    shutil.copy(fresh_file, tmp_path / "auth.db")
    async with serving(tmp_path / "auth.db") as rig:
        yield rig
