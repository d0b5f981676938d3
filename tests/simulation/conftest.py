"""Everything here runs on virtual time."""

import asyncio
from collections.abc import Callable

import pytest

from tests.virtual_time import VirtualLoop


def pytest_asyncio_loop_factories(item: pytest.Item) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    del item
    return {"virtual": VirtualLoop}
