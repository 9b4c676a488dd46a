"""AES-256-GCM sealing of what must not be readable at rest: parameters, secrets, true step results.

A sealed value is `version (1 byte) | key id (4) | nonce (12) | ciphertext and tag`. The context (who it belongs to) is
authenticated with it, so a value copied to another organisation or name does not open.
"""

import base64
import binascii
import hashlib
import hmac
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from runlane.errors import SealBroken

_VERSION = b"\x01"
_KEY_ID = slice(1, 5)
_NONCE = slice(5, 17)
_HEADER_BYTES = 17


#: How soon a process seals with a new master key after its file was changed.
REFRESH_SECONDS = 1.0


class Sealer:
    """Seals with the first of `keys`, the current one; opens with any, the others being retired.

    `reload` returns the keys as they are now, None where they have not changed: so a rotation needs no restart.
    """

    def __init__(self, *keys: bytes, reload: Callable[[], Sequence[bytes] | None] | None = None) -> None:
        self._reload, self._next_reload = reload, 0.0
        self._take(keys)

    def seal(self, plaintext: bytes, context: str) -> bytes:
        """Seal `plaintext` for `context` (such as `acme|api_key|1`)."""
        if time.monotonic() >= self._next_reload:
            self._refresh()
        nonce = os.urandom(12)
        header = _VERSION + self._current + nonce
        return header + self._ciphers[self._current].encrypt(nonce, plaintext, context.encode())

    def open(self, sealed: bytes, context: str) -> bytes:
        """The plaintext, or `SealBroken` when the key is unknown, the context differs or a byte was changed."""
        cipher = self._ciphers.get(sealed[_KEY_ID])
        if cipher is None:
            self._refresh()
            cipher = self._ciphers.get(sealed[_KEY_ID])
        if cipher is None or sealed[:1] != _VERSION or len(sealed) < _HEADER_BYTES:
            raise SealBroken("Sealed with a master key that this process does not have; check RUNLANE_MASTER_KEY.")
        try:
            return cipher.decrypt(sealed[_NONCE], sealed[_HEADER_BYTES:], context.encode())
        except InvalidTag:
            raise SealBroken("Sealed bytes were changed, or belong to something else.") from None

    def is_current(self, sealed: bytes) -> bool:
        """Whether it was sealed with the current key."""
        return sealed[_KEY_ID] == self._current

    def digest(self, data: bytes, context: str) -> str:
        """A keyed digest (HMAC-SHA256, hex) to recognise `data` by; without the key it cannot be guessed from."""
        return _keyed_digest(self._digest_keys[0], data, context)

    def is_digest(self, digest: str, data: bytes, context: str) -> bool:
        """Whether `digest` was made of the same data for the same context, with any of the keys."""
        return any(hmac.compare_digest(digest, _keyed_digest(key, data, context)) for key in self._digest_keys)

    def _refresh(self) -> None:
        self._next_reload = time.monotonic() + REFRESH_SECONDS
        keys = None if self._reload is None else self._reload()
        if keys is not None:
            self._take(keys)

    def _take(self, keys: Sequence[bytes]) -> None:
        if not keys or any(len(key) != 32 for key in keys):
            raise ValueError("a master key is exactly 32 bytes")
        self._ciphers = {_key_id(key): AESGCM(key) for key in keys}
        self._current = _key_id(keys[0])
        self._digest_keys = [hmac.digest(key, b"runlane digest key", "sha256") for key in keys]


def generate_master_key() -> str:
    """A new master key in the form that settings take: base64 of 32 random bytes."""
    return base64.b64encode(os.urandom(32)).decode()


class KeyFile:
    """A file with master keys, separated by commas, the current one first. Called, it is what `Sealer` reloads from."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._stamp: tuple[int, int] | None = None

    def read(self) -> list[bytes]:
        """The keys; raises `OSError`, `ValueError`."""
        status = self.path.stat()
        keys = parse_master_keys(self.path.read_text(encoding="utf-8"))
        self._stamp = (status.st_mtime_ns, status.st_ino)
        return keys

    def __call__(self) -> list[bytes] | None:
        """The keys if the file has changed; None also while it cannot be read: the keys at hand are good for longer."""
        try:
            status = self.path.stat()
            return None if (status.st_mtime_ns, status.st_ino) == self._stamp else self.read()
        except (OSError, ValueError):
            return None


def parse_master_keys(text: str) -> list[bytes]:
    """One key, or several separated by commas; raises `ValueError` saying what is wrong with them."""
    return [parse_master_key(part) for part in text.split(",")]


def parse_master_key(text: str) -> bytes:
    """Read a master key; raises `ValueError` saying what is wrong with it."""
    try:
        key = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("a master key is base64 of 32 bytes") from None
    if len(key) != 32:
        raise ValueError(f"a master key is base64 of 32 bytes, this one has {len(key)}")
    return key


def key_names(text: str) -> list[str]:
    """What to call the keys of `parse_master_keys` by: no secret, every sealed value has it in clear."""
    return [_key_id(key).hex() for key in parse_master_keys(text)]


def _key_id(key: bytes) -> bytes:
    return hashlib.sha256(b"runlane key id" + key).digest()[:4]


def _keyed_digest(key: bytes, data: bytes, context: str) -> str:
    return hmac.new(key, context.encode() + b"\x00" + data, "sha256").hexdigest()
