"""Times as the tables keep them: integer microseconds since 1970 UTC."""

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def to_micros(moment: datetime | None) -> int | None:
    """What to store for an aware time."""
    return None if moment is None else (moment - _EPOCH) // _MICROSECOND


def micros_of(moment: datetime) -> int:
    """What to store for a time that is always there."""
    return (moment - _EPOCH) // _MICROSECOND


def from_micros(micros: int | None) -> datetime | None:
    """The aware UTC time that was stored."""
    return None if micros is None else _EPOCH + timedelta(microseconds=micros)


def moment_of(micros: int) -> datetime:
    """The aware UTC time that is always there."""
    return _EPOCH + timedelta(microseconds=micros)
