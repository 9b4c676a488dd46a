"""Who sent a webhook: secrets and signatures of every scheme, over the raw body. Pure; called by the webhook door.

Everything is compared in constant time and with every live secret, and what is missing is compared like what is wrong.
"""

import base64
import hashlib
import hmac
import os
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeAlias

from msgspec import Struct

from runlane import standard_webhooks
from runlane.contracts.webhooks import Dedupe, Scheme, Webhook
from runlane.errors import BadRequest

Headers: TypeAlias = Mapping[bytes, bytes]

#: The schemes whose signature covers the time at which it was made.
TIMED: frozenset[Scheme] = frozenset({"standard", "slack"})

#: Senders sign with two secrets while they rotate; more signatures than this are not looked at.
_MOST_SIGNATURES = 10
_LONGEST_ID = 200


class Key(Struct, frozen=True):
    """A live secret in the form that it is used in."""

    value: bytes
    expires_at: datetime | None = None


class Given(Struct, frozen=True):
    """What came in, before anything of it was parsed."""

    headers: Headers
    body: bytes
    now: datetime


def key_of(scheme: Scheme, secret: str) -> bytes:
    """The key that a secret stands for. Raises `ValueError` saying what is wrong with it."""
    return standard_webhooks.key_of(secret) if scheme == "standard" else secret.encode()


def new_secret(scheme: Scheme) -> str:
    """A secret of 256 random bits in the form that the scheme wants."""
    return standard_webhooks.new_secret() if scheme == "standard" else os.urandom(32).hex()


def verify(webhook: Webhook, keys: Sequence[Key], given: Given) -> None:
    """Raises `BadRequest` with the reason, which is for the log only, unless one of the live secrets was used.

    Of `msgraph` nothing is known before the body is read: see `verify_notifications`.
    """
    if webhook.scheme != "msgraph":
        _SCHEMES[webhook.scheme](webhook, live(keys, given.now), given)


def verify_notifications(keys: Sequence[Key], value: Any, now: datetime) -> dict[str, Any]:
    """Microsoft Graph's notifications without their `clientState`, which must be a live secret in each of them.

    Raises `BadRequest`.
    """
    found = value.get("value") if isinstance(value, dict) else None
    notifications = found if isinstance(found, list) else []
    states = [str(it.get("clientState", "")) if isinstance(it, dict) else "" for it in notifications]
    good = [_is_secret(live(keys, now), state.encode()) for state in states or [""]]
    if not all(good):
        raise BadRequest("clientState is missing or wrong")
    bare = [{name: item for name, item in it.items() if name != "clientState"} for it in notifications]
    return {**value, "value": bare}


def live(keys: Sequence[Key], now: datetime) -> list[bytes]:
    """The secrets that count now."""
    return [key.value for key in keys if key.expires_at is None or key.expires_at > now]


def dedupe_of(webhook: Webhook) -> Dedupe:
    """What makes two of its deliveries the same one."""
    if webhook.dedupe is not None:
        return webhook.dedupe
    if webhook.scheme == "secret":
        return "none" if webhook.delivery_header is None else "delivery"
    return _DEDUPE[webhook.scheme]


def has_delivery_id(webhook: Webhook) -> bool:
    """Whether its senders say which delivery it is."""
    return webhook.delivery_header is not None if webhook.scheme == "secret" else webhook.scheme in _DELIVERY_HEADERS


def delivery_id(webhook: Webhook, headers: Headers) -> str | None:
    """The id that the sender gave the delivery, if any. Raises `BadRequest` for one that cannot be used."""
    names = _DELIVERY_HEADERS.get(webhook.scheme, ())
    if webhook.scheme == "secret" and webhook.delivery_header is not None:
        names = (webhook.delivery_header.lower().encode(),)
    values = [headers.get(name, b"") for name in names]
    if not names or not values[0]:
        return None
    text = b" ".join(values).strip().decode("latin-1")
    if len(text) > _LONGEST_ID or not text.isascii() or not text.isprintable():
        raise BadRequest("the delivery id is not 1 to 200 printable ASCII characters")
    return text


# --- the schemes ------------------------------------------------------------------------------------------------------


def _secret(webhook: Webhook, keys: Sequence[bytes], given: Given) -> None:
    offered = given.headers.get(webhook.header.lower().encode(), b"")
    if not _is_secret(keys, offered):
        raise BadRequest("the secret is missing or wrong")


def _standard(webhook: Webhook, keys: Sequence[bytes], given: Given) -> None:
    """https://www.standardwebhooks.com: HMAC-SHA256 over `id.timestamp.body`; signatures separated by spaces."""
    id_, stamp = given.headers.get(b"webhook-id", b""), given.headers.get(b"webhook-timestamp", b"")
    signatures = given.headers.get(b"webhook-signature", b"").split(b" ")[:_MOST_SIGNATURES]
    _check_signature([standard_webhooks.signature(key, id_, stamp, given.body) for key in keys], signatures)
    _check_time(stamp, webhook, given.now)


def _github(webhook: Webhook, keys: Sequence[bytes], given: Given) -> None:
    """https://docs.github.com/webhooks/using-webhooks/validating-webhook-deliveries"""
    expected = [b"sha256=" + digest.hex().encode() for digest in _digests(keys, given.body)]
    _check_signature(expected, [given.headers.get(b"x-hub-signature-256", b"")])


def _slack(webhook: Webhook, keys: Sequence[bytes], given: Given) -> None:
    """https://docs.slack.dev/authentication/verifying-requests-from-slack"""
    stamp = given.headers.get(b"x-slack-request-timestamp", b"")
    expected = [b"v0=" + d.hex().encode() for d in _digests(keys, b"v0:" + stamp + b":" + given.body)]
    _check_signature(expected, [given.headers.get(b"x-slack-signature", b"")])
    _check_time(stamp, webhook, given.now)


def _shopify(webhook: Webhook, keys: Sequence[bytes], given: Given) -> None:
    """https://shopify.dev/docs/apps/build/webhooks/subscribe/https"""
    expected = [base64.b64encode(digest) for digest in _digests(keys, given.body)]
    _check_signature(expected, [given.headers.get(b"x-shopify-hmac-sha256", b"")])


_SCHEMES: dict[Scheme, Callable[[Webhook, Sequence[bytes], Given], None]] = {
    "secret": _secret,
    "standard": _standard,
    "github": _github,
    "slack": _slack,
    "shopify": _shopify,
}
#: The first names the delivery; the others tell apart what the sender may give the same name.
_DELIVERY_HEADERS: dict[Scheme, tuple[bytes, ...]] = {
    "standard": (b"webhook-id",),
    "github": (b"x-github-delivery",),
    "shopify": (b"x-shopify-event-id", b"x-shopify-topic"),
}
_DEDUPE: dict[Scheme, Dedupe] = {
    "standard": "delivery",
    "github": "delivery",
    "shopify": "delivery",
    "slack": "body",  # a repetition has another signature, and an event has its id in the body
    "msgraph": "none",  # two changes of a thing may look alike
}


def _digests(keys: Sequence[bytes], message: bytes) -> list[bytes]:
    return [hmac.digest(key, message, "sha256") for key in keys]


def _is_secret(keys: Sequence[bytes], offered: bytes) -> bool:
    # Of digests, so that not even the length of the secret shows.
    digest, good = hashlib.sha256(offered).digest(), False
    for key in keys:
        good |= hmac.compare_digest(hashlib.sha256(key).digest(), digest)
    return good and bool(offered)


def _check_signature(expected: Sequence[bytes], offered: Sequence[bytes]) -> None:
    good = False
    for one in expected:
        for other in offered:
            good |= hmac.compare_digest(one, other)
    if not good:
        raise BadRequest("the signature is missing or wrong")


def _check_time(stamp: bytes, webhook: Webhook, now: datetime) -> None:
    if not stamp.isdigit() or len(stamp) > 12 or abs(now.timestamp() - int(stamp)) > webhook.tolerance_seconds:
        raise BadRequest("the timestamp is missing or too far from now")
