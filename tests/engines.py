"""Fixtures for what is real: Docker, Podman, PostgreSQL. Set up as `./run test` does it, never skipped.

Every test gets a project name of its own, and what carries that name is removed after it; nothing else on
the engine is touched. Registered in `tests/conftest.py`.
"""

import os
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from mcpgw.bootstrap.demo_image import ensure_demo_image
from mcpgw.bootstrap.docker import ensure_docker
from mcpgw.bootstrap.engine_api import Engine, EngineName, remove_labelled
from mcpgw.bootstrap.podman import ensure_podman
from mcpgw.bootstrap.testing import ensure_postgres
from mcpgw.testing.fences import remove_fence
from mcpgw.testing.leftovers import sweep
from reconciler.engine.door import EngineKind

PROJECT_LABEL = "mcp-gateway.project"
POSTGRES_USER = "postgres"
PATIENCE_S = 60.0
POLL_S = 0.05


@dataclass(frozen=True)
class RealEngine:
    """An engine that answers, and the demo image that it has. What killed tests left there is gone."""

    name: EngineName
    url: str
    image: str

    @property
    def bare(self) -> Engine:
        return Engine(self.name, self.url)

    @property
    def setting(self) -> str:
        """What names its socket."""
        return EngineKind(self.name).setting


@pytest.fixture(scope="session")
def docker_engine() -> RealEngine:
    """This machine's Docker."""
    return _with_image(ensure_docker())


@pytest.fixture(scope="session")
def podman_engine() -> RealEngine:
    """This machine's Podman."""
    return _with_image(ensure_podman())


@pytest.fixture(scope="module", params=["docker", "podman"])
def real_engine(request: pytest.FixtureRequest) -> RealEngine:
    """Each engine in turn."""
    engine: RealEngine = request.getfixturevalue(f"{request.param}_engine")
    return engine


_used: set[Engine] = set()
"""The engines that this run has asked for: only those are cleaned."""


def _with_image(engine: Engine) -> RealEngine:
    if engine not in _used:
        sweep(engine)
    _used.add(engine)
    return RealEngine(engine.name, engine.url, ensure_demo_image(engine))


@pytest.fixture
def project_name() -> Iterator[str]:
    """A project that only this test knows. Its containers, networks and fence are removed afterwards."""
    name = f"t{secrets.token_hex(5)}"
    yield name
    for engine in _used:
        remove_labelled(engine, f"{PROJECT_LABEL}={name}")
    remove_fence(name)


@dataclass(frozen=True)
class PostgresServer:
    """A server of our own, reached through a Unix socket in `socket_dir`."""

    socket_dir: Path
    programs: Path

    def url(self, database: str = "postgres") -> str:
        """A libpq URL; SQLAlchemy takes it with `postgresql+psycopg` for `postgresql`."""
        return f"postgresql://{POSTGRES_USER}@/{database}?host={self.socket_dir}"

    def command(self, program: str, *words: str) -> None:
        """Run one of PostgreSQL's own programs against the server."""
        where = ("-h", str(self.socket_dir), "-U", POSTGRES_USER)
        subprocess.run((self.programs / program, *where, *words), check=True, timeout=PATIENCE_S, cwd="/")


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """PostgreSQL with a data directory of its own, without a TCP port; gone after the run."""
    programs = ensure_postgres()
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    user = POSTGRES_USER if os.geteuid() == 0 else None  # initdb refuses to be root
    if user:
        shutil.chown(folder, user, user)
    cluster = str(folder / "cluster")
    initdb = (
        programs / "initdb",
        "-D",
        cluster,
        "-U",
        POSTGRES_USER,
        "-A",
        "trust",
        "-E",
        "UTF8",
        "--no-sync",
    )
    subprocess.run(initdb, check=True, user=user, cwd="/", stdout=subprocess.DEVNULL, timeout=PATIENCE_S)
    options = ("-k", str(folder), "-c", "listen_addresses=", "-c", "fsync=off", "-c", "max_connections=200")
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            (programs / "postgres", "-D", cluster, *options), user=user, cwd="/", stdout=log, stderr=log
        )
    try:
        _wait_for(server, folder)
        yield PostgresServer(folder, programs)
    finally:
        server.terminate()
        server.send_signal(2)  # SIGINT: end now, without waiting for clients
        server.wait(PATIENCE_S)
        shutil.rmtree(folder)


@pytest.fixture
def postgres_database(postgres_server: PostgresServer) -> Iterator[str]:
    """The URL of an empty database that is dropped after the test."""
    name = f"t{secrets.token_hex(5)}"
    postgres_server.command("createdb", "-T", "template0", name)
    yield postgres_server.url(name)
    postgres_server.command("dropdb", "--force", name)


def _wait_for(server: "subprocess.Popen[bytes]", folder: Path) -> None:
    """Until the server says that it is ready. Source: the last line of postmaster.pid."""
    pid_file = folder / "cluster" / "postmaster.pid"
    deadline = time.monotonic() + PATIENCE_S
    while not (pid_file.exists() and pid_file.read_text().rstrip().endswith("ready")):
        assert server.poll() is None, (folder / "log").read_text()
        assert time.monotonic() < deadline, (folder / "log").read_text()
        time.sleep(POLL_S)
