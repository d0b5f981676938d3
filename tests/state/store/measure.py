"""Measures the store on SQLite: ``python -m tests.state.store.measure``. Prints a table, asserts nothing.

How long a transaction takes, how soon another process sees it, what waiting costs, and what a change costs
among many objects.
"""

import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from state.kinds.user_container import UserContainer
from state.store import open_store
from state.store.port import Store
from tests.state.store.objects import ACTOR, bumped, created, user

TRANSACTIONS_COUNT = 1000
CHANGES_COUNT = 500
PAUSE_S = 0.02
IDLE_S = 20.0
FEW, MANY = 100, 10_000


async def main() -> None:
    for measure in (transactions, latency, idle, cost_among_many):
        with tempfile.TemporaryDirectory() as folder:
            await measure(f"sqlite:///{folder}/state.db")


async def transactions(url: str) -> None:
    store = await open_store(url)
    await created(store, "alice")
    taken = [await _timed(lambda: bumped(store, "alice")) for _ in range(TRANSACTIONS_COUNT)]
    _tell("transact (read, update, commit)", taken)
    taken = [await _timed(store.revision) for _ in range(TRANSACTIONS_COUNT)]
    _tell("read", taken)
    await store.close()


async def latency(url: str) -> None:
    store = await open_store(url)
    await created(store, "alice")
    begun: dict[int, float] = {}
    taken: list[float] = []
    async with _watching(url) as reader:
        assert reader.stdout is not None
        await reader.stdout.readline()
        for _ in range(CHANGES_COUNT):
            at = time.monotonic()
            begun[(await bumped(store, "alice")).metadata.resource_version] = at
            seen_at, revision, *_rest = (await reader.stdout.readline()).split()
            taken.append(float(seen_at) - begun[int(revision)])
            await asyncio.sleep(PAUSE_S)
    _tell("write here → seen in another process", taken)
    await store.close()


async def idle(url: str) -> None:
    store = await open_store(url)
    await created(store, "alice")
    async with _watching(url) as reader:
        assert reader.stdout is not None
        await reader.stdout.readline()
        before_s = _cpu_s(reader.pid)
        await asyncio.sleep(IDLE_S)
        share = (_cpu_s(reader.pid) - before_s) / IDLE_S
    sys.stdout.write(f"{'a process with an idle watch':44} {share:8.3%} of a core\n")
    await store.close()


async def cost_among_many(url: str) -> None:
    for count in (FEW, MANY):
        store = await open_store(f"{url}-{count}")
        await _fill(store, count)
        batches = store.watch((UserContainer,))
        first_s = await _timed(lambda batches=batches: anext(batches))
        taken = []
        for number in range(CHANGES_COUNT):
            name = f"user-{number * 7 % count}"
            taken.append(await _timed(lambda name=name: _changed(store, name, batches)))  # noqa: B023 (awaited at once)
        _tell(f"edit and its batch among {count}", taken)
        sys.stdout.write(f"{f'first batch of {count}':44} {first_s * 1e3:8.1f} ms\n")
        await batches.aclose()
        await store.close()


async def _fill(store: Store, count: int) -> None:
    for start in range(0, count, 1000):
        names = [f"user-{number}" for number in range(start, min(count, start + 1000))]
        await store.transact(lambda tx, names=names: [tx.create(user(name)) for name in names], actor=ACTOR)


async def _changed(store: Store, name: str, batches: AsyncIterator[object]) -> None:
    await bumped(store, name)
    await anext(batches)


async def _timed(call: Callable[[], Awaitable[object]]) -> float:
    begun = time.monotonic()
    await call()
    return time.monotonic() - begun


@asynccontextmanager
async def _watching(url: str) -> AsyncIterator[asyncio.subprocess.Process]:
    words = (sys.executable, "-m", "tests.state.store.elsewhere", "watch", url)
    process = await asyncio.create_subprocess_exec(*words, stdout=subprocess.PIPE)
    try:
        yield process
    finally:
        process.kill()
        await process.communicate()


def _cpu_s(pid: int) -> float:
    """Source: proc(5), /proc/<pid>/stat, fields 14 and 15."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _tell(what: str, taken_s: list[float]) -> None:
    ordered = sorted(taken_s)
    p99 = ordered[int(len(ordered) * 0.99)]
    median = statistics.median(ordered)
    sys.stdout.write(
        f"{what:44} {median * 1e3:8.2f} ms median {p99 * 1e3:8.2f} p99 {ordered[-1] * 1e3:8.2f} max\n"
    )


if __name__ == "__main__":
    asyncio.run(main())
