"""What an organisation settled of a webhook, and the deliveries that came in. Events are `events.Delivered`.

The directory holds `Webhook`, the record store `WebhookDelivery`; the gateway reads and writes both.
"""

from datetime import datetime
from typing import Literal, TypeAlias

from msgspec import Struct, field

from runlane.contracts.events import Delivered, DeliveryOutcome

#: How a sender proves who it is; docs/guide/webhooks.md has a section on each.
Scheme: TypeAlias = Literal["secret", "standard", "github", "slack", "shopify", "msgraph"]

#: What makes two deliveries the same one: the sender's delivery id, the body, or nothing.
Dedupe: TypeAlias = Literal["delivery", "body", "none"]

SECRET_HEADER = "X-Webhook-Secret"


class SecretVersion(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What may be known of a live secret. `expires_at`: while rotating, when the old one ends."""

    id: str
    made_at: datetime | None = None
    expires_at: datetime | None = None


class Webhook(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The webhook of a workflow in an organisation. Key `webhooks.{org}.{workflow}`.

    `versions` are the live secrets, the newest first; `sealed` is the JSON list of their values in the same order,
    sealed under `webhook_context()`. The body is the parameters; with `body_as` the whole body is the value of that
    one parameter instead. `headers_as` is a parameter that gets the `headers` by their names in lower case. `header` is
    where the plain secret stands.
    """

    org: str
    workflow: str
    enabled: bool = True
    scheme: Scheme = "secret"
    versions: list[SecretVersion] = field(default_factory=list)
    sealed: bytes | None = None
    header: str = SECRET_HEADER
    tolerance_seconds: float = 300
    dedupe: Dedupe | None = None
    delivery_header: str | None = None
    rate_per_minute: float = 600
    burst: int = 100
    body_as: str | None = None
    headers_as: str | None = None
    headers: list[str] = field(default_factory=list)
    changed_at: datetime | None = None
    changed_by: str | None = None


def webhook_context(org: str, workflow: str) -> str:
    """What the secrets of a webhook are sealed for."""
    return f"{org}|{workflow}|webhook"


class WebhookDelivery(Struct, frozen=True, kw_only=True):
    """One delivery. `sender_id` is the id that the sender gave it; `reason` says why it was refused."""

    id: str
    org: str
    workflow: str
    at: datetime
    outcome: DeliveryOutcome
    scheme: str
    reason: str | None = None
    execution_id: str | None = None
    sender_id: str | None = None
    size_bytes: int = 0
    address: str | None = None


class DeliveryQuery(Struct, frozen=True, kw_only=True):
    """Which deliveries of one webhook, newest first. `after` is a page's `next`."""

    org: str
    workflow: str
    outcome: DeliveryOutcome | None = None
    after: str | None = None
    limit: int = 50


class DeliveryPage(Struct, frozen=True):
    items: list[WebhookDelivery]
    next: str | None


def delivery_of(event: Delivered) -> WebhookDelivery:
    """The delivery that an event tells of."""
    data = event.data
    return WebhookDelivery(
        id=event.subject,
        org=event.organization,
        workflow=event.workflow,
        at=event.time,
        outcome=data.outcome,
        scheme=data.scheme,
        reason=data.reason,
        execution_id=data.execution_id,
        sender_id=data.sender_id,
        size_bytes=data.size_bytes,
        address=data.address,
    )
