"""Reconciler processes, one after the other: whoever ends or is killed is started again."""

import asyncio
from typing import Protocol

from reconciler.operator import Operator
from state.store.errors import StoreError
from tests.simulation.history import History
from tests.simulation.processes import Process

RESTART_S = 1.0


class Makes(Protocol):
    def __call__(self, process: Process) -> Operator: ...


class Reconciler:
    """A slot that always has a reconciler process in it, until it is told to stop."""

    def __init__(self, name: str, make: Makes, history: History) -> None:
        self.name = name
        self.process = Process(f"{name}.0", history)
        self.operator: Operator | None = None
        self.starts = 0
        self.dies_at_gate: int | None = None  # of its first start
        self.sends_last_words = True  # what is on the wire at a death still arrives
        self.restart_s = RESTART_S
        self._make = make
        self._history = history
        self._keeping: asyncio.Task[None] | None = None

    def begin(self) -> None:
        self._keeping = asyncio.create_task(self._keep())

    async def end(self) -> None:
        """Stopped for good, as by SIGTERM."""
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.gather(self._keeping, return_exceptions=True)
            self._keeping = None
        self.operator = None

    @property
    def is_kept(self) -> bool:
        return self._keeping is not None

    async def _keep(self) -> None:
        while True:
            await self._run_once()
            await asyncio.sleep(self.restart_s)

    async def _run_once(self) -> None:
        self.process = process = Process(f"{self.name}.{self.starts}", self._history)
        process.dies_at_gate = self.dies_at_gate if self.starts == 0 else None
        process.sends_last_words = self.sends_last_words
        self.starts += 1
        self._history.note(process.name, "starts")
        running = process.spawn(self._operate(process))
        try:
            await asyncio.wait([running])
        finally:
            running.cancel()
            await asyncio.wait([running])
            await process.buried()
        self._note_end(process, running)

    async def _operate(self, process: Process) -> None:
        self.operator = self._make(process)
        await self.operator.run()

    def _note_end(self, process: Process, running: "asyncio.Task[None]") -> None:
        error = None if running.cancelled() else running.exception()
        mistakes = [] if error is None else [one for one in flat(error) if not isinstance(one, StoreError)]
        self._history.note(process.name, f"ended: {error!r}")
        for mistake in mistakes:
            self._history.breach(f"{process.name} fell over {mistake!r}")


def flat(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for inner in error.exceptions for leaf in flat(inner)]
    return [error]
