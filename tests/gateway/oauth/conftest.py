"""One authorization server on a file of its own."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.gateway.oauth.rig import Rig, serving


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with serving(tmp_path / "auth.db") as rig:
        yield rig
