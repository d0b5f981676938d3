"""What the store must know of the machine: which boot this is, a clock that nobody sets, what a path is on.

Decides whether a SQLite file may live where it is. Next: :mod:`state.store.sqlite`.
"""

import re
import subprocess
import time
from functools import cache
from pathlib import Path

from state.store.errors import StoreError

FOLDER_MODE = 0o2770  # what is made in it takes its group

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_MOUNTS = Path("/proc/self/mounts")
# WAL keeps its index in shared memory: no file of another machine's may be among them.
# Source: https://www.sqlite.org/wal.html, "does not work over a network filesystem".
_NETWORK_FILESYSTEMS = frozenset({
    "nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "ceph", "lustre", "fuse.sshfs", "fuse.glusterfs",
})  # fmt: skip


def clock_s() -> float:
    """Seconds on a clock that no wall clock moves and that counts while the machine sleeps.

    Source: clock_gettime(2), CLOCK_BOOTTIME. Elsewhere (macOS) the monotonic clock counts sleep already.
    """
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


@cache
def boot_id() -> str:
    """Names this boot of this kernel; containers on one kernel share it."""
    if _BOOT_ID.exists():
        return _BOOT_ID.read_text().strip()
    asked = subprocess.run(
        ("/usr/sbin/sysctl", "-n", "kern.bootsessionuuid"),
        capture_output=True,
        text=True,
        timeout=5,
        check=True,
    )
    return asked.stdout.strip()


def make_folder(folder: Path) -> None:
    """``folder`` for its group, where there is none yet; one that is there is its owner's to set up."""
    if not folder.exists():
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(FOLDER_MODE)


def refuse_network_filesystem(folder: Path) -> None:
    """Raises StoreError where ``folder`` is on another machine's disk."""
    kind = _filesystem(folder.resolve())
    if kind in _NETWORK_FILESYSTEMS:
        raise StoreError(
            f"{folder} is on {kind}, where SQLite cannot keep several processes apart: "
            "set STATE_DIR to a local disk, or use PostgreSQL"
        )


def _filesystem(folder: Path) -> str:
    """The type of the file system that ``folder`` is on; empty where the machine does not tell."""
    if not _MOUNTS.exists():
        return ""
    mounts = (line.split(" ") for line in _MOUNTS.read_text().splitlines())
    around = [(point, kind) for _, point, kind, *_ in mounts if folder.is_relative_to(_unescaped(point))]
    return max(around, key=lambda mount: len(mount[0]), default=("", ""))[1]


def _unescaped(mount_point: str) -> str:
    """Source: proc(5): space, tab, newline and backslash stand as octal escapes."""
    return re.sub(r"\\([0-7]{3})", lambda escape: chr(int(escape[1], 8)), mount_point)
