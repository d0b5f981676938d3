"""Crowds at the public port: what they hold is bounded, and whoever asks for something is still served."""

from __future__ import annotations

import asyncio
import os
import resource
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway.pages.bodies import body_s_max
from gateway.pages.forms import USUAL
from gateway.server.crowd import NEWCOMER_S
from gateway.server.limits import FILES_PER_CONNECTION, FILES_RESERVED, ServerLimits
from tests.gateway.attacks.conftest import Place, opened
from tests.gateway.attacks.test_smuggling import serves
from tests.gateway.rig import until
from tests.proxy.rig import status

CROWD = 10_000
FEW_FILES = 512
ROUNDS = 20
CPU_SHARE_MAX = 0.5
WATCHED_S = 2.0
GROWTH_MIB_MAX = 300.0


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    async with opened(tmp_path) as place:
        yield place


@asynccontextmanager
async def crowd(place: Place, count: int, says: str = "") -> AsyncIterator[list[socket.socket]]:
    """So many connections of which nothing more is heard."""
    loop = asyncio.get_running_loop()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    sockets: list[socket.socket] = []
    try:
        for _ in range(count):
            one = socket.socket()
            one.setblocking(False)
            sockets.append(one)
            async with asyncio.timeout(60):
                await loop.sock_connect(one, ("127.0.0.1", place.rig.port))
            if says:
                one.send(says.replace("<host>", place.host).encode())
        yield sockets
    finally:
        for one in sockets:
            one.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


HEAD = "{} HTTP/1.1\r\nHost: <host>\r\n"
FORM = HEAD.format("POST /signout") + "Content-Length: 32000\r\n"
CROWDS = {
    "that says nothing": "",
    "that stops in the middle of a head": HEAD.format("POST /mcp") + "X: ",
    "that asked once and stays": HEAD.format("GET /health") + "\r\n",
    "that is refused and stays": "nonsense\r\n\r\n",
    "that stops in the middle of a form": FORM + "\r\ncsrf=",
    "that stops before a form that it may send": FORM + "Expect: 100-continue\r\n\r\n",
}


@pytest.mark.parametrize("name", CROWDS)
async def test_ten_thousand_idle_connections_are_bounded_and_others_are_served(
    place: Place, name: str
) -> None:
    before_mib = _resident_mib(place.pid)
    known = await place.connect()
    await _ask_of(known, place)
    most = ServerLimits().within(resource.getrlimit(resource.RLIMIT_NOFILE)[1]).connections_max
    async with crowd(place, CROWD, CROWDS[name]):
        for _ in range(ROUNDS):
            await serves(place)
        held = _files(place.pid)
        assert held <= most + FILES_RESERVED, f"{held} files are open"
        assert _resident_mib(place.pid) - before_mib < GROWTH_MIB_MAX
    await known.close()


async def test_whoever_was_served_keeps_the_connection_in_a_silent_crowd(place: Place) -> None:
    known = await place.connect()
    await _ask_of(known, place)
    async with crowd(place, CROWD - 1_000):
        await asyncio.sleep(
            NEWCOMER_S + 0.1
        )  # all at once they would be newcomers, who may be about to speak
        async with crowd(place, 3_000):
            await _ask_of(known, place)
    await known.close()


async def test_whoever_sends_a_form_drop_by_drop_is_ended(place: Place) -> None:
    """The server's own limit is on silence, which one byte breaks."""
    slow = await place.connect()
    await slow.send(FORM.replace("<host>", place.host).encode() + b"\r\n")
    answer = asyncio.create_task(slow.head())
    async with asyncio.timeout(body_s_max(USUAL.body_bytes_max) + 10):
        while not answer.done():
            await slow.send(b"a")
            await asyncio.wait((answer,), timeout=1.0)
    assert status(answer.result()) == 408
    await slow.close()


async def test_a_process_with_few_files_turns_away_what_it_cannot_hold_and_does_not_spin(
    tmp_path: Path,
) -> None:
    async with opened(tmp_path, FEW_FILES) as place, crowd(place, 2_000):
        for _ in range(ROUNDS):
            await serves(place)
        most = (FEW_FILES - FILES_RESERVED) // FILES_PER_CONNECTION
        await until(lambda: _files(place.pid) <= most + FILES_RESERVED)
        before_s = _cpu_s(place.pid)
        await asyncio.sleep(WATCHED_S)
        assert _cpu_s(place.pid) - before_s < CPU_SHARE_MAX * WATCHED_S, "it rests while nobody asks"
        await serves(place)


async def _ask_of(client, place: Place) -> None:  # type: ignore[no-untyped-def]
    await client.send(place.head("bob", "Content-Length: 2") + b"\r\n{}")
    head = await client.head()
    assert status(head) == 200
    if b"chunked" in head:
        await client.until(b"0\r\n\r\n")
    else:
        await client.exactly(int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]))


def _files(pid: int) -> int:
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())


def _resident_mib(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


def _cpu_s(pid: int) -> float:
    """User and system time. Source: proc(5), /proc/pid/stat, fields 14 and 15."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
