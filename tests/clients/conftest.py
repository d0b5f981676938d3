"""A gateway with a real OpenID provider, for real clients."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.clients.place import Place, oidc_settings, place
from tests.idp.rig import ACCOUNTS, oidc_provider


@pytest.fixture
async def at_oidc(tmp_path: Path) -> AsyncIterator[Place]:
    user = f"oidc:{ACCOUNTS['alice']['sub']}"
    async with (
        oidc_provider() as idp,
        place(idp, "oidc", user, oidc_settings(idp), tmp_path) as made,
    ):
        yield made
