"""Waits until an engine has come to rest after the last fault: everything has ended and the store has caught up."""

import asyncio
import time

import sqlalchemy

from runlane.adapters.nats.bus import NatsBus
from runlane.adapters.sql.dialect import parse_url
from runlane.contracts import subjects
from runlane.errors import BusUnavailable

_UNFINISHED = "SELECT count(*) FROM executions WHERE status NOT IN ('Success', 'Failed', 'Cancelled')"
_CONSUMERS = (
    (subjects.EVENTS, subjects.RECORDER),
    *((subjects.REQUESTS, subjects.executors(lane)) for lane in subjects.LANES),
    *((subjects.DELAYED, subjects.executors(lane)) for lane in subjects.LANES),
)


async def settle(bus: NatsBus, database_url: str, patience: float) -> float:
    """Return after how many seconds it was at rest.

    A slow machine has all the time it needs: only when for `patience` seconds no more was done than before is it given
    up, and then the checker tells what is not finished.
    """
    began = better = time.monotonic()
    engine = sqlalchemy.create_engine(parse_url(database_url))
    calm, fewest = 0, float("inf")
    while calm < 3 and time.monotonic() - better < patience:
        left = await _left(bus, engine)
        calm = calm + 1 if left == 0 else 0
        if left < fewest:
            fewest, better = left, time.monotonic()
        await asyncio.sleep(0.3)
    engine.dispose()
    return time.monotonic() - began


async def _left(bus: NatsBus, engine: sqlalchemy.Engine) -> float:
    """How much is not finished: messages nobody has dealt with, and executions that have not ended."""
    try:
        lags = [await bus.lag(stream, consumer) for stream, consumer in _CONSUMERS]
        queues = [await bus.api(f"STREAM.INFO.{name}", None) for name in (subjects.REQUESTS, subjects.WAITING)]
        with engine.connect() as connection:
            unfinished: int = connection.execute(sqlalchemy.text(_UNFINISHED)).scalar_one()
    except (BusUnavailable, sqlalchemy.exc.SQLAlchemyError):
        return float("inf")
    waiting: int = sum(queue["state"]["messages"] for queue in queues)
    return sum(lag.pending + lag.unacknowledged for lag in lags) + waiting + unfinished
