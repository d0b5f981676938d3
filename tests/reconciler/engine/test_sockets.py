"""Which socket is asked where the settings name none, on Linux with and without root and on macOS."""

import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from reconciler.engine import sockets
from reconciler.engine.door import EngineKind
from reconciler.engine.machine import Machine
from reconciler.engine.sockets import DOCKER_OF_USER, PODMAN_MACHINE_OF_USER, candidates, usual_socket

PROGRAM_MODE = 0o755


@contextmanager
def listening(path: Path) -> Iterator[Path]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(socket.socket(socket.AF_UNIX)) as listener:
        listener.bind(str(path))
        listener.listen()
        yield path


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short one: the path of a socket has at most some hundred characters."""
    with tempfile.TemporaryDirectory() as made:
        yield Path(made)


@pytest.fixture(autouse=True)
def _nothing_of_the_machine(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No socket and no program that this machine happens to have."""
    monkeypatch.setattr(sockets, "DOCKER_SYSTEM", folder / "system" / "docker.sock")
    monkeypatch.setattr(sockets, "PODMAN_SYSTEM", folder / "system" / "podman.sock")
    monkeypatch.setenv("PATH", str(folder / "bin"))


def linux(folder: Path, uid: int = 1000) -> Machine:
    return Machine("linux", uid, folder / "home", folder / "run")


def mac(folder: Path) -> Machine:
    return Machine("darwin", 501, folder / "home", folder / "run")


def podman_that(folder: Path, script: str) -> None:
    program = folder / "bin" / "podman"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(PROGRAM_MODE)


@pytest.mark.parametrize("of_user", ["run/docker.sock", *(f"home/{one}" for one in DOCKER_OF_USER)])
async def test_a_docker_of_the_users_own_is_found(folder: Path, of_user: str) -> None:
    with listening(folder / of_user) as path:
        for machine in (linux(folder), mac(folder)):
            assert await usual_socket(EngineKind.DOCKER, machine) == path


@pytest.mark.parametrize("kind", EngineKind)
async def test_what_listens_counts_before_what_is_only_there(folder: Path, kind: EngineKind) -> None:
    places = candidates(kind, linux(folder))
    with listening(places[0]), listening(places[1]) as other:
        assert await usual_socket(kind, linux(folder)) == places[0]
    other.unlink()
    with listening(other):
        assert await usual_socket(kind, linux(folder)) == other


async def test_without_root_a_podman_of_ones_own_comes_first_and_with_root_there_is_but_one(
    folder: Path,
) -> None:
    own = folder / "run" / "podman" / "podman.sock"
    with listening(sockets.PODMAN_SYSTEM), listening(own):
        assert await usual_socket(EngineKind.PODMAN, linux(folder)) == own
        assert await usual_socket(EngineKind.PODMAN, linux(folder, uid=0)) == sockets.PODMAN_SYSTEM


@pytest.mark.parametrize("kind", EngineKind)
async def test_where_nobody_listens_it_is_where_one_would_be_started(folder: Path, kind: EngineKind) -> None:
    for machine in (linux(folder), linux(folder, uid=0), mac(folder)):
        assert await usual_socket(kind, machine) == candidates(kind, machine)[0]


def test_whoever_has_no_home_is_not_held_up_by_that(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container that runs as a number."""
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr("pwd.getpwuid", {}.__getitem__)
    assert candidates(EngineKind.DOCKER, Machine.this())[0] == sockets.DOCKER_SYSTEM


async def test_on_macos_the_machines_usual_sockets_are_found_without_asking(folder: Path) -> None:
    podman_that(folder, "exit 1")
    for place in PODMAN_MACHINE_OF_USER:
        with listening(folder / "home" / place) as path:
            assert await usual_socket(EngineKind.PODMAN, mac(folder)) == path
        path.unlink()


async def test_on_macos_podman_is_asked_where_its_machine_listens(folder: Path) -> None:
    elsewhere = folder / "api.sock"
    wanted = "machine inspect --format {{.ConnectionInfo.PodmanSocket.Path}}"
    podman_that(folder, f'test "$*" = "{wanted}" && echo {elsewhere}')
    with listening(elsewhere):
        assert await usual_socket(EngineKind.PODMAN, mac(folder)) == elsewhere


async def test_on_macos_podman_is_asked_too_where_a_dead_socket_was_left(folder: Path) -> None:
    with listening(folder / "home" / PODMAN_MACHINE_OF_USER[1]) as left:
        pass
    elsewhere = folder / "api.sock"
    podman_that(folder, f"echo {elsewhere}")
    with listening(elsewhere):
        assert await usual_socket(EngineKind.PODMAN, mac(folder)) == elsewhere
    elsewhere.unlink()
    assert await usual_socket(EngineKind.PODMAN, mac(folder)) == left, "its refusal tells more than nothing"


@pytest.mark.parametrize("script", ["exec /bin/sleep 60", "echo no machine >&2; exit 125", "echo nonsense"])
async def test_a_podman_that_hangs_or_knows_no_machine_holds_nobody_up(
    folder: Path, monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    monkeypatch.setattr(sockets, "ASK_MACHINE_S_MAX", 0.3)
    podman_that(folder, script)
    began = time.monotonic()
    machine = mac(folder)
    assert await usual_socket(EngineKind.PODMAN, machine) == candidates(EngineKind.PODMAN, machine)[0]
    assert time.monotonic() - began < 30
