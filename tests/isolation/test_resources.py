"""Bombs and floods inside one container: they end at its own limits, and its neighbour does not notice."""

import time
from pathlib import Path

import pytest

from mcpgw.testing.waiting import until
from tests.isolation.conftest import MALLORY, Ward

pytestmark = pytest.mark.engine

FORKS = 2_000
MEBIBYTE = 1 << 20
LOG_MIB = 60
LOG_MIB_MAX = 45  # three files of 10 MB on Docker, and what is written between two looks

FORK_BOMB = """
import signal, time
children = []
def fork():
    for _ in range(count):
        pid = os.fork()
        if pid == 0:
            time.sleep(60)
            os._exit(0)
        children.append(pid)
    return "all of them"
attempt("forks", fork)
for pid in children:
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
said["there were"] = str(len(children))
"""

TREE_BOMB = """
import errno, os, time
deadline = time.monotonic() + 5
while time.monotonic() < deadline:
    try:
        os.fork()
    except OSError as error:
        open("/data/forked", "w").write(errno.errorcode[error.errno])
        time.sleep(0.01)
os._exit(0)
"""

# In a process of its own, whose end somebody is left to tell.
MEMORY_BOMB = """
import mmap, signal
def own():
    return bytearray(b"x") * mebibyte
def shared():
    room = mmap.mmap(-1, mebibyte)
    room.write(b"x" * mebibyte)
    return room
reader, writer = os.pipe()
if os.fork() == 0:
    held = []
    for _ in range(2048):
        held.append(globals()[kind]())
        os.write(writer, b"x")
    os._exit(0)
os.close(writer)
held = 0
while some := os.read(reader, 4096):
    held += len(some)
_, status = os.wait()
said["held"] = str(held)
said["ended by"] = signal.Signals(os.WTERMSIG(status)).name if os.WIFSIGNALED(status) else "itself"
"""

FILL = """
def fill(path):
    written = 0
    try:
        with open(path, "wb", buffering=0) as file:
            while written < 512 << 20:
                written += file.write(bytes(1 << 20))
    finally:
        said["bytes " + path] = str(written)
        if os.path.exists(path):
            os.unlink(path)
for path in ("/tmp/fill", "/dev/shm/fill", "/dev/fill", "/fill", "/var/fill", "/run/fill"):
    attempt(path, lambda: fill(path))
"""

FILES = """
held = []
def hold():
    for _ in range(2_000_000):
        held.append(os.dup(0))
attempt("files", hold)
said["held"] = str(len(held))
for one in held:
    os.close(one)
"""

LOG_FLOOD = """
line = b"x" * 1023 + b"\\n"
with open("/proc/1/fd/1", "wb", buffering=0) as out:
    for _ in range(mib * 1024):
        out.write(line)
said["written"] = "all"
"""


def test_a_fork_bomb_ends_at_the_limit(ward: Ward, bobs: str) -> None:
    told = ward.inside(FORK_BOMB, count=FORKS)
    assert told["forks"] == "refused: EAGAIN"
    assert int(told["there were"]) < ward.inspect(MALLORY)["HostConfig"]["PidsLimit"]
    ward.neighbour_is_well(bobs)


def test_a_fork_bomb_that_goes_on_leaves_the_neighbour_alone(ward: Ward, bobs: str) -> None:
    mark = ward.data(MALLORY) / "forked"
    ward.begin(TREE_BOMB)
    until(lambda: mark.exists() and mark.read_text() == "EAGAIN", "there are as many as there may be")
    ward.neighbour_is_well(bobs)
    until(lambda: time.time() - mark.stat().st_mtime > 1, "it is over: no process of it meets the limit")
    ward.is_served_again()


@pytest.mark.parametrize("kind", ["own", "shared"])
def test_a_memory_bomb_ends_at_the_containers_limit(ward: Ward, bobs: str, kind: str) -> None:
    """Of one process, or shared between them, which no program's own memory is."""
    limit_mib = ward.inspect(MALLORY)["HostConfig"]["Memory"] // MEBIBYTE
    told = ward.inside(MEMORY_BOMB, kind=kind, mebibyte=MEBIBYTE)
    assert told["ended by"] == "SIGKILL", "the kernel's, for want of memory"
    assert limit_mib // 2 < int(told["held"]) < limit_mib
    ward.neighbour_is_well(bobs)
    ward.is_served_again()


def test_what_is_no_disk_of_its_own_fills_at_its_size(ward: Ward, bobs: str) -> None:
    told = ward.inside(FILL)
    assert {told[path] for path in ("/tmp/fill", "/dev/shm/fill")} == {"refused: ENOSPC"}
    assert int(told["bytes /tmp/fill"]) == 64 * MEBIBYTE
    assert int(told["bytes /dev/shm/fill"]) <= 16 * MEBIBYTE
    for path in ("/fill", "/var/fill", "/run/fill", "/dev/fill"):
        assert told[path] in ("refused: EROFS", "refused: EACCES", "refused: ENOENT", "refused: ENOSPC"), told
    ward.neighbour_is_well(bobs)


def test_open_files_have_a_limit(ward: Ward) -> None:
    assert ward.inside(FILES)["files"] == "refused: EMFILE"


def test_a_log_flood_is_kept_short(ward: Ward, bobs: str) -> None:
    ward.inside(LOG_FLOOD, mib=LOG_MIB)
    ward.neighbour_is_well(bobs)
    kept = Path(ward.inspect(MALLORY)["LogPath"])
    size_bytes = sum(one.stat().st_size for one in kept.parent.glob(f"{kept.name}*"))
    assert 0 < size_bytes <= LOG_MIB_MAX * MEBIBYTE
    ward.is_served_again()
