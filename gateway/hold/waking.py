"""Has a container woken that sleeps, for requests that wait for it: one asks for all.

Decides how often it is asked for, not who may: whoever comes here was let in by something that wakes. A sleep
that somebody asked for in the same moment may win, and a store may lose what it was told, so it is asked for
again while anybody waits. Next: :mod:`gateway.verbs`.
"""

import asyncio
from datetime import datetime
from typing import Final

from gateway.problems import store_silent
from gateway.routes.seat import Seat
from gateway.verbs import ask_to_wake
from state.store.errors import StoreError
from state.store.port import Store

WAKE_AGAIN_S: Final = 5.0

_Sleep = tuple[str, datetime | None]  # whose it is, by uid, and since when it lasts


class Wakes:
    """One a worker. Bounded by the requests that are held, which it is asked for by."""

    def __init__(self, store: Store, *, worker: str) -> None:
        self._store = store
        self._actor = f"gateway:{worker}"
        self._asking: dict[_Sleep, asyncio.Task[None]] = {}

    def ask(self, seat: Seat) -> asyncio.Task[None]:
        """Done once it is on record; one for everybody, until WAKE_AGAIN_S later.

        It raises Problem (503); whoever asks after that asks the store anew.
        """
        sleep = (seat.resource.uid, seat.resource.status.asleep_since)
        asking = self._asking.get(sleep)
        if asking is None:
            asking = self._asking[sleep] = asyncio.create_task(self._ask(seat))
            asking.add_done_callback(lambda done: self._asked(sleep, done))
        return asking

    async def _ask(self, seat: Seat) -> None:
        owner = seat.resource
        try:
            await self._store.transact(lambda tx: ask_to_wake(tx, owner, self._actor), actor=self._actor)
        except StoreError as error:
            raise store_silent() from error

    def _asked(self, sleep: _Sleep, done: asyncio.Task[None]) -> None:
        if done.cancelled() or done.exception() is not None:  # which everybody who waited hears, or has gone
            del self._asking[sleep]
        else:
            asyncio.get_running_loop().call_later(WAKE_AGAIN_S, self._asking.pop, sleep)
