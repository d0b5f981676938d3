"""Which adapter talks to which socket. The settings' one question to this package; they come in as values.

Opening asks the engine nothing, so it succeeds while the engine is down: ``version()`` tells.
"""

from dataclasses import dataclass, field
from typing import assert_never

from reconciler.engine.api import Api
from reconciler.engine.client import Deadlines
from reconciler.engine.docker import DockerEngine
from reconciler.engine.door import Door, EngineKind
from reconciler.engine.podman import PodmanEngine
from reconciler.engine.port import Addressing, Engine

DEFAULT_URLS = {
    EngineKind.DOCKER: "unix:///var/run/docker.sock",
    EngineKind.PODMAN: "unix:///run/podman/podman.sock",
}


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """``socket`` is DOCKER_HOST or PODMAN_SOCKET_PATH, a URL or a bare path, "" for the usual place."""

    kind: EngineKind
    socket: str
    project: str
    network: str  # the project network's name
    addressing: Addressing
    deadlines: Deadlines = field(default_factory=Deadlines)


async def open_engine(settings: EngineSettings) -> Engine:
    """An adapter for that socket, bound to the running loop. Raises TerminalError for an unusable address."""
    door = Door(settings.kind, _url(settings.kind, settings.socket))
    api = Api(door, settings.deadlines)
    match settings.kind:
        case EngineKind.DOCKER:
            return DockerEngine(api, door, settings.project, settings.network, settings.addressing)
        case EngineKind.PODMAN:
            return PodmanEngine(api, door, settings.project, settings.network, settings.addressing)
        case _:
            assert_never(settings.kind)


def _url(kind: EngineKind, socket: str) -> str:
    if not socket:
        return DEFAULT_URLS[kind]
    return f"unix://{socket}" if socket.startswith("/") else socket
