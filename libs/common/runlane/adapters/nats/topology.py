"""The streams and consumers as they should be; every service makes sure of them when it starts."""

import asyncio
from datetime import datetime
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from runlane.contracts import subjects
from runlane.contracts.subscriptions import ATTEMPTS_KEPT
from runlane.errors import BusUnavailable
from runlane.ports import Durable
from runlane.settings import DUPLICATE_SECONDS, Settings
from runlane.telemetry import logger

if TYPE_CHECKING:
    from runlane.adapters.nats.bus import NatsBus

_log = logger(__name__)

_SECOND = 1_000_000_000
_DAY = 86_400 * _SECOND

_DUPLICATE_WINDOW = DUPLICATE_SECONDS * _SECOND

#: After this silence of the recorder that gets the events, another gets them. That may come too early and costs no
#: more than work done twice: what is recorded goes by the events' sequences, not by who holds the consumer.
HANDOVER_SECONDS = 3.5

#: How long an executor may be silent about a message before another takes it over; it speaks every 1.5 s.
LEASE_SECONDS = 5.0


def stream_configs(settings: Settings) -> list[dict[str, Any]]:
    """What the server is to know of every stream of ours."""
    common = {"storage": "file", "num_replicas": settings.stream_replicas, "allow_direct": True}
    return [
        common
        | {
            "name": subjects.REQUESTS,
            "subjects": list(subjects.REQUEST_SUBJECTS),
            "retention": "workqueue",
            "discard": "new",  # a full queue refuses work; it never forgets any
            "max_bytes": settings.queue_max_bytes,
            "duplicate_window": _DUPLICATE_WINDOW,
        },
        common
        | {
            "name": subjects.DELAYED,
            "subjects": list(subjects.DELAYED_SUBJECTS),
            "retention": "workqueue",
            "duplicate_window": _DUPLICATE_WINDOW,
            "allow_msg_schedules": True,
            "allow_msg_ttl": True,
        },
        common
        | {
            "name": subjects.EVENTS,
            "subjects": list(subjects.EVENT_SUBJECTS),
            "retention": "limits",
            "discard": "old",
            "max_age": int(settings.event_retention_days * _DAY),
            "duplicate_window": _DUPLICATE_WINDOW,
            "republish": {"src": "runlane.event.>", "dest": f"{subjects.LIVE}.event.>"},
        },
        common
        | {
            "name": subjects.DEAD,
            "subjects": list(subjects.DEAD_SUBJECTS),
            "retention": "limits",
            "max_age": 30 * _DAY,
            "duplicate_window": _DUPLICATE_WINDOW,
        },
        common
        | {
            "name": subjects.PERMITS,
            "subjects": list(subjects.PERMIT_SUBJECTS),
            "retention": "limits",
            "max_msgs_per_subject": 1,
            "duplicate_window": _DUPLICATE_WINDOW,
        },
        common
        | {
            "name": subjects.WAITING,
            "subjects": list(subjects.WAITING_SUBJECTS),
            "retention": "limits",
            "discard": "new",
            "max_bytes": settings.queue_max_bytes,
            "duplicate_window": _DUPLICATE_WINDOW,
        },
        common
        | {
            "name": subjects.OUTBOUND,
            "subjects": list(subjects.OUTBOUND_SUBJECTS),
            "retention": "limits",
            "discard": "old",
            "max_msgs_per_subject": ATTEMPTS_KEPT,
            "max_age": 30 * _DAY,
            "duplicate_window": _DUPLICATE_WINDOW,
        },
        common
        | {
            "name": subjects.DIRECTORY_STREAM,
            "subjects": [f"{subjects.DIRECTORY_PREFIX}>"],
            "retention": "limits",
            "discard": "new",
            "max_msgs_per_subject": 5,
            "allow_rollup_hdrs": True,
            "deny_delete": True,
            "duplicate_window": _DUPLICATE_WINDOW,
        },
    ]


#: The consumers that executors share, with the stream and the lane of each.
_LANES = {
    (stream, subjects.executors(lane)): lane
    for stream in (subjects.REQUESTS, subjects.DELAYED)
    for lane in subjects.LANES
}
_CONSUMERS = (*_LANES, (subjects.EVENTS, subjects.RECORDER), (subjects.OUTBOUND, subjects.PINGS))


def consumer_config(stream: str, consumer: str) -> dict[str, Any]:
    """The configuration of one of our durable consumers."""
    common = {"durable_name": consumer, "ack_policy": "explicit", "deliver_policy": "all", "max_deliver": -1}
    lane = _LANES.get((stream, consumer))
    if lane is not None:
        return common | {
            "filter_subject": subjects.requests_in(stream, lane),
            "ack_wait": int(LEASE_SECONDS * _SECOND),
            "max_ack_pending": 50_000,
        }
    if consumer == subjects.PINGS:
        return common | {"filter_subject": subjects.ALL_PINGS, "ack_wait": 30 * _SECOND, "max_ack_pending": 1000}
    return common | {
        "ack_wait": 15 * _SECOND,
        "max_ack_pending": 50_000,
        # One recorder gets everything, in order; the others are there for when it is not.
        "priority_groups": [subjects.RECORDER],
        "priority_policy": "pinned_client",
        "priority_timeout": int(HANDOVER_SECONDS * _SECOND),
    }


async def ensure_topology(bus: "NatsBus", settings: Settings) -> None:
    """Create what is missing and bring what differs up to date. Safe to run in many processes at once.

    Looks first: a service whose NATS user may not shape streams finds them as `runlane migrate` made them.
    """
    for stream in stream_configs(settings):
        await _ensure_stream(bus, stream)
    for name, consumer in _CONSUMERS:
        await ensure_consumer(bus, name, consumer)


async def _ensure_stream(bus: "NatsBus", config: dict[str, Any]) -> None:
    name = config["name"]
    there = await _config_of(bus, f"STREAM.INFO.{name}")
    if there is None:
        await bus.api(f"STREAM.CREATE.{name}", config)
    elif not _agrees(there, config):
        await _update_stream(bus, name, config)


async def _update_stream(bus: "NatsBus", name: str, config: dict[str, Any]) -> None:
    try:
        await bus.api(f"STREAM.UPDATE.{name}", config)
    except BusUnavailable as problem:
        # Where too little storage is left, for one. What is there must be worked off all the same.
        _log.error("a stream stays as it is", stream=name, reason=problem.message)


async def ensure_consumer(bus: "NatsBus", stream: str, consumer: str) -> None:
    """Create a durable consumer where it is missing, and bring it up to date."""
    config = consumer_config(stream, consumer)
    there = await _config_of(bus, f"CONSUMER.INFO.{stream}.{consumer}")
    if there is not None and _agrees(there, config):
        return
    filtered = config.get("filter_subject")
    tail = f"{stream}.{consumer}.{filtered}" if filtered else f"{stream}.{consumer}"
    try:
        await bus.api(f"CONSUMER.CREATE.{tail}", {"stream_name": stream, "config": config})
    except BusUnavailable as problem:
        if there is None:
            raise
        # Another service's, and made by another version of it: this one can work all the same.
        _log.error("a consumer stays as it is", stream=stream, consumer=consumer, reason=problem.message)


async def ensure_durable(bus: "NatsBus", stream: str, consumer: str, durable: Durable) -> None:
    """The same for a consumer that is made when it is needed. One that is there goes on where it is."""
    wanted = {
        "filter_subjects": durable.filters,
        "ack_wait": int(durable.lease * _SECOND),
        "max_ack_pending": durable.most,
    }
    there = await _config_of(bus, f"CONSUMER.INFO.{stream}.{consumer}")
    if there is not None and _agrees(there, wanted):
        return
    first = {
        "durable_name": consumer,
        "ack_policy": "explicit",
        "max_deliver": -1,
        "deliver_policy": "by_start_time",
        "opt_start_time": durable.since.isoformat(),
    }
    config = (first if there is None else there) | wanted
    await bus.api(f"CONSUMER.CREATE.{stream}.{consumer}", {"stream_name": stream, "config": config})


async def _config_of(bus: "NatsBus", question: str) -> dict[str, Any] | None:
    found = await bus.ask(question)
    config: dict[str, Any] | None = None if found is None else found["config"]
    return config


def _agrees(there: dict[str, Any], wanted: dict[str, Any]) -> bool:
    """Whether everything that is wanted is so. The server leaves out what is off, and adds what it assumes."""
    return not _differences(there, wanted)


def _differences(there: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
    return [name for name, value in wanted.items() if (there.get(name) or None) != (value or None)]


class Condition(Struct, frozen=True, kw_only=True):
    """How a stream, or a consumer of it (`name` then `STREAM/consumer`), is. `differs` names what is not configured as
    it should be; `pending` is what a consumer has not had yet. `max_bytes` None: as much as the server has."""

    name: str
    exists: bool
    differs: list[str] = []
    messages: int = 0
    bytes: int = 0
    max_bytes: int | None = None
    pending: int = 0
    server_time: datetime | None = None


async def inspect_topology(bus: "NatsBus", settings: Settings) -> list[Condition]:
    """Every stream and consumer of ours as it is, streams first; changes nothing. Raises `BusUnavailable`."""
    streams = [await _stream_condition(bus, config) for config in stream_configs(settings)]
    return streams + [await _consumer_condition(bus, stream, consumer) for stream, consumer in _CONSUMERS]


async def _stream_condition(bus: "NatsBus", config: dict[str, Any]) -> Condition:
    found = await bus.ask(f"STREAM.INFO.{config['name']}")
    if found is None:
        return Condition(name=config["name"], exists=False)
    limit = found["config"].get("max_bytes", -1)
    return Condition(
        name=config["name"],
        exists=True,
        differs=_differences(found["config"], config),
        messages=found["state"]["messages"],
        bytes=found["state"]["bytes"],
        max_bytes=limit if limit > 0 else None,
        server_time=datetime.fromisoformat(found["ts"]),
    )


async def _consumer_condition(bus: "NatsBus", stream: str, consumer: str) -> Condition:
    found = await bus.ask(f"CONSUMER.INFO.{stream}.{consumer}")
    if found is None:
        return Condition(name=f"{stream}/{consumer}", exists=False)
    differs = _differences(found["config"], consumer_config(stream, consumer))
    return Condition(name=f"{stream}/{consumer}", exists=True, differs=differs, pending=found["num_pending"])


async def start_afresh(bus: "NatsBus", settings: Settings) -> None:
    """Delete every stream, and with it every deduplication memory, and create them anew: for tests."""
    for stream in stream_configs(settings):
        await bus.api(f"STREAM.DELETE.{stream['name']}", None)
    for attempt in range(20):
        try:
            await ensure_topology(bus, settings)
            break
        except BusUnavailable:
            # The server still removes the old files in the background, and refuses the new ones meanwhile.
            if attempt == 19:
                raise
            await asyncio.sleep(0.05)
