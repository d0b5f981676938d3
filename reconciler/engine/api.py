"""The way through aiodocker: one method per endpoint that an engine of Docker's API is asked.

Decides how long a call may take, how many run at once, which reads are asked again, and what a call came
to: an answer, a Refused (the engine answered with an error), or OutcomeUnknownError (it did not answer).
Knows no container of ours and no meaning of a refusal. Next: :mod:`reconciler.engine.docker`.

Source: https://docs.docker.com/reference/api/engine/version/v1.41/
"""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import quote

import aiodocker
import aiohttp
from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from reconciler.core.errors import OutcomeUnknownError, TransientError
from reconciler.engine.door import (
    API_VERSION_MIN,
    Door,
    not_an_engine,
    too_old,
    unreachable,
    unusable_address,
)
from reconciler.engine.faults import Refused
from reconciler.engine.port import CALL_TIMEOUT_S, PULL_TIMEOUT_S

QUICK_CALLS_AT_ONCE_MAX = 16
STOPS_AT_ONCE_MAX = 16  # each may take its whole grace, so they must not hold up the quick ones
PULLS_AT_ONCE_MAX = 2
READ_ATTEMPTS_MAX = 3
READ_RETRY_WAIT_MAX_S = 0.5
LOG_CHARACTERS_MAX = 64 * 1024
REFUSAL_CHARACTERS_MAX = 500  # of the engine's words that a person gets to see

NO_CONNECTION_STATUS = 900  # what aiodocker reports when the connection failed

# Source: https://docs.podman.io/en/latest/_static/api.html; Podman 4 and 5 answer this version.
LIBPOD = "v4.0.0/libpod"

Json = Mapping[str, Any]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Patience for one engine call, waiting for a free slot included."""

    call_s: float = CALL_TIMEOUT_S
    pull_s: float = PULL_TIMEOUT_S


class Api:
    """Docker's HTTP API behind one door. Needs a running event loop."""

    def __init__(self, door: Door, deadlines: Deadlines) -> None:
        self._door = door
        self._deadlines = deadlines
        self._quick = asyncio.Semaphore(QUICK_CALLS_AT_ONCE_MAX)
        self._stops = asyncio.Semaphore(STOPS_AT_ONCE_MAX)
        self._pulls = asyncio.Semaphore(PULLS_AT_ONCE_MAX)
        self._version_agreed = False
        self._client = _client(door)

    async def close(self) -> None:
        await self._client.close()

    # Reads: asked again while the engine fails fast.

    async def version(self) -> Json:
        """What the engine says of itself. From here on the oldest API version that both sides speak is used,
        so that every engine behaves like the oldest one tested."""
        answer = await self._read("version", versioned=False)
        if not isinstance(answer, Mapping) or not answer.get("ApiVersion"):
            raise not_an_engine(self._door)
        spoken = str(answer["ApiVersion"])
        if _version_numbers(spoken) < API_VERSION_MIN:
            raise too_old(self._door, spoken)
        oldest = _version_numbers(str(answer.get("MinAPIVersion") or "0.0"))
        self._client.api_version = _dotted(max(API_VERSION_MIN, oldest))
        self._version_agreed = True
        return answer

    async def containers(self, label: str) -> list[Json]:
        """Containers in any state that carry ``key=value``."""
        return _objects(await self._read("containers/json", _labelled(label) | {"all": "true"}))

    async def libpod_containers(self, label: str) -> list[Json]:
        """The same through Podman's own API: with exit codes and times, and several times faster."""
        query = _labelled(label) | {"all": "true"}
        return _objects(await self._read(f"{LIBPOD}/containers/json", query, versioned=False))

    async def container(self, name_or_id: str) -> Json:
        return _object(await self._read(f"containers/{quote(name_or_id)}/json"))

    async def networks(self) -> list[Json]:
        return _objects(await self._read("networks"))

    async def image(self, reference: str) -> Json:
        return _object(await self._read(f"images/{quote(reference)}/json"))

    async def logs(self, container_id: str, lines_max: int) -> str:
        """The tail of both streams."""

        async def tail() -> str:
            container = self._client.containers.container(container_id)
            lines = await container.log(stdout=True, stderr=True, tail=lines_max)
            return "".join(lines)[-LOG_CHARACTERS_MAX:]

        return await self._call("logs", tail)

    async def events(self, label: str) -> AsyncGenerator[Json | None, None]:
        """None once the subscription stands, then one object an event, until the connection ends.

        A new connection may mean a new engine, so the API version is agreed upon again.
        """
        await self.version()
        async with self._subscription(_labelled(label, type="container")) as response:
            yield None
            while line := await response.content.readline():
                with self._translated("events"):
                    event = json.loads(line)
                yield _object(event)

    # Changes: asked once, never again.

    async def create_container(self, name: str, body: Json) -> str:
        answer = await self._change("containers/create", query={"name": name}, body=body)
        return str(_object(answer)["Id"])

    async def start_container(self, container_id: str) -> None:
        await self._change(f"containers/{quote(container_id)}/start")

    async def stop_container(self, container_id: str, grace_s: int) -> None:
        async def stop() -> None:
            await self._client.containers.container(container_id).stop(t=grace_s)

        await self._call("stop", stop, slots=self._stops, deadline_s=self._deadlines.call_s + grace_s)

    async def unpause_container(self, container_id: str) -> None:
        await self._change(f"containers/{quote(container_id)}/unpause")

    async def remove_container(self, container_id: str) -> None:
        """Kill and remove, with the anonymous volumes that its image declares."""
        query = {"force": "true", "v": "true"}
        await self._change(f"containers/{quote(container_id)}", method="DELETE", query=query)

    async def create_network(self, body: Json) -> None:
        await self._change("networks/create", body=body)

    async def remove_network(self, name: str) -> None:
        await self._change(f"networks/{quote(name)}", method="DELETE")

    async def pull(self, reference: str) -> None:
        async def all_of_it() -> None:
            async for _progress in self._client.images.pull(reference, stream=True):
                pass

        await self._call("pull", all_of_it, slots=self._pulls, deadline_s=self._deadlines.pull_s)

    # How a call is made.

    async def _read(self, path: str, query: Json | None = None, *, versioned: bool = True) -> Any:
        async def once() -> Any:
            with self._translated(path):
                return await self._client._query_json(path, params=query, versioned_api=versioned)

        retrying = AsyncRetrying(
            retry=retry_if_exception(_may_pass),
            stop=stop_after_attempt(READ_ATTEMPTS_MAX),
            wait=wait_random_exponential(multiplier=0.05, max=READ_RETRY_WAIT_MAX_S),
            reraise=True,
        )
        return await self._call(path, lambda: retrying(once), versioned=versioned)

    async def _change(
        self, path: str, *, method: str = "POST", query: Json | None = None, body: Json | None = None
    ) -> Any:
        return await self._call(path, lambda: self._client._query_json(path, method, params=query, data=body))

    async def _call(
        self,
        operation: str,
        call: Callable[[], Awaitable[T]],
        *,
        slots: asyncio.Semaphore | None = None,
        deadline_s: float | None = None,
        versioned: bool = True,
    ) -> T:
        """One call within its slot and deadline. Without a slot nothing was asked, and that is said."""
        if versioned and not self._version_agreed:
            await self.version()
        patience_s = self._deadlines.call_s if deadline_s is None else deadline_s
        asked = False
        try:
            async with asyncio.timeout(patience_s), slots or self._quick:
                asked = True
                with self._translated(operation):
                    return await call()
        except TimeoutError:
            if not asked:
                text = f"{operation} was not asked: {patience_s:g} s went by without a free slot"
                raise TransientError("EngineBusy", text) from None
            text = f"the engine did not answer {operation} within {patience_s:g} s"
            raise OutcomeUnknownError("EngineTimeout", text) from None

    @asynccontextmanager
    async def _subscription(self, query: Json) -> AsyncIterator[aiohttp.ClientResponse]:
        ask = self._client._do_query
        response = await self._call("events", lambda: ask("events", "GET", params=query))
        try:
            with self._translated("events"):
                yield response
        finally:
            response.close()  # release() would wait for the end of an endless body

    @contextmanager
    def _translated(self, operation: str) -> Iterator[None]:
        """aiodocker's and aiohttp's errors → ours. Everything that is no answer leaves the outcome open."""
        try:
            yield
        except aiodocker.DockerError as error:
            raise self._of_docker_error(operation, error) from None
        except (aiohttp.ClientError, OSError) as error:
            text = f"the connection broke during {operation}: {error or type(error).__name__}"
            raise OutcomeUnknownError("EngineConnectionLost", text) from None
        except (ValueError, TypeError, LookupError) as error:  # not the JSON that an engine would send
            text = f"the engine's answer to {operation} makes no sense: {type(error).__name__}"
            raise OutcomeUnknownError("EngineAnswerUnclear", text) from None

    def _of_docker_error(self, operation: str, error: aiodocker.DockerError) -> Exception:
        cause = error.__context__
        if isinstance(cause, aiohttp.ClientConnectorError):
            return unreachable(self._door, cause.errno or 0)
        if error.status == NO_CONNECTION_STATUS:
            text = f"the connection broke during {operation}: {cause or type(cause).__name__}"
            return OutcomeUnknownError("EngineConnectionLost", text)
        return Refused(operation, error.status, error.message[:REFUSAL_CHARACTERS_MAX])


def _client(door: Door) -> aiodocker.Docker:
    # aiohttp's own timeouts are off: one asyncio.timeout bounds waiting, asking and reading together.
    try:
        return aiodocker.Docker(
            door.url, timeout=aiohttp.ClientTimeout(), api_version=_dotted(API_VERSION_MIN)
        )
    except (ValueError, ImportError, OSError) as error:
        raise unusable_address(door) from error


def _may_pass(error: BaseException) -> bool:
    """A read's failure that a moment may cure: the deadline is not one, nor is a plain no."""
    if isinstance(error, Refused):
        return error.is_unclear
    return isinstance(error, OutcomeUnknownError)


def _labelled(label: str, **filters: str) -> dict[str, str]:
    wanted = {"label": [label]} | {key: [value] for key, value in filters.items()}
    return {"filters": json.dumps(wanted)}


def _version_numbers(text: str) -> tuple[int, ...]:
    """``"1.41"`` → (1, 41); what is no version is older than any."""
    parts = text.split(".")
    return tuple(map(int, parts)) if all(part.isdigit() for part in parts) else (0,)


def _dotted(version: tuple[int, ...]) -> str:
    return "v" + ".".join(map(str, version))


def _object(answer: object) -> Json:
    if isinstance(answer, Mapping):
        return answer
    raise OutcomeUnknownError("EngineAnswerUnclear", "the engine answered no JSON object")


def _objects(answer: object) -> list[Json]:
    if isinstance(answer, list) and all(isinstance(item, Mapping) for item in answer):
        return answer
    raise OutcomeUnknownError("EngineAnswerUnclear", "the engine answered no list of JSON objects")
