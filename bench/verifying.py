"""What a bearer token costs a worker before anything else happens: known already, or seen for the first time.

``auth.verify_us.known``: a hash and a look into the table. ``auth.verify_us.unknown``: a signature, and one
question to ``auth.db``. The worker is a whole one that serves, with a thousand people on record.
Next: :mod:`gateway.auth.callers`, which is measured.
"""

import asyncio
import gc
import socket
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import uvloop

from bench.gateways import START_S_MAX, settings_of
from bench.people import granted, settle, user_of
from bench.results import Sample
from gateway.auth.callers import Callers
from gateway.head import Head, read_head
from gateway.main import AUTH_FILE
from gateway.pages.desk import Desk
from gateway.settings import GatewaySettings
from gateway.worker import Worker
from mcpgw.testing.ports import free_ports
from state.settings import load_settings
from state.store import open_store
from state.store.auth import open_auth

PEOPLE = 1000
PASSES, PASSES_QUICK = 10, 2
BATCHES = 10  # a pass over everybody, in so many batches
US_PER_S = 1e6


def measured(quick: bool) -> list[Sample]:
    return uvloop.run(_measured(PASSES_QUICK if quick else PASSES))


async def _measured(passes: int) -> list[Sample]:
    with tempfile.TemporaryDirectory() as folder:
        first = free_ports(2)
        settings = settings_of(Path(folder) / "house", first, first + 1)
        users = [user_of(number) for number in range(PEOPLE)]
        await settle(settings, users)
        heads = [_head(token) for token in await granted(settings, users)]
        async with _worker(settings) as worker:
            # The desk is the worker's own, so that its parts are put together as they are when it serves.
            return await _passes(worker._desk, heads, passes)


@asynccontextmanager
async def _worker(settings: dict[str, str]) -> AsyncIterator[Worker]:
    """One that serves in this process, as ``gateway.main`` runs it."""
    values = load_settings(GatewaySettings, settings)
    store = await open_store(settings["STORE_URL"])
    auth = await open_auth(Path(settings["STATE_DIR"]) / AUTH_FILE)
    with _listener() as listener, _listener() as private:
        worker = Worker(values, store, auth, listener, private)
        running = asyncio.create_task(worker.run())
        try:
            assert await worker.table.wait_believed(START_S_MAX), "the worker read its store"
            yield worker
        finally:
            worker.stop()
            await running
            await auth.close()
            await store.close()


async def _passes(desk: Desk, heads: Sequence[Head], passes: int) -> list[Sample]:
    """Each pass begins as a worker that has just started: it knows no token."""
    await desk.oauth.start()  # the keys are read, as they are before a worker's first request
    unknown_us, known_us = [], []
    size = len(heads) // BATCHES
    batches = [heads[first : first + size] for first in range(0, len(heads), size)]
    for _ in range(passes):
        callers = Callers(desk.table, desk.auth, desk.people, desk.oauth.verified)
        gc.collect()
        unknown_us += [await _unknown_us(callers, batch) for batch in batches]
        known_us += [_known_us(callers, batch) for batch in batches]
    of = f"{len(heads):,} people, mean of {size} in a row, {passes} passes"
    return [
        Sample("auth.verify_us.known", tuple(known_us), f"a token seen before, of {of}"),
        Sample("auth.verify_us.unknown", tuple(unknown_us), f"each token seen for the first time, of {of}"),
    ]


async def _unknown_us(callers: Callers, heads: Sequence[Head]) -> float:
    began_at = time.perf_counter()
    for head in heads:
        await callers.identify(head)
    return (time.perf_counter() - began_at) / len(heads) * US_PER_S


def _known_us(callers: Callers, heads: Sequence[Head]) -> float:
    began_at = time.perf_counter()
    callers_found = [callers.known(head) for head in heads]
    spent_us = (time.perf_counter() - began_at) / len(heads) * US_PER_S
    assert all(callers_found), "a pass over the unknown came before"
    return spent_us


def _head(token: str) -> Head:
    """Of a call as programs send it."""
    return read_head(
        [
            (b"host", b"localhost:9000"),
            (b"authorization", f"Bearer {token}".encode()),
            (b"content-type", b"application/json"),
            (b"accept", b"application/json, text/event-stream"),
            (b"mcp-protocol-version", b"2025-11-25"),
            (b"mcp-session-id", b"0123456789abcdef0123456789abcdef"),
        ]
    )


def _listener() -> socket.socket:
    return socket.create_server(("127.0.0.1", 0), backlog=16)
