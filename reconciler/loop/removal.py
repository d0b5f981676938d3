"""Deletes a directory with all that is in it, however much and however deep.

What users keep is hostile, and may even change meanwhile. So no link is followed, every directory is opened
below the one that was read before, and what lies deep is moved up first: neither descriptors nor stack grow
with it. Next: :mod:`reconciler.loop.directories`.
"""

import errno
import os
import secrets
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

DEPTH_MAX = 64  # each level holds a descriptor open
NAMES_MAX = 10_000  # of one directory that are held in memory at once
MOVED_PREFIX = ".moved-up-"
MOVED_BYTES = 8  # nobody guesses the name, to have something stand there

_INTO = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_NOT_EMPTY = (errno.ENOTEMPTY, errno.EEXIST)


def remove_tree(folder: Path, *, is_over: Callable[[], bool] = lambda: False) -> None:
    """Raises OSError: InterruptedError once ``is_over`` says so; whatever is left is for the next call."""
    levels = [_Level.opened(str(folder))]
    try:
        while levels:
            level = levels[-1]
            name = level.full_directory(is_over)
            if name is None:
                level.close()
                levels.pop()
                if levels:
                    os.rmdir(level.name, dir_fd=levels[-1].descriptor)
            elif len(levels) < DEPTH_MAX:
                levels.append(_Level.opened(name, within=level.descriptor))
            else:
                above = f"{MOVED_PREFIX}{secrets.token_hex(MOVED_BYTES)}"
                os.rename(name, above, src_dir_fd=level.descriptor, dst_dir_fd=levels[0].descriptor)
    finally:
        for level in levels:
            level.close()
    folder.rmdir()


class _Level:
    """One directory that is being emptied."""

    def __init__(self, name: str, descriptor: int) -> None:
        self.name = name
        self.descriptor = descriptor
        self._entries: Iterator[tuple[str, bool]] = iter(())
        self._missed: set[str] = set()  # names that were listed, and not there

    @classmethod
    def opened(cls, name: str, within: int | None = None) -> "_Level":
        return cls(name, os.open(name, _INTO, dir_fd=within))

    def full_directory(self, is_over: Callable[[], bool]) -> str | None:
        """Delete what can be at once; the next directory that holds something, None where nothing is left."""
        while True:
            entry = next(self._entries, None)
            if entry is None:
                entries = self._read()
                if not entries:
                    return None
                self._entries = iter(entries)
                continue
            if is_over():
                raise InterruptedError(errno.EINTR, "it was to end before all was deleted")
            if not self._delete(*entry):
                return entry[0]

    def close(self) -> None:
        os.close(self.descriptor)

    def _read(self) -> list[tuple[str, bool]]:
        with os.scandir(self.descriptor) as entries:
            found = [(one.name, one.is_dir(follow_symlinks=False)) for one in islice(entries, NAMES_MAX)]
        if any(name in self._missed for name, _ in found):
            raise OSError(errno.EIO, "it lists files again that cannot be found")
        return found

    def _delete(self, name: str, is_directory: bool) -> bool:
        """False for a directory that holds something."""
        try:
            if is_directory:
                os.rmdir(name, dir_fd=self.descriptor)
            else:
                os.unlink(name, dir_fd=self.descriptor)
        except FileNotFoundError:
            self._missed.add(name)
        except OSError as error:
            if error.errno in _NOT_EMPTY:
                return False
            raise
        return True
