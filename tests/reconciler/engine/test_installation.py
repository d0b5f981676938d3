"""Two checkouts of one project name on one engine do not take each other's containers for their own."""

from datetime import UTC, datetime

from reconciler.core.container import ContainerSpec, Identity, Placement
from reconciler.engine.installation import OwnInstallation
from reconciler.engine.memory import MemoryEngine
from reconciler.engine.memory_machine import Machine

SPEC = ContainerSpec(
    image="x:1",
    command=(),
    env=(),
    port=8080,
    user="1000",
    memory_bytes=1 << 28,
    cpus=1.0,
    pids=64,
    shm_bytes=1 << 20,
    read_only_root=True,
    cap_add=(),
    runtime="",
    data_mount_path="",
)
IDENTITY = Identity(project="p", home="h", user_container="u", number=1, spec_hash="s", epoch=1)


async def test_a_neighbours_container_is_in_no_list_and_its_name_is_foreign() -> None:
    machine = Machine(now=lambda: datetime.now(UTC))
    ours, theirs = (OwnInstallation(MemoryEngine(machine, "p"), name) for name in ("ours", "theirs"))
    await theirs.create(SPEC, Placement("p-h", "127.0.0.1:21000", ""), IDENTITY)
    assert await ours.list() == []
    seen = await ours.inspect("p-h")
    assert seen is not None
    assert seen.identity is None
    [listed] = await theirs.list()
    assert listed.identity is not None
    assert listed.identity.installation == "theirs"
    await machine.close()
