"""What `runlane doctor` asks over the network: NATS, the record store, Redis. Names adapters, as `offline` does."""

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

import httpx
import msgspec

from runlane.adapters.nats.connection import open_bus
from runlane.adapters.nats.snapshots import server_version
from runlane.adapters.nats.topology import Condition, inspect_topology
from runlane.adapters.sql.store import open_record_store
from runlane.clock import Clock
from runlane.errors import RunlaneError
from runlane.settings import Settings

from .datadir import EngineState
from .display import size
from .findings import Finding, broken, fine, warning
from .machine import OLDEST_NATS, Limits
from .natsserver import ask_system

_ANSWER_SECONDS = 5.0
_REMAKE = "`runlane migrate` (or the next start of `runlane up`) brings it to what this version needs."


async def ask_services(
    settings: Settings, state: EngineState | None, monitor: str | None, clock: Clock, limits: Limits
) -> list[Finding]:
    """Findings of NATS and what is on it, then of the record store and Redis."""
    found = await _nats(settings, clock, limits)
    found.append(await _durability(settings, state, monitor))
    found.append(await _store(settings))
    if settings.redis_url is not None:
        found.append(await _redis(settings.redis_url))
    return found


async def _nats(settings: Settings, clock: Clock, limits: Limits) -> list[Finding]:
    try:
        async with open_bus(settings, "doctor", within=_ANSWER_SECONDS, shape=False) as bus:
            version = server_version(bus)
            conditions = await inspect_topology(bus, settings)
            now = clock.now()
    except RunlaneError as problem:
        mend = "Start the engine, or its NATS server; check RUNLANE_NATS_URL, _USER and _PASSWORD."
        return [broken("nats", problem.message, mend)]
    shown = ".".join(str(part) for part in version)
    if version < OLDEST_NATS:
        needed = ".".join(str(part) for part in OLDEST_NATS)
        first = broken("nats", f"The server is {shown}, needed is {needed}", "Upgrade nats-server.")
    else:
        first = fine("nats", f"{_without_password(settings.nats_url)} answers, version {shown}")
    drift = [(now - one.server_time).total_seconds() for one in conditions if one.server_time is not None]
    clock_says = [_clock(drift[-1], limits)] if drift else []
    return [first, *clock_says, *streams(conditions, limits)]


def _clock(drift: float, limits: Limits) -> Finding:
    found = f"{abs(drift):.1f} s {'after' if drift < 0 else 'before'} the NATS server's"
    mend = "Have NTP set the clocks of all machines (timedatectl set-ntp true): schedules and keys go by them."
    if abs(drift) > limits.clock_broken:
        return broken("clock", found, mend)
    if abs(drift) > limits.clock_warning:
        return warning("clock", found, mend)
    return fine("clock", "The same as the NATS server's")


def streams(conditions: Sequence[Condition], limits: Limits) -> Iterator[Finding]:
    """One finding for each stream or consumer that is not well; one for all when all are."""
    odd = [finding for one in conditions if (finding := _stream(one, limits)) is not None]
    if not odd:
        yield fine("streams", f"{len(conditions)} streams and consumers are as they should be")
    yield from odd


def _stream(one: Condition, limits: Limits) -> Finding | None:
    check = f"stream {one.name}"
    if not one.exists:
        return broken(check, "It is not there", _REMAKE)
    full = one.bytes / one.max_bytes if one.max_bytes else 0.0
    if full >= limits.full_warning:
        found = f"{full:.0%} full: {size(one.bytes)} of {size(one.max_bytes or 0)}, {one.messages} messages"
        mend = "Start more executors, or raise RUNLANE_QUEUE_MAX_BYTES and start again: a full queue refuses calls."
        return (broken if full >= limits.full_broken else warning)(check, found, mend)
    if one.differs:
        return warning(check, f"Configured otherwise: {', '.join(one.differs)}", f"{_REMAKE} Or it is meant so.")
    return None


async def _durability(settings: Settings, state: EngineState | None, monitor: str | None) -> Finding:
    check, wanted = "durability", settings.durability
    try:
        if state is not None and state.observer_password:
            port = urlsplit(state.nats_url).port or 0
            async with asyncio.timeout(_ANSWER_SECONDS):
                said = await _varz(port, state.observer_password)
        elif monitor is not None:
            async with httpx.AsyncClient(timeout=_ANSWER_SECONDS) as http:
                said = (await http.get(f"{monitor.rstrip('/')}/varz")).raise_for_status().json()
        else:
            found = f"{wanted} is set; what the NATS server does is not known here"
            return warning(check, found, "Name its monitoring URL with --monitor.")
    except (OSError, TimeoutError, EOFError, msgspec.DecodeError, httpx.HTTPError, ValueError) as problem:
        return broken(check, f"The NATS server does not tell: {problem!r}", "Check that it runs, and --monitor.")
    return judge_durability(wanted, said.get("jetstream", {}).get("config") or {})


async def _varz(port: int, password: str) -> dict[str, Any]:
    """Once, on a busy machine, the server left out what it was told of JetStream: it is asked again then."""
    said: dict[str, Any] = {}
    for _ in range(3):
        said = msgspec.json.decode(await ask_system(port, password, "VARZ"))["data"]
        if said.get("jetstream", {}).get("config"):
            break
    return said


def judge_durability(wanted: str, config: dict[str, Any]) -> Finding:
    """What the server was told to do (`jetstream.config` of VARZ), against the setting."""
    if not config:
        return broken("durability", "The NATS server has no JetStream", "Switch it on: `jetstream { store_dir: … }`.")
    if config.get("sync_always"):
        return fine("durability", "fsync: what was acknowledged is on disk")
    every = config.get("sync_interval", 0) / 1e9
    does = f"buffered: the NATS server writes to disk every {every:g} s"
    if wanted == "fsync":
        mend = "Set `sync_interval: always` in its jetstream block, or start `runlane up --durability fsync`."
        return broken("durability", f"RUNLANE_DURABILITY is fsync, but it is {does}", mend)
    return fine("durability", f"{does}; a power failure may cost the last moments")


async def _store(settings: Settings) -> Finding:
    try:
        async with asyncio.timeout(_ANSWER_SECONDS), open_record_store(settings.record_store_url):
            return fine("record store", "It answers, and has the schema that this version needs")
    except TimeoutError:
        found = "It does not answer"
    except RunlaneError as problem:
        found = problem.message
    mend = "Check RUNLANE_DATABASE_URL and that its server runs; `runlane migrate` brings the schema up to date."
    return broken("record store", found, mend)


async def _redis(url: str) -> Finding:
    import redis.asyncio
    from redis.exceptions import RedisError

    try:
        async with redis.asyncio.from_url(url, socket_timeout=_ANSWER_SECONDS) as client:
            version = (await client.info("server"))["redis_version"]
    except (RedisError, OSError, ValueError) as problem:
        mend = "Check RUNLANE_REDIS_URL and that the server runs; without it each replica counts for itself."
        return broken("redis", f"It does not answer: {type(problem).__name__}", mend)
    return fine("redis", f"It answers, version {version}")


def _without_password(url: str) -> str:
    return ", ".join(one.rpartition("@")[2] for one in url.split(","))
