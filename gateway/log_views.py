"""The logs that people look at through this worker: asked for while they look, and read from the store.

Decides how often. No table holds a log: whoever only passes bytes pays nothing for whoever looks. Refuses to
know who looks, and engines: the reconciler reads. Next: :mod:`gateway.pages.logs`.
"""

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from datetime import timedelta
from typing import NoReturn

import structlog

from gateway.changing import Changing
from gateway.problems import Problem, unavailable
from gateway.routes.seat import Seat
from state.kinds.log_view import LogView, LogViewSpec, LogViewStatus
from state.kinds.resource import Metadata
from state.kinds.user_container import UserContainer
from state.store.errors import Replaced, StoreError
from state.store.port import Store, Tx

WANTED_S = 30.0  # for so long the reconciler goes on after the last one looked
RENEW_EVERY_S = 10.0  # a seat, whichever worker is first
READ_EVERY_S = 1.0
FIRST_READ_S = 3.0  # until the reconciler may have read what nobody looked at before
FIRST_READ_EVERY_S = 0.1
KEPT_S = 5.0  # without anybody who follows: a page has just been drawn, and its script is about to
LOGS_MAX = 64  # as many as the reconciler reads

_log = structlog.get_logger(__name__)


class Log(Changing):
    """The log of one UserContainer, shared by everybody who looks at it here."""

    __slots__ = ("_generation", "asked_s", "name", "renew_s", "status", "trouble", "uid")

    def __init__(self, name: str, uid: str) -> None:
        super().__init__()
        self.name = name
        self.uid = uid
        self.status: LogViewStatus | None = None  # what the reconciler said last
        self.trouble = ""  # why the store says nothing
        self.asked_s = 0.0  # on the loop's clock
        self.renew_s = 0.0
        self._generation = 0  # of the first wish; 0: there was none yet

    @property
    def is_read(self) -> bool:
        """Whether the reconciler answered, and not only whoever looked before."""
        return self.status is not None and self.status.observed_generation >= max(self._generation, 1)

    def wanted(self, generation: int | None, renew_s: float) -> None:
        """The wish is in the store, as that generation of it; None: it has no owner any more."""
        if generation is not None:  # a lower one: it was forgotten, and begins anew
            self._generation = min(self._generation or generation, generation)
        self.renew_s = renew_s

    def take(self, view: LogView | None) -> None:
        """What the store says of it."""
        if view is None or view.spec.user_container != self.uid:
            self._change(None, "")
            self.renew_s = 0.0
        else:
            self._change(view.status, "")

    def miss(self, trouble: str) -> None:
        self._change(self.status, trouble)

    def _change(self, status: LogViewStatus | None, trouble: str) -> None:
        if (status, trouble) != (self.status, self.trouble):
            self.status, self.trouble = status, trouble
            self.wake()


class LogViews:
    """One a worker. One read a second, and one write every ten at the most, for all that is looked at."""

    def __init__(self, store: Store, *, worker: str) -> None:
        self._store = store
        self._actor = f"gateway:{worker}"
        self._logs: dict[str, Log] = {}  # by the UserContainer's uid: a name may be another's later
        self._news = asyncio.Event()

    def of(self, seat: Seat) -> Log:
        """The seat's log, kept current for KEPT_S and while pages follow it. Raises Problem (503)."""
        uid = seat.resource.uid
        log = self._logs.get(uid)
        if log is None:
            if len(self._logs) >= LOGS_MAX:
                raise _too_many()
            log = self._logs[uid] = Log(seat.name, uid)
            self._news.set()
        log.asked_s = asyncio.get_running_loop().time()
        return log

    async def look(self, seat: Seat) -> Log:
        """The seat's log once it is read, or after FIRST_READ_S as it is. Raises Problem (503)."""
        log = self.of(seat)
        with suppress(TimeoutError):
            async with asyncio.timeout(FIRST_READ_S):
                while not log.is_read:
                    change = log.next_change()
                    try:
                        await change
                    finally:
                        log.forget_waiter(change)
        return log

    async def run(self) -> NoReturn:
        """Ask and read for ever; nothing is done while nobody looks. Raises Replaced."""
        while True:
            self._news.clear()
            self._forget()
            try:
                if self._logs:
                    await self._turn(tuple(self._logs.values()))
            except Replaced:
                raise
            except StoreError as error:
                _log.warning("logs.unread", why=str(error))
                for log in self._logs.values():
                    log.miss("the store does not answer")
            await self._rest()

    async def _turn(self, logs: tuple[Log, ...]) -> None:
        now_s = asyncio.get_running_loop().time()
        due = [(log.name, log.uid) for log in logs if log.renew_s <= now_s]
        if due:
            wanted = await self._store.transact(lambda tx: _want(tx, due), actor=self._actor)
            for log in logs:
                if log.renew_s <= now_s:
                    log.wanted(wanted.get(log.uid), now_s + RENEW_EVERY_S)
        names = [log.name for log in logs]
        views = await self._store.read(lambda tx: [tx.get(LogView, name) for name in names])
        for log, view in zip(logs, views, strict=True):
            log.take(view)

    def _forget(self) -> None:
        before_s = asyncio.get_running_loop().time() - KEPT_S
        self._logs = {
            uid: log for uid, log in self._logs.items() if log.watched_count or log.asked_s > before_s
        }

    async def _rest(self) -> None:
        """Until somebody looks at another one, or it is time to read again."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._rest_s()):
                await self._news.wait()

    def _rest_s(self) -> float | None:
        if not self._logs:
            return None
        since_s = asyncio.get_running_loop().time() - FIRST_READ_S
        is_awaited = any(not log.is_read and log.asked_s > since_s for log in self._logs.values())
        return FIRST_READ_EVERY_S if is_awaited else READ_EVERY_S


def _want(tx: Tx, logs: Iterable[tuple[str, str]]) -> dict[str, int]:
    """Say that these are looked at, unless somebody has just said so; by uid, each wish's generation."""
    wanted: dict[str, int] = {}
    until = tx.now + timedelta(seconds=WANTED_S)
    for name, uid in logs:
        owner, view = tx.get(UserContainer, name), tx.get(LogView, name)
        if owner is None or owner.uid != uid:
            continue
        if view is not None and view.spec.user_container != uid:
            tx.delete(view)  # of whoever had the name before
            view = None
        spec = LogViewSpec(user_container=uid, wanted_until=until)
        if view is None:
            view = tx.create(LogView(metadata=Metadata(name=name), spec=spec))
        elif until - view.spec.wanted_until >= timedelta(seconds=RENEW_EVERY_S / 2):
            view = tx.update_spec(view.replaced(spec=spec))
        wanted[uid] = view.metadata.generation
    return wanted


def _too_many() -> Problem:
    return unavailable(
        "Too many logs are being looked at",
        f"{LOGS_MAX} are, as many as may be at once. Look again in a moment.",
        "TooManyLogs",
        10.0,
    )
