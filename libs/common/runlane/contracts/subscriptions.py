"""Subscriptions: where an organisation wants its events sent, what became of that, and what is sent.

The gateway writes `Subscription`, schedulers deliver and write `SubscriptionState` and `Attempt`.
"""

from datetime import datetime, timedelta
from typing import Literal, TypeAlias

import msgspec
from msgspec import Struct, field

from runlane.contracts import subjects
from runlane.contracts.events import STATE_TAILS, TERMINAL
from runlane.contracts.webhooks import SecretVersion

#: The events that can be subscribed to, by the last part of their type, with the tail of their subjects.
TAILS: dict[str, str] = {"queued": "queued"} | {tail.removeprefix("state."): tail for tail in STATE_TAILS.values()}
#: What ends an execution: what most want to hear of.
ENDINGS: tuple[str, ...] = tuple(STATE_TAILS[kind].removeprefix("state.") for kind in TERMINAL)

#: Of a subscription's attempts, so many of the newest are kept.
ATTEMPTS_KEPT = 50

#: `gone`: the receiver answered 410 and wants no more. `given_up`: the event became too old.
AttemptOutcome: TypeAlias = Literal["delivered", "failed", "gone", "given_up"]


class Subscription(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Events of `org` that are posted to an address. Key `subscriptions.{org}.{id}`.

    `address` is the URL as it may be shown, `sealed` the JSON of a `Sealed`, sealed under `subscription_context()`.
    No `workflows`: all. `since`: what happened before then is not sent.
    """

    org: str
    id: str
    address: str
    sealed: bytes
    since: datetime
    events: list[str] = field(default_factory=lambda: list(ENDINGS))
    workflows: list[str] = field(default_factory=list)
    description: str = ""
    enabled: bool = True
    versions: list[SecretVersion] = field(default_factory=list)
    changed_at: datetime | None = None
    changed_by: str | None = None


class Sealed(Struct, frozen=True):
    """What nobody is shown: the whole URL, which may hold a token, and the live secrets in the order of `versions`."""

    url: str
    secrets: list[str]


class SubscriptionState(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How delivering goes. Key `subscriptionstates.{org}.{id}`; absent while all is well.

    `failing_since`: nothing has arrived since. `stopped_at`: given up then, for `reason`, until somebody enables it.
    """

    org: str
    id: str
    failing_since: datetime | None = None
    stopped_at: datetime | None = None
    reason: str = ""


class Attempt(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One POST. `event`: the id of the event, and of the message at the receiver. `number` counts from 1.

    `status`: the HTTP status, None where there was no answer; then `problem` says why.
    """

    at: datetime
    event: str
    type: str
    number: int
    outcome: AttemptOutcome
    duration_ms: int
    status: int | None = None
    problem: str | None = None
    next_at: datetime | None = None


class Ping(Struct, frozen=True):
    """Somebody wants to see whether a subscription works: one event that tells of nothing."""

    id: str
    org: str
    subscription: str
    at: datetime


def subscription_key(org: str, id_: str) -> str:
    return f"subscriptions.{org}.{id_}"


def state_key(org: str, id_: str) -> str:
    return f"subscriptionstates.{org}.{id_}"


def subscription_context(org: str, id_: str) -> str:
    """What the address and the secrets of a subscription are sealed for."""
    return f"{org}|{id_}|subscription"


def filters_of(subscription: Subscription) -> list[str]:
    """The subjects of the events that it wants."""
    workflows = subscription.workflows or ["*"]
    return [
        subjects.events_of(subscription.org, workflow, TAILS[event])
        for workflow in workflows
        for event in subscription.events
        if event in TAILS
    ]


def is_active(subscription: Subscription, state: SubscriptionState | None) -> bool:
    """Whether it is delivered to: enabled, and not stopped since."""
    stopped = state is not None and state.stopped_at is not None and state.stopped_at >= subscription.since
    return subscription.enabled and not stopped


def live_secrets(subscription: Subscription, sealed: Sealed, now: datetime) -> list[str]:
    """The secrets that count now, the newest first."""
    pairs = zip(subscription.versions, sealed.secrets, strict=True)
    return [secret for version, secret in pairs if version.expires_at is None or version.expires_at > now]


def ping_event(ping: Ping) -> bytes:
    """The CloudEvent of a ping."""
    event = {
        "specversion": "1.0",
        "id": f"{ping.id}:ping",
        "type": "dev.runlane.subscription.pinged",
        "source": "/runlane/gateway",
        "subject": ping.subscription,
        "time": ping.at,
        "organization": ping.org,
        "datacontenttype": "application/json",
        "data": {"message": "A test: nothing has happened."},
    }
    return msgspec.json.encode(event)


def overlap(versions: list[SecretVersion], now: datetime, seconds: float) -> list[SecretVersion]:
    """The secrets there are, each to end after so long at the latest."""
    ends = now + timedelta(seconds=seconds)
    return [
        msgspec.structs.replace(it, expires_at=ends if it.expires_at is None else min(it.expires_at, ends))
        for it in versions
    ]
