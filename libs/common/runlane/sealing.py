"""AES-256-GCM sealing of what must not be readable at rest: parameters, secrets, true step results.

A sealed value is `version (1 byte) | key id (4) | nonce (12) | ciphertext and tag`. The context (who it belongs to) is
authenticated with it, so a value copied to another organisation or name does not open.
"""

import base64
import binascii
import hashlib
import hmac
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from runlane.errors import SealBroken

_VERSION = b"\x01"
_KEY_ID = slice(1, 5)
_NONCE = slice(5, 17)
_HEADER_BYTES = 17


class Sealer:
    """Seals with the first of `keys`, the current one; opens with any, the others being retired."""

    def __init__(self, *keys: bytes) -> None:
        if not keys or any(len(key) != 32 for key in keys):
            raise ValueError("a master key is exactly 32 bytes")
        self._ciphers = {_key_id(key): AESGCM(key) for key in keys}
        self._current = _key_id(keys[0])
        self._digest_keys = [hmac.digest(key, b"runlane digest key", "sha256") for key in keys]

    def seal(self, plaintext: bytes, context: str) -> bytes:
        """Seal `plaintext` for `context` (such as `acme|api_key|1`)."""
        nonce = os.urandom(12)
        header = _VERSION + self._current + nonce
        return header + self._ciphers[self._current].encrypt(nonce, plaintext, context.encode())

    def open(self, sealed: bytes, context: str) -> bytes:
        """The plaintext, or `SealBroken` when the key is unknown, the context differs or a byte was changed."""
        cipher = self._ciphers.get(sealed[_KEY_ID])
        if cipher is None or sealed[:1] != _VERSION or len(sealed) < _HEADER_BYTES:
            raise SealBroken("Sealed with a master key that this process does not have; check RUNLANE_MASTER_KEY.")
        try:
            return cipher.decrypt(sealed[_NONCE], sealed[_HEADER_BYTES:], context.encode())
        except InvalidTag:
            raise SealBroken("Sealed bytes were changed, or belong to something else.") from None

    def digest(self, data: bytes, context: str) -> str:
        """A keyed digest (HMAC-SHA256, hex) to recognise `data` by; without the key it cannot be guessed from."""
        return _keyed_digest(self._digest_keys[0], data, context)

    def is_digest(self, digest: str, data: bytes, context: str) -> bool:
        """Whether `digest` was made of the same data for the same context, with any of the keys."""
        return any(hmac.compare_digest(digest, _keyed_digest(key, data, context)) for key in self._digest_keys)


def generate_master_key() -> str:
    """A new master key in the form that settings take: base64 of 32 random bytes."""
    return base64.b64encode(os.urandom(32)).decode()


def parse_master_key(text: str) -> bytes:
    """Read a master key; raises `ValueError` saying what is wrong with it."""
    try:
        key = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("a master key is base64 of 32 bytes") from None
    if len(key) != 32:
        raise ValueError(f"a master key is base64 of 32 bytes, this one has {len(key)}")
    return key


def _key_id(key: bytes) -> bytes:
    return hashlib.sha256(b"runlane key id" + key).digest()[:4]


def _keyed_digest(key: bytes, data: bytes, context: str) -> str:
    return hmac.new(key, context.encode() + b"\x00" + data, "sha256").hexdigest()
