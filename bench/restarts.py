"""Kills services in turn, under light load, and measures when each serves again. Used by `bench.recovery`.

One round takes a minute, because cron ticks do; and a service that has lived for half a minute is started again without
a pause, as it would be in the field.
"""

import asyncio
import json
import os
import random
import signal
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable

from bench.load import Connection, post, until
from bench.records import Records
from bench.rows import NOT_DONE, Row, load_average
from bench.traffic import Traffic
from tests.support.engine import Engine

SERVICES = ("gateway", "recorder", "scheduler", "nats-server")
_RATE = 20.0
_PATIENCE = 60.0
#: So many seconds before a tick they are killed at most: what takes no longer to start again would not be late.
_BEFORE_TICK = {"scheduler": 1.0, "nats-server": 0.2}

_GATEWAY = ("gateway", "killed; a call is answered 200")
_RECORDER = ("recorder", "killed; a call made then is recorded")
_SCHEDULER = ("scheduler", "killed just before a tick; the tick runs this late")
_BROKER_UP = ("nats-server", "killed; it takes connections")
_BROKER_CALL = ("nats-server", "… from then on: a call ran and is answered")
_BROKER_RECORD = ("nats-server", "… from then on: a call is recorded")
_BROKER_TICK = ("nats-server", "… from then on, or from its time: a tick runs")
_GOALS = {_GATEWAY: 3.0, _RECORDER: 5.0, _SCHEDULER: 5.0, _BROKER_CALL: 2.0, _BROKER_RECORD: 2.0, _BROKER_TICK: 2.0}


class Restarts:
    """One engine whose services are killed."""

    def __init__(self, engine: Engine, records: Records, traffic: Traffic) -> None:
        self._engine, self._records, self._traffic = engine, records, traffic
        self._call = post("/workflows/noop_sync", engine.credentials()["org_key"])
        self.found: defaultdict[tuple[str, str], list[float]] = defaultdict(list)

    async def round(self, number: int, minute: float, wanted: set[str]) -> None:
        """The minute at these epoch seconds: gateway, recorder, then scheduler or nats-server just before its end."""
        turns: list[tuple[str, float, Callable[[], Awaitable[None]]]] = [
            ("gateway", 5, self._kill_gateway),
            ("recorder", 20, self._kill_recorder),
        ]
        # Both at the minute's end where both are wanted: by turns.
        last = [name for name in ("nats-server", "scheduler") if name in wanted]
        if last:
            name = last[number % len(last)]
            kill = self._kill_broker if name == "nats-server" else self._kill_scheduler
            turns.append((name, 60 - random.uniform(0, 1.5), kill))
        for name, second, kill in turns:
            if name in wanted:
                await asyncio.sleep(max(0.0, minute + second - time.time()))
                await kill()

    async def _kill_gateway(self) -> None:
        killed = self._kill("gateway")
        self.found[_GATEWAY].append(await self._answered() - killed)

    async def _kill_recorder(self) -> None:
        killed = self._kill("recorder")
        self.found[_RECORDER].append(await self._recorded(killed) - killed)

    async def _kill_scheduler(self) -> None:
        self._kill("scheduler")
        tick = int(time.time() // 60 + 1) * 60
        self.found[_SCHEDULER].append(await self._ticked(tick) - tick)

    async def _kill_broker(self) -> None:
        tick = int(time.time() // 60 + 1) * 60
        killed = self._kill("nats-server")
        await self._greets()
        up, up_at = time.monotonic(), time.time()
        self.found[_BROKER_UP].append(up - killed)
        served, recorded, ticked = await asyncio.gather(self._served(up), self._recorded(up), self._ticked(tick))
        self.found[_BROKER_CALL].append(served - up)
        self.found[_BROKER_RECORD].append(recorded - up)
        self.found[_BROKER_TICK].append(ticked - max(tick, up_at))

    def _kill(self, name: str) -> float:
        """The moment at which it was killed."""
        state = json.loads((self._engine.data / "runlane.json").read_text())
        killed = time.monotonic()
        os.kill(state["services"][name], signal.SIGKILL)
        return killed

    async def _answered(self) -> float:
        """When a call of ours, asked again and again, was answered 200."""
        while True:
            try:
                connection = await Connection.open(self._engine.port)
                status, _ = await connection.call(self._call)
                connection.close()
                if status == 200:
                    return time.monotonic()
            except (OSError, EOFError):
                pass
            await asyncio.sleep(0.005)

    async def _greets(self) -> None:
        state = json.loads((self._engine.data / "runlane.json").read_text())
        port = int(state["nats_url"].rpartition(":")[2])
        while True:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                greeted = (await reader.readline()).startswith(b"INFO")
                writer.close()
                if greeted:
                    return
            except OSError:
                pass
            await asyncio.sleep(0.005)

    async def _served(self, after: float) -> float:
        """When the first call of the traffic was answered 200 after a moment."""
        await until(lambda: self._first_ended(after) is not None, _PATIENCE)
        found = self._first_ended(after)
        assert found is not None
        return found

    def _first_ended(self, after: float) -> float | None:
        recent = self._traffic.calls[-2000:]
        return min((it.ended for it in recent if it.status == 200 and it.ended > after), default=None)

    async def _recorded(self, after: float) -> float:
        """When the record of a call begun after a moment was complete."""

        def there() -> bool:
            begun = [it for it in self._traffic.calls[-2000:] if it.began > after and it.execution]
            return any(self._records.has(str(it.execution)) for it in begun[:3])

        await until(there, _PATIENCE)
        return time.monotonic()

    async def _ticked(self, tick: int) -> float:
        """When the execution of a tick began, in epoch seconds."""
        await until(lambda: self._records.tick_started(tick) is not None, 2 * _PATIENCE)
        started = self._records.tick_started(tick)
        assert started is not None
        return started


async def services_killed(engine: Engine, rounds: int, wanted: set[str]) -> list[Row]:
    """Rounds of a minute; of scheduler and nats-server one each, by turns, if both are wanted."""
    records = Records(engine.data)
    async with Traffic(engine, "noop_sync", _RATE) as traffic:
        restarts = Restarts(engine, records, traffic)
        first = (time.time() // 60 + 1) * 60
        for number in range(rounds):
            await restarts.round(number, first + 60 * number, wanted)
    lost = await records.missing(traffic.acknowledged(), "noop_sync", _PATIENCE)
    records.close()
    rows = [
        Row(part=part, what=what, values=values, goal=_GOALS.get((part, what)), load=load_average())
        for (part, what), values in restarts.found.items()
    ]
    note = f"at {_RATE:g} calls/s: {traffic.answers()}"
    return [*rows, Row(part="services", what=NOT_DONE, values=[lost], goal=1, unit="", note=note, load=load_average())]
