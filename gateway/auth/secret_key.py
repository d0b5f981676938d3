"""The key that seals what ``auth.db`` may hold only sealed (private signing keys), and marks cookies as ours.

Decides where the key stands (SECRET_KEY_FILE, else a file in STATE_DIR that is made at the first start),
which files are fit to hold one, how a value is sealed and how one is marked. Whoever has auth.db alone has
nothing; whoever loses this key loses only what can be made anew. Next: :mod:`gateway.auth.oauth.keys`,
:mod:`gateway.auth.sessions`.
"""

import base64
import hmac
import secrets
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from state.key_file import KEY_BYTES, read_key, read_or_make_key
from state.manifests.problem import shown
from state.settings import usable_directory

FILE_NAME: Final = "secret.key"
MARK_CHARS: Final = 20
_MARK_BYTES: Final = 15  # 120 bits, which end where a character of base64 does
_NONCE_BYTES: Final = 12  # Source: NIST SP 800-38D section 8.2.2 (a random nonce has 96 bits)
_FORMAT: Final = b"\x01"


class SecretKey:
    """Seals with AES-256-GCM, marks with HMAC-SHA-256. ``name``: what the value is; sealed or marked under
    another name it is no good.
    """

    def __init__(self, key: bytes) -> None:
        assert len(key) == KEY_BYTES
        self._cipher = AESGCM(key)
        # One key for one use. Source: RFC 5869 sections 2.3 and 3.3 (a random key needs no extraction).
        self._marking = HKDFExpand(SHA256(), KEY_BYTES, b"mark").derive(key)

    def seal(self, value: bytes, name: str) -> bytes:
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return _FORMAT + nonce + self._cipher.encrypt(nonce, value, name.encode())

    def mark(self, value: str, name: str) -> str:
        """What nobody can put behind ``value`` who does not have the key: MARK_CHARS of base64url."""
        digest = hmac.digest(self._marking, f"{name}\n{value}".encode(), "sha256")
        return base64.urlsafe_b64encode(digest[:_MARK_BYTES]).decode()

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
        return SecretKey(read_key(secret_key_file, f"SECRET_KEY_FILE={shown(str(secret_key_file))}"))
    path = usable_directory("STATE_DIR", state_dir) / FILE_NAME
    name = f"{FILE_NAME} in STATE_DIR={shown(str(state_dir))} (SECRET_KEY_FILE is not set)"
    mend = "make STATE_DIR writable for this user, or set SECRET_KEY_FILE to a file with a key"
    return SecretKey(read_or_make_key(path, name, mend=mend))
