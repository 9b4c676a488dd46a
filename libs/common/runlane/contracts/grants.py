"""What each service may do on NATS, and no more: the users of a nats-server configuration.

Used by `runlane up` for its own server and by `runlane deploy-secrets` for a cluster's. A gateway can forge no result,
an executor writes no directory but its workflows' and deletes no stream, and nobody reads the answers to another.
"""

from collections.abc import Callable, Mapping

import msgspec
from msgspec import Struct

from runlane.contracts import subjects
from runlane.contracts.events import (
    STATE_TAILS,
    ApprovalExpired,
    Approved,
    Cancelled,
    Declined,
    Failed,
    PendingApproval,
    Rejected,
)
from runlane.contracts.subjects import DIRECTORY_PREFIX, DIRECTORY_STREAM

_STREAMS = (
    subjects.REQUESTS,
    subjects.DELAYED,
    subjects.EVENTS,
    subjects.DEAD,
    subjects.PERMITS,
    subjects.WAITING,
    subjects.OUTBOUND,
    DIRECTORY_STREAM,
)
_EXECUTION = "runlane.event.*.*.*"


class Grant(Struct, frozen=True):
    """Subjects that a user may publish to and subscribe to, and those among the former that it may not."""

    publish: list[str]
    subscribe: list[str]
    denied: list[str] = []


#: Programs of others that listen to events: see docs/guide/events.md.
SUBSCRIBER = "subscriber"
#: Who makes streams and resets them, copies and restores them, and seals them anew: a person at a command line.
OPERATOR = "operator"


def _look() -> list[str]:
    return [
        *(f"$JS.API.STREAM.INFO.{stream}" for stream in _STREAMS),
        *(f"$JS.API.DIRECT.GET.{stream}" for stream in _STREAMS),
        *(f"$JS.API.STREAM.MSG.GET.{stream}" for stream in _STREAMS),
        "$JS.API.CONSUMER.INFO.*.*",
    ]


def _follow(stream: str, filter_: str) -> list[str]:
    """Ephemeral consumers of one filter."""
    return [f"$JS.API.CONSUMER.CREATE.{stream}.*.{filter_}", f"$JS.API.CONSUMER.MSG.NEXT.{stream}.*"]


def _work_off(stream: str, consumer: str) -> list[str]:
    return [
        f"$JS.API.CONSUMER.CREATE.{stream}.{consumer}",
        f"$JS.API.CONSUMER.CREATE.{stream}.{consumer}.>",
        f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}",
        f"$JS.ACK.{stream}.{consumer}.>",
    ]


def _work_off_lanes(stream: str) -> list[str]:
    return [subject for lane in subjects.LANES for subject in _work_off(stream, subjects.executors(lane))]


def _states(*events: type) -> list[str]:
    return [f"{_EXECUTION}.{STATE_TAILS[event]}" for event in events]


def _directory() -> list[str]:
    return _follow(DIRECTORY_STREAM, f"{DIRECTORY_PREFIX}>")


def _submit() -> list[str]:
    return [*subjects.REQUEST_SUBJECTS, "runlane.delayed.>", f"{_EXECUTION}.queued", *_states(PendingApproval)]


def _gateway() -> Grant:
    return Grant(
        publish=[
            *_submit(),
            *_states(Cancelled, Approved, Declined, Rejected, ApprovalExpired),
            f"{_EXECUTION}.signal.*",
            "runlane.audit.>",
            "runlane.delivery.>",
            subjects.ALL_PINGS,
            "runlane.control.>",
            f"{DIRECTORY_PREFIX}>",
            f"$JS.API.STREAM.MSG.DELETE.{subjects.DEAD}",
            *_directory(),
        ],
        subscribe=["runlane.reply.>", f"{subjects.LIVE}.>", subjects.ALL_PRESENCE],
    )


def _executor() -> Grant:
    return Grant(
        publish=[
            *_work_off_lanes(subjects.REQUESTS),
            *_work_off_lanes(subjects.DELAYED),
            f"$JS.API.STREAM.MSG.DELETE.{subjects.REQUESTS}",
            f"$JS.API.STREAM.MSG.DELETE.{subjects.DELAYED}",
            f"$JS.API.STREAM.MSG.DELETE.{subjects.PERMITS}",
            f"$JS.API.STREAM.MSG.DELETE.{subjects.WAITING}",
            *subjects.PERMIT_SUBJECTS,
            *subjects.WAITING_SUBJECTS,
            *subjects.REQUEST_SUBJECTS,
            f"{_EXECUTION}.state.*",
            f"{_EXECUTION}.trace",
            "runlane.delayed.>",
            "runlane.reply.>",
            "runlane.dead.>",
            subjects.ALL_PRESENCE,
            f"{DIRECTORY_PREFIX}workflows.>",
            f"{DIRECTORY_PREFIX}failures.>",
            *_directory(),
        ],
        subscribe=[
            subjects.ALL_CANCELS,
            subjects.ALL_PRESENCE,
            "runlane.control.drain.*",
            subjects.ROLL_CALL,
            subjects.GIVEN_UP,
        ],
    )


def _scheduler() -> Grant:
    return Grant(
        publish=[
            *_submit(),
            *_states(Cancelled),
            subjects.ALL_TICKS,
            subjects.ALL_CANCELS,
            *_directory(),
            *_follow(subjects.EVENTS, subjects.ALL_TICKS),
            *_deliver(),
        ],
        subscribe=[],
        denied=_not_the_recorders(),
    )


def _deliver() -> list[str]:
    """Deliver to subscriptions, each from a durable consumer of its own."""
    events = subjects.EVENTS
    return [
        f"$JS.API.CONSUMER.CREATE.{events}.*",
        f"$JS.API.CONSUMER.DELETE.{events}.*",
        f"$JS.API.CONSUMER.NAMES.{events}",
        f"$JS.ACK.{events}.>",
        *_work_off(subjects.OUTBOUND, subjects.PINGS),
        "runlane.sent.>",
        "runlane.audit.>",
        f"{DIRECTORY_PREFIX}subscriptionstates.>",
    ]


def _not_the_recorders() -> list[str]:
    """What wildcards over the consumers of EVENTS must not reach."""
    events, recorder = subjects.EVENTS, subjects.RECORDER
    return [
        f"$JS.API.CONSUMER.DELETE.{events}.{recorder}",
        f"$JS.API.CONSUMER.CREATE.{events}.{recorder}",
        f"$JS.API.CONSUMER.CREATE.{events}.{recorder}.>",
        f"$JS.API.CONSUMER.MSG.NEXT.{events}.{recorder}",
        f"$JS.ACK.{events}.{recorder}.>",
    ]


def _recorder() -> Grant:
    return Grant(
        publish=[
            *_work_off(subjects.EVENTS, subjects.RECORDER),
            f"$JS.API.CONSUMER.UNPIN.{subjects.EVENTS}.{subjects.RECORDER}",
            f"$JS.API.STREAM.MSG.DELETE.{subjects.REQUESTS}",
            f"$JS.API.STREAM.MSG.DELETE.{subjects.DELAYED}",
            *subjects.REQUEST_SUBJECTS,
            *_states(Failed),
            "runlane.delayed.>",
            "runlane.dead.>",
        ],
        subscribe=[],
    )


def _subscriber() -> Grant:
    """Reads events of executions, live and with consumers of its own, and nothing else: requests are not for it."""
    events = subjects.EVENTS
    return Grant(
        publish=[
            f"$JS.API.STREAM.INFO.{events}",
            f"$JS.API.CONSUMER.INFO.{events}.*",
            f"$JS.API.CONSUMER.DELETE.{events}.*",
            *_follow(events, subjects.ALL_EVENTS),
            f"$JS.ACK.{events}.>",
        ],
        subscribe=[f"{subjects.LIVE}.>", f"_INBOX.{SUBSCRIBER}.>"],
        denied=_not_the_recorders(),
    )


_GRANTS: Mapping[str, Callable[[], Grant]] = {
    "gateway": _gateway,
    "executor": _executor,
    "scheduler": _scheduler,
    "recorder": _recorder,
}
SERVICES = tuple(_GRANTS)


#: All with a password of their own, but the operator.
USERS = (*SERVICES, SUBSCRIBER)


def grant(service: str) -> Grant:
    """What a service, or a subscriber, may do; raises `KeyError` for what is neither."""
    if service == SUBSCRIBER:
        return _subscriber()
    found = _GRANTS[service]()
    return Grant([*_look(), *found.publish], [f"_INBOX.{service}.>", *found.subscribe], found.denied)


def users(password: Callable[[str], str]) -> str:
    """The `users` of a nats-server configuration, an operator among them who may do everything. `password` gives each
    user's, quoted."""
    lines = [f"{{ user: {OPERATOR}, password: {password(OPERATOR)} }}"]
    for service in USERS:
        allowed = grant(service)
        publish = {"allow": allowed.publish, **({"deny": allowed.denied} if allowed.denied else {})}
        permissions = msgspec.json.format(
            msgspec.json.encode({"publish": publish, "subscribe": {"allow": allowed.subscribe}}), indent=2
        ).decode()
        lines.append(f"{{ user: {service}, password: {password(service)}, permissions: {permissions} }}")
    return "[\n" + ",\n".join(lines) + "\n]"
