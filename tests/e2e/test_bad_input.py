"""Wrong settings, places and neighbours: one clear line and a non-zero exit, or a condition; no traceback."""

import functools
import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import UnixStreamServer

import pytest

from mcpgw.testing.house import House, until
from mcpgw.testing.workload import demo_template
from state.kinds.resource import ConditionType
from tests.e2e.conftest import HOLD_S, Opener, opened
from tests.e2e.hand import Hand
from tests.engines import RealEngine
from tests.other_user import OtherUser, open_folder

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def idle_house(docker_engine: RealEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A house of which nothing runs, so that no engine matters to it but in what it is told of one."""
    with opened(docker_engine, tmp_path_factory.mktemp("idle"), begin="nothing") as house:
        yield house


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that somebody else listens on."""
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        yield server.getsockname()[1]


class _NotFound(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_error(404)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def not_an_engine(tmp_path: Path) -> Iterator[Path]:
    """The socket of an HTTP server that knows no engine's paths."""
    path = tmp_path / "other.sock"
    with UnixStreamServer(str(path), _NotFound) as server:
        serving = threading.Thread(target=server.serve_forever, daemon=True)
        serving.start()
        yield path
        server.shutdown()
        serving.join()


def refused(house: House, part: str, prefix: tuple[str, ...] = (), **settings: str) -> str:
    """The one line with which the part refuses to start under these settings."""
    before = dict(house.environment)
    house.environment.update(settings)
    try:
        ended = house.mcpgw(part, prefix=prefix)
    finally:
        house.environment.clear()
        house.environment.update(before)
    said = _said_to_a_person(ended)
    assert ended.returncode != 0, said
    assert "Traceback" not in ended.stdout + ended.stderr
    assert len(said) == 1, said
    return said[0]


def _said_to_a_person(ended: "subprocess.CompletedProcess[str]") -> list[str]:
    return [line for line in ended.stderr.splitlines() if not line.startswith("{")]


@pytest.mark.parametrize(
    ("part", "setting"),
    [
        ("gateway", "GATEWAY_BIND"),
        ("gateway", "GATEWAY_PRIVATE_BIND"),
        ("reconciler", "RECONCILER_PRIVATE_BIND"),
    ],
)
def test_a_port_in_use_is_named(idle_house: House, taken: int, part: str, setting: str) -> None:
    line = refused(idle_house, part, **{setting: f"127.0.0.1:{taken}"})
    assert f"{setting}=127.0.0.1:{taken}" in line


@pytest.mark.parametrize(
    ("part", "setting", "value"),
    [
        ("gateway", "GATEWAY_WORKERS", "many"),
        ("gateway", "GATEWAY_ORIGIN", "localhost:9000"),
        ("gateway", "HOLD_TIMEOUT_S", "-1"),
        ("reconciler", "CONTAINER_ENGINE", "lxc"),
        ("reconciler", "CONTAINER_SUBNET_PREFIX", "10.211"),
        ("reconciler", "CONTAINER_SUBNET_PREFIX", "8.8.8.0/24"),
        ("reconciler", "CONTAINER_PORT_RANGE", "60000-50000"),
        ("reconciler", "CEILING_MEMORY", "plenty"),
    ],
)
def test_a_wrong_setting_is_named(idle_house: House, part: str, setting: str, value: str) -> None:
    assert setting in refused(idle_house, part, **{setting: value})


@pytest.mark.parametrize(
    ("content", "mode", "mend"),
    [
        pytest.param(None, 0, "openssl rand -base64 32", id="not there"),
        pytest.param(b"c2hvcnQ=", 0o600, "openssl rand -base64 32", id="too short"),
        pytest.param(b"k" * 43, 0o644, "chmod 600", id="readable for everybody"),
    ],
)
def test_a_key_that_cannot_be_used_is_named(
    idle_house: House, tmp_path: Path, content: bytes | None, mode: int, mend: str
) -> None:
    path = tmp_path / "secret.key"
    if content is not None:
        path.write_bytes(content)
        path.chmod(mode)
    line = refused(idle_house, "gateway", SECRET_KEY_FILE=str(path))
    assert "SECRET_KEY_FILE=" in line
    assert mend in line
    assert content is None or content.decode() not in line


def test_an_extra_origin_that_is_the_gateways_own_is_named(idle_house: House) -> None:
    own = idle_house.origin.replace("localhost", "127.0.0.1")
    line = refused(idle_house, "gateway", EXTRA_ORIGINS=own)
    assert "EXTRA_ORIGINS" in line
    assert own in line


@pytest.mark.parametrize("setting", ["HOST_DATA_DIR", "STATE_DIR"])
def test_a_directory_that_cannot_be_is_named(idle_house: House, tmp_path: Path, setting: str) -> None:
    """Nothing can be made below a file; root may write everywhere else."""
    (tmp_path / "file").write_text("")
    assert setting in refused(idle_house, "reconciler", **{setting: str(tmp_path / "file" / "below")})


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Nobody can write there meanwhile, root included; who has something of it mounted keeps that."""
    if os.geteuid() == 0:
        change = ("mount", "-t", "tmpfs", "-o", "ro", "none", str(folder)), ("umount", str(folder))
    else:
        change = ("chmod", "a-w", str(folder)), ("chmod", "u+w", str(folder))
    subprocess.run(change[0], check=True)
    try:
        yield
    finally:
        subprocess.run(change[1], check=True)


def test_another_projects_data_and_a_disk_that_is_not_mounted_are_named(open_house: Opener) -> None:
    with open_house() as house:
        house.serve("alice")
        house.stop()
        line = refused(house, "reconciler", CONTAINER_PROJECT_NAME="another")
        assert f"the data of project {house.project}, and CONTAINER_PROJECT_NAME is another" in line
        house.homes.rename(house.homes.with_name("unmounted"))
        house.homes.mkdir()
        line = refused(house, "reconciler")
        assert f"HOST_DATA_DIR={house.homes} is empty, though 1 Homes with data are on record" in line
        shutil.rmtree(house.homes)
        house.homes.with_name("unmounted").rename(house.homes)
        house.start()
        house.serve("alice")


def test_data_that_cannot_be_written_is_a_reason_and_heals(open_house: Opener) -> None:
    with open_house({"HOLD_TIMEOUT_S": str(HOLD_S)}) as house:
        house.serve("alice")
        with read_only(house.homes):
            told = house.call("bob", "whoami")
            assert (told.status, told.message["reason"]) == (503, "DataDirectoryUnusable")
            assert "HOST_DATA_DIR" in house.mcpgw("status").stdout
            assert house.call("alice", "whoami").status == 200, "nobody else is concerned"
        house.serve("bob")
        assert "Traceback" not in house.log_path.read_text()


def test_a_directory_that_is_read_only_is_named(idle_house: House, tmp_path: Path) -> None:
    with read_only(tmp_path):
        assert "HOST_DATA_DIR" in refused(idle_house, "reconciler", HOST_DATA_DIR=str(tmp_path / "homes"))


@contextmanager
def full(folder: Path) -> Iterator[None]:
    """A disk of its own there meanwhile, on which files can be made and nothing be written into them."""
    subprocess.run(("mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)), check=True)
    try:
        with suppress(OSError), (folder / "ballast").open("wb", buffering=0) as ballast:
            for _ in range(32):
                ballast.write(bytes(4096))
        yield
    finally:
        subprocess.run(("umount", str(folder)), check=True)


def test_a_state_directory_on_a_full_disk_is_named(idle_house: House, tmp_path: Path) -> None:
    with full(tmp_path):
        line = refused(idle_house, "up", STATE_DIR=str(tmp_path))
    assert line.startswith("mcpgw: STATE_DIR=")
    assert "cannot be written (No space left on device); make room there" in line


@pytest.mark.parametrize("part", ["reconciler", "up"])
def test_what_listens_at_the_engines_address_and_is_no_engine_is_named(
    idle_house: House, real_engine: RealEngine, not_an_engine: Path, part: str
) -> None:
    for address in (f"unix://{not_an_engine}", str(not_an_engine)):
        named = {"CONTAINER_ENGINE": real_engine.name, real_engine.setting: address}
        line = refused(idle_house, part, **named)
        assert str(not_an_engine) in line
        assert real_engine.setting in line


@pytest.mark.parametrize("part", ["reconciler", "up"])
def test_an_engine_of_the_other_kind_is_named_with_the_setting_that_wants_it(
    idle_house: House, docker_engine: RealEngine, podman_engine: RealEngine, part: str
) -> None:
    for engine, other in ((docker_engine, podman_engine), (podman_engine, docker_engine)):
        named = {"CONTAINER_ENGINE": engine.name, engine.setting: other.url}
        assert f"set CONTAINER_ENGINE={other.name}" in refused(idle_house, part, **named)


def test_up_starts_no_engine_in_place_of_one_that_is_named_and_away(
    idle_house: House, real_engine: RealEngine, tmp_path: Path
) -> None:
    named = {"CONTAINER_ENGINE": real_engine.name, real_engine.setting: f"{tmp_path}/away.sock"}
    line = refused(idle_house, "up", **named)
    assert "away.sock" in line
    assert "there is no such socket: start it with" in line


MENDS = {
    "docker": "`sudo usermod -aG docker $USER`",
    "podman": "`systemctl --user enable --now podman.socket`",
}


@pytest.mark.parametrize("is_set", [True, False], ids=["named by its setting", "at its usual place"])
@pytest.mark.parametrize("part", ["reconciler", "up"])
def test_a_socket_that_this_user_may_not_open_is_told_with_the_command_that_mends_it(
    real_engine: RealEngine, part: str, is_set: bool
) -> None:
    with open_folder() as folder, opened(real_engine, folder, begin="nothing") as house:
        somebody = OtherUser()
        somebody.give(folder)
        named = {"HOME": str(folder), "XDG_RUNTIME_DIR": str(folder)}
        named[real_engine.setting] = real_engine.url if is_set else ""
        line = refused(house, part, somebody.words, **named)
    assert real_engine.url in line
    assert real_engine.setting in line
    assert MENDS[real_engine.name] in line


def test_no_engine_is_a_condition_and_heals_when_one_comes(
    open_house: Opener, real_engine: RealEngine, tmp_path: Path
) -> None:
    with open_house(begin="nothing") as house:
        engine = house.environment[real_engine.setting]
        link = tmp_path / "engine.sock"
        house.environment[real_engine.setting] = f"unix://{link}"
        house.start()
        said = functools.partial(house.reconcilers_condition, ConditionType.ENGINE_REACHABLE)
        until(lambda: said().startswith("Unknown NoAnswer"), "the engine is said not to answer")
        assert "NoAnswer" in house.mcpgw("status").stdout
        link.symlink_to(engine.removeprefix("unix://"))
        house.serve("alice")
        assert "Traceback" not in house.log_path.read_text()


def test_a_missing_image_is_a_reason_and_a_mended_one_serves(open_house: Opener) -> None:
    with open_house({"HOLD_TIMEOUT_S": str(HOLD_S)}, begin="nothing") as house:
        house.write_manifest("demo.yaml", demo_template("nowhere/at-all:1"))
        house.start()
        told = house.call("early", "whoami")
        assert (told.status, told.message["reason"]) == (503, "ImageMissing")
        assert int(told.headers["retry-after"]) > 0
        early = house.user_container("early")
        assert early is not None
        assert "nowhere/at-all:1 is not on this machine" in house.mcpgw("explain", early.name).stdout
        house.write_manifest("demo.yaml", demo_template(house.image))
        house.serve("early")


def test_a_subnet_that_collides_is_said_and_the_foreign_network_left_alone(
    open_house: Opener, hand: Hand
) -> None:
    with open_house(begin="nothing") as house:
        prefix, foreign = house.environment["CONTAINER_SUBNET_PREFIX"], f"{house.project}-foreign"
        made = hand.put_foreign_network(foreign, f"{prefix}.0/24")
        try:
            house.start()
            said = functools.partial(house.reconcilers_condition, ConditionType.DEGRADED)
            until(lambda: said().startswith("True"), "the collision is said")
            assert f"{prefix}.0/24" in said()
            assert hand.has_network(foreign)
        finally:
            hand.remove_network(made)
        house.serve("alice")
        assert "Traceback" not in house.log_path.read_text()
