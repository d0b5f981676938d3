"""What a person is told who set the engine's socket under compose, or who has a directory in its place."""

import errno
from pathlib import Path

import pytest

from mcpgw.bootstrap.paths import PROJECT_DIR
from reconciler.core.errors import ActionError, OutcomeUnknownError
from reconciler.engine.door import OF_COMPOSE, Door, EngineKind, not_an_engine, too_old, unreachable
from reconciler.engine.machine import Machine
from reconciler.engine.opening import EngineSettings, open_engine
from reconciler.engine.port import Addressing

IN_A_CONTAINER = Machine("linux", 0, Path("/root"), Path("/run/user/0"))


def test_under_compose_the_engine_is_where_the_file_puts_it() -> None:
    composed = (PROJECT_DIR / "docker-compose.yml").read_text()
    path = OF_COMPOSE.removeprefix("unix://")
    for words in (f"DOCKER_HOST: {OF_COMPOSE}\n", f"PODMAN_SOCKET_PATH: {path}\n", f"target: {path},"):
        assert words in composed
    assert "${ENGINE_SOCKET:-" in composed


@pytest.mark.parametrize("kind", EngineKind)
def test_under_compose_the_setting_that_an_operator_has_is_named(kind: EngineKind) -> None:
    door = Door(kind, OF_COMPOSE)
    codes = (errno.ENOENT, errno.ECONNREFUSED, errno.EACCES, 0)
    told: list[ActionError] = [unreachable(door, code, IN_A_CONTAINER) for code in codes]
    for error in (*told, not_an_engine(door), too_old(door, "1.0", "1.20")):
        assert f"{OF_COMPOSE} (ENGINE_SOCKET)" in str(error)
        assert kind.setting not in str(error)
        assert "usermod" not in str(error)


@pytest.mark.parametrize("kind", EngineKind)
async def test_a_directory_in_the_sockets_place_is_said_to_be_one(kind: EngineKind, tmp_path: Path) -> None:
    engine = await open_engine(EngineSettings(kind, str(tmp_path), "p", {}, Addressing.PUBLISH))
    try:
        with pytest.raises(OutcomeUnknownError) as refused:
            await engine.version()
    finally:
        await engine.close()
    assert refused.value.reason == "EngineUnreachable"
    assert "a directory is in the socket's place" in str(refused.value)
    assert f"set {kind.setting} to the engine's socket" in str(refused.value)
    assert "start it" not in str(refused.value)
