"""Waits until an engine has come to rest after the last fault: everything has ended and the store has caught up."""

import asyncio
import time

import sqlalchemy

from runlane.adapters.nats.bus import NatsBus
from runlane.contracts import subjects
from runlane.errors import BusUnavailable

_UNFINISHED = "SELECT count(*) FROM executions WHERE status NOT IN ('Success', 'Failed', 'Cancelled')"


async def settle(bus: NatsBus, database_url: str, within: float) -> float:
    """Return after how many seconds it was at rest; `within` at the latest, and then the checker tells what is not."""
    began = time.monotonic()
    engine = sqlalchemy.create_engine(database_url)
    calm = 0
    while calm < 3 and time.monotonic() - began < within:
        calm = calm + 1 if await _at_rest(bus, engine) else 0
        await asyncio.sleep(0.3)
    engine.dispose()
    return time.monotonic() - began


async def _at_rest(bus: NatsBus, engine: sqlalchemy.Engine) -> bool:
    try:
        lags = [
            await bus.lag(stream, consumer)
            for stream, consumer in (
                (subjects.EVENTS, subjects.RECORDER),
                (subjects.REQUESTS, subjects.EXECUTORS),
                (subjects.DELAYED, subjects.EXECUTORS),
            )
        ]
        queue = await bus.api(f"STREAM.INFO.{subjects.REQUESTS}", None)
        if queue["state"]["messages"] or any(lag.pending or lag.unacknowledged for lag in lags):
            return False
        with engine.connect() as connection:
            return connection.execute(sqlalchemy.text(_UNFINISHED)).scalar() == 0
    except (BusUnavailable, sqlalchemy.exc.SQLAlchemyError):
        return False
