"""One thing that a provider publishes and seldom changes: fetched when it is first needed, and then kept.

Decides when to look again, and that an old copy does while looking fails. However many ask at once, one
fetch is under way; who stops waiting does not end it for the others.
Next: :mod:`gateway.auth.providers.discovery`, whose document is kept so.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

import structlog

from gateway.auth.providers.limits import Limits
from gateway.auth.providers.port import ProviderError

_log = structlog.get_logger(__name__)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Held(Generic[T]):
    value: T
    fetched_at: float
    look_again_at: float


class Cached(Generic[T]):
    """``fetch`` is bounded in time by itself, and raises ProviderError; ``clock`` is monotonic."""

    def __init__(
        self,
        fetch: Callable[[], Awaitable[T]],
        limits: Limits,
        *,
        name: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fetch = fetch
        self._limits = limits
        self._name = name
        self._clock = clock
        self._held: _Held[T] | None = None
        self._fetching: asyncio.Task[T] | None = None

    async def get(self) -> T:
        """The value, at most ``fresh_s`` old, or ``stale_s`` while it cannot be fetched."""
        held = self._held
        if held is not None and self._clock() < held.look_again_at:
            return held.value
        try:
            return await self._fetched()
        except ProviderError as error:
            now = self._clock()
            if held is None or now >= held.fetched_at + self._limits.stale_s:
                raise
            self._held = replace(held, look_again_at=now + self._limits.retry_s)
            _log.warning("provider.missed", provider=self._name, reason=error.reason)
            return held.value

    async def newer_than(self, seen: T) -> T:
        """Another value than ``seen``, if there is one by now: fetched unless somebody else just did."""
        held = self._held
        if held is not None and held.value is not seen:
            return held.value
        return await self._fetched()

    async def close(self) -> None:
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.gather(self._fetching, return_exceptions=True)

    async def _fetched(self) -> T:
        if self._fetching is None:
            self._fetching = asyncio.create_task(self._fetch_and_hold())
            self._fetching.add_done_callback(self._done)
        return await asyncio.shield(self._fetching)

    async def _fetch_and_hold(self) -> T:
        value = await self._fetch()
        now = self._clock()
        self._held = _Held(value, now, now + self._limits.fresh_s)
        return value

    def _done(self, task: asyncio.Task[T]) -> None:
        self._fetching = None
        if not task.cancelled():
            task.exception()  # it counts as seen, also where everybody stopped waiting
