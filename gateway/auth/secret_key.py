"""The key that seals what ``auth.db`` may hold only sealed: private signing keys.

Decides where the key stands (SECRET_KEY_FILE, else a file in STATE_DIR that is made at the first start),
which files are fit to hold one, and how a value is sealed. Whoever has auth.db alone has nothing; whoever
loses this key loses only what can be made anew. Next: :mod:`gateway.auth.oauth.keys`.
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

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from state.manifests.problem import shown
from state.settings import SettingsError, usable_directory

FILE_NAME: Final = "secret.key"
KEY_BYTES: Final = 32
FILE_BYTES_MAX: Final = 1024
FILE_MODE: Final = 0o600
# Nobody but the owner may write it, and nobody outside of the owner's group read it: a secret that is mounted
# into a container often belongs to root and is readable by a group.
FORBIDDEN_BITS: Final = 0o027
MAKE: Final = "`openssl rand -base64 32`"
_NONCE_BYTES: Final = 12  # Source: NIST SP 800-38D section 8.2.2 (a random nonce has 96 bits)
_FORMAT: Final = b"\x01"
_BASE64 = re.compile(rb"[A-Za-z0-9_+/-]{43}=?")
_HEX = re.compile(rb"[0-9A-Fa-f]{64}")


class SecretKey:
    """Seals with AES-256-GCM. ``name``: what the value is; sealed under another name it does not open."""

    def __init__(self, key: bytes) -> None:
        assert len(key) == KEY_BYTES
        self._cipher = AESGCM(key)

    def seal(self, value: bytes, name: str) -> bytes:
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return _FORMAT + nonce + self._cipher.encrypt(nonce, value, name.encode())

    def unseal(self, sealed: bytes, name: str) -> bytes | None:
        """The value; None where it was sealed with another key, under another name, or changed."""
        nonce, value = sealed[1 : 1 + _NONCE_BYTES], sealed[1 + _NONCE_BYTES :]
        if sealed[:1] != _FORMAT or len(nonce) < _NONCE_BYTES:
            return None
        try:
            return self._cipher.decrypt(nonce, value, name.encode())
        except InvalidTag:
            return None


def load_secret_key(state_dir: Path, secret_key_file: Path | None) -> SecretKey:
    """The key in ``secret_key_file``, else that of ``state_dir``, made if there is none. Blocking.

    Raises SettingsError: one line that names SECRET_KEY_FILE and the mend.
    """
    if secret_key_file is not None:
        return SecretKey(_read(secret_key_file, f"SECRET_KEY_FILE={shown(str(secret_key_file))}"))
    path = usable_directory("STATE_DIR", state_dir) / FILE_NAME
    name = f"{FILE_NAME} in STATE_DIR={shown(str(state_dir))} (SECRET_KEY_FILE is not set)"
    try:
        if not path.exists():
            _make(path)
    except OSError as error:
        raise SettingsError(
            f"{name} cannot be made ({error.strerror}); make STATE_DIR writable for this user, or set "
            "SECRET_KEY_FILE to a file with a key"
        ) from None
    return SecretKey(_read(path, name))


def _make(path: Path) -> None:
    """Write a key at ``path`` unless somebody else just did: it appears whole, or not at all."""
    descriptor, temporary = tempfile.mkstemp(prefix=f".{FILE_NAME}.", dir=path.parent)
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


def _read(path: Path, name: str) -> bytes:
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
