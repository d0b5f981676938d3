"""Writes files into a data directory that a workload owns, and may be changing at this very moment.

Decides that nothing outside of it is ever touched: each directory on the way is opened by itself, in the one
before it, and never through a link; a file is made under a name that nobody knows and takes the other's place
whole, whatever that was. What the workload put in the way is left to it, and said. Knows no claims: those are
:mod:`reconciler.loop.directories`'s.
Source: openat(2), rename(2); CWE-59 and CWE-367, for what goes wrong otherwise.
"""

import errno
import os
import re
import secrets
import stat
from collections.abc import Iterable
from contextlib import ExitStack, suppress
from itertools import islice
from pathlib import Path, PurePosixPath

from reconciler.core.actions import FileText

FILE_MODE = 0o644  # the directory above the mounted one lets nobody else in
DIRECTORY_MODE = 0o755
DRAFT_PREFIX = ".mcpgw-"
DRAFT_BYTES = 12
ENTRIES_LOOKED_MAX = 10_000  # of a folder, for drafts that a crash left there
_OF_A_DRAFT = re.compile(rf"{re.escape(DRAFT_PREFIX)}[0-9a-f]{{{2 * DRAFT_BYTES}}}")
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_DRAFT = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
# A pipe in the file's place would otherwise be waited for.
_PEEK = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
# What the workload itself can bring about, and mend.
_IN_THE_WAY = frozenset(
    {
        errno.EISDIR,
        errno.ENOTDIR,
        errno.ELOOP,
        errno.ENOTEMPTY,
        errno.EEXIST,
        errno.ENOENT,
        errno.ENAMETOOLONG,
    }
)


def write_files(data: Path, files: Iterable[FileText], user: str) -> str:
    """Have ``files`` below ``data``, each whole or as it was; what stands in the way of one, "" if nothing.

    Raises OSError where it is not the workload's doing.
    """
    owner, troubles = owner_of(user), []
    root = os.open(data, _DIRECTORY)
    try:
        for file in files:
            try:
                _write(root, file, owner)
            except OSError as error:
                if error.errno not in _IN_THE_WAY:
                    raise
                troubles.append(f"{file.path}: {_in_words(error)}")
    finally:
        os.close(root)
    return "; ".join(troubles)


def owner_of(user: str) -> tuple[int, int]:
    """``<uid>`` or ``<uid>:<gid>`` as numbers."""
    uid, _, gid = user.partition(":")
    return int(uid), int(gid or uid)


def _write(root: int, file: FileText, owner: tuple[int, int]) -> None:
    *steps, name = PurePosixPath(file.path).parts
    assert name not in ("", ".", "..") and not file.path.startswith("/"), "a path stays below its directory"
    with ExitStack() as opened:
        folder = root
        for step in steps:
            folder = _entered(folder, step, owner)
            opened.callback(os.close, folder)
        _remove_drafts(folder)
        if not _says(folder, name, file.content):
            _replace(folder, name, file.content, owner)


def _entered(folder: int, step: str, owner: tuple[int, int]) -> int:
    """The directory ``step`` in ``folder``, opened; made if it is missing."""
    assert step not in (".", ".."), "a path stays below its directory"
    try:
        os.mkdir(step, DIRECTORY_MODE, dir_fd=folder)
    except FileExistsError:
        return os.open(step, _DIRECTORY, dir_fd=folder)
    inner = os.open(step, _DIRECTORY, dir_fd=folder)
    _give(inner, owner)
    return inner


def _remove_drafts(folder: int) -> None:
    """Those that a crash left, as nobody else of ours writes here. A link is removed, not followed."""
    with os.scandir(folder) as entries:
        left = [one.name for one in islice(entries, ENTRIES_LOOKED_MAX) if _OF_A_DRAFT.fullmatch(one.name)]
    for name in left:
        with suppress(OSError):
            os.unlink(name, dir_fd=folder)


def _says(folder: int, name: str, content: bytes) -> bool:
    """Whether exactly that stands there already, as a file of its own."""
    try:
        standing = os.open(name, _PEEK, dir_fd=folder)
    except OSError:
        return False
    try:
        seen = os.fstat(standing)
        is_alike = stat.S_ISREG(seen.st_mode) and seen.st_size == len(content) and seen.st_nlink == 1
        return is_alike and os.read(standing, len(content) + 1) == content
    finally:
        os.close(standing)


def _replace(folder: int, name: str, content: bytes, owner: tuple[int, int]) -> None:
    """The draft is ours by its descriptor, whatever the workload does with its name meanwhile."""
    draft = f"{DRAFT_PREFIX}{secrets.token_hex(DRAFT_BYTES)}"
    descriptor = os.open(draft, _DRAFT, 0o600, dir_fd=folder)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            os.fchmod(descriptor, FILE_MODE)
            _give(descriptor, owner)
            file.flush()
            os.fsync(descriptor)
        os.rename(draft, name, src_dir_fd=folder, dst_dir_fd=folder)
    except OSError:
        with suppress(OSError):
            os.unlink(draft, dir_fd=folder)
        raise


def _give(descriptor: int, owner: tuple[int, int]) -> None:
    """Where we may not, everybody may read it; and only we, or the workload in its directory, replace it."""
    with suppress(PermissionError):
        os.fchown(descriptor, *owner)


def _in_words(error: OSError) -> str:
    match error.errno:
        case errno.EISDIR | errno.ENOTEMPTY | errno.EEXIST:
            return "a directory has its place; remove it"
        case errno.ENOTDIR | errno.ELOOP:
            return "a file or a link has the place of a directory on the way; remove it"
        case _:
            return f"it could not be written ({error.strerror}); see what is in its place"
