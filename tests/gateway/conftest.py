"""The workers most tests talk to: one template, two Apps, two users with containers of their own."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from types import SimpleNamespace

import pytest

from tests.gateway.rig import Container, Rig, container, gateway

ALICE_HOME = "abcdefghijklmnopqrstuvwx23"
BOB_HOME = "bcdefghijklmnopqrstuvwxy34"
WORKERS = (1, 2)
"""How many a test is run with: what holds for one holds for several, whichever gets a connection."""
one_worker = pytest.mark.parametrize("rig", [1], indirect=True)
"""For what looks inside a worker, or rests on what the worker that was asked before remembers."""


@dataclass
class Town:
    """`alice` and `bob` are users of the App `shop`; each has a routed container and a Home."""

    rig: Rig
    key: str
    alice: Container
    bob: Container


@pytest.fixture
def no_time_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    """For those who may ask only so often: what they may ask does not grow meanwhile."""
    monkeypatch.setattr("gateway.throttles.time", SimpleNamespace(monotonic=lambda: 1_000_000.0))


@pytest.fixture(params=WORKERS)
async def rig(request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    async with gateway(workers=request.param) as rig:
        yield rig


@pytest.fixture
async def town(rig: Rig) -> AsyncIterator[Town]:
    await rig.add_template()
    key = await rig.add_app("shop")
    async with container("alice") as alice, container("bob") as bob:
        for name, home, stand_in in (("alice", ALICE_HOME, alice), ("bob", BOB_HOME, bob)):
            await rig.add_user(name, f"app:shop.{name}")
            await rig.give_home(name, home)
            await rig.route(name, stand_in, home)
        await rig.applied()
        yield Town(rig, key, alice, bob)
