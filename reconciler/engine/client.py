"""The one door to aiodocker: how a call to an engine is made, whatever it asks.

Decides how long a call may take, how many run at once, which failures of a read are worth another try, and
what a call came to: an answer, a Refused (the engine answered with an error), or OutcomeUnknownError (it
did not answer). Knows no endpoint. Next: :mod:`reconciler.engine.api`.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, TypeVar

import aiodocker
import aiohttp
from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from reconciler.core.errors import OutcomeUnknownError, TransientError
from reconciler.engine.door import API_VERSION_MIN, Door, unreachable, unusable_address
from reconciler.engine.faults import Refused
from reconciler.engine.port import CALL_TIMEOUT_S, COUNT_TIMEOUT_S, ENGINE_TIMEOUT, PULL_TIMEOUT_S

QUICK_CALLS_AT_ONCE_MAX = 16
STOPS_AT_ONCE_MAX = 16  # each may take its whole grace, so they must not hold up the quick ones
PULLS_AT_ONCE_MAX = 2
COUNTS_AT_ONCE_MAX = 1  # the disk is for those who work
READ_ATTEMPTS_MAX = 3
READ_RETRY_WAIT_MAX_S = 0.5
REFUSAL_CHARACTERS_MAX = 500  # of the engine's words that a person gets to see

NO_CONNECTION_STATUS = 900  # what aiodocker reports when the connection failed

ANSWER_UNCLEAR = "EngineAnswerUnclear"  # the reason of an OutcomeUnknownError for what is no engine's answer

Json = Mapping[str, Any]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Patience for one engine call, waiting for a free slot included."""

    call_s: float = CALL_TIMEOUT_S
    pull_s: float = PULL_TIMEOUT_S
    count_s: float = COUNT_TIMEOUT_S


class Lane(Enum):
    """Calls of different lengths wait in different queues."""

    QUICK = auto()
    STOP = auto()
    PULL = auto()
    COUNT = auto()


class Client:
    """Calls through one door. Needs a running event loop."""

    def __init__(self, door: Door, deadlines: Deadlines) -> None:
        self._door = door
        self._deadlines = deadlines
        self._slots = {
            Lane.QUICK: asyncio.Semaphore(QUICK_CALLS_AT_ONCE_MAX),
            Lane.STOP: asyncio.Semaphore(STOPS_AT_ONCE_MAX),
            Lane.PULL: asyncio.Semaphore(PULLS_AT_ONCE_MAX),
            Lane.COUNT: asyncio.Semaphore(COUNTS_AT_ONCE_MAX),
        }
        self.docker = _docker(door)

    async def close(self) -> None:
        await self.docker.close()

    async def read(
        self, path: str, query: Json | None = None, *, versioned: bool = True, lane: Lane = Lane.QUICK
    ) -> Any:
        """An idempotent read, asked again while the engine fails fast; the deadline bounds all attempts."""

        async def once() -> Any:
            with self._translated(path):
                return await self.docker._query_json(path, params=query, versioned_api=versioned)

        retrying = AsyncRetrying(
            retry=retry_if_exception(_may_pass),
            stop=stop_after_attempt(READ_ATTEMPTS_MAX),
            wait=wait_random_exponential(multiplier=0.05, max=READ_RETRY_WAIT_MAX_S),
            reraise=True,
        )
        return await self.call(path, lambda: retrying(once), lane)

    async def is_answered_well(self, path: str, lane: Lane, *, versioned: bool = True) -> bool:
        """Whether the answer to GET is no error. Its body, which may be endless, is not read."""

        async def once() -> bool:
            async with self.docker._query(path, versioned_api=versioned) as response:
                response.close()  # nobody else does: what was not read would hold the connection
                return True

        try:
            return await self.call(path, once, lane)
        except Refused:
            return False

    async def change(
        self,
        path: str,
        method: str = "POST",
        *,
        query: Json | None = None,
        body: Json | None = None,
        versioned: bool = True,
        lane: Lane = Lane.QUICK,
        extra_s: float = 0.0,
    ) -> Any:
        """A mutation: asked once, never again. ``extra_s`` is what the engine itself may wait."""

        async def once() -> Any:
            ask = self.docker._query_json
            return await ask(path, method, params=query, data=body, versioned_api=versioned)

        return await self.call(path, once, lane, extra_s)

    async def call(
        self, operation: str, call: Callable[[], Awaitable[T]], lane: Lane = Lane.QUICK, extra_s: float = 0.0
    ) -> T:
        """One call within its slot and deadline. Without a slot nothing was asked, and that is said."""
        patience_s = self._patience_s(lane) + extra_s
        asked = False
        try:
            async with asyncio.timeout(patience_s), self._slots[lane]:
                asked = True
                with self._translated(operation):
                    return await call()
        except TimeoutError:
            if not asked:
                text = f"{operation} was not asked: {patience_s:g} s went by without a free slot"
                raise TransientError("EngineBusy", text) from None
            text = f"the engine did not answer {operation} within {patience_s:g} s"
            raise OutcomeUnknownError(ENGINE_TIMEOUT, text) from None

    def _patience_s(self, lane: Lane) -> float:
        own = {Lane.PULL: self._deadlines.pull_s, Lane.COUNT: self._deadlines.count_s}
        return own.get(lane, self._deadlines.call_s)

    async def objects(
        self, path: str, query: Json, *, is_confirmed: bool
    ) -> AsyncGenerator[Json | None, None]:
        """None once the stream is asked for, or confirmed; then its JSON objects to its end."""
        asking = asyncio.ensure_future(self.docker._do_query(path, "GET", params=query))
        try:
            if is_confirmed:
                await self.call(path, lambda: asyncio.shield(asking))
            yield None
            with self._translated(path):
                response = await asking
                while line := await response.content.readline():
                    yield json_object(json.loads(line))
        finally:
            await _hang_up(asking)

    @contextmanager
    def _translated(self, operation: str) -> Iterator[None]:
        """aiodocker's and aiohttp's errors → ours. Everything that is no answer leaves the outcome open."""
        try:
            yield
        except aiodocker.DockerError as error:
            raise self._of_docker_error(operation, error) from None
        except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError, ConnectionError) as error:
            raise _lost(operation, error) from None
        except (aiohttp.ClientError, ValueError, TypeError, LookupError) as error:
            # Not the HTTP or the JSON that an engine would send.
            text = f"the answer to {operation} makes no sense ({type(error).__name__})"
            raise OutcomeUnknownError(ANSWER_UNCLEAR, text) from None

    def _of_docker_error(self, operation: str, error: aiodocker.DockerError) -> Exception:
        cause = error.__context__
        if isinstance(cause, aiohttp.ClientConnectorError):
            return unreachable(self._door, cause.errno or 0)
        if error.status == NO_CONNECTION_STATUS:
            return _lost(operation, cause or error)
        return Refused(operation, error.status, error.message[:REFUSAL_CHARACTERS_MAX])


def json_object(answer: object) -> Json:
    if isinstance(answer, Mapping):
        return answer
    raise OutcomeUnknownError(ANSWER_UNCLEAR, "the engine answered no JSON object")


def json_objects(answer: object) -> list[Json]:
    if isinstance(answer, list) and all(isinstance(item, Mapping) for item in answer):
        return answer
    raise OutcomeUnknownError(ANSWER_UNCLEAR, "the engine answered no list of JSON objects")


def dotted(version: tuple[int, ...]) -> str:
    return "v" + ".".join(map(str, version))


def _docker(door: Door) -> aiodocker.Docker:
    # aiohttp's own timeouts are off: one asyncio.timeout bounds waiting, asking and reading together.
    patient = aiohttp.ClientTimeout()
    try:
        return aiodocker.Docker(door.url, timeout=patient, api_version=dotted(API_VERSION_MIN))
    except (ValueError, ImportError, OSError) as error:
        raise unusable_address(door) from error


def _may_pass(error: BaseException) -> bool:
    """A read's failure that a moment may cure: a plain no is none."""
    if isinstance(error, Refused):
        return error.is_unclear
    return isinstance(error, OutcomeUnknownError)


def _lost(operation: str, cause: BaseException) -> OutcomeUnknownError:
    text = f"the connection broke during {operation}: {cause or type(cause).__name__}"
    return OutcomeUnknownError("EngineConnectionLost", text)


async def _hang_up(asking: "asyncio.Future[aiohttp.ClientResponse]") -> None:
    """End a stream that may not have been answered yet. release() would wait for an endless body to end."""
    asking.cancel()
    [answer] = await asyncio.gather(asking, return_exceptions=True)
    if isinstance(answer, aiohttp.ClientResponse):
        answer.close()
