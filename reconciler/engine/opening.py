"""Which adapter talks to which socket. The settings' one question to this package; they come in as values.

Opening asks the engine nothing, so it succeeds while the engine is down: ``version()`` tells.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import assert_never

from reconciler.engine.api import Api
from reconciler.engine.client import Deadlines
from reconciler.engine.docker import DockerEngine
from reconciler.engine.door import Door, EngineKind
from reconciler.engine.machine import Machine
from reconciler.engine.podman import PodmanEngine
from reconciler.engine.port import Addressing, Engine
from reconciler.engine.sockets import usual_socket
from state.kinds.template import Egress


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """``socket`` is DOCKER_HOST or PODMAN_SOCKET_PATH, a URL or a bare path, "" for the usual place."""

    kind: EngineKind
    socket: str
    project: str
    networks: Mapping[Egress, str]  # the name of each of the project's networks
    addressing: Addressing
    deadlines: Deadlines = field(default_factory=Deadlines)
    emulated: tuple[str, ...] = ()  # architectures that the engine's machine runs beside its own


async def open_engine(settings: EngineSettings) -> Engine:
    """An adapter for that socket, bound to the running loop. Raises TerminalError for an unusable address."""
    door = await find_door(settings.kind, settings.socket)
    api = Api(door, settings.deadlines)
    adapter: type[DockerEngine]
    match settings.kind:
        case EngineKind.DOCKER:
            adapter = DockerEngine
        case EngineKind.PODMAN:
            adapter = PodmanEngine
        case _:
            assert_never(settings.kind)
    return adapter(
        api, door, settings.project, settings.networks, settings.addressing, emulated=settings.emulated
    )


async def answering_url(settings: EngineSettings) -> str:
    """Where the engine answers that the settings mean. Raises what version() raises: the line to show."""
    door = await find_door(settings.kind, settings.socket)
    engine = await open_engine(replace(settings, socket=door.url))
    try:
        await engine.version()
    finally:
        await engine.close()
    return door.url


async def find_door(kind: EngineKind, socket: str) -> Door:
    """Where the settings say; else at one of the usual sockets."""
    if not socket:
        socket = str(await usual_socket(kind, Machine.this()))
    return Door(kind, f"unix://{socket}" if socket.startswith("/") else socket)
