"""What the webhook doors take and answer."""

from msgspec import Struct, field

from runlane.contracts.directory import Manifest
from runlane.contracts.webhooks import SECRET_HEADER, Dedupe, Scheme, Webhook, WebhookDelivery

from .views import utc, utc_or_none
from .webhook_settings import problems_of
from .webhook_signatures import dedupe_of


class WebhookAccepted(Struct, frozen=True, rename="camel"):
    """202 (SPEC §4)."""

    execution_id: str
    status: str = "Queued"
    message: str = "Webhook received and queued for processing"


class WebhookRefusal(Struct, frozen=True):
    """SPEC §2: all that a sender learns."""

    error: str
    message: str = "Failed to process webhook"


class WebhookBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The settings of a webhook, all of them: what is not given is as it is by default.

    `secret` replaces what there is; without it the secrets stay, or one is made where the scheme needs one.
    """

    enabled: bool = True
    scheme: Scheme = "secret"
    secret: str | None = None
    header: str = SECRET_HEADER
    tolerance_seconds: float = 300
    dedupe: Dedupe | None = None
    delivery_header: str | None = None
    rate_per_minute: float = 600
    burst: int = 100
    body_as: str | None = None
    headers_as: str | None = None
    headers: list[str] = field(default_factory=list)


class RotateBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`secret`: the new one, else one is made. The old one counts for `overlap_seconds` more."""

    secret: str | None = None
    overlap_seconds: float = 86_400


class SecretVersionView(Struct, frozen=True, rename="camel"):
    """A live secret without its value."""

    id: str
    created_at: str | None
    expires_at: str | None


class WebhookView(Struct, frozen=True, rename="camel", kw_only=True):
    """A webhook. `configured`: settings were saved for it. `secret` is there once, when one was made.

    `problems`: why no delivery can be accepted, or what its workflow no longer takes.
    """

    org: str
    workflow: str
    url: str
    configured: bool
    enabled: bool
    scheme: str
    secret_required: bool
    secrets: list[SecretVersionView]
    header: str
    tolerance_seconds: float
    dedupe: str
    delivery_header: str | None
    rate_per_minute: float
    burst: int
    body_as: str | None
    headers_as: str | None
    headers: list[str]
    problems: list[str]
    changed_at: str | None
    changed_by: str | None
    secret: str | None = None


class WebhooksView(Struct, frozen=True):
    webhooks: list[WebhookView]
    next: str | None


class DeliveryView(Struct, frozen=True, rename="camel"):
    """A delivery. `reason`: why it was refused. `sender_id`: the sender's own id of it."""

    id: str
    at: str
    outcome: str
    scheme: str
    reason: str | None
    execution_id: str | None
    sender_id: str | None
    size_bytes: int
    address: str | None


class DeliveriesView(Struct, frozen=True):
    deliveries: list[DeliveryView]
    next: str | None


def webhook_view(
    webhook: Webhook, manifest: Manifest | None, *, configured: bool, secret: str | None = None
) -> WebhookView:
    """A webhook as its organisation may see it."""
    problems = ["there is no such workflow (any more), or it is disabled here"]
    if manifest is not None:
        problems = [problem.message for problem in problems_of(webhook, manifest)]
    required = manifest is None or manifest.webhook_secret_required
    if not webhook.versions and (required or webhook.scheme != "secret"):
        problems.append("it has no secret yet")
    return WebhookView(
        org=webhook.org,
        workflow=webhook.workflow,
        url=f"/webhooks/{webhook.org}/{webhook.workflow}",
        configured=configured,
        enabled=webhook.enabled,
        scheme=webhook.scheme,
        secret_required=required,
        secrets=[
            SecretVersionView(it.id, utc_or_none(it.made_at), utc_or_none(it.expires_at)) for it in webhook.versions
        ],
        header=webhook.header,
        tolerance_seconds=webhook.tolerance_seconds,
        dedupe=dedupe_of(webhook),
        delivery_header=webhook.delivery_header,
        rate_per_minute=webhook.rate_per_minute,
        burst=webhook.burst,
        body_as=webhook.body_as,
        headers_as=webhook.headers_as,
        headers=webhook.headers,
        problems=problems,
        changed_at=utc_or_none(webhook.changed_at),
        changed_by=webhook.changed_by,
        secret=secret,
    )


def delivery_view(it: WebhookDelivery) -> DeliveryView:
    """A delivery as it is listed."""
    return DeliveryView(
        it.id,
        utc(it.at),
        it.outcome,
        it.scheme,
        it.reason,
        it.execution_id,
        it.sender_id,
        it.size_bytes,
        it.address,
    )
