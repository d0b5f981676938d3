"""A process that can be killed at any await: whatever it does to the world goes through a gate.

Only at a gate does a process touch anything that outlives it, so to kill it before and after every one of
them is to kill it at every await. Dead, it does nothing any more: its tasks are cancelled, and what they
still try on their way out never reaches the world.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextvars import Context, ContextVar, copy_context
from typing import Any, TypeVar

from state.kinds.resource import Resource
from state.store.errors import OutcomeUnknown, Unavailable
from state.store.memory import MemoryBackend
from state.store.port import Batch, Leadership, Lease, Tx
from state.store.rowstore import RowStore
from tests.simulation.history import History
from tests.simulation.weather import Weather

T = TypeVar("T")
LOCK_PATIENCE_S = 10.0  # like TRANSACT_TIMEOUT_S of a real store
LOCK_POLL_S = 0.5

_current: ContextVar["Process | None"] = ContextVar("process", default=None)


class Process:
    """One start of one program."""

    def __init__(self, name: str, history: History) -> None:
        self.name = name
        self.is_dead = False
        self.gates_passed = 0
        self.dies_at_gate: int | None = None
        self.sends_last_words = True  # what was on the wire at its death still arrives
        self._history = history
        self._tasks: dict[asyncio.Task[Any], None] = {}

    def spawn(self, coroutine: Any) -> "asyncio.Task[Any]":
        """A task of this process; whatever tasks it makes are this process's, too."""
        context = copy_context()
        context.run(_current.set, self)
        return asyncio.get_running_loop().create_task(coroutine, context=context)

    def adopt(self, task: "asyncio.Task[Any]") -> None:
        self._tasks[task] = None
        task.add_done_callback(lambda done: self._tasks.pop(done, None))

    def kill(self) -> None:
        """kill -9: from here on it does nothing to the world."""
        if not self.is_dead:
            self._history.note(self.name, f"killed after {self.gates_passed} gates")
            self.is_dead = True
        for task in list(self._tasks):
            task.cancel()

    async def buried(self) -> None:
        """Until its last task is gone."""
        while self._tasks:
            self.kill()
            await asyncio.sleep(0)

    def gate(self) -> None:
        """Where it may die, and where the dead are stopped."""
        self.gates_passed += 1
        if self.gates_passed == self.dies_at_gate:
            self.kill()
        if self.is_dead:
            raise asyncio.CancelledError

    async def through(self, effect: Callable[[], Awaitable[T]]) -> T:
        self.gate()
        answer = await effect()
        self.gate()
        return answer

    async def over_the_wire(self, effect: Callable[[], Awaitable[T]]) -> T:
        """Like through(), but once it is sent it is out of our hands, alive or dead."""
        self.gate()
        sent = asyncio.get_running_loop().create_task(_awaited(effect), context=Context())
        try:
            answer = await asyncio.shield(sent)
        except asyncio.CancelledError:
            if self.is_dead and not self.sends_last_words:
                sent.cancel()
            sent.add_done_callback(_seen)
            raise
        self.gate()
        return answer


def task_factory(
    loop: asyncio.AbstractEventLoop, coroutine: Any, *, context: Context | None = None
) -> "asyncio.Task[Any]":
    """Every task belongs to the process that made it."""
    task: asyncio.Task[Any] = asyncio.Task(coroutine, loop=loop, context=context)
    owner = context.get(_current) if context is not None else _current.get()
    if owner is not None:
        owner.adopt(task)
    return task


async def _awaited(effect: Callable[[], Awaitable[T]]) -> T:
    return await effect()


def _seen(task: "asyncio.Task[Any]") -> None:
    if not task.cancelled():
        task.exception()


class ProcessStore(RowStore):
    """One process's view of the store, under the weather."""

    def __init__(
        self, rows: MemoryBackend, process: Process, weather: Weather, new_uid: Callable[[], str], now: Any
    ) -> None:
        super().__init__(rows, now=now, new_uid=new_uid)
        self._process = process
        self._weather = weather

    async def transact(self, fn: Callable[[Tx], T], *, actor: str) -> T:
        await self._unlocked()
        answer = await self._process.through(lambda: RowStore.transact(self, fn, actor=actor))
        if self._weather.strikes(self._weather.loses_commits):
            raise OutcomeUnknown("the store took it and did not say how it ended")
        return answer

    async def read(self, fn: Callable[[Tx], T]) -> T:
        await self._unlocked()
        return await self._process.through(lambda: RowStore.read(self, fn))

    async def revision(self) -> int:
        await self._unlocked()
        return await self._process.through(lambda: RowStore.revision(self))

    async def watch(self, kinds: tuple[type[Resource], ...]) -> AsyncGenerator[Batch, None]:
        await self._unlocked()
        async for batch in super().watch(kinds):
            while self._weather.is_store_locked:
                await asyncio.sleep(LOCK_POLL_S)
            self._process.gate()
            yield batch

    async def barrier(self, revision: int, timeout_s: float) -> None:
        await self._unlocked()
        await self._process.through(lambda: RowStore.barrier(self, revision, timeout_s))

    async def lead(self, holder: str, *, ttl_s: float, epoch_min: int = 0) -> Leadership:
        await self._unlocked()
        return await self._process.through(
            lambda: RowStore.lead(self, holder, ttl_s=ttl_s, epoch_min=epoch_min)
        )

    async def resign(self, holder: str) -> None:
        await self._unlocked()
        await self._process.through(lambda: RowStore.resign(self, holder))

    async def join(self, worker: str, *, ttl_s: float) -> Lease:
        await self._unlocked()
        return await self._process.through(lambda: RowStore.join(self, worker, ttl_s=ttl_s))

    async def acknowledge(self, worker: str, revision: int) -> None:
        await self._unlocked()
        await self._process.through(lambda: RowStore.acknowledge(self, worker, revision))

    async def _unlocked(self) -> None:
        """Wait like a real store for its lock, then refuse."""
        waited_s = 0.0
        while self._weather.is_store_locked:
            if waited_s >= LOCK_PATIENCE_S:
                raise Unavailable("database is locked")
            await asyncio.sleep(LOCK_POLL_S)
            waited_s += LOCK_POLL_S
