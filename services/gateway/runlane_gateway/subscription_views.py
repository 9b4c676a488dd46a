"""What the subscription doors take and answer."""

from msgspec import Struct, field

from runlane.contracts.subscriptions import ENDINGS, Attempt, Subscription, SubscriptionState, is_active

from .views import utc, utc_or_none
from .webhook_views import SecretVersionView


class SubscriptionBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A subscription, all of it: what is not given is as it is by default. `url` may be left out where there is one.

    `events` are the last parts of their types. No `workflows`: all.
    """

    url: str | None = None
    events: list[str] = field(default_factory=lambda: list(ENDINGS))
    workflows: list[str] = field(default_factory=list)
    description: str = ""
    enabled: bool = True


class RotateSubscriptionBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Deliveries are signed with the old secret as well for `overlap_seconds` more."""

    overlap_seconds: float = 86_400


class SubscriptionView(Struct, frozen=True, rename="camel", kw_only=True):
    """A subscription. `url` is shown without what may be a token in it. `secret` is there once, when one was made.

    `status`: `active`, `disabled` by somebody, or `stopped` by the engine for `reason`. `failingSince`: nothing has
    arrived since.
    """

    id: str
    org: str
    url: str
    events: list[str]
    workflows: list[str]
    description: str
    enabled: bool
    status: str
    reason: str | None
    failing_since: str | None
    since: str
    secrets: list[SecretVersionView]
    changed_at: str | None
    changed_by: str | None
    secret: str | None = None


class SubscriptionsView(Struct, frozen=True):
    subscriptions: list[SubscriptionView]


class AttemptView(Struct, frozen=True, rename="camel"):
    """One attempt to deliver. `event`: its id, the `webhook-id` at the receiver."""

    at: str
    event: str
    type: str
    number: int
    outcome: str
    status: int | None
    problem: str | None
    duration_ms: int
    next_at: str | None


class AttemptsView(Struct, frozen=True):
    attempts: list[AttemptView]


class PingView(Struct, frozen=True):
    """The id of the event that is sent."""

    event: str


def subscription_view(
    subscription: Subscription, state: SubscriptionState | None, secret: str | None = None
) -> SubscriptionView:
    """A subscription as its organisation may see it."""
    active = is_active(subscription, state)
    status = "active" if active else "stopped" if subscription.enabled else "disabled"
    failing = state is not None and state.failing_since is not None and state.failing_since >= subscription.since
    return SubscriptionView(
        id=subscription.id,
        org=subscription.org,
        url=subscription.address,
        events=subscription.events,
        workflows=subscription.workflows,
        description=subscription.description,
        enabled=subscription.enabled,
        status=status,
        reason=state.reason if state is not None and status == "stopped" else None,
        failing_since=utc_or_none(state.failing_since) if state is not None and failing else None,
        since=utc(subscription.since),
        secrets=[
            SecretVersionView(it.id, utc_or_none(it.made_at), utc_or_none(it.expires_at))
            for it in subscription.versions
        ],
        changed_at=utc_or_none(subscription.changed_at),
        changed_by=subscription.changed_by,
        secret=secret,
    )


def attempt_view(it: Attempt) -> AttemptView:
    """An attempt as it is listed."""
    return AttemptView(
        utc(it.at),
        it.event,
        it.type,
        it.number,
        it.outcome,
        it.status,
        it.problem,
        it.duration_ms,
        utc_or_none(it.next_at),
    )
