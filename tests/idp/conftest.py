"""Fixtures for the tests of providers."""

from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from tests.idp.walk import Callback

CALLBACK_PATH = "/auth/callback"


@pytest.fixture
async def callback() -> AsyncIterator[Callback]:
    made = Callback()
    app = web.Application()
    app.router.add_get(CALLBACK_PATH, made.take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}{CALLBACK_PATH}"
    yield made
    await runner.cleanup()
