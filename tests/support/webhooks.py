"""Senders of webhooks for tests: they sign as the vendors do."""

import base64
import hmac
import time
import uuid
from typing import Any

import msgspec

from runlane_gateway.webhook_signatures import key_of

SECRET = "a-plain-secret-of-thirty-two-b.."
GITHUB = "github-webhook-secret-of-enough-length"
STANDARD = "whsec_" + base64.b64encode(b"standard-webhooks-secret-32-byte").decode()
TICKET = {"ticket_id": "123", "status": "closed", "notes": "Resolved by technician"}

TICKET_SCHEMA = {
    "type": "object",
    "properties": {"ticket_id": {"type": "string"}, "status": {"type": "string"}, "notes": {"type": "string"}},
    "required": ["ticket_id", "status", "notes"],
    "additionalProperties": False,
}


def body_of(value: Any) -> bytes:
    return value if isinstance(value, bytes) else msgspec.json.encode(value)


def plain(value: Any, secret: str = SECRET, **headers: str) -> dict[str, Any]:
    """A delivery with the secret in a header."""
    return _delivery(body_of(value), {"X-Webhook-Secret": secret, **headers})


def standard(value: Any, secret: str = STANDARD, *, id_: str | None = None, at: float | None = None) -> dict[str, Any]:
    """A delivery in Standard Webhooks form."""
    body, id_, stamp = body_of(value), id_ or f"msg_{uuid.uuid4().hex}", str(int(at or time.time()))
    signed = f"{id_}.{stamp}.".encode() + body
    signature = base64.b64encode(hmac.digest(key_of("standard", secret), signed, "sha256")).decode()
    headers = {"webhook-id": id_, "webhook-timestamp": stamp, "webhook-signature": f"v1,{signature}"}
    return _delivery(body, headers)


def github(value: Any, secret: str = GITHUB, delivery: str | None = None) -> dict[str, Any]:
    """A delivery as GitHub makes it."""
    body = body_of(value)
    digest = hmac.digest(secret.encode(), body, "sha256").hex()
    headers = {
        "X-Hub-Signature-256": f"sha256={digest}",
        "X-GitHub-Event": "issues",
        "X-GitHub-Delivery": delivery or str(uuid.uuid4()),
    }
    return _delivery(body, headers)


def slack(value: Any, secret: str, at: float | None = None) -> dict[str, Any]:
    """A delivery as Slack's Events API makes it."""
    body, stamp = body_of(value), str(int(at or time.time()))
    digest = hmac.digest(secret.encode(), f"v0:{stamp}:".encode() + body, "sha256").hex()
    return _delivery(body, {"X-Slack-Request-Timestamp": stamp, "X-Slack-Signature": f"v0={digest}"})


def shopify(value: Any, secret: str, event: str, topic: str = "orders/create") -> dict[str, Any]:
    """A delivery as Shopify makes it."""
    body = body_of(value)
    digest = base64.b64encode(hmac.digest(secret.encode(), body, "sha256")).decode()
    return _delivery(body, {"X-Shopify-Hmac-Sha256": digest, "X-Shopify-Event-Id": event, "X-Shopify-Topic": topic})


def _delivery(body: bytes, headers: dict[str, str]) -> dict[str, Any]:
    return {"content": body, "headers": {"Content-Type": "application/json", **headers}}
