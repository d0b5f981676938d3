"""Files that hold a key of 32 bytes: made whole at the first start, and refused where others may read them.

Decides which files are fit to hold a key. Refuses to know what it is for.
"""

import base64
import binascii
import os
import re
import secrets
import stat
import tempfile
from pathlib import Path
from typing import Final

from state.settings import SettingsError

KEY_BYTES: Final = 32
FILE_BYTES_MAX: Final = 1024
FILE_MODE: Final = 0o600
# Nobody but the owner may write it, and nobody outside of the owner's group read it: a secret that is mounted
# into a container often belongs to root and is readable by a group.
FORBIDDEN_BITS: Final = 0o027
MAKE: Final = "`openssl rand -base64 32`"
_BASE64 = re.compile(rb"[A-Za-z0-9_+/-]{43}=?")
_HEX = re.compile(rb"[0-9A-Fa-f]{64}")


def read_or_make_key(path: Path, name: str, *, mend: str) -> bytes:
    """The key in ``path``, made there if there is none. ``name`` is what people call it, ``mend`` what helps
    where it cannot be made. Blocking. Raises SettingsError, one line.
    """
    try:
        if not path.exists():
            _make(path)
    except OSError as error:
        raise SettingsError(f"{name} cannot be made ({error.strerror}); {mend}") from None
    return read_key(path, name)


def read_key(path: Path, name: str) -> bytes:
    """The key in ``path``; ``name`` is what people call that. Blocking. Raises SettingsError, one line."""
    try:
        mode, content = _content(path)
    except OSError as error:
        raise SettingsError(
            f"{name} cannot be read ({error.strerror}); let this user read it, or make one with {MAKE}"
        ) from None
    if not stat.S_ISREG(mode):
        raise SettingsError(f"{name} is no file; name a file that holds a key, made with {MAKE}")
    if mode & FORBIDDEN_BITS:
        raise SettingsError(
            f"{name} may be read or written by others (mode {stat.S_IMODE(mode):04o}); `chmod 600` it, and "
            "put a new key there if somebody may have read it"
        )
    key = _decoded(content.strip())
    if key is None:
        raise SettingsError(f"{name} holds no key of 32 bytes in base64 or hex; make one with {MAKE}")
    return key


def _make(path: Path) -> None:
    """Write a key at ``path`` unless somebody else just did: it appears whole, or not at all."""
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, FILE_MODE)
            file.write(base64.urlsafe_b64encode(secrets.token_bytes(KEY_BYTES)) + b"\n")
            file.flush()
            os.fsync(descriptor)
        try:
            os.link(temporary, path)
        except FileExistsError:
            return  # another worker's won; it is read like one that was always there
        _sync_folder(path.parent)
    finally:
        os.unlink(temporary)  # noqa: PTH108 (a name from mkstemp, not a Path)


def _sync_folder(folder: Path) -> None:
    """What is sealed from now on must not outlive a key that a power cut took."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _content(path: Path) -> tuple[int, bytes]:
    """Mode and content; of what is no regular file only the mode, without waiting for anything."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        mode = os.fstat(descriptor).st_mode
        return mode, os.read(descriptor, FILE_BYTES_MAX) if stat.S_ISREG(mode) else b""
    finally:
        os.close(descriptor)


def _decoded(content: bytes) -> bytes | None:
    if _HEX.fullmatch(content):
        return bytes.fromhex(content.decode())
    if not _BASE64.fullmatch(content):
        return None
    try:
        return base64.b64decode(content.rstrip(b"=") + b"=", altchars=b"-_" if _is_urlsafe(content) else None)
    except binascii.Error:
        return None


def _is_urlsafe(content: bytes) -> bool:
    return b"-" in content or b"_" in content
