"""A gateway process with two users: Mallory, who attacks, and Bob, whose requests come behind hers."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from tests.gateway.conftest import ALICE_HOME, BOB_HOME
from tests.gateway.rig import Container, Rig, container
from tests.gateway.test_processes import STOP_S, process
from tests.proxy.rig import Peer

MALLORY_HOME = ALICE_HOME


@dataclass
class Place:
    """Each of the two has a container. Both are users of one App."""

    rig: Rig
    pid: int
    key: str
    mallory: Container
    bob: Container

    @property
    def host(self) -> str:
        return f"localhost:{self.rig.port}"

    def head(self, user: str, *lines: str, target: str = "/mcp", method: str = "POST") -> bytes:
        """A request's head but for what ends it."""
        said = (f"{method} {target} HTTP/1.1", f"Host: {self.host}", *self.proof(user), *lines)
        return "".join(f"{line}\r\n" for line in said).encode("latin-1")

    def proof(self, user: str) -> tuple[str, str]:
        return (f"Authorization: Bearer {self.key}", f"X-App-User: {user}")

    def bobs(self, target: str = "/mcp/bobs", body: bytes = b"{}") -> bytes:
        """A whole request of Bob's, the last of its connection."""
        lines = ("Connection: close", f"Content-Length: {len(body)}")
        return self.head("bob", *lines, target=target) + b"\r\n" + body

    async def connect(self) -> Peer:
        return Peer(*await asyncio.open_connection("127.0.0.1", self.rig.port, limit=2**26))


@asynccontextmanager
async def opened(folder: Path, files_max: int = 0) -> AsyncIterator[Place]:
    """A place of one's own; ``files_max`` as for :func:`process`."""
    async with (
        process(folder, 1, files_max) as gateway,
        container("mallory") as mallory,
        container("bob") as bob,
    ):
        rig = gateway.rig
        await rig.add_template()
        key = await rig.add_app("shop")
        for name, home, stand_in in (("mallory", MALLORY_HOME, mallory), ("bob", BOB_HOME, bob)):
            await rig.add_user(name, f"app:shop.{name}")
            await rig.give_home(name, home)
            await rig.route(name, stand_in, home)
        await rig.store.barrier(await rig.store.revision(), STOP_S)
        yield Place(rig, gateway.running.pid, key, mallory, bob)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def place(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Place]:
    async with opened(tmp_path_factory.mktemp("gateway")) as place:
        yield place
