"""The AsyncAPI 3 document of everything that goes over NATS, made of the other modules here; the gateway serves it.

`tests/unit/test_asyncapi.py` holds every subject of `subjects` against it.
"""

import re
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct

from runlane.contracts import events, subjects
from runlane.contracts.permits import Permits
from runlane.contracts.presence import Presence
from runlane.contracts.requests import Request
from runlane.contracts.subscriptions import Attempt, Ping

_SCHEMAS = "#/components/schemas/{name}"
_EXECUTION = "runlane.event.{org}.{workflow}.{execution}"

_PARAMETERS = {
    "lane": "0 to 3, by how much its organisation has waiting.",
    "org": "The organisation.",
    "workflow": "The workflow.",
    "execution": "The execution's id.",
    "digest": "Made of the event's id, so that each has a subject of its own.",
    "gateway": "The gateway that asked.",
    "executor": "The executor, or `all`.",
    "scope": "A limit of what runs at once.",
    "subscription": "The subscription's id.",
    "key": "The entry, such as `orgs.acme`.",
}


class Channel(Struct, frozen=True, kw_only=True):
    """One kind of subject. `payload` None: it has none, or one that is no JSON. `stored`: the stream that keeps it."""

    address: str
    summary: str
    payload: type[Struct] | None = None
    stored: str | None = None


def channels() -> dict[str, Channel]:
    """Every kind of subject, by a name."""
    found = {
        "request": Channel(
            address="runlane.request.{lane}.{org}.{workflow}",
            summary="An execution waits for an executor. Parameters are sealed.",
            payload=Request,
            stored=subjects.REQUESTS,
        ),
        "delayed": Channel(
            address="runlane.delayed.{execution}",
            summary="A request waits for its time; the server puts it on `due` then.",
            payload=Request,
            stored=subjects.DELAYED,
        ),
        "wake": Channel(
            address="runlane.delayed.{execution}.wake",
            summary="A request to look at an execution waits for its time.",
            payload=Request,
            stored=subjects.DELAYED,
        ),
        "expiry": Channel(
            address="runlane.delayed.{execution}.expiry",
            summary="A request to look at an execution when its approval expires.",
            payload=Request,
            stored=subjects.DELAYED,
        ),
        "due": Channel(
            address="runlane.due.{lane}.{org}.{workflow}",
            summary="A delayed request whose time has come.",
            payload=Request,
            stored=subjects.DELAYED,
        ),
        "waiting": Channel(
            address="runlane.waiting.{scope}.{lane}.{org}.{workflow}",
            summary="A request waits for a permit.",
            payload=Request,
            stored=subjects.WAITING,
        ),
        "permits": Channel(
            address="runlane.permit.{scope}",
            summary="Who runs under a limit.",
            payload=Permits,
            stored=subjects.PERMITS,
        ),
        "queued": _event("queued", events.Queued, "An execution was accepted."),
        "trace": _event("trace", events.Traced, "What a run logged, stored and called, in order."),
        "signal": _event("signal.{digest}", events.Signalled, "An execution was sent an event from outside."),
        "tick": Channel(
            address="runlane.tick.{org}.{workflow}",
            summary="The fate of a tick of a schedule.",
            payload=events.Ticked,
            stored=subjects.EVENTS,
        ),
        "audit": Channel(
            address="runlane.audit.{org}",
            summary="Somebody changed something.",
            payload=events.Audited,
            stored=subjects.EVENTS,
        ),
        "delivery": Channel(
            address="runlane.delivery.{org}.{workflow}",
            summary="Something came in by a webhook.",
            payload=events.Delivered,
            stored=subjects.EVENTS,
        ),
        "sent": Channel(
            address="runlane.sent.{org}.{subscription}",
            summary="What became of an attempt to post an event to a subscription; the newest fifty are kept.",
            payload=Attempt,
            stored=subjects.OUTBOUND,
        ),
        "ping": Channel(
            address="runlane.ping.{org}.{subscription}",
            summary="Somebody wants to see whether a subscription works.",
            payload=Ping,
            stored=subjects.OUTBOUND,
        ),
        "dead": Channel(
            address="runlane.dead.{org}.{workflow}.{execution}",
            summary="Something was given up: a line of JSON that says why, and after it the message, byte for byte.",
            stored=subjects.DEAD,
        ),
        "reply": Channel(
            address="runlane.reply.{gateway}.{execution}",
            summary="How an execution ended that a gateway waits for: the event as it is stored, without its trace.",
        ),
        "cancel": Channel(address="runlane.control.cancel.{execution}", summary="An execution was cancelled."),
        "drain": Channel(
            address="runlane.control.drain.{executor}", summary="An executor is to finish what it has and end."
        ),
        "presence": Channel(
            address="runlane.control.presence.{executor}", summary="An executor is there.", payload=Presence
        ),
        "roll-call": Channel(address=subjects.ROLL_CALL, summary="Executors answer with their presence."),
        "directory": Channel(
            address=subjects.DIRECTORY_PREFIX + "{key}",
            summary="An entry of the directory, a key-value bucket: organisations, workflows, sealed secrets, …",
            stored=subjects.DIRECTORY_STREAM,
        ),
    }
    for kind, tail in events.STATE_TAILS.items():
        name = tail.replace(".", "-").replace("_", "-")
        found[name] = _event(tail, kind, (kind.__doc__ or "").strip().partition("\n")[0])
    return found


def _event(tail: str, payload: type[Struct], summary: str) -> Channel:
    return Channel(address=f"{_EXECUTION}.{tail}", summary=summary, payload=payload, stored=subjects.EVENTS)


def asyncapi(version: str) -> dict[str, Any]:
    """The document. Events of executions are also republished as they are stored, on `runlane.live.event.…`."""
    known = channels()
    payloads = {channel.payload for channel in known.values() if channel.payload is not None}
    _, schemas = msgspec.json.schema_components(sorted(payloads, key=lambda one: one.__name__), ref_template=_SCHEMAS)
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Runlane over NATS",
            "version": version,
            "description": "Streams, subjects and payloads. Events are CloudEvents 1.0 in JSON, redacted where they "
            "are made. What is stored on EVENTS under `runlane.event.` is republished under `runlane.live.event.` at "
            "once, for whoever only wants to watch.",
        },
        "defaultContentType": "application/json",
        "servers": {"nats": {"host": "localhost:4222", "protocol": "nats"}},
        "channels": {name: _channel(name, channel) for name, channel in known.items()},
        "operations": {f"send-{name}": _operation(name) for name in known},
        "components": {
            "schemas": schemas,
            "messages": {name: _message(name, channel) for name, channel in known.items()},
        },
    }


def _channel(name: str, channel: Channel) -> dict[str, Any]:
    named = re.findall(r"\{(\w+)\}", channel.address)
    parameters = {parameter: {"description": _PARAMETERS[parameter]} for parameter in named}
    stored = "Stored nowhere (core NATS)." if channel.stored is None else f"Stored on {channel.stored}."
    return {
        "address": channel.address,
        "summary": channel.summary,
        "description": stored,
        "messages": {name: {"$ref": f"#/components/messages/{name}"}},
        **({"parameters": parameters} if parameters else {}),
    }


def _operation(name: str) -> Mapping[str, Any]:
    return {"action": "send", "channel": {"$ref": f"#/channels/{name}"}}


def _message(name: str, channel: Channel) -> dict[str, Any]:
    if channel.payload is None:
        return {"name": name, "contentType": "application/octet-stream"}
    return {"name": name, "payload": {"$ref": _SCHEMAS.format(name=channel.payload.__name__)}}
