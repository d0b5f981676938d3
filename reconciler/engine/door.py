"""Which engine, at which socket, and what a person is told when it cannot be talked to.

Decides one line per way to fail: what was tried, which setting names it, and the command that mends it.
Opens no connection itself. Next: :mod:`reconciler.engine.api`.
"""

import errno
import re
import sys
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from reconciler.core.errors import OutcomeUnknownError, TerminalError
from reconciler.engine.machine import Machine

API_VERSION_MIN = (1, 41)  # Docker 20.10; Podman 4 and 5 speak it too
OF_COMPOSE = "unix:///run/engine.sock"  # where docker-compose.yml mounts what ENGINE_SOCKET names
OF_A_USER = re.compile(r"unix:///run/user/(\d+)/")


class EngineKind(StrEnum):
    DOCKER = "docker"
    PODMAN = "podman"

    @property
    def setting(self) -> str:
        """What names its socket."""
        return "DOCKER_HOST" if self is EngineKind.DOCKER else "PODMAN_SOCKET_PATH"


@dataclass(frozen=True, slots=True)
class Door:
    """An engine's socket as the settings name it."""

    kind: EngineKind
    url: str  # unix:///…, tcp://… or https://…

    @property
    def setting(self) -> str:
        """What a person sets it by: compose fixes the kind's own setting."""
        return "ENGINE_SOCKET" if self.is_of_compose else self.kind.setting

    @property
    def is_of_compose(self) -> bool:
        return self.url == OF_COMPOSE

    @property
    def is_local(self) -> bool:
        return self.url.startswith("unix://")

    @property
    def is_here(self) -> bool:
        """Whether its networks are this system's: elsewhere than on Linux it has a machine of its own."""
        return self.is_local and sys.platform == "linux"

    def __str__(self) -> str:
        return f"{self.url} ({self.setting})"


def unreachable(door: Door, code: int, machine: Machine | None = None) -> OutcomeUnknownError | TerminalError:
    """No connection could be made, so nothing was asked. ``code`` is an errno, 0 where there is none."""
    machine = machine or Machine.this()
    mend = f"{_start_mend(door, machine)}, correct {door.setting}, or set CONTAINER_ENGINE"
    match code:
        case errno.EACCES | errno.EPERM:
            text = f"may not open {door}: {_permission_mend(door, machine)}"
            return TerminalError("EnginePermissionDenied", text)
        case errno.ENOENT:
            why = "there is no such socket"
        case errno.ECONNREFUSED if _is_directory(door):
            why = "a directory is in the socket's place"
            mend = f"set {door.setting} to the engine's socket, and remove the directory if an engine made it"
        case errno.ECONNREFUSED:
            why = "nothing listens there"
        case _:
            why = "no connection"
    text = f"no container engine answers at {door}, {why}: {mend}"
    return OutcomeUnknownError("EngineUnreachable", text)


def not_an_engine(door: Door) -> TerminalError:
    text = f"what answers at {door} is no container engine: set {door.setting} to the engine's socket"
    return TerminalError("NotAnEngine", text)


def too_old(door: Door, version: str, api: str) -> TerminalError:
    """``version`` and ``api`` as the engine says them.

    Source: docs.docker.com/engine/release-notes/20.10; the release notes of Podman 4.0.
    """
    if door.kind is EngineKind.DOCKER:
        needed, missing = "Docker 20.10", "cgroup v2, and word of whether limits hold"
    else:
        needed, missing = "Podman 4", "networks apart, and a container's own address in them"
    wanted = ".".join(map(str, API_VERSION_MIN))
    text = (
        f"{door.kind} {version} at {door} speaks API {api}, needed is {wanted} ({needed}); "
        f"missing would be {missing}: upgrade it"
    )
    return TerminalError("EngineTooOld", text)


def wrong_kind(door: Door, found: EngineKind) -> TerminalError:
    text = f"{found} answers at {door}, not {door.kind}: set CONTAINER_ENGINE={found}"
    return TerminalError("EngineKindDiffers", text)


def unusable_address(door: Door) -> TerminalError:
    text = f"{door} is no address of an engine: write {door.setting}=unix:///path/to/socket"
    return TerminalError("EngineAddressUnusable", text)


def _is_directory(door: Door) -> bool:
    """As an engine makes one where a path that it shall mount is missing."""
    return door.is_local and Path(door.url.removeprefix("unix://")).is_dir()


def _permission_mend(door: Door, machine: Machine) -> str:
    if door.is_of_compose:
        return f"set {door.setting} to the socket of an engine of root's"
    whose = OF_A_USER.match(door.url)
    if whose is not None and int(whose[1]) != machine.uid:
        return f"it is user {whose[1]}'s; set {door.setting} to a socket of your own, or run as that user"
    if door.kind is EngineKind.DOCKER:
        return "run `sudo usermod -aG docker $USER` and sign in again"
    return (
        "it is root's; start your own with `systemctl --user enable --now podman.socket`, "
        f"and where {door.setting} is set, set it to {machine.own_podman}"
    )


def _start_mend(door: Door, machine: Machine) -> str:
    is_docker = door.kind is EngineKind.DOCKER
    if machine.is_mac:
        command = "open -a Docker" if is_docker else "podman machine start"
    elif OF_A_USER.match(door.url):
        command = f"systemctl --user start {'docker' if is_docker else 'podman.socket'}"
    else:
        command = f"sudo systemctl start {'docker' if is_docker else 'podman.socket'}"
    return f"start it with `{command}`"
