"""Execution ids, and the one rule for names that become part of a subject."""

import hashlib
import os
import re
import time
import uuid

from runlane.errors import ValidationError

#: Organisations, workflows and executions are subject tokens: nats-py would publish to a literal `*`, `>` or NUL.
TOKEN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")

_NAMESPACE = uuid.UUID("6a1c2f6e-52f1-5d3a-9b0e-6f0d0a7f5a11")
_VERSION_AND_VARIANT = 0xF << 76 | 0b11 << 62
_VERSION_5 = 0x5 << 76 | 0b10 << 62


def is_token(value: object) -> bool:
    """Whether `value` may stand between two dots of a subject."""
    return isinstance(value, str) and TOKEN.fullmatch(value) is not None


def check_token(value: str, field: str) -> str:
    """Return `value`, or raise `ValidationError` naming `field`."""
    if not is_token(value):
        raise ValidationError(
            f"{field} must be 1 to 64 of the characters A-Z a-z 0-9 _ - and begin with a letter or digit", field
        )
    return value


def new_execution_id() -> str:
    """A fresh UUIDv7 (RFC 9562 §5.7) as 32 hex digits: sorts by time of creation."""
    milliseconds = time.time_ns() // 1_000_000
    random = int.from_bytes(os.urandom(10), "big")
    value = (milliseconds & 0xFFFF_FFFF_FFFF) << 80 | 0x7 << 76 | (random >> 68) << 64 | 0b10 << 62
    return f"{value | (random & 0x3FFF_FFFF_FFFF_FFFF):032x}"


def repeatable_execution_id(kind: str, *parts: str) -> str:
    """The same UUIDv5 as 32 hex digits for the same parts: for whoever must be able to ask twice.

    `kind` keeps idempotency keys, cron ticks and webhook deliveries apart from each other.
    """
    # What `uuid.uuid5` does (RFC 9562 §5.5), without an object around each of its 128 bits: a tick has one to make.
    digest = hashlib.sha1(_NAMESPACE.bytes + "\x1f".join((kind, *parts)).encode(), usedforsecurity=False).digest()
    value = int.from_bytes(digest[:16], "big")
    return f"{value & ~_VERSION_AND_VARIANT | _VERSION_5:032x}"
