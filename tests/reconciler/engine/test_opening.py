"""What a person is told when there is no engine to talk to: one line, the setting, and the mend."""

import asyncio
import errno
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from reconciler.core.errors import ActionError, OutcomeUnknownError, TerminalError
from reconciler.engine.door import Door, EngineKind, unreachable
from reconciler.engine.opening import EngineSettings, open_engine
from reconciler.engine.port import Addressing
from tests.engines import RealEngine

Answer = Callable[[bytes], bytes]


async def _version(kind: EngineKind, socket: str) -> str:
    engine = await open_engine(EngineSettings(kind, socket, "p", "p", Addressing.PUBLISH))
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
async def _answering(path: Path, answer: bytes) -> AsyncIterator[str]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    server = await asyncio.start_unix_server(serve, str(path))
    try:
        yield str(path)
    finally:
        server.close()


def _http(body: bytes, kind: bytes = b"application/json") -> bytes:
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
    async with _answering(path, b""):
        pass
    error = await _refusal(EngineKind.DOCKER, str(path))
    assert "nothing listens" in str(error) or "no such socket" in str(error)


def test_a_socket_that_may_not_be_opened_is_for_good() -> None:
    error = unreachable(Door(EngineKind.DOCKER, "unix:///run/docker.sock"), errno.EACCES)
    assert isinstance(error, TerminalError)
    assert error.reason == "EnginePermissionDenied"
    assert "usermod -aG docker" in str(error)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (_http(b'{"hello": "world"}'), "NotAnEngine"),
        (_http(b"[]"), "NotAnEngine"),
        (_http(b"<html>", b"text/html"), "NotAnEngine"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "NotAnEngine"),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "NotAnEngine"),
        (_http(b'{"ApiVersion": "1.40", "Version": "19.03"}'), "EngineTooOld"),
        (_http(b'{"ApiVersion": "soon", "Version": "x"}'), "EngineTooOld"),
    ],
)
async def test_what_is_no_engine_or_too_old_is_for_good(answer: bytes, reason: str, tmp_path: Path) -> None:
    async with _answering(tmp_path / "odd.sock", answer) as path:
        error = await _refusal(EngineKind.DOCKER, path)
    assert (error.reason, isinstance(error, TerminalError)) == (reason, True)
    assert "DOCKER_HOST" in str(error)


async def test_an_engine_that_needs_a_newer_api_is_spoken_to_in_it(tmp_path: Path) -> None:
    newer = _http(b'{"ApiVersion": "1.52", "MinAPIVersion": "1.44", "Version": "29.0.1"}')
    async with _answering(tmp_path / "new.sock", newer) as path:
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
