"""Where setting up keeps its things: all below the project's `.cache`, which may be deleted at any time."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from mcpgw.bootstrap.errors import BootstrapError
from mcpgw.bootstrap.progress import say

PROJECT_DIR = Path(__file__).resolve().parents[2]
CACHE_DIR = PROJECT_DIR / ".cache"
LOCK_WAIT_MAX_S = 1200.0
LOCK_POLL_S = 0.2


def cache_dir(name: str) -> Path:
    """The folder of that name in the cache, made if need be."""
    folder = CACHE_DIR / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(folder, error) from error
    if not os.access(folder, os.W_OK):
        raise _unwritable(folder, PermissionError("it belongs to somebody else"))
    return folder


@contextmanager
def only_one(name: str) -> Iterator[None]:
    """Hold the lock `name`, so that two set-ups do each thing once. The kernel frees a dead one's."""
    with _opened(cache_dir("locks") / name) as file:
        deadline = time.monotonic() + LOCK_WAIT_MAX_S
        told = False
        while not _locked(file):
            if time.monotonic() > deadline:
                raise BootstrapError(
                    f"another set-up has held {file.name} for {LOCK_WAIT_MAX_S:.0f} s",
                    mend="End it, or wait for it, and start again",
                )
            if not told:
                say(f"waiting for another set-up to finish ({name})")
                told = True
            time.sleep(LOCK_POLL_S)
        yield


def _opened(path: Path) -> IO[str]:
    """To be locked, which takes no right to write: another user may have made it. On NFS it takes one."""
    flags = os.O_CREAT | os.O_CLOEXEC
    try:
        try:
            return open(os.open(path, flags | os.O_RDWR, 0o644))  # noqa: PTH123 - a descriptor
        except PermissionError:
            return open(os.open(path, flags | os.O_RDONLY, 0o644))  # noqa: PTH123 - likewise
    except OSError as error:
        raise _unwritable(path, error) from error


def append(path: Path, text: str) -> None:
    """To a log in the cache. Raises BootstrapError."""
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise _unwritable(path, error) from error


def _unwritable(folder: Path, error: OSError) -> BootstrapError:
    return BootstrapError(
        f"{folder} cannot be written: {error.strerror or error}",
        mend=f"Make {PROJECT_DIR} writable for this user, or delete {CACHE_DIR}",
    )


def _locked(file: IO[str]) -> bool:
    try:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise _unwritable(Path(file.name), error) from error
    return True
