"""What a workload may not do, asked from inside it and of the engine."""

import resource
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from mcpgw.bootstrap.podman import PID_MAX
from reconciler.core.container import Mount
from reconciler.core.errors import OutcomeUnknownError, TerminalError
from reconciler.engine.hardening import LOG_FILE_MEGABYTES_MAX, LOG_FILES_MAX
from reconciler.engine.port import LAYER_UNCOUNTABLE
from tests.reconciler.engine.real import RealRig
from tests.reconciler.engine.rig import HOME, MOUNT, OTHER_HOME, PORT, answering, seat, shown, started, until

pytestmark = pytest.mark.engine

MIB = 1 << 20
DEEP = "d" * 100
LOG_BYTES_MAX = (LOG_FILE_MEGABYTES_MAX * LOG_FILES_MAX + 1) * MIB  # a file ends with a whole line
# What engines make for every container. Source: OCI runtime specification, "Default Devices".
DEVICES_OF_EVERY_CONTAINER = {
    *("null", "zero", "full", "random", "urandom", "tty", "console", "ptmx", "pts"),
    *("fd", "stdin", "stdout", "stderr", "core", "shm", "mqueue"),
}
FLOOD = f"""
import time
for _ in range(1120):
    print(("x" * 1023 + "\\n") * 64, end="", flush=True)
open("{MOUNT}/flood", "w").write("over")
time.sleep(1e6)
"""
NO_CAPABILITIES = "0000000000000000"
NET_RAW_ONLY = "0000000000002000"


async def _status(rig: RealRig, name: str) -> dict[str, str]:
    """/proc/self/status of a program in the container."""
    text = await rig.inside(name, "cat /proc/self/status")
    return {key: value.strip() for key, _, value in (line.partition(":") for line in text.splitlines())}


async def _limit(rig: RealRig, name: str, v1: str, v2: str) -> int:
    """A cgroup limit as the container sees it, wherever this kernel shows it."""
    return int(
        (await rig.inside(name, f"cat /sys/fs/cgroup/{v1} || cat /sys/fs/cgroup/{v2}")).splitlines()[-1]
    )


async def test_the_program_has_no_capability_and_no_way_to_gain_one(real_rig: RealRig) -> None:
    one = seat(real_rig)
    await started(real_rig, one)
    status = await _status(real_rig, one.name)
    for kind in ("CapEff", "CapPrm", "CapBnd", "CapInh", "CapAmb"):
        assert status[kind] == NO_CAPABILITIES, kind
    assert status["NoNewPrivs"] == "1"
    assert status["Seccomp"] == "2"
    assert status["Uid"].split() == ["1000"] * 4


async def test_only_the_capabilities_that_the_spec_adds_are_there(engine_rig: RealRig) -> None:
    one = seat(engine_rig, cap_add=("NET_RAW",))
    await started(engine_rig, one)
    assert (await _status(engine_rig, one.name))["CapBnd"] == NET_RAW_ONLY


async def test_limits_hold_inside(engine_rig: RealRig) -> None:
    one = seat(engine_rig, cpus=0.5)
    await started(engine_rig, one)
    spec = one.spec
    memory = await _limit(engine_rig, one.name, "memory/memory.limit_in_bytes", "memory.max")
    pids = await _limit(engine_rig, one.name, "pids/pids.max", "pids.max")
    shm_kib = (await engine_rig.inside(one.name, "df -k /dev/shm | tail -1")).split()[1]
    assert (memory, pids, int(shm_kib) * 1024) == (spec.memory_bytes, spec.pids, spec.shm_bytes)
    v1, v2 = "cat cpu/cpu.cfs_quota_us cpu/cpu.cfs_period_us", "cat cpu.max"
    cpu = await engine_rig.inside(one.name, f"cd /sys/fs/cgroup; {v1} 2>/dev/null || {v2}")
    quota_us, period_us = map(int, cpu.split())
    assert quota_us / period_us == spec.cpus


async def test_a_read_only_root_is_one_but_for_tmp_and_data(engine_rig: RealRig) -> None:
    one = seat(engine_rig, read_only_root=True, user="0")
    await started(engine_rig, one)
    script = f"for d in / /etc /usr /run /var/tmp {MOUNT} /tmp; do touch $d/x 2>/dev/null && echo $d; done"
    assert (await engine_rig.inside(one.name, script)).split() == [MOUNT, "/tmp"]


async def test_data_may_be_mounted_where_a_read_only_root_stays_writable(engine_rig: RealRig) -> None:
    one = seat(engine_rig, read_only_root=True, data_mount_path="/tmp")
    await started(engine_rig, one)
    assert (await engine_rig.inside(one.name, "touch /tmp/x && ls /tmp")).split() == ["x"]
    assert [file.name for file in Path(one.placement.data_path).iterdir()] == ["x"]


async def test_no_namespace_is_the_hosts(engine_rig: RealRig) -> None:
    """But for users', which an engine of root's shares, and cgroups', which version 1 does."""
    one = seat(engine_rig)
    await started(engine_rig, one)
    for kind in ("pid", "mnt", "net", "ipc", "uts"):
        inside = (await engine_rig.inside(one.name, f"readlink /proc/self/ns/{kind}")).strip()
        assert inside.startswith(f"{kind}:["), inside
        assert inside != str(Path(f"/proc/self/ns/{kind}").readlink())


async def test_no_device_of_the_host_is_there(engine_rig: RealRig) -> None:
    one = seat(engine_rig)
    await started(engine_rig, one)
    there = set((await engine_rig.inside(one.name, "ls /dev")).split())
    assert there <= DEVICES_OF_EVERY_CONTAINER, there - DEVICES_OF_EVERY_CONTAINER
    told = (await engine_rig.raw(one.name))["HostConfig"]
    assert not told["Devices"]
    assert not told.get("DeviceCgroupRules")
    made = await engine_rig.inside(one.name, f"mknod {MOUNT}/disk b 259 0 && echo made", user="0")
    assert "made" not in made


async def test_a_mount_is_what_was_allowed_and_no_more(engine_rig: RealRig, tmp_path: Path) -> None:
    source, kept = tmp_path / "source", tmp_path / "kept"
    for folder in (source / "below", kept):
        folder.mkdir(parents=True)
        folder.chmod(0o777)
    (source / "file").write_text("of-the-host\n")
    (source / "below").chmod(0o777)
    mounts = (Mount(str(source), "/source", True), Mount(str(kept), "/kept", False))
    one = seat(engine_rig, mounts=mounts)
    with _a_file_system_at(source / "below"):
        await started(engine_rig, one)
        script = "cat /source/file; for d in /source /source/below /kept; do touch $d/x 2>&- && echo $d; done"
        assert (await engine_rig.inside(one.name, script)).split() == ["of-the-host", "/kept"]
        assert not list((source / "below").iterdir()), "a file system in a source is not reached through it"


async def test_a_log_that_is_flooded_stays_in_its_bounds(engine_rig: RealRig) -> None:
    one = seat(engine_rig, command=("python3", "-c", FLOOD), cpus=2.0)
    await started(engine_rig, one)

    async def is_over() -> bool:
        return "over" in await engine_rig.inside(one.name, f"cat {MOUNT}/flood 2>&-")

    await until(is_over, "the flood is over")
    log = await engine_rig.log_file(one.name)
    on_disk = sum(part.stat().st_size for part in log.parent.glob(f"{log.name}*"))
    assert MIB < on_disk <= LOG_BYTES_MAX, "of 70 MiB that were printed"


async def test_the_engine_was_told_all_of_it(real_rig: RealRig) -> None:
    one = seat(real_rig)
    await started(real_rig, one)
    raw = await real_rig.raw(one.name)
    assert set(raw["NetworkSettings"]["Networks"]) == {real_rig.network.name}
    told = raw["HostConfig"]
    assert told["Memory"] == told["MemorySwap"] == one.spec.memory_bytes
    assert told["NanoCpus"] == 1_000_000_000
    assert told["PidsLimit"] == one.spec.pids
    assert told["Privileged"] is False
    assert told["RestartPolicy"]["Name"] in ("no", "")
    assert await real_rig.log_limit(one.name) in ("10m", "10MB")
    assert told["OomScoreAdj"] == 0


async def test_the_only_identity_inside_is_the_homes_name(engine_rig: RealRig) -> None:
    one = seat(engine_rig)
    await started(engine_rig, one)
    assert (await engine_rig.inside(one.name, "hostname")).strip() == HOME
    environment = await engine_rig.inside(one.name, "cat /proc/1/environ")
    assert "GREETING=hello" in environment
    assert one.identity.user_container not in environment
    assert "search" not in await engine_rig.inside(one.name, "grep -v 'search \\.' /etc/resolv.conf")


async def test_what_containers_have_of_processes_together_is_no_less_than_the_machine_gives(
    engine_rig: RealRig,
) -> None:
    """Linux counts them by user, who is the same in all: one could use up what is all others' as well."""
    one = seat(engine_rig)
    await started(engine_rig, one)
    soft, hard = (await engine_rig.inside(one.name, "grep 'Max processes' /proc/self/limits")).split()[2:4]
    ours, there = resource.getrlimit(resource.RLIMIT_NPROC)[1], int(PID_MAX.read_text())
    least = there if ours == resource.RLIM_INFINITY else min(ours, there)
    assert all(one == "unlimited" or int(one) >= least for one in (soft, hard))


async def test_zombies_are_reaped(engine_rig: RealRig) -> None:
    one = seat(engine_rig)
    await started(engine_rig, one)
    assert "init" in await engine_rig.inside(one.name, "cat /proc/1/cmdline")


async def test_ports_are_published_on_the_loopback_only(real_rig: RealRig) -> None:
    one = seat(real_rig)
    await started(real_rig, one)
    seen = await answering(real_rig, one)
    elsewhere = _own_address()
    assert not await real_rig.answers(elsewhere, seen.endpoint_port)
    published = (await real_rig.raw(one.name))["NetworkSettings"]["Ports"] or {}
    bound = [binding["HostIp"] for bindings in published.values() for binding in bindings or ()]
    assert set(bound) <= {"127.0.0.1"}


async def test_an_address_off_the_loopback_is_refused(engine_rig: RealRig) -> None:
    one = seat(engine_rig)
    placement = replace(one.placement, address="0.0.0.0:21000")
    with pytest.raises(TerminalError, match="loopback"):
        await engine_rig.engine.create(one.spec, placement, one.identity)


async def test_peers_of_a_network_of_ours_are_parted_by_docker_and_by_podman_not(engine_rig: RealRig) -> None:
    one, other = seat(engine_rig), seat(engine_rig, home=OTHER_HOME)
    for each in (one, other):
        await started(engine_rig, each)
        await answering(engine_rig, each)
    target = (await shown(engine_rig, other)).endpoint_host
    ask = f"import urllib.request as u; print(u.urlopen('http://{target}:{PORT}/', timeout=2).status)"
    reached = "200" in await engine_rig.inside(one.name, f'python3 -c "{ask}" 2>&1 | tail -1')
    assert await engine_rig.answers(target, PORT), "the host reaches it"
    assert reached is (engine_rig.machine.name == "podman"), (
        "there, and beside services of ours, a fence does it"
    )


@contextmanager
def _a_file_system_at(folder: Path) -> Iterator[None]:
    subprocess.run(("mount", "-t", "tmpfs", "-o", "size=1m,mode=0777", "tmpfs", folder), check=True)
    try:
        yield
    finally:
        subprocess.run(("umount", "--lazy", folder), check=True)


def _own_address() -> str:
    """An address of this machine that is not the loopback, where there is one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect(("192.0.2.1", 9))
        return str(sock.getsockname()[0])


async def test_what_an_engine_cannot_count_is_no_figure(engine_rig: RealRig) -> None:
    """A path that is longer than any call takes: Docker then says -1, Podman 0, whatever else there is."""
    one = seat(engine_rig)
    container_id = (await started(engine_rig, one)).id
    await engine_rig.write_layer(one.name, MIB)
    assert (await engine_rig.engine.layer_bytes(container_id) or 0) >= MIB
    await engine_rig.inside(one.name, f"cd /tmp; for n in $(seq 60); do mkdir {DEEP}; cd {DEEP}; done")
    with pytest.raises(OutcomeUnknownError) as failed:
        await engine_rig.engine.layer_bytes(container_id)
    assert failed.value.reason == LAYER_UNCOUNTABLE
