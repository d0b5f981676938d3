"""With whose rights a thread opens what lies in the state's folder: its owner's, where root opens it.

Whoever owns that folder may put there what SQLite follows: links, and journals that name a file to delete.
Root would follow them anywhere. Next: :mod:`state.store.sqlite`.
"""

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from state.store.errors import StoreError

_ROOT: Final = 0
_PR_SET_PDEATHSIG: Final = 1
_PR_GET_PDEATHSIG: Final = 2
_NOBODY: Final = 0xFFFFFFFF  # changes nothing, so that what stands is answered


def act_as_owner(folder: Path) -> None:
    """From now on this thread may do to files what the folder's owner may; for root alone a change.

    Where there is none nothing changes: whoever opens it is told. Raises StoreError. Source: setfsuid(2): it
    is the thread's own, and what root may do to files goes with it.
    """
    if sys.platform != "linux" or os.geteuid() != _ROOT:
        return
    try:
        owner = folder.stat().st_uid
    except OSError:
        return
    if owner != _ROOT and _set(owner) != owner:
        raise StoreError(
            f"{folder} belongs to user {owner}, and root may not open files as that user here: "
            "give this process the capability SETUID"
        )


@contextmanager
def acting_as_owner(folder: Path) -> Iterator[None]:
    """The same within a block. Raises as :func:`act_as_owner` does."""
    try:
        act_as_owner(folder)
        yield
    finally:
        if sys.platform == "linux" and os.geteuid() == _ROOT:
            _set(_ROOT)


def acting_user() -> int:
    """Whose files this thread makes."""
    return _set(_NOBODY) if sys.platform == "linux" else os.geteuid()


def _set(user: int) -> int:
    """The call never fails; it answers who it was before.

    It takes the signal away that comes when our parent dies. Source: PR_SET_PDEATHSIG(2const).
    """
    libc, signal = ctypes.CDLL(None), ctypes.c_int()
    libc.prctl(_PR_GET_PDEATHSIG, ctypes.byref(signal))
    libc.setfsuid(ctypes.c_uint(user))
    libc.prctl(_PR_SET_PDEATHSIG, signal)
    return int(libc.setfsuid(ctypes.c_uint(_NOBODY)))
