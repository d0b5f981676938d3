"""Everything here runs on virtual time."""

import asyncio
from collections.abc import Callable, Iterator

import pytest

from reconciler import operator
from tests.simulation.misfortunes import USERS
from tests.virtual_time import VirtualLoop

WORKERS = 16
"""More than there are users, so that nobody waits for another's turn, as with the many of real life."""


def pytest_asyncio_loop_factories(item: pytest.Item) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    del item
    return {"virtual": VirtualLoop}


@pytest.fixture(scope="package", autouse=True)
def fewer_workers() -> Iterator[None]:
    """Each of thousands of reconcilers would begin with hundreds of tasks that have nothing to do."""
    assert len(USERS) < WORKERS
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(operator.WORKERS, "user", WORKERS)
        yield
