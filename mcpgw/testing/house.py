"""A whole gateway of one's own: both processes, on free ports, in a directory and a project of its own.

Real processes, started as an operator would (each by itself, or both by ``mcpgw up``), so that they can be
killed as an operator would not. Next: :mod:`mcpgw.testing.programs`, :mod:`mcpgw.testing.workload`.
"""

import asyncio
import functools
import json
import os
import secrets
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from mcpgw.bootstrap.engine_api import Engine, network_subnets, remove_labelled
from mcpgw.testing.calls import Answer, call_tool
from mcpgw.testing.fences import remove_fence
from mcpgw.testing.ports import container_ports, free_port, free_ports, subnet_prefix
from mcpgw.testing.programs import Program
from mcpgw.testing.waiting import until
from mcpgw.testing.workload import APP, demo_template, user_of
from reconciler.core.container import LABEL_PROJECT
from reconciler.engine.door import EngineKind
from state.kinds.app import App, AppSpec, key_sha256, mint_key
from state.kinds.home import Home
from state.kinds.incarnation import Incarnation, IncarnationNames
from state.kinds.report import Reconciler
from state.kinds.resource import ConditionType, Metadata
from state.kinds.user_container import UserContainer
from state.store import open_store
from state.store.port import Store, Tx

__all__ = ["House", "free_port", "house", "until"]

T = TypeVar("T")

WORKER_PORT_STEP = 10  # between the private ports of a gateway's workers
VERB_S_MAX = 60.0
SERVED_S_MAX = 90.0  # also by a list of the engine alone, or a backoff or two
KNOWN_S_MAX = 90.0  # also where a worker died just before, whose lease has to end
TAIL_LINES = 40
ROOT = Path(__file__).resolve().parents[2]

PartName = Literal["gateway", "reconciler"]


@dataclass(slots=True)
class House:
    """What :func:`house` gives: where it answers, and handles on its parts."""

    folder: Path
    project: str
    origin: str
    environment: dict[str, str]
    key: str
    engine: Engine
    image: str
    private: dict[PartName, str]
    gateway: Program
    reconciler: Program
    up: Program  # both of them, supervised: runs instead of the two, never beside them
    log_path: Path

    # --- as a program that has users ---

    def let_in(self) -> None:
        """Put the App on record whose key the house has: for a new store, or one that was lost."""
        spec = AppSpec(key_sha256=key_sha256(self.key), template="demo")
        self.write(lambda tx: tx.create(App(metadata=Metadata(name=APP), spec=spec)))

    @property
    def mcp_url(self) -> str:
        return f"{self.origin}/mcp"

    def headers(self, user_id: str) -> dict[str, str]:
        """What a program sends for one of its users."""
        return {"Authorization": f"Bearer {self.key}", "X-App-User": user_id}

    def call(self, user_id: str, tool: str, **arguments: Any) -> Answer:
        """Call one of the user's tools; held until their container is there."""
        return call_tool(self.mcp_url, self.headers(user_id), tool, arguments)

    def serve(self, user_id: str) -> str:
        """Which container answers for the user, as soon as one does."""

        def hostname() -> str:
            answer = self.call(user_id, "whoami")
            return str(answer.result["hostname"]) if answer.is_result else ""

        return until(hostname, f"{user_id} is served", SERVED_S_MAX)

    # --- as an operator ---

    @property
    def manifests(self) -> Path:
        return Path(self.environment["MANIFESTS_DIR"])

    @property
    def homes(self) -> Path:
        return Path(self.environment["HOST_DATA_DIR"])

    def write_manifest(self, name: str, text: str) -> None:
        """Save a file of the manifests folder whole, as an editor does."""
        draft = self.folder / f"{name}.draft"
        draft.write_text(text)
        draft.replace(self.manifests / name)

    def mcpgw(self, *words: str, prefix: tuple[str, ...] = ()) -> "subprocess.CompletedProcess[str]":
        """Run one of the operator's verbs to its end. ``prefix`` is what runs it as somebody else."""
        return subprocess.run(  # noqa: S603 (our own program, no shell)
            (*prefix, sys.executable, "-m", "mcpgw", *words),
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=VERB_S_MAX,
        )

    # --- processes ---

    def start(self) -> None:
        """Start both, until each says that it is ready and the gateway knows what the manifests say."""
        self.reconciler.start()
        self.gateway.start()
        self.wait_ready()
        with ThreadPoolExecutor(1) as aside:  # the caller may be in a loop of its own
            aside.submit(self.with_store, _everybody_knows).result()

    def stop(self) -> None:
        for program in (self.up, self.gateway, self.reconciler):
            program.stop()

    def wait_ready(self, *parts: PartName) -> None:
        """Until the parts (both, if none is named) say on their private ports that they are ready."""
        for part in parts or self.private:
            until(functools.partial(_answers, self.private[part]), f"the {part} is ready")

    def pid(self, part: PartName) -> int | None:
        """The part's process, whoever started it; None while there is none."""
        program = self.gateway if part == "gateway" else self.reconciler
        if program.runs:
            return program.pid
        if not self.up.runs:
            return None
        return next((pid for pid, line in self.up.children().items() if line.endswith(f"mcpgw {part}")), None)

    def kill(self, part: PartName) -> int:
        """`kill -9` of the part with all its children; which process it was."""
        pid = until(lambda: self.pid(part), f"there is a {part} to kill")
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
        until(lambda: self.pid(part) != pid, f"the {part} is dead")
        return pid

    # --- what is in the store and in the log ---

    def read(self, fn: Callable[[Tx], T]) -> T:
        """Read the house's own store."""

        async def read(store: Store) -> T:
            return await store.read(fn)

        return self.with_store(read)

    def write(self, fn: Callable[[Tx], T]) -> T:
        """Edit desired state, as the API would."""

        async def write(store: Store) -> T:
            return await store.transact(fn, actor="house")

        return self.with_store(write)

    def with_store(self, fn: Callable[[Store], Awaitable[T]]) -> T:
        """Open the house's store, as one more process beside its own."""

        async def run() -> T:
            store = await open_store(self.environment["STORE_URL"])
            try:
                return await fn(store)
            finally:
                await store.close()

        return asyncio.run(run())

    def delete_users(self, *names: str) -> None:
        """Delete UserContainers; their finalizers see to the rest."""

        def delete(tx: Tx) -> None:
            for found in (tx.get(UserContainer, name) for name in names):
                if found is not None:
                    tx.delete(found)

        self.write(delete)

    def user_container(self, user_id: str) -> UserContainer | None:
        user = user_of(user_id)
        return self.read(
            lambda tx: next((one for one in tx.list(UserContainer) if one.spec.user == user), None)
        )

    def incarnations(self, user_id: str) -> list[Incarnation]:
        owner = self.user_container(user_id)
        uid = owner.uid if owner is not None else ""
        return self.read(lambda tx: [one for one in tx.list(Incarnation) if one.spec.user_container == uid])

    def home(self, user_id: str) -> Home | None:
        owner = self.user_container(user_id)
        return self.read(lambda tx: tx.get(Home, owner.status.home)) if owner is not None else None

    def endpoint(self, user_id: str) -> str:
        """Where the user's container is reached directly, past the gateway; "" while it is not routed."""
        owner = self.user_container(user_id)
        at = owner.status.endpoint if owner is not None else None
        return f"http://{at.host}:{at.port}" if at is not None else ""

    def reason(self, user_id: str, of: ConditionType) -> str:
        """What a condition of the user's container says: ``<status> <reason>``; "" while it says nothing."""
        owner = self.user_container(user_id)
        condition = owner.status.condition(of) if owner is not None else None
        return f"{condition.status} {condition.reason}" if condition is not None else ""

    def reconcilers_condition(self, of: ConditionType) -> str:
        """What the reconciler says of itself: ``<status> <reason> <message>``; "" before it says anything."""
        report = self.read(lambda tx: tx.get(Reconciler, self.project))
        found = report.status.condition(of) if report is not None else None
        return f"{found.status} {found.reason} {found.message}" if found is not None else ""

    def container_name(self, user_id: str) -> str:
        """The engine's name for a user's container."""
        owner = self.user_container(user_id)
        assert owner is not None and owner.status.home, f"{user_id} has no home yet"
        return IncarnationNames.container(self.project, owner.status.home)

    def log_lines(self, event: str = "") -> list[dict[str, Any]]:
        """What the processes logged so far; of one ``event``, if it is given."""
        lines = self.log_path.read_text(errors="replace").splitlines()
        logged = [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]
        return [line for line in logged if not event or line.get("event") == event]

    def said(self) -> str:
        """Everything that the processes said, the log lines left out."""
        lines = self.log_path.read_text(errors="replace").splitlines()
        return "\n".join(line for line in lines if not line.startswith('{"'))

    def tail(self) -> str:
        """The end of the log, for whoever has to find out why a test failed: all but what went well."""
        lines = self.log_path.read_text(errors="replace").splitlines()
        telling = [line for line in lines if '"status":200' not in line]
        return "\n".join(telling[-TAIL_LINES:])


Begin = Literal["parts", "up", "nothing"]


@contextmanager
def house(
    folder: Path,
    engine: Engine,
    image: str,
    settings: Mapping[str, str] | None = None,
    *,
    begin: Begin = "parts",
) -> Iterator[House]:
    """A house in ``folder``; everything of it is taken away afterwards, containers included.

    ``begin`` says what is started: the two parts by themselves, both under ``mcpgw up``, or nothing yet.
    """
    built = _build(folder, f"t{secrets.token_hex(5)}", engine, image, dict(settings or {}))
    try:
        built.let_in()
        if begin == "parts":
            built.start()
        elif begin == "up":
            built.up.start()
            built.wait_ready()
        yield built
    finally:
        try:
            built.stop()
            built.up.log.close()
            remove_labelled(engine, f"{LABEL_PROJECT}={built.project}")
        finally:
            remove_fence(built.project)


def _build(folder: Path, project: str, engine: Engine, image: str, settings: dict[str, str]) -> House:
    chosen = {**_settings(folder, project, engine, image, settings), **settings}
    for made in (chosen["MANIFESTS_DIR"], chosen["STATE_DIR"]):
        Path(made).mkdir(parents=True, exist_ok=True)
    (Path(chosen["MANIFESTS_DIR"]) / "demo.yaml").write_text(demo_template(image))
    environment = {**os.environ, **chosen, "PYTHONPATH": str(ROOT)}
    log_path = folder / "house.log"
    log = log_path.open("ab")
    return House(
        folder=folder,
        project=project,
        origin=chosen["GATEWAY_ORIGIN"],
        environment=environment,
        key=mint_key(),
        engine=engine,
        image=image,
        private={
            "reconciler": f"http://{chosen['RECONCILER_PRIVATE_BIND']}/ready",
            "gateway": f"http://{chosen['GATEWAY_PRIVATE_BIND']}/ready",
        },
        gateway=Program("gateway", environment, folder, log),
        reconciler=Program("reconciler", environment, folder, log),
        up=Program("up", environment, folder, log),
        log_path=log_path,
    )


def _settings(
    folder: Path, project: str, engine: Engine, image: str, settings: Mapping[str, str]
) -> dict[str, str]:
    """What nobody set otherwise."""
    port, ports = free_port(), container_ports()
    gateway_private = free_ports(int(settings.get("GATEWAY_WORKERS", "1")), WORKER_PORT_STEP)
    return {
        "CONTAINER_ENGINE": engine.name,
        EngineKind(engine.name).setting: engine.url,
        "CONTAINER_PROJECT_NAME": project,
        "CONTAINER_IMAGE": image,
        "DEMO_IMAGE": image,
        "CONTAINER_SUBNET_PREFIX": subnet_prefix(network_subnets(engine)),
        "CONTAINER_PORT_RANGE": f"{ports.start}-{ports.stop - 1}",
        "CEILING_IMAGES": "*",
        "CEILING_CREATES_PER_MINUTE": "1000",
        "HOST_DATA_DIR": str(folder / "homes"),
        "STATE_DIR": str(folder / "state"),
        "STORE_URL": f"sqlite:///{folder}/state/state.db",
        "MANIFESTS_DIR": str(folder / "manifests"),
        "GATEWAY_BIND": f"127.0.0.1:{port}",
        "GATEWAY_ORIGIN": f"http://localhost:{port}",
        "GATEWAY_PRIVATE_BIND": f"127.0.0.1:{gateway_private}",
        "RECONCILER_PRIVATE_BIND": f"127.0.0.1:{free_port()}",
    }


async def _everybody_knows(store: Store) -> None:
    await store.barrier(await store.revision(), KNOWN_S_MAX)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310 (our own private port)
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
