"""How a caller wants to be served: `Prefer` (RFC 7240), `Idempotency-Key`, `X-Priority`, `?delaySeconds`, `?runAt`."""

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import get_args
from urllib.parse import parse_qsl

import msgspec
from msgspec import Struct

from runlane.contracts.directory import Priority
from runlane.errors import ValidationError

_LONGEST_DELAY = timedelta(days=366)
_LONGEST_KEY = 255
_INSTANT = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d.*(?:Z|[+-]\d\d:?\d\d)", re.IGNORECASE)


class Preference(Struct, frozen=True):
    """`wait`: seconds to wait for the outcome; None: as the workflow declares. `applied`: what the answer confirms."""

    wait: float | None = None
    applied: bytes | None = None


NO_PREFERENCE = Preference()


def read_preference(headers: Mapping[bytes, bytes], longest: float) -> Preference:
    """What `Prefer` asks for; tokens that we do not know, or cannot read, are ignored as RFC 7240 §2 says."""
    header = headers.get(b"prefer")
    if header is None:
        return NO_PREFERENCE
    given: dict[str, str] = {}
    for part in header.decode("latin-1").split(","):
        name, _, value = part.partition(";")[0].partition("=")
        given.setdefault(name.strip().lower(), value.strip().strip('"'))
    wait = given.get("wait", "")
    if wait.isascii() and wait.isdigit() and len(wait) < 10:
        applied = f"wait={min(int(wait), int(longest))}".encode()
        return Preference(
            min(float(wait), longest), b"respond-async, " + applied if "respond-async" in given else applied
        )
    return Preference(0.0, b"respond-async") if "respond-async" in given else NO_PREFERENCE


def read_idempotency_key(headers: Mapping[bytes, bytes]) -> str | None:
    """The key; raises `ValidationError` unless it is 1 to 255 printable ASCII characters."""
    header = headers.get(b"idempotency-key")
    return check_idempotency_key(None if header is None else header.decode("latin-1").strip(), "Idempotency-Key")


def check_idempotency_key(key: str | None, field: str) -> str | None:
    """The key, if there is one; raises as `read_idempotency_key` does, naming the field."""
    if key is None:
        return None
    if not key or len(key) > _LONGEST_KEY or not key.isascii() or not key.isprintable():
        raise ValidationError(f"{field} must be 1 to 255 printable ASCII characters.", field)
    return key


def read_priority(headers: Mapping[bytes, bytes]) -> Priority | None:
    """The priority, None where none is named; raises `ValidationError` for one that there is not."""
    header = headers.get(b"x-priority")
    return None if header is None else as_priority(header.decode("latin-1").strip().lower(), "X-Priority")


def as_priority(text: str, field: str) -> Priority:
    """The priority that a text names; raises `ValidationError` naming the field."""
    try:
        priority: Priority = msgspec.convert(text, Priority)
    except msgspec.ValidationError:
        raise ValidationError(f"A priority is one of {', '.join(get_args(Priority))}.", field) from None
    return priority


def read_run_at(query: bytes, now: datetime) -> datetime | None:
    """When a delayed start is due, from `delaySeconds` or `runAt`; raises `ValidationError` naming the parameter."""
    if not query:
        return None
    return delayed_until(dict(parse_qsl(query.decode("latin-1"), keep_blank_values=True)), now)


def delayed_until(given: Mapping[str, str], now: datetime) -> datetime | None:
    """The same from `delaySeconds` or `runAt` as they were given elsewhere."""
    if "delaySeconds" in given and "runAt" in given:
        raise ValidationError("Give delaySeconds or runAt, not both.", "runAt")
    if "delaySeconds" in given:
        return now + timedelta(seconds=_seconds(given["delaySeconds"]))
    if "runAt" in given:
        return _instant(given["runAt"], now)
    return None


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds <= _LONGEST_DELAY.total_seconds():
        raise ValidationError("delaySeconds must be a number from 0 to one year of seconds.", "delaySeconds")
    return seconds


def _instant(text: str, now: datetime) -> datetime:
    # A `+` that was not escaped in the query arrives as a space.
    text = re.sub(r" (?=\d\d:?\d\d$)", "+", text)
    try:
        moment = datetime.fromisoformat(text).astimezone(UTC) if _INSTANT.fullmatch(text) else None
    except (ValueError, OverflowError):
        moment = None
    if moment is None:
        raise ValidationError("runAt must be a date and time with zone, such as 2025-10-10T14:30:00Z.", "runAt")
    if moment > now + _LONGEST_DELAY:
        raise ValidationError("runAt must be within one year.", "runAt")
    return max(moment, now)
