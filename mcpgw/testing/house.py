"""A whole gateway of one's own: both processes, on free ports, in a directory and a project of its own.

Real processes, started as an operator would, so that they can be killed as an operator would not.
"""

import asyncio
import functools
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TypeVar

from mcpgw.bootstrap.engine_api import Engine, remove_labelled
from reconciler.core.container import LABEL_PROJECT
from state.kinds.app import App, AppSpec, key_sha256, mint_key
from state.kinds.resource import Metadata
from state.kinds.user_container import UserContainer
from state.store import open_store
from state.store.port import Store, Tx

T = TypeVar("T")

READY_S_MAX = 60.0
STOP_S_MAX = 30.0
POLL_S = 0.02
PORTS_PER_HOUSE = 400
# Below the ephemeral range and above the default CONTAINER_PORT_RANGE's first ports.
PORTS_FIRST = 22_000
PORTS_LAST = 29_000
SUBNET_SECOND_OCTETS = range(220, 250)
APP = "house"

TEMPLATE = """apiVersion: mcp-gateway/v1
kind: ContainerTemplate
metadata: {{name: demo}}
spec:
  image: {image}
  port: 8080
  env: {{PORT: "8080", DATA_DIR: /data, DEMO_CONTROLS: "1"}}
  data: {{mountPath: /data, retainDays: 30}}
  resources: {{memory: 256Mi, cpus: 1, pids: 128, shm: 16Mi}}
  probes:
    startup: {{http: /health, periodSeconds: 1, timeoutSeconds: 30}}
    liveness: {{http: /health, periodSeconds: 1, timeoutSeconds: 2, failures: 3}}
  routes:
    - {{path: /mcp, match: prefix, access: owner, protocol: mcp}}
    - {{path: /, match: exact, access: owner}}
    - {{path: /ws, access: owner}}
    - {{path: /sse, access: owner}}
    - {{path: /upload, access: owner}}
    - {{path: /download, access: owner}}
    - {{path: /headers, access: owner}}
    - {{path: /control, access: owner}}
    - {{path: /link, access: link}}
    - {{path: /static, access: any}}
  security: {{user: "1000:1000", readOnlyRoot: true}}
"""


@dataclass(slots=True)
class Process:
    """One of the two processes, and how to hurt it."""

    name: str
    environment: Mapping[str, str]
    folder: Path
    log: IO[bytes]
    running: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        assert self.running is None or self.running.poll() is not None, f"{self.name} runs already"
        self.running = subprocess.Popen(  # noqa: S603 (our own program, no shell)
            (sys.executable, "-m", "mcpgw", self.name),
            cwd=self.folder,
            env=dict(self.environment),
            stdout=self.log,
            stderr=self.log,
            start_new_session=True,
        )

    def kill(self) -> None:
        """`kill -9` of the whole process group: nothing of it gets to tidy up."""
        if self.running is not None and self.running.poll() is None:
            os.killpg(self.running.pid, signal.SIGKILL)
            self.running.wait(STOP_S_MAX)

    def stop(self) -> None:
        """SIGTERM, and SIGKILL for what does not heed it."""
        if self.running is None or self.running.poll() is not None:
            return
        self.running.terminate()
        try:
            self.running.wait(STOP_S_MAX)
        except subprocess.TimeoutExpired:
            self.kill()

    @property
    def pid(self) -> int:
        assert self.running is not None, f"{self.name} was not started"
        return self.running.pid


@dataclass(slots=True)
class House:
    """What :func:`house` gives: where it answers, and handles on its parts."""

    folder: Path
    project: str
    origin: str
    environment: dict[str, str]
    key: str
    engine: Engine
    private: tuple[str, str]
    gateway: Process
    reconciler: Process
    ports: range
    log_path: Path

    @property
    def mcp_url(self) -> str:
        return f"{self.origin}/mcp"

    def headers(self, user: str) -> dict[str, str]:
        """What a program sends for one of its users."""
        return {"Authorization": f"Bearer {self.key}", "X-App-User": user}

    def user(self, user_id: str) -> str:
        return f"app:{APP}.{user_id}"

    def wait_ready(self) -> None:
        for url in self.private:
            until(functools.partial(_answers, url), f"{url} answers; its log: {self.log_path}")

    def read(self, fn: Callable[[Tx], T]) -> T:
        """Read the house's own store."""

        async def read(store: Store) -> T:
            return await store.read(fn)

        return asyncio.run(self._with_store(read))

    def write(self, fn: Callable[[Tx], T]) -> T:
        """Edit desired state, as the API would."""

        async def write(store: Store) -> T:
            return await store.transact(fn, actor="house")

        return asyncio.run(self._with_store(write))

    async def _with_store(self, fn: Callable[[Store], Awaitable[T]]) -> T:
        store = await open_store(self.environment["STORE_URL"])
        try:
            return await fn(store)
        finally:
            await store.close()

    def user_container(self, user_id: str) -> UserContainer | None:
        user = self.user(user_id)
        found = self.read(lambda tx: [one for one in tx.list(UserContainer) if one.spec.user == user])
        return found[0] if found else None

    def container_name(self, user_id: str) -> str:
        """The engine's name for a user's container."""
        user = self.user_container(user_id)
        assert user is not None and user.status.home, f"{user_id} has no home yet"
        return f"{self.project}-{user.status.home}"

    def log_lines(self) -> list[dict[str, object]]:
        """What both processes logged so far."""
        lines = self.log_path.read_text(errors="replace").splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]


@contextmanager
def house(
    folder: Path, engine: Engine, image: str, settings: Mapping[str, str] | None = None, *, start: bool = True
) -> Iterator[House]:
    """Start a house in ``folder`` and take everything of it away afterwards, containers included."""
    project = f"t{secrets.token_hex(5)}"
    built = _build(folder, project, engine, image, dict(settings or {}))
    try:
        _let_in(built)
        if start:
            built.reconciler.start()
            built.gateway.start()
            built.wait_ready()
        yield built
    finally:
        for process in (built.gateway, built.reconciler):
            process.stop()
            process.log.close()
        remove_labelled(engine, f"{LABEL_PROJECT}={project}")


def _build(folder: Path, project: str, engine: Engine, image: str, settings: dict[str, str]) -> House:
    manifests = folder / "manifests"
    manifests.mkdir(parents=True, exist_ok=True)
    (manifests / "demo.yaml").write_text(TEMPLATE.format(image=image))
    port, workers = free_port(), int(settings.get("GATEWAY_WORKERS", "1"))
    gateway_private, reconciler_private = free_ports(workers), free_port()
    ports = _port_range()
    chosen = {
        "CONTAINER_ENGINE": engine.name,
        "DOCKER_HOST" if engine.name == "docker" else "PODMAN_SOCKET_PATH": engine.url,
        "CONTAINER_PROJECT_NAME": project,
        "CONTAINER_SUBNET_PREFIX": f"10.{secrets.choice(SUBNET_SECOND_OCTETS)}.{secrets.randbelow(256)}",
        "CONTAINER_PORT_RANGE": f"{ports.start}-{ports.stop - 1}",
        "CEILING_IMAGES": "*",
        "CEILING_CREATES_PER_MINUTE": "1000",
        "HOST_DATA_DIR": str(folder / "homes"),
        "STATE_DIR": str(folder / "state"),
        "STORE_URL": f"sqlite:///{folder}/state/state.db",
        "MANIFESTS_DIR": str(manifests),
        "GATEWAY_BIND": f"127.0.0.1:{port}",
        "GATEWAY_ORIGIN": f"http://localhost:{port}",
        "GATEWAY_PRIVATE_BIND": f"127.0.0.1:{gateway_private}",
        "RECONCILER_PRIVATE_BIND": f"127.0.0.1:{reconciler_private}",
        **settings,
    }
    root = Path(__file__).resolve().parents[2]
    environment = {**os.environ, **chosen, "PYTHONPATH": str(root)}
    log_path = folder / "house.log"
    (folder / "state").mkdir(exist_ok=True)
    return House(
        folder=folder,
        project=project,
        origin=chosen["GATEWAY_ORIGIN"],
        environment=environment,
        key=mint_key(),
        engine=engine,
        private=(
            f"http://127.0.0.1:{reconciler_private}/ready",
            f"http://127.0.0.1:{gateway_private}/ready",
        ),
        gateway=Process("gateway", environment, folder, log_path.open("ab")),
        reconciler=Process("reconciler", environment, folder, log_path.open("ab")),
        ports=ports,
        log_path=log_path,
    )


def _let_in(built: House) -> None:
    spec = AppSpec(key_sha256=key_sha256(built.key), template="demo")
    built.write(lambda tx: tx.create(App(metadata=Metadata(name=APP), spec=spec)))


def until(condition: Callable[[], bool], what: str, seconds: float = READY_S_MAX) -> None:
    """Wait for ``condition``; AssertionError with ``what`` was awaited if it does not come."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds:g} s in vain until {what}"
        time.sleep(POLL_S)


def free_port() -> int:
    return free_ports(1)


def free_ports(count: int) -> int:
    """The first of ``count`` neighbouring ports that nobody listens on just now."""
    while True:
        first = secrets.randbelow(1500) + 30_000
        if all(_is_free(first + offset) for offset in range(count)):
            return first


def _port_range() -> range:
    first = PORTS_FIRST + secrets.randbelow((PORTS_LAST - PORTS_FIRST) // PORTS_PER_HOUSE) * PORTS_PER_HOUSE
    return range(first, first + PORTS_PER_HOUSE)


def _is_free(port: int) -> bool:
    with socket.socket() as probe, suppress(OSError):
        probe.bind(("127.0.0.1", port))
        return True
    return False


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310 (our own private port)
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
