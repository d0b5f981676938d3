"""The contract suite's rig over a real engine, with aiodocker as the other hand."""

import asyncio
import contextlib
import hashlib
import io
import json
import random
import socket
import tarfile
import tempfile
from collections.abc import Iterator
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any, BinaryIO

import aiodocker

from reconciler.core.container import ContainerSpec
from reconciler.core.zones import zones
from reconciler.engine.api import LIBPOD
from reconciler.engine.client import Deadlines
from reconciler.engine.door import EngineKind
from reconciler.engine.opening import EngineSettings, open_engine
from reconciler.engine.port import Addressing, Engine, NetworkSpec
from state.kinds.template import Egress
from tests.engines import RealEngine
from tests.reconciler.engine.proxy import EngineProxy
from tests.reconciler.engine.rig import MOUNT, PORT, Program, until

HTTP_TIMEOUT_S = 2.0
SERVE = f"import http.server as h; h.test(h.SimpleHTTPRequestHandler, h.ThreadingHTTPServer, port={PORT})"
PROGRAMS = {
    Program.SERVE: SERVE,
    Program.IGNORE_TERM: f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {SERVE}",
    Program.PRINT: "import sys, time; print(*map('line {}'.format, range(20)), sep='\\n', flush=True); "
    "time.sleep(0.3); print('\u00e9\tto stderr', file=sys.stderr, flush=True); time.sleep(1e6)",
    Program.CRASH: "raise SystemExit(3)",
    Program.EAT_MEMORY: "eaten = [bytearray(1 << 20) for _ in range(100000)]",
}
FOREIGN_LABEL = "not-ours"
BARE_IMAGE = "mcp-gateway-contract"


class RealRig:
    """``machine`` is the engine itself; our adapters reach it through ``proxy``, which tests may break."""

    def __init__(self, engine: RealEngine, project: str, addressing: Addressing, folder: Path) -> None:
        self.machine = engine
        self.project = project
        self.other_project = f"{project}x"
        self.addressing = addressing
        self.proxy = EngineProxy(engine.url.removeprefix("unix://"), folder / "engine.sock")
        self.zones = zones(project, IPv4Network(free_subnet()))
        self.networks = {egress: NetworkSpec.of(zone, project) for egress, zone in self.zones.items()}
        self.network = self.networks[Egress.INTERNET]
        self.hand: aiodocker.Docker
        self.engine: Engine
        self.other_engine: Engine
        self._folder = folder
        self._host = 20
        self._taken: list[socket.socket] = []
        self._foreign: list[tuple[str, str]] = []

    async def open(self) -> None:
        self.hand = aiodocker.Docker(self.machine.url, api_version="v1.41")
        await self.proxy.start()
        self.engine = await self.adapter(self.project)
        self.other_engine = await self.adapter(self.other_project)
        await self.engine.ensure_network(self.network)
        await self._ensure_image()

    async def close(self) -> None:
        self.proxy.mend()
        for engine in (self.engine, self.other_engine):
            for one in await engine.list():
                if ("containers", one.id) not in self._foreign:
                    await engine.remove(one.id)
            await engine.close()
        for path in reversed([f"{kind}/{name}" for kind, name in self._foreign]):
            await self._delete(path)
        for network in self.networks.values():
            with contextlib.suppress(aiodocker.DockerError):
                await self._delete(f"networks/{network.name}")
        await self.hand.close()
        await self.proxy.stop()
        for sock in self._taken:
            sock.close()

    @property
    def image(self) -> str:
        """The demo image without an entrypoint, so that a command is what runs."""
        return f"{BARE_IMAGE}:{self.machine.image.rpartition(':')[2]}"

    @property
    def local_image(self) -> str:
        """What the engine itself calls it."""
        return self.local_name(self.image)

    def spec(self, program: Program = Program.SERVE) -> ContainerSpec:
        return ContainerSpec(
            image=self.image,
            command=self._command(program),
            env=(("GREETING", "hello"),),
            port=PORT,
            user="1000",
            memory_bytes=64 << 20,
            cpus=1.0,
            pids=64,
            shm_bytes=8 << 20,
            read_only_root=False,
            cap_add=(),
            runtime="",
            data_mount_path=MOUNT,
        )

    def address(self, egress: Egress = Egress.INTERNET) -> str:
        if self.addressing is Addressing.PUBLISH and egress is Egress.INTERNET:
            return f"127.0.0.1:{free_port()}"
        self._host += 1
        return str(self.zones[egress].subnet[self._host])

    def data_path(self, home: str) -> str:
        path = self._folder / home
        path.mkdir(exist_ok=True)
        path.chmod(0o777)
        return str(path)

    async def answers(self, host: str, port: int) -> bool:
        if not host:
            return False
        try:
            async with asyncio.timeout(HTTP_TIMEOUT_S):
                return b" 200 " in await _status_line(host, port)
        except (OSError, TimeoutError):
            return False

    async def pause(self, name: str) -> None:
        await self.hand.containers.container(name).pause()

    async def remove_by_hand(self, name: str) -> None:
        await self.hand.containers.container(name).delete(force=True)

    async def put_foreign(self, name: str, image: str = "") -> str:
        config: dict[str, Any] = {
            "Image": image or self.local_image,
            "Cmd": list(self._command(Program.SERVE)),
            "Labels": {FOREIGN_LABEL: self.project},
            "HostConfig": {"NetworkMode": "none"},
        }
        container = await self.hand.containers.create(config, name=name)
        self._foreign.append(("containers", container.id))
        await container.start()
        return container.id

    async def put_on_two_networks(self, name: str, program: str, network: str, address: str) -> None:
        """An operator's own program, on the engine's default network and at that address on ``network``."""
        config: dict[str, Any] = {"Image": self.local_image, "Cmd": ["python3", "-c", program]}
        container = await self.hand.containers.create(config, name=name)
        self._foreign.append(("containers", container.id))
        await container.start()
        await self.hand._query_json(
            f"networks/{network}/connect",
            method="POST",
            data={"Container": container.id, "EndpointConfig": {"IPAMConfig": {"IPv4Address": address}}},
        )

    async def put_foreign_network(self, name: str, subnet: str) -> None:
        await self.hand.networks.create(
            {
                "Name": name,
                "CheckDuplicate": True,
                "Driver": "bridge",
                "IPAM": {"Config": [{"Subnet": subnet}]},
            }
        )
        self._foreign.append(("networks", name))

    async def network_names(self) -> set[str]:
        return {one["Name"] for one in await self.hand.networks.list()}

    async def foreign_is_untouched(self, name: str, container_id: str) -> bool:
        found = await self.hand.containers.get(name)
        return found["Id"] == container_id and found["State"]["Running"] is True

    async def write_data(self, name: str, text: str) -> None:
        await self.inside(name, f"echo {text} > {MOUNT}/kept")

    async def read_data(self, name: str) -> str:
        return (await self.inside(name, f"cat {MOUNT}/kept")).strip()

    async def write_layer(self, name: str, bytes_count: int) -> None:
        await self.inside(name, f"head -c {bytes_count} /dev/zero >> /tmp/layer")

    async def occupy(self, address: str) -> None:
        """A listener on the port, or a foreign container on the address."""
        if self.addressing is Addressing.PUBLISH:
            host, _, port = address.partition(":")
            sock = socket.create_server((host, int(port)))
            self._taken.append(sock)
            return
        config: dict[str, Any] = {
            "Image": self.local_image,
            "Cmd": list(self._command(Program.SERVE)),
            "HostConfig": {"NetworkMode": self.network.name},
            "NetworkingConfig": {
                "EndpointsConfig": {self.network.name: {"IPAMConfig": {"IPv4Address": address}}}
            },
        }
        container = await self.hand.containers.create(config, name=f"{self.project}-squatter")
        self._foreign.append(("containers", container.id))
        await container.start()

    async def cut_events(self) -> None:
        async def is_asked_for() -> bool:
            return any("/events" in line for line in self.proxy.asked)

        await until(is_asked_for, "the events are asked for")
        self.proxy.break_connections()

    async def inside(self, name: str, script: str, user: str = "") -> str:
        """What a shell script prints in the container, run as the workload's own user."""
        execution = await self.hand.containers.container(name).exec(["/bin/sh", "-c", script], user=user)
        printed = b""
        async with execution.start(detach=False) as stream:
            while (message := await stream.read_out()) is not None:
                printed += message.data
        return printed.decode()

    async def raw(self, name: str) -> dict[str, Any]:
        """The engine's own inspect."""
        container = await self.hand.containers.get(name)
        return container._container

    async def log_limit(self, name: str) -> str:
        """How large one file of its log may get, in the engine's words."""
        if self.machine.name == "docker":
            return str((await self.raw(name))["HostConfig"]["LogConfig"]["Config"]["max-size"])
        shown = await self.hand._query_json(f"{LIBPOD}/containers/{name}/json", versioned_api=False)
        return str(shown["HostConfig"]["LogConfig"]["Size"])

    async def log_file(self, name: str) -> Path:
        """Where the engine keeps its log; older parts are beside it, under longer names."""
        if self.machine.name == "docker":
            return Path((await self.raw(name))["LogPath"])
        shown = await self.hand._query_json(f"{LIBPOD}/containers/{name}/json", versioned_api=False)
        return Path(shown["HostConfig"]["LogConfig"]["Path"])

    def _command(self, program: Program) -> tuple[str, ...]:
        if program is Program.MISSING:
            return ("/no/such/command",)
        return ("python3", "-c", PROGRAMS[program])

    async def build(self, image: str, dockerfile: str) -> None:
        with _tar(("Dockerfile", dockerfile.encode())) as context:
            await self.hand.images.build(fileobj=context, encoding="identity", tag=self.local_name(image))

    async def put_image(self, dockerfile: str) -> str:
        """An image of the test's own, built on the contract's; its name."""
        image = self._own_image()
        await self.build(image, f"FROM {self.local_image}\n{dockerfile}\n")
        return image

    async def put_image_for(self, architecture: str) -> str:
        """An image of the test's own, with nothing in it, that says which processor it is for; its name."""
        image = self._own_image()
        with image_archive(self.local_name(image), architecture) as archive:
            await self.hand.images.import_image(archive)
        return image

    def _own_image(self) -> str:
        image = f"{self.project}-image-{len(self._foreign)}:1"
        self._foreign.append(("images", self.local_name(image)))
        return image

    def local_name(self, image: str) -> str:
        return image if self.machine.name == "docker" else f"localhost/{image}"

    async def _ensure_image(self) -> None:
        try:
            await self.hand.images.inspect(self.local_image)
        except aiodocker.DockerError:
            await self.build(self.image, f"FROM {self.local_name(self.machine.image)}\nENTRYPOINT []\n")

    async def adapter(
        self, project: str, deadlines: Deadlines | None = None, emulated: tuple[str, ...] = ()
    ) -> Engine:
        return await open_engine(
            EngineSettings(
                kind=EngineKind(self.machine.name),
                socket=str(self.proxy.path),
                project=project,
                networks={egress: one.name for egress, one in self.networks.items()},
                addressing=self.addressing,
                deadlines=deadlines or Deadlines(),
                emulated=emulated,
            )
        )

    async def _delete(self, path: str) -> None:
        async with self.hand._query(
            path, "DELETE", params={"force": "true"} if "containers" in path else None
        ):
            pass


def free_subnet() -> str:
    """Some /24 that is hardly taken; a collision would fail loudly in ensure_network."""
    return f"10.{random.randrange(220, 250)}.{random.randrange(256)}.0/24"


def free_port() -> int:
    """A loopback port below the ephemeral range that nothing listens on."""
    while True:
        port = random.randrange(15000, 32000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


async def _status_line(host: str, port: int) -> bytes:
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(b"GET / HTTP/1.0\r\n\r\n")
        return await reader.readline()
    finally:
        writer.close()


@contextlib.contextmanager
def image_archive(name: str, architecture: str) -> Iterator[BinaryIO]:
    """What `docker save` writes. Source: moby, image/spec/v1.2.md."""
    with _tar(("empty", name.encode())) as layer:
        content = layer.read()
    config = json.dumps(
        {
            "architecture": architecture,
            "os": "linux",
            "config": {"Cmd": ["/empty"]},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(content).hexdigest()}"]},
            "history": [{"created": "2026-01-01T00:00:00Z"}],
        }
    ).encode()
    config_name = f"{hashlib.sha256(config).hexdigest()}.json"
    manifest = [{"Config": config_name, "RepoTags": [name], "Layers": ["layer.tar"]}]
    files = (config_name, config), ("layer.tar", content), ("manifest.json", json.dumps(manifest).encode())
    with _tar(*files) as archive:
        yield archive


@contextlib.contextmanager
def _tar(*files: tuple[str, bytes]) -> Iterator[BinaryIO]:
    with tempfile.TemporaryFile() as file:
        with tarfile.open(fileobj=file, mode="w") as archive:
            for name, content in files:
                entry = tarfile.TarInfo(name)
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
        file.seek(0)
        yield file
