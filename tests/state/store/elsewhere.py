"""What another process does to the store: ``python -m tests.state.store.elsewhere <what> <url> …``.

Each says a line when it is ready, so that the test knows what it interrupts.
"""

import asyncio
import os
import pwd
import sqlite3
import sys
import time

from state.kinds.user_container import UserContainer
from state.store import open_store
from state.store.errors import StoreError
from state.store.port import Tx
from tests.state.store.objects import ACTOR, bumped, created, user

FOR_EVER_S = 600.0


def say(line: object) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


async def write(url: str, prefix: str, count: str) -> None:
    """Write ``count`` objects and as many statuses of one that others write too."""
    store = await open_store(url)
    for number in range(int(count)):
        await created(store, f"{prefix}-{number}")
        await bumped(store, "shared")
    await store.close()


async def watch(url: str) -> None:
    """Say the names of every batch, with the second in which they came."""
    store = await open_store(url)
    async for batch in store.watch((UserContainer,)):
        say(f"{time.monotonic()} {batch.revision} {' '.join(obj.name for obj in batch.objects)}")


async def die_writing(url: str) -> None:
    """Stay inside a transaction that has written."""
    store = await open_store(url)

    def stay(tx: Tx) -> None:
        tx.create(user("half"))
        say("inside")
        time.sleep(FOR_EVER_S)

    await store.transact(stay, actor=ACTOR)


async def work(url: str, worker: str, ttl_s: str) -> None:
    """A gateway worker that applies and acknowledges, and renews its lease."""
    store = await open_store(url)
    await store.join(worker, ttl_s=float(ttl_s))

    async def renew() -> None:
        while True:
            await asyncio.sleep(float(ttl_s) / 3)
            await store.join(worker, ttl_s=float(ttl_s))

    renewing = asyncio.create_task(renew())
    async for batch in store.watch((UserContainer,)):
        await store.acknowledge(worker, batch.revision)
        say(batch.revision)
    await renewing


async def lock(path: str, seconds: str) -> None:
    """Hold SQLite's writing lock."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    say("locked")
    time.sleep(float(seconds))
    connection.execute("ROLLBACK")


async def open_and_write(url: str) -> None:
    """Open, write, and say how that went in one line."""
    try:
        store = await open_store(url)
        await created(store, "alice")
    except StoreError as error:
        say(f"{type(error).__name__}: {error}")
    else:
        say("written")
        await store.close()


async def open_as_nobody(url: str) -> None:
    """The same as a user who may not write there."""
    if os.geteuid() == 0:
        os.setuid(pwd.getpwnam("nobody").pw_uid)
    await open_and_write(url)


if __name__ == "__main__":
    verbs = {
        "write": write,
        "watch": watch,
        "die-writing": die_writing,
        "work": work,
        "lock": lock,
        "open-and-write": open_and_write,
        "open-as-nobody": open_as_nobody,
    }
    asyncio.run(verbs[sys.argv[1]](*sys.argv[2:]))
