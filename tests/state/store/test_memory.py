"""What is particular to the store in memory: it goes by any clock, and holds ten thousand."""

import asyncio
from datetime import UTC, datetime

import pytest

from state.kinds.user_container import UserContainer
from state.store.errors import BarrierTimeout, NotFound
from state.store.memory import memory_store
from tests.state.store.objects import ACTOR, bumped, created, user

THEN = datetime(2031, 5, 6, tzinfo=UTC)
USERS_COUNT = 10_000


class Clock:
    """Seconds that a test sets."""

    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


async def test_it_goes_by_the_clocks_that_it_was_given() -> None:
    clock = Clock()
    store = memory_store(now=lambda: THEN, clock_s=clock, new_uid=lambda: "the-uid")
    await created(store, "alice")
    alice = await store.read(lambda tx: tx.get(UserContainer, "alice"))
    assert alice is not None
    assert (alice.metadata.created_at, alice.uid) == (THEN, "the-uid")
    lease = await store.join("gateway-1", ttl_s=10)
    assert lease.expires_s == 110.0
    with pytest.raises(BarrierTimeout):
        await store.barrier(1, 0)
    clock.now_s = 110.0
    await store.barrier(1, 0)
    with pytest.raises(NotFound):
        await store.join("gateway-1", ttl_s=10)


async def test_ten_thousand_objects_are_followed_one_by_one() -> None:
    store = memory_store()
    await store.transact(
        lambda tx: [tx.create(user(f"user-{number}")) for number in range(USERS_COUNT)], actor=ACTOR
    )
    batches = store.watch((UserContainer,))
    assert len((await anext(batches)).objects) == USERS_COUNT
    for number in range(100):
        await bumped(store, f"user-{number}")
        assert len((await anext(batches)).objects) == 1
    await batches.aclose()


async def test_a_cancelled_write_happened_or_did_not() -> None:
    """The caller may be gone at either of its two awaits."""
    outcomes = set()
    for turns in range(3):
        store = memory_store()
        task = asyncio.create_task(store.transact(lambda tx: tx.create(user("alice")), actor=ACTOR))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait((task,))
        outcomes.add((await store.revision(), len(await store.read(lambda tx: tx.list(UserContainer)))))
    assert outcomes == {(0, 0), (1, 1)}
