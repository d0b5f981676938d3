"""The ways out of a container that hardening guides and write-ups of escapes know, tried from inside.

Source: CIS Docker Benchmark 1.6; Docker's default seccomp profile; "Escaping containers" write-ups on
release_agent, core_pattern, uevent_helper, CVE-2019-5736, CVE-2020-15257, CVE-2022-0185, CVE-2022-0492.
"""

import json
from pathlib import Path

import pytest

from tests.isolation.conftest import BOB, MALLORY, Ward, assert_refused, is_refused

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
    attempt("write " + path, lambda: os.write(os.open(path, os.O_WRONLY), b"1"))
for path in read:
    attempt("read " + path, lambda: os.read(os.open(path, os.O_RDONLY), 64))
for path in sockets:
    attempt("connect " + path, lambda: socket.socket(socket.AF_UNIX).connect(path))
"""

# The numbers of x86-64 and of arm64. Source: Linux, syscall tables.
CALLS = {
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "kexec_load": (246, 104),
    "open_by_handle_at": (304, 265),
    "reboot": (169, 142),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "settimeofday": (164, 170),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
    "acct": (163, 89),
    "quotactl": (179, 60),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "vhangup": (153, 58),
    "fsopen": (430, 430),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "mount_setattr": (442, 442),
    "userfaultfd": (323, 282),
    "lookup_dcookie": (212, 18),
    "name_to_handle_at": (303, 264),
    "fanotify_init": (300, 262),
    "clock_settime": (227, 112),
}
SYSCALLS = """
column = 0 if platform.machine() == "x86_64" else 1
text = ctypes.c_char_p(b"/")
for name, numbers in calls.items():
    attempt(name, lambda: checked(libc.syscall(numbers[column], text, text, text, text, text)))
for kind in ("mnt", "net", "pid", "ipc", "uts", "cgroup"):
    attempt("setns " + kind, lambda: checked(libc.setns(os.open("/proc/1/ns/" + kind, os.O_RDONLY), 0)))
BIND, REMOUNT = 4096, 32
for kind in ("proc", "tmpfs", "sysfs", "overlay", "cgroup", "cgroup2"):
    attempt("mount " + kind, lambda: checked(libc.mount(b"/", b"/tmp", kind.encode(), 0, None)))
for name, flags in (("bind", BIND), ("remount", REMOUNT)):
    attempt("mount " + name, lambda: checked(libc.mount(b"/", b"/tmp", None, flags, None)))
attempt("umount /proc/kcore", lambda: checked(libc.umount2(b"/proc/kcore", 2)))
attempt("umount /data", lambda: checked(libc.umount2(b"/data", 2)))
"""
UNSHARE = """
def in_a_child(flags):
    reader, writer = os.pipe()
    if os.fork() == 0:
        ctypes.set_errno(0)
        libc.unshare(flags)
        os.write(writer, str(ctypes.get_errno()).encode())
        os._exit(0)
    number = int(os.read(reader, 9))
    os.wait()
    if number:
        raise OSError(number, os.strerror(number))
    return "unshared"
for name, flag in flags.items():
    attempt(name, lambda: in_a_child(flag))
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
attempt("module", lambda: checked(libc.syscall(calls["init_module"][0], 0, 0, b"")))
attempt("reach the neighbour", lambda: socket.create_connection((bob, 8080), 2))
"""

PRIVILEGES = """
attempt("setuid", lambda: os.setuid(0))
attempt("setgid", lambda: os.setgid(0))
attempt("setresuid", lambda: os.setresuid(0, 0, 0))
attempt("setgroups", lambda: os.setgroups([0]))
attempt("chown", lambda: os.chown("/data", 0, 0))
attempt("new privileges again", lambda: checked(libc.prctl(38, 0, 0, 0, 0)))
attempt("ambient capability", lambda: checked(libc.prctl(47, 2, 21, 0, 0)))
attempt("nice", lambda: os.nice(-5))
attempt("a hard limit", lambda: __import__("resource").setrlimit(7, (1 << 21, 1 << 21)))
attempt("realtime", lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(50)))
attempt("oom score", lambda: os.write(os.open("/proc/self/oom_score_adj", os.O_WRONLY), b"-1000"))
attempt("raw socket", lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP))
attempt("raw socket of ICMP", lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP))
attempt("raw socket of IPv6", lambda: socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6))
attempt("packet socket", lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0x300))
attempt("another address", lambda: __import__("fcntl").ioctl(
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM), 0x8916, b"eth0".ljust(16, b"\\0") + bytes(24)))
DEVICES = (("disk", 0o060600, (8, 0)), ("memory", 0o020600, (1, 1)), ("kmsg", 0o020600, (1, 11)))
for name, kind, number in DEVICES:
    attempt("mknod " + name, lambda: os.mknod("/data/" + name, kind, os.makedev(*number)))
    attempt("mknod in /tmp " + name, lambda: os.mknod("/tmp/" + name, kind, os.makedev(*number)))
"""

SETUID = """
import shutil, subprocess
def as_root(path):
    found = subprocess.run([path, "-c", "import os; print(os.geteuid())"], capture_output=True, text=True)
    return found.stdout.strip()
for folder in ("/data", "/tmp"):
    def own(folder=folder):
        shutil.copy(os.path.realpath(sys.executable), folder + "/own")
        os.chmod(folder + "/own", 0o6755)
        return as_root(folder + "/own")
    attempt("own file in " + folder, own)
found = []
for top, _, names in os.walk("/"):
    if top.startswith(("/proc", "/sys")):
        continue
    for name in names:
        path = os.path.join(top, name)
        try:
            mode = os.lstat(path).st_mode
        except OSError:
            continue
        if mode & 0o6000 and not os.path.islink(path) and os.lstat(path).st_uid == 0:
            found.append(path)
said["of the image"] = repr(found)
words = ["/bin/busybox", "su", "-c", "id -u", "root"]
su = subprocess.run(words, capture_output=True, text=True, input="\\n")
said["su"] = repr(su.stdout.strip())
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


def test_no_file_of_the_kernels_or_the_images_is_written_and_no_device_read(ward: Ward, bobs: str) -> None:
    assert_refused(ward.inside(FILES, written=WRITTEN, read=READ, sockets=SOCKETS))
    ward.neighbour_is_well(bobs)


def test_no_privileged_call_is_carried_out(ward: Ward, bobs: str) -> None:
    told = ward.inside(SYSCALLS, calls=CALLS)
    assert_refused(told)
    ward.neighbour_is_well(bobs)


def test_no_namespace_is_left(ward: Ward) -> None:
    assert_refused(ward.inside(UNSHARE, flags=FLAGS))


def test_a_user_namespace_of_its_own_leads_nowhere(ward: Ward, bobs: str) -> None:
    """Docker's seccomp profile refuses it; Podman's lets unprivileged programs nest containers."""
    own = ward.inside(UNSHARE, flags=USERS)
    assert ward.house.engine.name == "podman" or all(map(is_refused, own.values())), own
    told = ward.inside(NESTED, written=WRITTEN, read=READ, calls=CALLS, limits=LIMITS, bob=ward.address(BOB))
    assert_refused(told)
    ward.neighbour_is_well(bobs)


def test_no_privilege_is_gained(ward: Ward) -> None:
    assert_refused(ward.inside(PRIVILEGES))


def test_a_setuid_file_gives_nobody_roots_rights(ward: Ward) -> None:
    told = ward.inside(SETUID)
    assert told["own file in /data"] in ("'1000'", "refused: EACCES"), told
    assert told["own file in /tmp"] in ("'1000'", "refused: EACCES"), told
    assert told["su"] == "''"


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
