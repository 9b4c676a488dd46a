"""Every stream, subject, consumer and bucket name of Runlane, and the only code that builds or reads one.

Tokens are checked by `runlane.ids` before they get here and once more here: nats-py would publish to `*` or `>`.
"""

from datetime import datetime
from typing import NamedTuple

from runlane.ids import check_token

REQUESTS = "REQUESTS"
DELAYED = "DELAYED"
EVENTS = "EVENTS"
DEAD = "DEAD"
PERMITS = "PERMITS"
WAITING = "WAITING"
OUTBOUND = "OUTBOUND"
DIRECTORY = "DIRECTORY"
#: The stream behind the directory is a key-value bucket that other NATS clients can read as such.
DIRECTORY_STREAM = f"KV_{DIRECTORY}"
DIRECTORY_PREFIX = f"$KV.{DIRECTORY}."

REQUEST_SUBJECTS = ("runlane.request.>",)
# A stream of its own: nats-server refuses message schedules on a stream that discards new messages, as REQUESTS must.
DELAYED_SUBJECTS = ("runlane.delayed.>", "runlane.due.>")
EVENT_SUBJECTS = ("runlane.event.>", "runlane.tick.>", "runlane.audit.>", "runlane.delivery.>")
DEAD_SUBJECTS = ("runlane.dead.>",)
PERMIT_SUBJECTS = ("runlane.permit.>",)
WAITING_SUBJECTS = ("runlane.waiting.>",)
OUTBOUND_SUBJECTS = ("runlane.sent.>", "runlane.ping.>")

#: Stored events are republished for whoever watches live: `runlane.live.{event subject without runlane.}`.
LIVE = "runlane.live"

RECORDER = "recorder"  # durable consumer of EVENTS
PINGS = "pings"  # durable consumer of OUTBOUND

#: How the durable consumers of subscriptions begin.
SUBSCRIBERS = "subscriber-"

#: From the first, for organisations with little waiting, to the last (`runlane.lanes` chooses). Executors have one
#: durable consumer for each on REQUESTS, and one of the same name on DELAYED for what became due.
LANES = ("0", "1", "2", "3")
FIRST_LANE = LANES[0]
ALL_REQUESTS = "runlane.request.>"
ALL_DUE = "runlane.due.>"
ALL_TICKS = "runlane.tick.>"
ALL_CANCELS = "runlane.control.cancel.*"
ALL_EVENTS = "runlane.event.>"
#: All that a stream holds. nats-server reads by this one in order, and looks each message up for any narrower one:
#: of a million messages, several times as long.
EVERYTHING = ">"
ALL_DEAD = "runlane.dead.>"
ALL_WAITING = "runlane.waiting.>"
ALL_PINGS = "runlane.ping.>"
ALL_PRESENCE = "runlane.control.presence.*"
#: Executors answer with their presence.
ROLL_CALL = "runlane.control.roll-call"
EVERY_EXECUTOR = "all"

#: nats-server says here that it will not deliver a message of ours any more.
GIVEN_UP = "$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.*.*"


def request(lane: str, org: str, workflow: str) -> str:
    """Where a request waits for an executor."""
    return f"runlane.request.{lane}.{check_token(org, 'organization')}.{check_token(workflow, 'workflow')}"


def requests_of(org: str) -> str:
    """The filter over all requests of an organisation."""
    return f"runlane.request.*.{check_token(org, 'organization')}.*"


def lane_of(subject: str) -> str:
    """The lane of a request that is queued or became due."""
    return subject.split(".", 3)[2]


def executors(lane: str) -> str:
    """The durable consumer of a lane."""
    return f"executors-{lane}"


def requests_in(stream: str, lane: str) -> str:
    """The filter over what executors get of a lane of REQUESTS or DELAYED."""
    return f"runlane.{'due' if stream == DELAYED else 'request'}.{lane}.>"


def permits(scope: str) -> str:
    """Who runs under a limit."""
    return f"runlane.permit.{check_token(scope, 'scope')}"


def waiting(scope: str, request_subject: str) -> str:
    """Where the request of a `request(…)` or `due(…)` subject waits for a permit; `scope` names the limit."""
    _, _, lane, org, workflow = request_subject.split(".")
    return f"runlane.waiting.{check_token(scope, 'scope')}.{lane}.{org}.{workflow}"


def waiting_for(scope: str) -> str:
    """The filter over all requests that wait for a permit of one limit."""
    return f"runlane.waiting.{check_token(scope, 'scope')}.>"


def waiting_of(org: str, workflow: str) -> str:
    """The filter over all requests of a workflow in an organisation that wait for a permit."""
    return f"runlane.waiting.*.*.{check_token(org, 'organization')}.{check_token(workflow, 'workflow')}"


def scope_of(waiting_subject: str) -> str:
    """The limit that a request waits for."""
    return waiting_subject.split(".", 3)[2]


def called(waiting_subject: str) -> str:
    """Where a request is queued again that has a permit now."""
    _, _, _, lane, org, workflow = waiting_subject.split(".")
    return request(lane, org, workflow)


def due(lane: str, org: str, workflow: str) -> str:
    """Where a delayed request appears when its time has come."""
    return f"runlane.due.{lane}.{check_token(org, 'organization')}.{check_token(workflow, 'workflow')}"


def delayed(execution: str) -> str:
    """Where a request waits for its time, to be delivered to `due(…)`; publishing again replaces it."""
    return f"runlane.delayed.{check_token(execution, 'execution')}"


def wake(execution: str) -> str:
    """Where a request to look at an execution waits, beside its own delayed request."""
    return f"runlane.delayed.{check_token(execution, 'execution')}.wake"


def expiry(execution: str) -> str:
    """Where the end of an approval waits: of its own, as a wake-up for an earlier time would take its place, or be
    replaced by it."""
    return f"runlane.delayed.{check_token(execution, 'execution')}.expiry"


def signal(org: str, workflow: str, execution: str, digest: str) -> str:
    """An event from outside; `digest` is made of its id, so that each has a subject of its own."""
    return f"{_execution(org, workflow, execution)}.signal.{check_token(digest, 'event')}"


def signals(org: str, workflow: str, execution: str) -> str:
    """The filter over the events that an execution was sent."""
    return f"{_execution(org, workflow, execution)}.signal.*"


def event(org: str, workflow: str, execution: str, tail: str) -> str:
    """One event of an execution; `tail` is `queued`, `trace` or `state.<kind>`."""
    return f"{_execution(org, workflow, execution)}.{tail}"


def state_line(org: str, workflow: str, execution: str) -> str:
    """The filter over an execution's state changes: what every compare-and-set is checked against."""
    return f"{_execution(org, workflow, execution)}.state.*"


def all_events(org: str, execution: str, workflow: str = "*") -> str:
    """The filter over everything an execution wrote; without its workflow where the asker does not know it."""
    name = workflow if workflow == "*" else check_token(workflow, "workflow")
    return f"runlane.event.{check_token(org, 'organization')}.{name}.{check_token(execution, 'execution')}.>"


def any_state(org: str, execution: str) -> str:
    """The filter over an execution's state changes for an asker who does not know its workflow."""
    return f"runlane.event.{check_token(org, 'organization')}.*.{check_token(execution, 'execution')}.state.*"


def events_of(org: str, workflow: str, tail: str) -> str:
    """The filter over one kind of event of an organisation; `workflow` may be `*`."""
    name = workflow if workflow == "*" else check_token(workflow, "workflow")
    return f"runlane.event.{check_token(org, 'organization')}.{name}.*.{tail}"


def subscriber(subscription: str, since: datetime) -> str:
    """The durable consumer of EVENTS from which a subscription is delivered. One that is enabled again gets another."""
    return f"{SUBSCRIBERS}{check_token(subscription, 'subscription')}-{int(since.timestamp() * 1000)}"


def subscription_of(consumer: str) -> str:
    """The subscription that a consumer named by `subscriber` is of."""
    return consumer.removeprefix(SUBSCRIBERS).rpartition("-")[0]


def sent(org: str, subscription: str) -> str:
    """What became of each attempt to deliver to a subscription."""
    return f"runlane.sent.{check_token(org, 'organization')}.{check_token(subscription, 'subscription')}"


def ping(org: str, subscription: str) -> str:
    """Asks for one event that tells of nothing."""
    return f"runlane.ping.{check_token(org, 'organization')}.{check_token(subscription, 'subscription')}"


def tick(org: str, workflow: str) -> str:
    """The fate of each cron tick of a workflow in an organisation."""
    return f"runlane.tick.{check_token(org, 'organization')}.{check_token(workflow, 'workflow')}"


def parse_tick(subject: str) -> tuple[str, str]:
    """The organisation and workflow of a `tick(…)` subject."""
    _, _, org, workflow = subject.split(".")
    return org, workflow


def audit(org: str) -> str:
    """What was changed in an organisation, by whom."""
    return f"runlane.audit.{check_token(org, 'organization')}"


def delivery(org: str, workflow: str) -> str:
    """What came in by the webhook of a workflow in an organisation."""
    return f"runlane.delivery.{check_token(org, 'organization')}.{check_token(workflow, 'workflow')}"


def live(filter_: str) -> str:
    """The live (core NATS, at most once) twin of an event subject or filter."""
    return f"{LIVE}.{filter_.removeprefix('runlane.')}"


def cancel(execution: str) -> str:
    """Tells whichever executor runs it that an execution was cancelled."""
    return f"runlane.control.cancel.{check_token(execution, 'execution')}"


def reply(gateway: str, execution: str) -> str:
    """Where a gateway awaits the outcome of a synchronous call."""
    return f"runlane.reply.{check_token(gateway, 'gateway')}.{check_token(execution, 'execution')}"


def replies(gateway: str) -> str:
    """The filter over all replies to a gateway."""
    return f"runlane.reply.{check_token(gateway, 'gateway')}.*"


def dead(org: str, workflow: str, execution: str) -> str:
    """A request that was given up."""
    return f"runlane.dead.{org}.{workflow}.{execution}"


def dead_letters_of(org: str) -> str:
    """The filter over the dead letters of an organisation."""
    return f"runlane.dead.{check_token(org, 'organization')}.>"


def drain(executor: str) -> str:
    """Tells an executor, or `EVERY_EXECUTOR`, to finish what it has and end."""
    return f"runlane.control.drain.{check_token(executor, 'executor')}"


def presence(executor: str) -> str:
    """Where an executor says every moment that it is there and what it does."""
    return f"runlane.control.presence.{check_token(executor, 'executor')}"


_WAITS_FOR = "event:"


def waits_for(name: str) -> str:
    """The reason of a suspension that an event ends."""
    return _WAITS_FOR + name


def awaited_event(reason: str) -> str | None:
    """The event that ends a suspension, if one does."""
    return reason.removeprefix(_WAITS_FOR) if reason.startswith(_WAITS_FOR) else None


class EventSubject(NamedTuple):
    """What an event's subject says."""

    org: str
    workflow: str
    execution: str
    tail: str


def parse_event(subject: str) -> EventSubject | None:
    """Read `runlane.event.{org}.{workflow}.{execution}.{tail}`; None for any other subject."""
    tokens = subject.split(".", 5)
    if len(tokens) != 6 or tokens[0] != "runlane" or tokens[1] != "event":
        return None
    return EventSubject(*tokens[2:])


def _execution(org: str, workflow: str, execution: str) -> str:
    return (
        f"runlane.event.{check_token(org, 'organization')}.{check_token(workflow, 'workflow')}"
        f".{check_token(execution, 'execution')}"
    )
