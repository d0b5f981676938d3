"""Where an engine listens on a machine like this one: the one place that knows the usual sockets.

`mcpgw up`, the reconciler and every verb go by it, but only where DOCKER_HOST or PODMAN_SOCKET_PATH names
none. It knocks at sockets and says nothing through them. Next: :mod:`reconciler.engine.opening`.

Source: docs.docker.com (rootless mode, Desktop's permissions), Colima's and OrbStack's documentation,
podman-machine-inspect(1), podman-system-service(1).
"""

import asyncio
import errno
import shutil
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import assert_never

from reconciler.engine.door import EngineKind
from reconciler.engine.machine import Machine

KNOCK_S_MAX = 1.0
ASK_MACHINE_S_MAX = 5.0
LISTENING = frozenset({0, errno.EAGAIN})  # how _knock() is answered where somebody does, be their queue full
ASK_MACHINE = ("podman", "machine", "inspect", "--format", "{{.ConnectionInfo.PodmanSocket.Path}}")

DOCKER_SYSTEM = Path("/var/run/docker.sock")
PODMAN_SYSTEM = Path("/run/podman/podman.sock")
DOCKER_OF_USER = (
    ".docker/run/docker.sock",  # Docker Desktop on macOS
    ".docker/desktop/docker.sock",  # Docker Desktop on Linux
    ".colima/default/docker.sock",
    ".config/colima/default/docker.sock",
    ".orbstack/run/docker.sock",
)
PODMAN_MACHINE_OF_USER = (
    ".local/share/containers/podman/machine/podman.sock",
    ".local/share/containers/podman/machine/qemu/podman.sock",
)


def candidates(kind: EngineKind, machine: Machine) -> list[Path]:
    """The usual sockets; the first is where it would be started."""
    match kind:
        case EngineKind.DOCKER:
            of_user = [machine.home / one for one in DOCKER_OF_USER]
            return [DOCKER_SYSTEM, machine.runtime_dir / "docker.sock", *of_user]
        case EngineKind.PODMAN:
            return list(_of_podman(machine))
        case _:
            assert_never(kind)


def _of_podman(machine: Machine) -> Iterator[Path]:
    if machine.is_mac:
        yield from (machine.home / one for one in PODMAN_MACHINE_OF_USER)
        return
    if machine.uid != 0:
        yield machine.own_podman
    yield PODMAN_SYSTEM


async def usual_socket(kind: EngineKind, machine: Machine) -> Path:
    """The first of the usual sockets that somebody listens on. Where nobody does, the one whose refusal tells
    most: one that may not be opened, else one that is there, else where an engine would be started."""
    places = candidates(kind, machine)
    codes = {path: _knock(path) for path in places}
    if kind is EngineKind.PODMAN and machine.is_mac and LISTENING.isdisjoint(codes.values()):
        said = await _machines_socket()
        places = [*said, *places]
        codes |= {path: _knock(path) for path in said}
    for telling in (LISTENING, {errno.EACCES, errno.EPERM}, set(codes.values()) - {errno.ENOENT}):
        if found := next((path for path in places if codes[path] in telling), None):
            return found
    return places[0]


async def _machines_socket() -> list[Path]:
    """Where podman machine says that it listens; nothing where it says nothing in time."""
    program = shutil.which(ASK_MACHINE[0])
    if program is None:
        return []
    pipe, nowhere = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
    asked = await asyncio.create_subprocess_exec(
        program, *ASK_MACHINE[1:], stdin=nowhere, stdout=pipe, stderr=nowhere
    )
    try:
        async with asyncio.timeout(ASK_MACHINE_S_MAX):
            said, _ = await asked.communicate()
    except TimeoutError:
        return []
    finally:
        with suppress(ProcessLookupError):
            asked.kill()
        await asked.wait()
    lines = said.decode("utf-8", "replace").splitlines()
    return [Path(line.strip()) for line in lines if line.startswith("/")]


def _knock(path: Path) -> int:
    """0 where somebody listens, EAGAIN where their queue is full, else another errno."""
    with socket.socket(socket.AF_UNIX) as knocking:
        knocking.settimeout(KNOCK_S_MAX)
        try:
            return knocking.connect_ex(str(path))
        except OSError:  # a path too long for a socket
            return errno.ENOENT
