"""Exchanges that are under way, by whose they are: none outlives what let it in.

Decides when one has to prove itself again: at once when the Account, the policies or the App behind it
change, and at every round once it is due. Whoever cannot is cut. Only so many are asked at a time, so that a
change which concerns everybody stays cheap; one that concerns one person goes before it. Refuses to know what
a proof is. Next: :mod:`gateway.doors`, which give the proofs.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Final, NoReturn, Protocol
from weakref import WeakValueDictionary

import structlog

from gateway.problems import Problem
from gateway.proxy.client import EXTENSION, AnswerCutError, ClientConnection, Scope, Send
from state.store.errors import StoreError

ROUND_S: Final = 60.0  # how long one goes on that nothing but the time has ended, a session closed elsewhere
OUTLIVES_S: Final = 3600.0  # how long one may go on after its token is over, while nothing else changes
PROVED_AT_ONCE_MAX: Final = 16  # holders
PAUSE_S: Final = 0.05  # between so many and the next
PROOF_S: Final = 3.0
TRIES_MAX: Final = 3  # where nobody can say; then it is cut
RETRY_S: Final = 0.5

# Source: RFC 6455 section 7.4.1 (policy violation).
WITHDRAWN_CODE: Final = 1008
WITHDRAWN: Final = "What let you in is no longer good."

_log = structlog.get_logger(__name__)


class Cuttable(Protocol):
    """An exchange under way. It is cut once at the most, and never after its end."""

    def cut(self) -> None: ...


@dataclass(frozen=True, slots=True, eq=False)
class Pass:
    """What let an exchange in. ``holds`` may raise Problem or StoreError where nobody can say.

    ``due_at`` (Unix seconds): from then on it is asked at every round.
    """

    holds: Callable[[], Awaitable[bool]]
    due_at: float = float("inf")


class Holder:
    """One person, or one App: what they have under way. It lasts while anybody refers to it."""

    __slots__ = ("__weakref__", "followers_count", "running")

    def __init__(self) -> None:
        self.running: dict[Cuttable, Pass] = {}
        self.followers_count = 0  # pages that follow what happens


def of_app(name: str) -> str:
    """The holder's name of an App; no user's, which holds no space."""
    return f"App {name}"


class Streams:
    """One a worker; the table says what changed."""

    def __init__(self) -> None:
        self._holders: WeakValueDictionary[str, Holder] = WeakValueDictionary()
        self._named: dict[Holder, None] = {}  # to be asked first
        self._others: dict[Holder, None] = {}
        self._news = asyncio.Event()

    def holder(self, name: str) -> Holder:
        """Of a user, or of an App (:func:`of_app`)."""
        holder = self._holders.get(name)
        if holder is None:
            holder = self._holders[name] = Holder()
        return holder

    def changed(self, name: str) -> None:
        """What is under way for ``name`` has to prove itself again."""
        holder = self._holders.get(name)
        if holder is not None and holder.running:
            self._others.pop(holder, None)
            self._named[holder] = None
            self._news.set()

    def all_changed(self) -> None:
        """So has everything."""
        for holder in list(self._holders.values()):
            if holder.running and holder not in self._named:
                self._others[holder] = None
                self._news.set()

    async def run(self) -> NoReturn:
        loop = asyncio.get_running_loop()
        round_at = loop.time() + ROUND_S
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(round_at):
                    await self._news.wait()
            if loop.time() >= round_at:
                round_at = loop.time() + ROUND_S
                self._add_due()
            await asyncio.gather(*map(_prove, self._next()))
            if self._others:
                await asyncio.sleep(PAUSE_S)

    def _next(self) -> list[Holder]:
        taken: list[Holder] = []
        for waiting in (self._named, self._others):
            while waiting and len(taken) < PROVED_AT_ONCE_MAX:
                holder = next(iter(waiting))
                del waiting[holder]
                taken.append(holder)
        if not self._named and not self._others:
            self._news.clear()
        return taken

    def _add_due(self) -> None:
        now = time.time()
        for holder in list(self._holders.values()):
            if any(given.due_at <= now for given in holder.running.values()):
                self._others[holder] = None
                self._news.set()


async def _prove(holder: Holder) -> None:
    for given in set(holder.running.values()):
        if not await _holds(given):
            _cut(holder, given)


async def _holds(given: Pass) -> bool:
    for _ in range(TRIES_MAX):
        try:
            async with asyncio.timeout(PROOF_S):
                return await given.holds()
        except (StoreError, Problem, TimeoutError):
            await asyncio.sleep(RETRY_S)
        except Exception:  # one proof that fails must not keep the others from being asked for
            _log.exception("proof.failed")
            return False
    return False


def _cut(holder: Holder, given: Pass) -> None:
    """Its end may be told of while it is cut, and that of others on the same connection."""
    cut_count = 0
    for stream in [stream for stream, its in holder.running.items() if its is given]:
        if holder.running.pop(stream, None) is not None:
            stream.cut()
            cut_count += 1
    if cut_count:
        _log.info("streams.cut", count=cut_count)


class Lasting:
    """An ASGI exchange that lasts while its pass holds."""

    __slots__ = ("_client", "_limit", "is_cut")

    def __init__(self, client: ClientConnection | None, limit: asyncio.Timeout) -> None:
        self._client = client
        self._limit = limit
        self.is_cut = False

    def cut(self) -> None:
        """As if the client hung up, where it can be done so; else the task is ended."""
        self.is_cut = True
        if self._client is not None:
            self._client.cut()
        else:
            self._limit.reschedule(asyncio.get_running_loop().time())


@asynccontextmanager
async def lasting(holder: Holder, given: Pass, scope: Scope, send: Send) -> AsyncIterator[Lasting]:
    """For the time of an ASGI exchange: it ends early once ``given`` no longer holds."""
    limit = asyncio.timeout(None)
    stream = Lasting((scope.get("extensions") or {}).get(EXTENSION), limit)
    try:
        async with limit:
            holder.running[stream] = given
            try:
                yield stream
            finally:
                holder.running.pop(stream, None)
    except TimeoutError:
        if not limit.expired():
            raise
        await _close(scope, send)


async def _close(scope: Scope, send: Send) -> None:
    if scope["type"] != "websocket":
        raise AnswerCutError(WITHDRAWN)
    with suppress(OSError, RuntimeError):  # the client has gone, or was being refused already
        await send({"type": "websocket.close", "code": WITHDRAWN_CODE, "reason": WITHDRAWN})
