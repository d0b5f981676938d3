"""What a person is told when there is no engine to talk to: one line, the setting, and the mend."""

import asyncio
import errno
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from reconciler.core.errors import ActionError, OutcomeUnknownError, TerminalError
from reconciler.engine.door import Door, EngineKind, unreachable
from reconciler.engine.machine import Machine
from reconciler.engine.opening import EngineSettings, open_engine
from reconciler.engine.port import Addressing
from tests.engines import RealEngine

Answer = Callable[[bytes], bytes]


async def _version(kind: EngineKind, socket: str) -> str:
    engine = await open_engine(EngineSettings(kind, socket, "p", {}, Addressing.PUBLISH))
    try:
        return await engine.version()
    finally:
        await engine.close()


async def _refusal(kind: EngineKind, socket: str) -> ActionError:
    with pytest.raises(ActionError) as caught:
        await _version(kind, socket)
    assert "\n" not in str(caught.value)
    return caught.value


@asynccontextmanager
async def socket_answering(path: Path, answer: bytes) -> AsyncIterator[str]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    server = await asyncio.start_unix_server(serve, str(path))
    try:
        yield str(path)
    finally:
        server.close()


def http_answer(body: bytes, kind: bytes = b"application/json") -> bytes:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n"
    return head % (kind, len(body)) + body


@pytest.mark.parametrize(
    ("kind", "setting", "command"),
    [
        (EngineKind.DOCKER, "DOCKER_HOST", "systemctl start docker"),
        (EngineKind.PODMAN, "PODMAN_SOCKET_PATH", "systemctl start podman.socket"),
    ],
)
async def test_no_socket_names_the_setting_and_the_command(
    kind: EngineKind, setting: str, command: str, tmp_path: Path
) -> None:
    error = await _refusal(kind, str(tmp_path / "none.sock"))
    assert (error.reason, isinstance(error, OutcomeUnknownError)) == ("EngineUnreachable", True)
    for words in ("none.sock", setting, command, "no such socket", "CONTAINER_ENGINE"):
        assert words in str(error)


async def test_a_socket_that_nobody_serves_is_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "dead.sock"
    async with socket_answering(path, b""):
        pass
    error = await _refusal(EngineKind.DOCKER, str(path))
    assert "nothing listens" in str(error) or "no such socket" in str(error)


LINUX = Machine("linux", 1000, Path("/home/me"), Path("/run/user/1000"))
MAC = Machine("darwin", 501, Path("/home/me"), Path("/run/user/501"))


@pytest.mark.parametrize(
    ("kind", "url", "mend"),
    [
        (EngineKind.DOCKER, "unix:///var/run/docker.sock", "run `sudo usermod -aG docker $USER`"),
        (EngineKind.DOCKER, "unix:///run/user/1001/docker.sock", "it is user 1001's; set DOCKER_HOST"),
        (
            EngineKind.PODMAN,
            "unix:///run/podman/podman.sock",
            "`systemctl --user enable --now podman.socket`",
        ),
        (EngineKind.PODMAN, "unix:///run/podman/podman.sock", "to /run/user/1000/podman/podman.sock"),
        (
            EngineKind.PODMAN,
            "unix:///run/user/0/podman/podman.sock",
            "it is user 0's; set PODMAN_SOCKET_PATH",
        ),
    ],
)
def test_a_socket_that_may_not_be_opened_is_for_good(kind: EngineKind, url: str, mend: str) -> None:
    error = unreachable(Door(kind, url), errno.EACCES, LINUX)
    assert isinstance(error, TerminalError)
    assert error.reason == "EnginePermissionDenied"
    assert mend in str(error)
    assert "\n" not in str(error)


@pytest.mark.parametrize(
    ("kind", "url", "machine", "command"),
    [
        (EngineKind.DOCKER, "unix:///var/run/docker.sock", LINUX, "sudo systemctl start docker"),
        (EngineKind.DOCKER, "unix:///run/user/1000/docker.sock", LINUX, "systemctl --user start docker"),
        (EngineKind.PODMAN, "unix:///run/podman/podman.sock", LINUX, "sudo systemctl start podman.socket"),
        (
            EngineKind.PODMAN,
            "unix:///run/user/1000/podman/podman.sock",
            LINUX,
            "systemctl --user start podman.socket",
        ),
        (EngineKind.DOCKER, "unix:///var/run/docker.sock", MAC, "open -a Docker"),
        (EngineKind.PODMAN, "unix:///home/me/podman.sock", MAC, "podman machine start"),
    ],
)
def test_what_does_not_run_is_told_with_the_command_that_starts_it_here(
    kind: EngineKind, url: str, machine: Machine, command: str
) -> None:
    assert f"start it with `{command}`" in str(unreachable(Door(kind, url), errno.ECONNREFUSED, machine))


@pytest.mark.parametrize(
    ("kind", "answer", "said"),
    [
        (
            EngineKind.DOCKER,
            b'{"ApiVersion": "1.40", "Version": "19.03.15"}',
            ("docker 19.03.15", "API 1.40", "1.41 (Docker 20.10)", "missing would be cgroup v2"),
        ),
        (
            EngineKind.PODMAN,
            b'{"ApiVersion": "1.40", "Version": "3.4.4", "Components": [{"Name": "Podman Engine"}]}',
            ("podman 3.4.4", "API 1.40", "1.41 (Podman 4)", "missing would be networks apart"),
        ),
    ],
)
async def test_an_engine_too_old_is_told_with_what_is_needed_and_what_would_be_missing(
    kind: EngineKind, answer: bytes, said: tuple[str, ...], tmp_path: Path
) -> None:
    async with socket_answering(tmp_path / "old.sock", http_answer(answer)) as path:
        error = await _refusal(kind, path)
    assert error.reason == "EngineTooOld"
    for words in said:
        assert words in str(error)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (http_answer(b'{"hello": "world"}'), "NotAnEngine"),
        (http_answer(b"[]"), "NotAnEngine"),
        (http_answer(b"<html>", b"text/html"), "NotAnEngine"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "NotAnEngine"),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "NotAnEngine"),
        (http_answer(b'{"ApiVersion": "1.40", "Version": "19.03"}'), "EngineTooOld"),
        (http_answer(b'{"ApiVersion": "soon", "Version": "x"}'), "EngineTooOld"),
    ],
)
async def test_what_is_no_engine_or_too_old_is_for_good(answer: bytes, reason: str, tmp_path: Path) -> None:
    async with socket_answering(tmp_path / "odd.sock", answer) as path:
        error = await _refusal(EngineKind.DOCKER, path)
    assert (error.reason, isinstance(error, TerminalError)) == (reason, True)
    assert "DOCKER_HOST" in str(error)


async def test_an_engine_that_needs_a_newer_api_is_spoken_to_in_it(tmp_path: Path) -> None:
    newer = http_answer(b'{"ApiVersion": "1.52", "MinAPIVersion": "1.44", "Version": "29.0.1"}')
    async with socket_answering(tmp_path / "new.sock", newer) as path:
        assert await _version(EngineKind.DOCKER, path) == "docker 29.0.1"


@pytest.mark.parametrize("socket", ["nonsense", "ftp://there", "unix://"])
async def test_an_address_that_is_none_names_the_setting(socket: str) -> None:
    error = await _refusal(EngineKind.DOCKER, socket)
    assert "DOCKER_HOST" in str(error)


@pytest.mark.engine
async def test_the_other_engine_is_told_apart(docker_engine: RealEngine, podman_engine: RealEngine) -> None:
    for kind, other in ((EngineKind.DOCKER, podman_engine), (EngineKind.PODMAN, docker_engine)):
        error = await _refusal(kind, other.url)
        assert (error.reason, isinstance(error, TerminalError)) == ("EngineKindDiffers", True)
        assert f"set CONTAINER_ENGINE={other.name}" in str(error)
