"""The endpoints of Docker's HTTP API, and the few of Podman's own, that an adapter asks.

Decides which API version is spoken; knows no container of ours and no meaning of a refusal.
Next: :mod:`reconciler.engine.docker`.

Source: https://docs.docker.com/reference/api/engine/version/v1.41/ and
https://docs.podman.io/en/latest/_static/api.html
"""

import json
from collections.abc import AsyncGenerator, Mapping
from urllib.parse import quote

from reconciler.core.errors import OutcomeUnknownError
from reconciler.engine.client import (
    ANSWER_UNCLEAR,
    Client,
    Deadlines,
    Json,
    Lane,
    dotted,
    json_object,
    json_objects,
)
from reconciler.engine.door import API_VERSION_MIN, Door, not_an_engine, too_old
from reconciler.engine.faults import Refused, read_fault

LOG_CHARACTERS_MAX = 64 * 1024
LIBPOD = "v4.0.0/libpod"  # Podman 4 and 5 answer this version


class Api:
    """One method an endpoint. The API version is agreed upon before the first call and at each reconnect."""

    def __init__(self, door: Door, deadlines: Deadlines) -> None:
        self._door = door
        self._client = Client(door, deadlines)
        self._is_agreed = False

    async def close(self) -> None:
        await self._client.close()

    # What both engines answer.

    async def version(self) -> Json:
        """What the engine says of itself. From here on the oldest API version that both sides speak is used,
        so that every engine behaves like the oldest one tested."""
        answer = await self._own_words()
        spoken = str(answer["ApiVersion"])
        if _numbers(spoken) < API_VERSION_MIN:
            raise too_old(self._door, str(answer.get("Version", "?")), spoken)
        oldest = _numbers(str(answer.get("MinAPIVersion") or "0"))
        self._client.docker.api_version = dotted(max(API_VERSION_MIN, oldest))
        self._is_agreed = True
        return answer

    async def info(self) -> Json:
        """What the engine says of its machine, its storage and its runtimes."""
        await self._agree()
        return json_object(await self._client.read("info"))

    async def containers(self, label: str) -> list[Json]:
        """Containers in any state that carry ``key=value``."""
        await self._agree()
        return json_objects(await self._client.read("containers/json", _labelled(label) | {"all": "true"}))

    async def container(self, name_or_id: str) -> Json:
        await self._agree()
        return json_object(await self._client.read(f"containers/{_step(name_or_id)}/json"))

    async def container_with_size(self, container_id: str) -> Json:
        """As :meth:`container`, with ``SizeRw``, for which the engine walks through all that it wrote."""
        await self._agree()
        path, query = f"containers/{_step(container_id)}/json", {"size": "true"}
        return json_object(await self._client.read(path, query, lane=Lane.COUNT))

    async def tells_changes(self, container_id: str) -> bool:
        """Whether the engine can walk through what the container wrote; the answer itself is not read."""
        await self._agree()
        return await self._client.is_answered_well(f"containers/{_step(container_id)}/changes", Lane.COUNT)

    async def ping(self) -> bool:
        """Whether it is well, of which nothing but the engine itself has to be asked."""
        return await self._client.is_answered_well("_ping", Lane.QUICK, versioned=False)

    async def networks(self) -> list[Json]:
        await self._agree()
        return json_objects(await self._client.read("networks"))

    async def image(self, reference: str) -> Json:
        await self._agree()
        return json_object(await self._client.read(f"images/{quote(reference)}/json"))

    async def logs(self, container_id: str, lines_max: int) -> str:
        """The tail of both streams."""
        await self._agree()
        container = self._client.docker.containers.container(_step(container_id))

        async def tail() -> str:
            lines = await container.log(stdout=True, stderr=True, tail=lines_max)
            return "".join(lines)[-LOG_CHARACTERS_MAX:]

        return await self._client.call("logs", tail)

    async def create_container(self, name: str, body: Json) -> str:
        await self._agree()
        answer = await self._client.change("containers/create", query={"name": name}, body=body)
        return str(json_object(answer)["Id"])

    async def start_container(self, container_id: str) -> None:
        await self._agree()
        await self._client.change(f"containers/{_step(container_id)}/start")

    async def stop_container(self, container_id: str, grace_s: int) -> None:
        await self._agree()
        path, query = f"containers/{_step(container_id)}/stop", {"t": str(grace_s)}
        await self._client.change(path, query=query, lane=Lane.STOP, extra_s=grace_s)

    async def unpause_container(self, container_id: str) -> None:
        await self._agree()
        await self._client.change(f"containers/{_step(container_id)}/unpause")

    async def remove_container(self, container_id: str) -> None:
        """Kill and remove, with the anonymous volumes that its image declares."""
        await self._agree()
        query = {"force": "true", "v": "true"}
        await self._client.change(f"containers/{_step(container_id)}", "DELETE", query=query)

    async def create_network(self, body: Json) -> None:
        await self._agree()
        await self._client.change("networks/create", body=body)

    async def remove_network(self, name: str) -> None:
        await self._agree()
        await self._client.change(f"networks/{_step(name)}", "DELETE")

    async def pull(self, reference: str) -> None:
        await self._agree()

        async def all_of_it() -> None:
            async for _progress in self._client.docker.images.pull(reference, stream=True):
                pass

        await self._client.call("pull", all_of_it, Lane.PULL)

    async def events(self, label: str, since: int | None = None) -> AsyncGenerator[Json | None, None]:
        """None once no event can be missed any more, then one object an event, until the connection ends.

        ``since`` (Unix seconds) is for an engine that does not confirm a subscription before its first event.
        A new connection may mean a new engine, so the API version is agreed upon again.
        """
        await self.version()
        query = _labelled(label, type="container") | ({} if since is None else {"since": str(since)})
        async for event in self._client.objects("events", query, is_confirmed=since is None):
            yield event

    # What only Podman answers.

    async def libpod_containers(self, label: str) -> list[Json]:
        query = _labelled(label) | {"all": "true"}
        return json_objects(await self._client.read(f"{LIBPOD}/containers/json", query, versioned=False))

    async def remove_libpod_container(self, container_id: str) -> None:
        """Kill at once and remove, with the anonymous volumes that its image declares.

        Podman's imitation of Docker's call first waits for a SIGTERM to help. ``v`` is what Podman documents
        for volumes, and ``volumes`` what 4.3 obeys.
        """
        path = f"{LIBPOD}/containers/{_step(container_id)}"
        query = {"force": "true", "v": "true", "volumes": "true", "timeout": "0"}
        reports = await self._client.change(path, "DELETE", query=query, versioned=False)
        for report in json_objects(reports or []):
            if report.get("Err"):
                raise Refused(path, 500, str(report["Err"]))

    async def create_libpod_network(self, body: Json) -> None:
        await self._client.change(f"{LIBPOD}/networks/create", body=body, versioned=False)

    async def _own_words(self) -> Json:
        try:
            answer = await self._client.read("version", versioned=False)
        except Refused as refused:
            raise (read_fault(refused) if refused.is_unclear else not_an_engine(self._door)) from None
        except OutcomeUnknownError as error:
            raise (not_an_engine(self._door) if error.reason == ANSWER_UNCLEAR else error) from None
        if not isinstance(answer, Mapping) or not answer.get("ApiVersion"):
            raise not_an_engine(self._door)
        return answer

    async def _agree(self) -> None:
        if not self._is_agreed:
            await self.version()


def _labelled(label: str, **filters: str) -> dict[str, str]:
    wanted = {"label": [label]} | {key: [value] for key, value in filters.items()}
    return {"filters": json.dumps(wanted)}


def _numbers(text: str) -> tuple[int, ...]:
    """``"1.41"`` → (1, 41); what is no version is older than any."""
    parts = text.split(".")
    return tuple(map(int, parts)) if all(part.isdigit() for part in parts) else (0,)


def _step(name_or_id: str) -> str:
    """One step of a path, whatever the name is: ids and names may come from the store."""
    return quote(name_or_id, safe="")
