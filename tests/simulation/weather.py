"""What the engine, the store and the disk are like just now. Calm until somebody says otherwise."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextvars import Context
from dataclasses import dataclass, field
from typing import TypeVar

from reconciler.core.errors import NameConflictError, OutcomeUnknownError, TransientError
from reconciler.engine.faulty import MUTATIONS
from reconciler.engine.port import CALL_TIMEOUT_S, Engine
from reconciler.engine.wrapped import Verb, WrappedEngine
from state.kinds.template import Egress

T = TypeVar("T")
LATE_S_MAX = 90.0


@dataclass(slots=True)
class Weather:
    draw: random.Random
    slow_s: float = 0.0  # calls take up to this much longer
    errs: float = 0.0  # the share of engine calls that answer 500, half of them after taking effect
    hangs: float = 0.0  # the share that goes unanswered until its deadline
    lands_late: float = 0.0  # the share of hanging mutations that take effect long after that
    is_deaf: bool = False  # no event arrives
    is_disk_full: bool = False
    is_store_locked: bool = False
    loses_commits: float = 0.0  # the share of the store's answers that are lost after the commit
    probes_fail: bool = False  # the way from the prober to every container is cut
    unfenced_since_s: float | None = None  # when somebody took the fence away
    egress_refused: tuple[tuple[Egress, str], ...] = ()  # what the engine turns out to be no place for
    phantoms: int = 0  # so many removals are needed until the engine lets go of a name it holds for nobody
    late: set["asyncio.Task[None]"] = field(default_factory=set)

    def clear(self) -> None:
        self.slow_s = self.errs = self.hangs = self.lands_late = self.loses_commits = 0.0
        self.is_deaf = self.is_disk_full = self.is_store_locked = self.probes_fail = False
        self.unfenced_since_s = None

    def strikes(self, share: float) -> bool:
        return share > 0 and self.draw.random() < share

    async def close(self) -> None:
        for task in self.late:
            task.cancel()
        await asyncio.gather(*self.late, return_exceptions=True)


class WeatheredEngine(WrappedEngine):
    """An engine under the weather: slow, failing before or after the effect, silent, or late."""

    def __init__(self, inner: Engine, weather: Weather) -> None:
        super().__init__(inner)
        self._weather = weather

    async def _pass(self, verb: Verb, call: Callable[[], Awaitable[T]]) -> T:
        weather = self._weather
        if verb is Verb.CREATE and weather.phantoms > 0:
            raise NameConflictError("NameConflict", "the name is already in use by container 0000")
        if verb is Verb.REMOVE and weather.phantoms > 0:
            weather.phantoms -= 1
        if weather.slow_s:
            await asyncio.sleep(weather.draw.uniform(0, weather.slow_s))
        if weather.is_disk_full and verb in (Verb.CREATE, Verb.START, Verb.ENSURE_IMAGE):
            raise TransientError("DiskFull", "no space left on device")
        if weather.strikes(weather.hangs):
            return await self._hang(verb, call)
        if weather.strikes(weather.errs):
            if weather.draw.random() < 0.5:
                await call()
            raise OutcomeUnknownError("EngineError", f"the engine answered {verb}: 500")
        return await call()

    async def _hang(self, verb: Verb, call: Callable[[], Awaitable[T]]) -> T:
        weather = self._weather
        if verb in MUTATIONS and weather.strikes(weather.lands_late):
            self._land_late(call, CALL_TIMEOUT_S + weather.draw.uniform(0, LATE_S_MAX))
        elif weather.draw.random() < 0.5:
            await call()
        await asyncio.sleep(CALL_TIMEOUT_S)
        raise OutcomeUnknownError("EngineTimeout", f"the engine did not answer {verb}")

    def _land_late(self, call: Callable[[], Awaitable[object]], delay_s: float) -> None:
        """The engine carries it out long after whoever asked gave up, or died."""

        async def land() -> None:
            await asyncio.sleep(delay_s)
            try:
                await call()
            except Exception:  # whatever it would have answered: nobody listens
                return

        task = asyncio.get_running_loop().create_task(land(), context=Context())
        self._weather.late.add(task)
        task.add_done_callback(self._weather.late.discard)
