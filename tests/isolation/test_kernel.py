"""The ways out of a container that hardening guides and write-ups of escapes know, tried from inside.

Much is refused to any user, whatever protects the container. So it is tried as the container's root, too;
and in a container made by hand that lacks the protection, where it has to get through.

Source: CIS Docker Benchmark 1.6; Docker's default seccomp profile; "Escaping containers" write-ups on
release_agent, core_pattern, uevent_helper, CVE-2019-5736, CVE-2020-15257, CVE-2022-0185, CVE-2022-0492.
"""

import json
import os
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from mcpgw.bootstrap.rights import CAP_SYS_RESOURCE, has_capability
from tests.isolation.conftest import (
    BOB,
    MALLORY,
    ROOT,
    WORKLOAD,
    Control,
    Ward,
    assert_forbidden,
    assert_got_through,
    assert_refused,
    is_refused,
)

pytestmark = pytest.mark.engine

WRITTEN = (
    "/proc/sysrq-trigger",
    "/proc/sys/kernel/core_pattern",
    "/proc/sys/kernel/modprobe",
    "/proc/sys/kernel/hotplug",
    "/proc/sys/kernel/hostname",
    "/proc/sys/kernel/randomize_va_space",
    "/proc/sys/kernel/yama/ptrace_scope",
    "/proc/sys/kernel/unprivileged_userns_clone",
    "/proc/sys/vm/panic_on_oom",
    "/proc/sys/vm/overcommit_memory",
    "/proc/sys/fs/file-max",
    "/proc/sys/fs/binfmt_misc/register",
    "/proc/sys/net/ipv4/ip_forward",
    "/proc/sys/net/ipv6/conf/all/disable_ipv6",
    "/proc/irq/default_smp_affinity",
    "/sys/kernel/uevent_helper",
    "/sys/kernel/mm/transparent_hugepage/enabled",
    "/sys/power/state",
    "/sys/class/thermal/thermal_zone0/mode",
    "/sys/fs/cgroup/release_agent",
    "/sys/fs/cgroup/memory/release_agent",
    "/sys/fs/cgroup/rdma/release_agent",
    "/sys/fs/cgroup/devices/devices.allow",
    "/sys/fs/cgroup/memory/memory.limit_in_bytes",
    "/sys/fs/cgroup/memory.max",
    "/sys/fs/cgroup/pids/pids.max",
    "/sys/fs/cgroup/pids.max",
    "/sys/fs/cgroup/cgroup.procs",
    "/dev/kmsg",
    "/dev/mem",
    "/etc/passwd",
    "/etc/shadow",
    "/etc/ld.so.preload",
    "/usr/bin/python3",
    "/sbin/docker-init",
    "/dev/init",
    "/proc/1/exe",
)
READ = (
    "/proc/kcore",
    "/proc/kmem",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/acpi/event",
    "/proc/scsi/scsi",
    "/proc/asound/version",
    "/proc/vmallocinfo",
    "/proc/slabinfo",
    "/proc/pagetypeinfo",
    "/sys/firmware/memmap/0/start",
    "/sys/firmware/efi/systab",
    "/sys/kernel/debug/sched_features",
    "/sys/kernel/security/lockdown",
    "/dev/mem",
    "/dev/port",
    "/dev/kmsg",
    "/dev/sda",
    "/dev/vda",
    "/dev/nvme0n1",
    "/dev/mapper/control",
    "/dev/fuse",
    "/dev/kvm",
    "/dev/net/tun",
    "/dev/loop0",
    "/dev/loop-control",
    "/etc/shadow",
)
SOCKETS = (
    "/var/run/docker.sock",
    "/run/docker.sock",
    "/run/podman/podman.sock",
    "/run/containerd/containerd.sock",
    "/run/crio/crio.sock",
    "/run/dbus/system_bus_socket",
    "/run/systemd/private",
)

FILES = """
for path in written:
    attempt("write " + path, lambda: os.write(os.open(path, os.O_WRONLY), put))
for path in read:
    attempt("read " + path, lambda: os.read(os.open(path, os.O_RDONLY), 64))
for path in sockets:
    attempt("connect " + path, lambda: socket.socket(socket.AF_UNIX).connect(path))
"""

# Numbers of x86-64 and of arm64, and arguments that ask for nothing: whoever may call it changes nothing,
# or gets another error than one for want of a right. Source: Linux, syscall tables, and its order of checks.
HERE, NOTHING = -100, b"/nowhere"
ARRAY = struct.pack("5I", 2, 4, 4, 1, 0)
CLOCK = struct.pack("IIQ", 1, 112, 0).ljust(112, b"\0")
CALLS: dict[str, tuple[int | bytes, ...]] = {
    "bpf": (321, 280, 0, ARRAY, len(ARRAY)),
    "perf_event_open": (298, 241, CLOCK, 0, -1, -1, 0),
    "init_module": (175, 105, b"", 0, b""),
    "finit_module": (313, 273, -1, b"", 0),
    "delete_module": (176, 106, b"nothing", 0x800),
    "kexec_load": (246, 104, 0, 1000, 0, 0),
    "open_by_handle_at": (304, 265, HERE, bytes(8), 0),
    "reboot": (169, 142, 0, 0, 0, 0),
    "swapon": (167, 224, NOTHING, 0),
    "swapoff": (168, 225, NOTHING),
    "settimeofday": (164, 170, 0, 0),
    "sethostname": (170, 161, b"other", 5),
    "setdomainname": (171, 162, b"other", 5),
    "acct": (163, 89, NOTHING),
    "pivot_root": (155, 41, b"/", b"/"),
    "chroot": (161, 51, b"/"),
    "vhangup": (153, 58),
    "fsopen": (430, 430, b"tmpfs", 0),
    "open_tree": (428, 428, HERE, b"/", 1),
    "move_mount": (429, 429, -1, b"", -1, b"", 0),
    "mount_setattr": (442, 442, HERE, b"/", 0, bytes(32), 32),
    "fanotify_init": (300, 262, 0, 0),
}
# Those that a kernel refuses to nobody: seccomp alone does.
FREE_CALLS: dict[str, tuple[int | bytes, ...]] = {
    "add_key": (248, 217, b"user", b"mallory", b"x", 1, -2),
    "request_key": (249, 218, b"user", b"mallory", 0, 0),
    "quotactl": (179, 60, 0, 0, 0, 0),
    "userfaultfd": (323, 282, 1),
    "personality": (135, 92, 0x40000),
}
KEYCTL = {"keyctl": (250, 219, 0, -2, 1)}  # Podman's profile lets it be; there, nobody makes a key
SYSCALLS = """
column = 0 if platform.machine() == "x86_64" else 1
def value(given):
    return ctypes.c_long(given) if isinstance(given, int) else ctypes.create_string_buffer(given)
for name, given in calls.items():
    attempt(name, lambda: checked(libc.syscall(given[column], *map(value, given[2:]))))
"""
MOUNTS = """
for kind in ("mnt", "net", "pid", "ipc", "uts", "cgroup"):
    attempt("setns " + kind, lambda: checked(libc.setns(os.open("/proc/1/ns/" + kind, os.O_RDONLY), 0)))
BIND, REMOUNT = 4096, 32
for kind in ("proc", "tmpfs", "sysfs", "overlay", "cgroup", "cgroup2"):
    attempt("mount " + kind, lambda: checked(libc.mount(b"/", b"/tmp", kind.encode(), 0, None)))
for name, flags in (("bind", BIND), ("remount", BIND | REMOUNT)):
    attempt("mount " + name, lambda: checked(libc.mount(b"/", b"/tmp", None, flags, None)))
attempt("umount /proc/sys", lambda: checked(libc.umount2(b"/proc/sys", 2)))
attempt("umount /data", lambda: checked(libc.umount2(b"/data", 2)))
"""
UNSHARE = """
for name, flag in flags.items():
    attempt(name, lambda: apart(lambda: checked(libc.unshare(flag))))
"""
FLAGS = {
    "mount": 0x20000,
    "pid": 0x20000000,
    "net": 0x40000000,
    "uts": 0x4000000,
    "ipc": 0x8000000,
    "cgroup": 0x2000000,
}
USERS = {"user": 0x10000000, "user and mount": 0x10020000, "user and net": 0x50000000}

LIMITS = ("memory.limit_in_bytes", "devices.allow", "pids.max", "memory.max")

# Root of a user namespace of one's own, where the engine lets one have it: it is root of nothing else.
NESTED = """
os.chdir("/data")
said_before = (os.getuid(), os.getgid())
libc.unshare(0x10000000 | 0x20000 | 0x40000000 | 0x4000000 | 0x8000000 | 0x2000000)
maps = {"setgroups": "deny", "uid_map": f"0 {said_before[0]} 1", "gid_map": f"0 {said_before[1]} 1"}
for file, inside in maps.items():
    try:
        os.write(os.open("/proc/self/" + file, os.O_WRONLY), inside.encode())
    except OSError:
        pass
BIND, REMOUNT = 4096, 32
for path in written:
    attempt("write " + path, lambda: os.write(os.open(path, os.O_WRONLY), b"1"))
for path in read:
    attempt("read " + path, lambda: os.read(os.open(path, os.O_RDONLY), 64))
for path in (b"/proc", b"/proc/sys", b"/proc/kcore", b"/sys/firmware", b"/proc/sysrq-trigger"):
    attempt(f"umount {path}", lambda: checked(libc.umount2(path, 2)))
for path in (b"/proc/sys", b"/sys", b"/", b"/proc/sysrq-trigger", b"/sys/fs/cgroup"):
    attempt(f"writable {path}", lambda: checked(libc.mount(None, path, None, REMOUNT | BIND, None)))
for kind in ("proc", "sysfs", "ext4", "debugfs", "tracefs", "securityfs", "devtmpfs"):
    attempt("mount " + kind, lambda: checked(libc.mount(b"none", b"/tmp", kind.encode(), 0, None)))
for options in (b"rdma", b"memory", b"devices", b"pids", b"none,name=x"):
    if libc.mount(b"c", b"/tmp", b"cgroup", 0, options) == 0:  # what can be mounted cannot be written
        for file in ("release_agent", "notify_on_release", "cgroup.procs", *limits):
            path = "/tmp/" + file
            attempt(f"write {options} {file}", lambda: os.write(os.open(path, os.O_WRONLY), b"1"))
for kind in ("mnt", "net", "pid", "ipc", "uts", "user"):
    attempt("setns " + kind, lambda: checked(libc.setns(os.open("/proc/1/ns/" + kind, os.O_RDONLY), 0)))
attempt("mknod", lambda: os.mknod("/data/disk", 0o060600, os.makedev(8, 0)))
attempt("chown", lambda: os.chown("/data", 65534, 65534))
attempt("clock", lambda: __import__("time").clock_settime(0, 0))
attempt("module", lambda: checked(libc.syscall(init_module[platform.machine() != "x86_64"], 0, 0, b"")))
attempt("reach the neighbour", lambda: socket.create_connection((bob, 8080), 2))
"""

# What a container made by hand gets, to do what is tried here.
CAPABILITIES = [
    "CHOWN",
    "DAC_READ_SEARCH",
    "MKNOD",
    "NET_ADMIN",
    "NET_RAW",
    "SETGID",
    "SETUID",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_CHROOT",
    "SYS_MODULE",
    "SYS_NICE",
    "SYS_PACCT",
    "SYS_PTRACE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    *(["SYS_RESOURCE"] if has_capability(CAP_SYS_RESOURCE) else []),
]
NO_CAPABILITY = "{'0000000000000000'}"
NOBODY = 65534
# No call here is one that seccomp keeps back.
PRIVILEGES = """
import fcntl, resource, struct
with open("/proc/self/status") as status:
    said["capabilities"] = repr({line.split()[1] for line in status if line.startswith("Cap")})
own = f"/tmp/of-{os.getuid()}"
open(own, "w").close()
address = struct.pack("16sHH4s8x", b"lo", socket.AF_INET, 0, bytes((127, 0, 0, 9)))
def raise_a_limit():
    for limit in (64, 65):
        checked(libc.setrlimit(resource.RLIMIT_NOFILE, struct.pack("LL", limit, limit)))
def be_spared():
    os.write(os.open("/proc/self/oom_score_adj", os.O_WRONLY), b"-1000")
def open_raw(family, protocol):
    socket.socket(family, socket.SOCK_RAW, protocol).close()
def take_an_address():
    fcntl.ioctl(socket.socket(socket.AF_INET, socket.SOCK_DGRAM), 0x8916, address)
attempts = {
    "setuid": lambda: os.setuid(to),
    "setgid": lambda: os.setgid(to),
    "setresuid": lambda: os.setresuid(to, to, to),
    "setgroups": lambda: os.setgroups([to]),
    "chown": lambda: os.chown(own, to, to),
    "nice": lambda: os.nice(-5),
    "a hard limit": raise_a_limit,
    "realtime": lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(50)),
    "oom score": be_spared,
    "raw socket": lambda: open_raw(socket.AF_INET, socket.IPPROTO_TCP),
    "raw socket of ICMP": lambda: open_raw(socket.AF_INET, socket.IPPROTO_ICMP),
    "packet socket": lambda: open_raw(socket.AF_PACKET, 0x300),
    "another address": take_an_address,
}
DEVICES = (("disk", 0o060600, (8, 0)), ("memory", 0o020600, (1, 1)), ("kmsg", 0o020600, (1, 11)))
for name, kind, number in DEVICES:
    attempts["mknod " + name] = lambda n=name, k=kind, d=number: os.mknod(f"{own}-{n}", k, os.makedev(*d))
for name, do in attempts.items():
    attempt(name, lambda: apart(do))
"""
# A kernel may keep the first from a whole group, and a machine the others from all that it runs.
PRIVILEGES_OF_FEW = ("realtime", "a hard limit", "oom score")

OWN_PYTHON = """
import shutil
attempt("copied", lambda: shutil.copy(os.path.realpath(sys.executable), "/data/roots"))
"""
SETUID = """
import subprocess
words = ["/data/roots", "-c", "import os; print(os.geteuid(), os.getegid())"]
said["is"] = subprocess.run(words, capture_output=True, text=True).stdout.strip()
said["no new privileges"] = str(libc.prctl(39, 0, 0, 0, 0))
"""

AROUND = """
said["pids"] = json.dumps({pid: open(f"/proc/{pid}/cmdline").read().replace("\\0", " ")
    for pid in os.listdir("/proc") if pid.isdigit() and os.path.exists(f"/proc/{pid}/cmdline")})
said["namespaces"] = json.dumps({kind: os.readlink("/proc/self/ns/" + kind)
    for kind in ("mnt", "pid", "net", "ipc", "uts")})
said["mounts"] = json.dumps([line.split()[3:5] for line in open("/proc/self/mountinfo")])
said["abstract sockets"] = json.dumps([line.split()[-1] for line in open("/proc/net/unix") if "@" in line])
said["homes"] = json.dumps(os.listdir("/data/.."))
said["symbols"] = repr({line.split()[0].strip("0") for line in open("/proc/kallsyms")})
said["environment"] = json.dumps(dict(os.environ))
"""


@pytest.fixture(scope="module")
def privileged(ward: Ward) -> Iterator[Control]:
    """Root of a container that has neither lost its capabilities nor got a seccomp profile."""
    options = ["seccomp=unconfined", "apparmor=unconfined"]
    with ward.unlike_hers(ROOT, cap_add=CAPABILITIES, security_opt=options) as made:
        yield made


def test_no_file_of_the_kernels_or_the_images_is_written_and_no_device_read(ward: Ward, bobs: str) -> None:
    assert_refused(ward.inside(FILES, put=b"1", written=WRITTEN, read=READ, sockets=SOCKETS))
    # Root owns most of them. It writes nothing, lest the machine suffers where it can.
    as_root = ward.inside(FILES, as_user=ROOT, put=b"", written=WRITTEN, read=(), sockets=SOCKETS)
    assert_refused(as_root)
    ward.neighbour_is_well(bobs)


@pytest.mark.parametrize("script", [SYSCALLS, MOUNTS], ids=["calls", "mounts"])
def test_no_privileged_call_is_carried_out(ward: Ward, bobs: str, privileged: Control, script: str) -> None:
    for user in (WORKLOAD, ROOT):
        assert_forbidden(ward.inside(script, as_user=user, calls=CALLS))
    assert_got_through(privileged.inside(script, calls=CALLS))
    ward.neighbour_is_well(bobs)


def test_no_call_is_carried_out_that_seccomp_alone_keeps_back(ward: Ward) -> None:
    calls = FREE_CALLS | (KEYCTL if ward.house.engine.name == "docker" else {})
    for user in (WORKLOAD, ROOT):
        assert_forbidden(ward.inside(SYSCALLS, as_user=user, calls=calls))
    with ward.unlike_hers(security_opt=["no-new-privileges", "seccomp=unconfined"]) as unfiltered:
        assert_got_through(unfiltered.inside(SYSCALLS, calls=calls))


def test_no_namespace_is_left(ward: Ward, privileged: Control) -> None:
    for user in (WORKLOAD, ROOT):
        assert_forbidden(ward.inside(UNSHARE, as_user=user, flags=FLAGS))
    assert_got_through(privileged.inside(UNSHARE, flags=FLAGS))


def test_a_user_namespace_of_its_own_leads_nowhere(ward: Ward, bobs: str) -> None:
    """Docker's seccomp profile refuses it; Podman's lets unprivileged programs nest containers."""
    own = ward.inside(UNSHARE, flags=USERS)
    assert ward.house.engine.name == "podman" or all(map(is_refused, own.values())), own
    module = CALLS["init_module"][:2]
    told = ward.inside(
        NESTED, written=WRITTEN, read=READ, init_module=module, limits=LIMITS, bob=ward.address(BOB)
    )
    assert_refused(told)
    ward.neighbour_is_well(bobs)


def test_no_privilege_is_gained_nor_had_by_root(ward: Ward) -> None:
    for user, to in ((WORKLOAD, 0), (ROOT, NOBODY)):
        told = ward.inside(PRIVILEGES, as_user=user, to=to)
        assert told.pop("capabilities") == NO_CAPABILITY
        assert_forbidden(told)
    with ward.unlike_hers(ROOT, cap_add=CAPABILITIES) as capable:
        told = capable.inside(PRIVILEGES, to=NOBODY)
    assert told.pop("capabilities") != NO_CAPABILITY
    assert_got_through(told, but_for=PRIVILEGES_OF_FEW)


def test_a_setuid_file_gives_nobody_roots_rights(ward: Ward) -> None:
    """A Python that is root's, as an image may have one: here the host makes it so, in the user's data."""
    assert not is_refused(ward.inside(OWN_PYTHON)["copied"])
    program = ward.data(MALLORY) / "roots"
    try:
        os.chown(program, 0, 0)
        program.chmod(0o6755)
        with ward.unlike_hers(security_opt=[]) as control:
            assert control.inside(SETUID) == {"is": "0 0", "no new privileges": "0"}
        assert ward.inside(SETUID) == {"is": "1000 1000", "no new privileges": "1"}
    finally:
        program.unlink()


def test_it_sees_itself_alone(ward: Ward) -> None:
    told, bobs = ward.inside(AROUND), ward.inside(AROUND, BOB)
    assert not any("mcpgw" in line or "dockerd" in line for line in json.loads(told["pids"]).values())
    for kind, own in json.loads(told["namespaces"]).items():
        assert own != str(Path(f"/proc/self/ns/{kind}").readlink()), f"{kind} is the host's"
        assert own != json.loads(bobs["namespaces"])[kind], f"{kind} is Bob's"
    assert json.loads(told["abstract sockets"]) == []
    assert told["symbols"] == "{''}", "the kernel's addresses are told to nobody"
    home = ward.house.home(BOB)
    assert home is not None and home.name not in str(told)
    homes = [target for source, target in json.loads(told["mounts"]) if str(ward.house.homes) in source]
    assert homes in ([], ["/data"]), "nothing else of the host is mounted"
    assert ward.house.key not in told["environment"]
    assert MALLORY not in told["environment"]
