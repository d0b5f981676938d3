"""Which engine, at which socket, and what a person is told when it cannot be talked to.

Decides one line per way to fail: what was tried, which setting names it, and the command that mends it.
Opens nothing itself. Next: :mod:`reconciler.engine.api`.
"""

import errno
from dataclasses import dataclass
from enum import StrEnum

from reconciler.core.errors import OutcomeUnknownError, TerminalError

API_VERSION_MIN = (1, 41)  # Docker 20.10; Podman 4 and 5 speak it too


class EngineKind(StrEnum):
    DOCKER = "docker"
    PODMAN = "podman"


@dataclass(frozen=True, slots=True)
class Door:
    """An engine's socket as the settings name it."""

    kind: EngineKind
    url: str  # unix:///…, tcp://… or https://…

    @property
    def setting(self) -> str:
        return "DOCKER_HOST" if self.kind is EngineKind.DOCKER else "PODMAN_SOCKET_PATH"

    @property
    def is_local(self) -> bool:
        return self.url.startswith("unix://")

    def __str__(self) -> str:
        return f"{self.url} ({self.setting})"


def unreachable(door: Door, code: int) -> OutcomeUnknownError | TerminalError:
    """No connection could be made, so nothing was asked. ``code`` is an errno, 0 where there is none."""
    match code:
        case errno.EACCES | errno.EPERM:
            return TerminalError("EnginePermissionDenied", f"may not open {door}: {_permission_mend(door)}")
        case errno.ENOENT:
            why = "there is no such socket"
        case errno.ECONNREFUSED:
            why = "nothing listens there"
        case _:
            why = "no connection"
    text = f"no container engine answers at {door}, {why}: {_start_mend(door)}, or set CONTAINER_ENGINE"
    return OutcomeUnknownError("EngineUnreachable", text)


def not_an_engine(door: Door) -> TerminalError:
    text = f"what answers at {door} is no container engine: set {door.setting} to the engine's socket"
    return TerminalError("NotAnEngine", text)


def too_old(door: Door, found: str) -> TerminalError:
    wanted = ".".join(map(str, API_VERSION_MIN))
    text = f"the engine at {door} speaks API {found}, needed is {wanted} (Docker 20.10, Podman 4): upgrade it"
    return TerminalError("EngineTooOld", text)


def wrong_kind(door: Door, found: EngineKind) -> TerminalError:
    text = f"{found} answers at {door}, not {door.kind}: set CONTAINER_ENGINE={found}"
    return TerminalError("EngineKindDiffers", text)


def unusable_address(door: Door) -> TerminalError:
    text = f"{door} is no address of an engine: write {door.setting}=unix:///path/to/socket"
    return TerminalError("EngineAddressUnusable", text)


def _permission_mend(door: Door) -> str:
    if door.kind is EngineKind.DOCKER:
        return "run `sudo usermod -aG docker $USER` and sign in again"
    return f"run as the socket's owner, or set {door.setting} to your own `podman system service` socket"


def _start_mend(door: Door) -> str:
    command = "docker" if door.kind is EngineKind.DOCKER else "podman.socket"
    return f"start it with `sudo systemctl start {command}`, correct {door.setting}"
