"""The loop's tests run on virtual time, but for those that touch a disk."""

import asyncio
from collections.abc import Callable

import pytest

from tests.virtual_time import VirtualLoop

REAL_TIME = {
    "test_data_root.py",
    "test_directories.py",
    "test_files.py",
    "test_gauge.py",
    "test_mounts.py",
    "test_own_threads.py",
}


def pytest_asyncio_loop_factories(item: pytest.Item) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    if item.path.name in REAL_TIME:
        return {"real": asyncio.new_event_loop}
    return {"virtual": VirtualLoop}
