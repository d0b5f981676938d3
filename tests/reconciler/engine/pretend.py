"""The contract suite's rig over the in-memory machine, in both of its profiles."""

import itertools
from datetime import UTC, datetime
from ipaddress import IPv4Network

from reconciler.core.container import ContainerSpec
from reconciler.core.zones import zones
from reconciler.engine.memory import MemoryEngine
from reconciler.engine.memory_machine import Machine
from reconciler.engine.memory_profile import Profile, Workload
from reconciler.engine.port import NetworkSpec
from state.kinds.template import Egress
from tests.reconciler.engine.rig import MOUNT, PORT, Program

WORKLOADS = {
    Program.SERVE: Workload(),
    Program.IGNORE_TERM: Workload(stops_s=1e9),
    Program.PRINT: Workload(prints="".join(f"line {n}\n" for n in range(20)) + "\u00e9\tto stderr\n"),
    Program.CRASH: Workload(lives_s=0.0, exit_code=3),
    Program.EAT_MEMORY: Workload(lives_s=0.0, oom=True),
    Program.MISSING: Workload(can_run=False),
}


class PretendRig:
    def __init__(self, project: str, profile: Profile) -> None:
        self.project = project
        self.other_project = f"{project}-other"
        self.machine = Machine(
            lambda: datetime.now(UTC),
            profile=profile,
            workload_of=lambda spec: WORKLOADS[Program(spec.command[0])],
        )
        self.machine.images = {"test:1"}
        self.engine = MemoryEngine(self.machine, project)
        self.other_engine = MemoryEngine(self.machine, self.other_project)
        self.zones = zones(project, IPv4Network("10.211.7.0/24"))
        self.networks = {egress: NetworkSpec.of(zone, project) for egress, zone in self.zones.items()}
        self.network = self.networks[Egress.INTERNET]
        self._hosts = itertools.count(20)

    def spec(self, program: Program = Program.SERVE) -> ContainerSpec:
        return ContainerSpec(
            image="test:1",
            command=(program.value,),
            env=(),
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
        if not self.machine.profile.capabilities.fixed_address:
            return ""
        return str(self.zones[egress].subnet[next(self._hosts)])

    def data_path(self, home: str) -> str:
        return f"/homes/{home}" if self.machine.profile.capabilities.host_paths else ""

    async def answers(self, host: str, port: int) -> bool:
        return self.machine.probe(host, port)

    async def pause(self, name: str) -> None:
        self.machine.pause(name)

    async def remove_by_hand(self, name: str) -> None:
        self.machine.remove_by_hand(name)

    async def put_foreign(self, name: str) -> str:
        return self.machine.put_foreign(name)

    async def foreign_is_untouched(self, name: str, container_id: str) -> bool:
        box = self.machine.named(name)
        return box is not None and box.shown.id == container_id and box.shown.state == "running"

    async def write_data(self, name: str, text: str) -> None:
        self._files(name)["kept"] = text

    async def read_data(self, name: str) -> str:
        return self._files(name)["kept"]

    async def write_layer(self, name: str, bytes_count: int) -> None:
        box = self.machine.named(name)
        assert box is not None
        box.layer_bytes += bytes_count

    async def occupy(self, address: str) -> None:
        self.machine.addresses.occupy(address)

    async def cut_events(self) -> None:
        self.machine.cut_events()

    async def put_foreign_network(self, name: str, subnet: str) -> None:
        self.machine.networks.append({"Name": name, "IPAM": {"Config": [{"Subnet": subnet}]}})

    async def network_names(self) -> set[str]:
        return {one["Name"] for one in self.machine.networks}

    async def close(self) -> None:
        await self.machine.close()

    def _files(self, name: str) -> dict[str, str]:
        box = self.machine.named(name)
        assert box is not None
        return self.machine.volumes[box.volume]
