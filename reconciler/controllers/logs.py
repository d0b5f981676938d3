"""The logs that somebody looks at: read for as long as they look, and forgotten then.

Decides how much of the engine's time, and of our own, that may take. Refuses to know who looks. What cannot
be read stays as it was last read, with the reason: an engine that does not answer says nothing.
Next: :mod:`reconciler.operator`.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import NoReturn

import structlog

from reconciler.core.container import ObservedContainer
from reconciler.core.errors import ActionError
from reconciler.core.log_text import readable_tail
from reconciler.loop.actuator import ACTOR, Hands
from state.kinds.incarnation import Incarnation
from state.kinds.log_view import LOG_BYTES_MAX, LOG_LINES_MAX, LogView, LogViewStatus
from state.kinds.resource import MESSAGE_CHARS_MAX
from state.store.errors import Fenced, StoreError
from state.store.port import Tx

VIEWS_MAX = 64  # that are read; who comes later is told so
READ_EVERY_S = 2.0
REST_PER_READING = 3.0  # a log that costs much is read less often: a quarter of the time at the most
READ_S_MAX = 4.0  # the wait for a turn included
READS_AT_ONCE_MAX = 4  # the others of the engine client's slots are for the passes
CRASHED_RETRY_S = 60.0

Found = tuple[LogView, LogViewStatus]
_log = structlog.get_logger(__name__)


class Logs:
    """One a reconciler process, while it leads."""

    def __init__(self, hands: Hands, now: Callable[[], datetime]) -> None:
        self._hands = hands
        self._now = now
        self._turns = asyncio.Semaphore(READS_AT_ONCE_MAX)
        self._news = asyncio.Event()
        self._due_s: dict[str, float] = {}  # by name; who is not in it is due
        self._turn_s: dict[str, float] = {}  # by name: when the engine was last asked for it

    def wake(self) -> None:
        """Somebody may have begun to look."""
        self._news.set()

    async def run(self) -> NoReturn:
        """Read for ever; nothing is done while nobody looks. Raises Fenced."""
        while True:
            self._news.clear()
            try:
                await self.turn()
            except Fenced:
                raise
            except StoreError as error:
                _log.warning("logs.unwritten", why=str(error))
            except Exception:  # a mistake of ours in what people look at must not stop what they rely on
                _log.exception("logs.crashed")
                await asyncio.sleep(CRASHED_RETRY_S)
            await self._rest()

    async def turn(self) -> None:
        """Read what is due, forget what nobody looks at. Raises Fenced, StoreError."""
        views = sorted(self._hands.cache.all(LogView), key=_age)
        over = [view for view in views if self._is_over(view)]
        forgotten = {view.name for view in over}
        wanted = [view for view in views if view.name not in forgotten]
        self._due_s = {view.name: self._due_s.get(view.name, 0.0) for view in views}
        self._turn_s = {view.name: self._turn_s.get(view.name, 0.0) for view in views}
        read = await self._read_due(wanted[:VIEWS_MAX])
        crowded = [(view, _kept(view, _CROWDED)) for view in wanted[VIEWS_MAX:]]
        found = [(view, status) for view, status in (*read, *crowded) if _is_news(view, status)]
        now_s = self._hands.clock()
        self._due_s = {name: at if at > now_s else now_s + READ_EVERY_S for name, at in self._due_s.items()}
        if over or found:
            await self._write(over, found)

    async def _read_due(self, wanted: Sequence[LogView]) -> list[Found]:
        began_s = self._hands.clock()
        due = [view for view in wanted if self._due_s[view.name] <= began_s]
        due.sort(key=lambda view: self._turn_s[view.name])  # logs that hang must not take every turn there is
        statuses = await asyncio.gather(*map(self._read, due))
        took_s = self._hands.clock() - began_s
        next_s = began_s + took_s + max(READ_EVERY_S - took_s, REST_PER_READING * took_s)
        self._due_s |= {view.name: next_s for view in due}
        return list(zip(due, statuses, strict=True))

    async def _read(self, view: LogView) -> LogViewStatus:
        unknown = self._hands.observer.unknown
        if unknown:
            return _kept(view, unknown)
        incarnation = self._incarnation(view)
        container = self._shown(incarnation) if incarnation is not None else None
        if incarnation is None or container is None:
            return self._seen(view, "", "")
        try:
            async with asyncio.timeout(READ_S_MAX), self._turns:
                self._turn_s[view.name] = self._hands.clock()
                printed = await self._hands.engine.logs(container.id, LOG_LINES_MAX)
        except TimeoutError:
            return _kept(view, f"the engine did not answer within {READ_S_MAX:g} s")
        except ActionError as error:
            return _kept(view, str(error))
        text = readable_tail(printed, lines_max=LOG_LINES_MAX, bytes_max=LOG_BYTES_MAX)
        return self._seen(view, incarnation.name, text)

    def _incarnation(self, view: LogView) -> Incarnation | None:
        """The record of the container that its owner has."""
        home = self._hands.cache.home_of(view.spec.user_container)
        return self._hands.cache.incarnations_of(home.name)[0] if home is not None else None

    def _shown(self, incarnation: Incarnation) -> ObservedContainer | None:
        """The container as the engine shows it, None if it does not: a stored id may be anybody's."""
        said = incarnation.spec
        shown = (
            self._hands.observer.view(said.container_name, said.home, said.user_container).containers or ()
        )
        ours = (one for one in shown if one.identity is not None and one.identity.home == said.home)
        return next((one for one in ours if one.id == incarnation.status.container_id), None)

    def _seen(self, view: LogView, incarnation: str, text: str) -> LogViewStatus:
        return LogViewStatus(
            observed_generation=view.metadata.generation,
            text=text,
            incarnation=incarnation,
            read_at=self._now(),
        )

    def _is_over(self, view: LogView) -> bool:
        is_owned = self._hands.cache.user_container_of(view.spec.user_container) is not None
        return not is_owned or view.spec.wanted_until <= self._now()

    async def _write(self, over: Sequence[LogView], found: Sequence[Found]) -> None:
        """One transaction a round, however many look."""
        hands, epoch = self._hands, self._hands.leader.epoch

        def write(tx: Tx) -> list[LogView]:
            tx.fence(epoch)
            for view in over:
                current = tx.get(LogView, view.name)
                if current is not None and current.uid == view.uid and current.spec == view.spec:
                    tx.delete(current)  # else somebody looks again
            pairs = [(tx.get(LogView, view.name), view.uid, status) for view, status in found]
            return [
                tx.update_status(current.replaced(status=status))
                for current, uid, status in pairs
                if current is not None and current.uid == uid
            ]

        written = await hands.store.transact(write, actor=ACTOR)
        for view in written:
            hands.cache.put(view)

    async def _rest(self) -> None:
        """Until the next log is due, or somebody begins to look."""
        rest_s = min(self._due_s.values()) - self._hands.clock() if self._due_s else None
        with suppress(TimeoutError):
            async with asyncio.timeout(rest_s):
                await self._news.wait()


def _kept(view: LogView, message: str) -> LogViewStatus:
    """What was read last, and why it is not read now."""
    update = {"observed_generation": view.metadata.generation, "message": message[:MESSAGE_CHARS_MAX]}
    return view.status.model_copy(update=update)


def _is_news(view: LogView, status: LogViewStatus) -> bool:
    """Whether it says more than when it was read. A gateway that asks again is answered in any case."""
    return status.model_copy(update={"read_at": view.status.read_at}) != view.status


def _age(view: LogView) -> tuple[datetime, str]:
    return view.metadata.created_at or datetime.min.replace(tzinfo=UTC), view.name


_CROWDED = f"{VIEWS_MAX} logs are looked at, as many as may be at once; it is read when another is closed"
