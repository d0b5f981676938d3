"""How much room there is, and how much of it a Home's data takes: asked of the file system, in threads.

What users keep is hostile: a tree may be endless, deep, full of links, and change while it is counted. So no
link is followed, every directory is opened below the one that was read before, and time, entries and depth
have limits. A file system that hangs costs one thread, and is unknown. Next: :mod:`reconciler.loop.disk`.
"""

import os
import stat
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from reconciler.core.errors import TransientError
from reconciler.core.world import DiskUse
from reconciler.loop.directories import DATA_DIRECTORY, seat_in
from reconciler.loop.own_threads import OwnThreads

ENTRIES_MAX = 1_000_000
DEPTH_MAX = 128  # each level holds two descriptors open
LINKED_MAX = 100_000  # files of several names that are remembered; a further one counts with each name
COUNT_S_MAX = 120.0
ENTRIES_SLOW_MIN = 100_000  # fewer that take longer than that are a slow disk's doing
ANSWER_S_MAX = 5.0  # beyond COUNT_S_MAX, for what the count itself says of its end
ROOM_S_MAX = 5.0
OF_DATA = "where HOST_DATA_DIR is"
OF_LAYERS = "where the engine keeps its containers ({})"
# In a container nobody sees the engine's folders, but its own root is an overlay over one of them.
# Source: moby, daemon/initlayer; podman-run(1), ENVIRONMENT.
MARKS_OF_A_CONTAINER = (Path("/.dockerenv"), Path("/run/.containerenv"))
OWN_ROOT = Path("/")
BLOCK_BYTES = 512  # Source: stat(2), st_blocks, whatever st_blksize says

_INTO = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Room:
    """What is left: bytes, and how many files can be made, None where nothing but bytes limits them."""

    where: str  # in words
    free_bytes: int
    free_files: int | None = None


class Gauge(Protocol):
    """What can be asked of where Homes keep their data. None is an answer that did not come."""

    async def rooms(self) -> list[Room]:
        """Of each disk that has to have some, as far as it answers."""
        ...

    async def use(self, home: str, bytes_max: int) -> DiskUse | None:
        """What the Home's data takes; counted no further than a little over ``bytes_max``."""
        ...

    def close(self) -> None: ...


class NoGauge:
    """Where nothing can be asked: everything is unknown, and nobody is held to anything."""

    async def rooms(self) -> list[Room]:
        return []

    async def use(self, home: str, bytes_max: int) -> DiskUse | None:
        del home, bytes_max
        return None

    def close(self) -> None:
        pass


class HostGauge:
    """Directories of the host, below one root. Counting and asking for room never wait for each other.

    ``layers_path`` says where the engine keeps what containers write elsewhere, as far as it has told.
    """

    def __init__(self, root: Path, layers_path: Callable[[], str] = lambda: "") -> None:
        self._root = root
        self._layers_path = layers_path
        self._counting = OwnThreads("disk-use")
        self._asking = OwnThreads("disk-room")
        self._closed = threading.Event()

    async def rooms(self) -> list[Room]:
        asked = [lambda: _room(self._root, OF_DATA)]
        if said := self._layers_path():
            asked.append(lambda: _room(_seen_here(Path(said)), OF_LAYERS.format(said)))
        found = [await _within(ROOM_S_MAX, self._asking, ask) for ask in asked]
        return [one for one in found if one is not None]

    async def use(self, home: str, bytes_max: int) -> DiskUse | None:
        def count() -> DiskUse | None:
            try:
                data = seat_in(self._root, home) / DATA_DIRECTORY
            except TransientError:
                return None
            return counted(data, bytes_max, is_over=self._closed.is_set)

        return await _within(COUNT_S_MAX + ANSWER_S_MAX, self._counting, count)

    def close(self) -> None:
        """What is counted just now ends at its next entry."""
        self._closed.set()
        for thread in (self._counting, self._asking):
            thread.close()


def counted(
    root: Path, bytes_max: int, *, entries_max: int = ENTRIES_MAX, is_over: Callable[[], bool] = lambda: False
) -> DiskUse | None:
    """What the tree takes on disk, a file of several names once; None if nobody can tell.

    A tree of many entries that are not counted in time is beyond what can be; one of few is unknown. Where
    there is none in a folder that is there, as after it was removed by hand, nothing is taken.
    """
    deadline = time.monotonic() + COUNT_S_MAX
    tree = _Count(entries_max)
    levels: list[_Level] = []
    try:
        try:
            levels.append(_Level.opened(str(root)))
        except FileNotFoundError:
            return DiskUse(0, "") if root.parent.is_dir() else None
        while levels:
            if is_over():
                return None
            if time.monotonic() > deadline:
                if tree.entries_count <= ENTRIES_SLOW_MIN:
                    return None
                tree.beyond = f"more files than can be counted in {COUNT_S_MAX:g} s"
                break
            entry = next(levels[-1].entries, None)
            if entry is None:
                levels.pop().close()
            elif tree.add(entry):
                if len(levels) >= DEPTH_MAX:
                    tree.beyond = f"more than {DEPTH_MAX} directories in each other"
                else:
                    levels += _Level.below(levels[-1], entry.name)
            if tree.beyond or tree.bytes_used > bytes_max:
                break
    except OSError:
        return None
    finally:
        for level in levels:
            level.close()
    return DiskUse(tree.bytes_used, tree.beyond)


class _Count:
    def __init__(self, entries_max: int) -> None:
        self.bytes_used = 0
        self.beyond = ""
        self.entries_count = 0
        self._entries_max = entries_max
        self._linked: set[tuple[int, int]] = set()  # files of several names

    def add(self, entry: "os.DirEntry[str]") -> bool:
        """Count the entry; whether it is a directory to go into."""
        self.entries_count += 1
        if self.entries_count > self._entries_max:
            self.beyond = f"more than {self._entries_max} files and directories"
            return False
        try:
            seen = entry.stat(follow_symlinks=False)
        except OSError:  # it went away meanwhile
            return False
        is_directory, identity = stat.S_ISDIR(seen.st_mode), (seen.st_dev, seen.st_ino)
        if seen.st_nlink > 1 and not is_directory:
            if identity in self._linked:
                return False
            if len(self._linked) < LINKED_MAX:
                self._linked.add(identity)
        self.bytes_used += seen.st_blocks * BLOCK_BYTES
        return is_directory


class _Level:
    """One directory that is being read."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.entries = os.scandir(descriptor)

    @classmethod
    def opened(cls, path: str, within: int | None = None) -> "_Level":
        descriptor = os.open(path, _INTO, dir_fd=within)
        try:
            return cls(descriptor)
        except OSError:
            os.close(descriptor)
            raise

    @classmethod
    def below(cls, level: "_Level", name: str) -> "list[_Level]":
        """The directory of that name in it; none where it went away, or is a link by now."""
        try:
            return [cls.opened(name, within=level.descriptor)]
        except OSError:
            return []

    def close(self) -> None:
        self.entries.close()
        os.close(self.descriptor)


def _seen_here(layers: Path) -> Path:
    """A path on the disk that has the engine's folder of that name."""
    is_here = os.access(layers, os.F_OK)  # False also where this process may not look
    return layers if is_here or not any(one.exists() for one in MARKS_OF_A_CONTAINER) else OWN_ROOT


def _room(root: Path, where: str) -> Room | None:
    """Source: statvfs(3); where files have no number of their own (btrfs), it is 0 of 0."""
    try:
        found = os.statvfs(root)
    except OSError:
        return None
    return Room(where, found.f_bavail * found.f_frsize, found.f_favail if found.f_files else None)


async def _within(seconds: float, thread: OwnThreads, ask: Callable[[], T | None]) -> T | None:
    try:
        return await thread.ask(seconds, ask)
    except TimeoutError:
        return None
