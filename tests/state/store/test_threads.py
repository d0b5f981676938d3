"""What a caller is told about calls that wait, hang, or were given up."""

import asyncio
import threading
from collections.abc import AsyncIterator

import pytest

from state.store import threads
from state.store.errors import OutcomeUnknown, Unavailable
from state.store.threads import Threads

SHORT_S = 0.2


@pytest.fixture
def gate() -> threading.Event:
    """What a hanging call waits for."""
    return threading.Event()


@pytest.fixture
async def one(gate: threading.Event, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Threads]:
    monkeypatch.setattr(threads, "GRACE_S", SHORT_S)
    one = Threads("the-store", 1, SHORT_S)
    yield one
    gate.set()
    await one.close()


async def test_a_call_that_never_began_did_nothing(one: Threads, gate: threading.Event) -> None:
    ran: list[str] = []
    hanging = asyncio.create_task(one.run(lambda _: gate.wait()))
    await asyncio.sleep(0)
    with pytest.raises(Unavailable, match=r"the-store: no turn within 0\.2 s") as refused:
        await one.run(lambda _: ran.append("ran"))
    assert not isinstance(refused.value, OutcomeUnknown)
    with pytest.raises(OutcomeUnknown, match="no outcome"):
        await hanging
    gate.set()
    assert await one.run(lambda _: ran) == []


async def test_a_cancelled_caller_takes_a_waiting_call_along(one: Threads, gate: threading.Event) -> None:
    ran: list[str] = []
    hanging = asyncio.create_task(one.run(lambda _: gate.wait()))
    waiting = asyncio.create_task(one.run(lambda _: ran.append("ran")))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait((waiting,))
    gate.set()
    await hanging
    assert await one.run(lambda _: ran) == []


async def test_the_queue_has_an_end(
    one: Threads, gate: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads, "CALLS_QUEUED_MAX", 1)
    hanging = asyncio.create_task(one.run(lambda _: gate.wait()))
    await asyncio.sleep(0)
    with pytest.raises(Unavailable, match="1 calls wait already"):
        await one.run(lambda _: None)
    gate.set()
    await hanging


async def test_an_exception_is_the_callers(one: Threads) -> None:
    with pytest.raises(ZeroDivisionError):
        await one.run(lambda _: 1 / 0)
