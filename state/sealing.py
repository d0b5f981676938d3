"""Sealing: what the gateway writes into the store and the reconciler alone can read again.

Decides the construction, and that a sealed value is one user's and one name's: moved to another it does not
open. Refuses to know where keys and values are kept. Source: RFC 9180 (HPKE), base mode with X25519,
HKDF-SHA256 and ChaCha20-Poly1305; ``info`` (section 5.1) binds a value to what it is.
"""

import base64
import binascii
import hashlib
from typing import Final, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from state.kinds.user_inputs import key_id_of

KEY_ID_HEX_DIGITS: Final = 16
_SUITE: Final = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305)


class PublicKey:
    """Seals. ``id`` is short, says nothing of the key, and begins every value that is sealed with it."""

    def __init__(self, raw: bytes) -> None:
        """Raises ValueError for what is no key."""
        self.raw = raw
        self.id = hashlib.sha256(raw).hexdigest()[:KEY_ID_HEX_DIGITS]
        self._key = X25519PublicKey.from_public_bytes(raw)

    @classmethod
    def parsed(cls, text: str) -> Self | None:
        """The inverse of ``str()``; None for what is no key."""
        try:
            return cls(base64.urlsafe_b64decode(text.encode()))
        except ValueError:  # binascii.Error is one too
            return None

    def __str__(self) -> str:
        return base64.urlsafe_b64encode(self.raw).decode()

    def seal(self, value: str, *, owner: str, name: str) -> str:
        """``<key id>.<base64>``. ``owner``: the uid of the UserContainer; ``name``: of the input."""
        sealed = _SUITE.encrypt(value.encode(), self._key, _info(owner, name))
        return f"{self.id}.{base64.urlsafe_b64encode(sealed).decode()}"


class PrivateKey:
    """Opens what its ``public`` half sealed."""

    def __init__(self, raw: bytes) -> None:
        self._key = X25519PrivateKey.from_private_bytes(raw)
        self.public = PublicKey(self._key.public_key().public_bytes_raw())

    def open(self, sealed: str, *, owner: str, name: str) -> str | None:
        """The value; None where it was sealed with another key, for another user or name, or was changed."""
        if key_id_of(sealed) != self.public.id:
            return None
        try:
            body = base64.urlsafe_b64decode(sealed.partition(".")[2].encode())
            return _SUITE.decrypt(body, self._key, _info(owner, name)).decode()
        except (binascii.Error, InvalidTag, UnicodeError):
            return None


def _info(owner: str, name: str) -> bytes:
    """No two pairs give the same: an environment variable's name has no line break."""
    return f"mcp-gateway/v1 UserInputs\n{owner}\n{name}".encode()
