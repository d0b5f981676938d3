"""The proxy runs on uvloop in production, so its tests do."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
import uvloop

from tests.proxy import rig


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture(params=["direct", "asgi"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways that a whole request can take; what is unusual takes the ASGI way in either case."""
    monkeypatch.setattr(rig, "DIRECT", request.param == "direct")
