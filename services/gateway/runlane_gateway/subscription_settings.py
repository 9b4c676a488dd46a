"""What a subscription may be, and how its address is shown. Called by the subscription doors."""

import re
from urllib.parse import SplitResult, urlsplit

from runlane.addresses import is_allowed, is_public
from runlane.contracts.subscriptions import TAILS
from runlane.errors import ValidationError
from runlane.ids import is_token

from .subscription_views import SubscriptionBody

#: Of one organisation. Each is a consumer on the broker that schedulers look after.
MOST_SUBSCRIPTIONS = 20
_MOST_WORKFLOWS = 20
_LONGEST_URL = 2048
_LONGEST_DESCRIPTION = 200
#: In a path, what is longer may be a token; services such as Slack and Teams put theirs there.
_LONGEST_SHOWN = 15
_ADDRESS = re.compile(r"[0-9.]+|.*:.*")


def check_subscription(body: SubscriptionBody, allowed: frozenset[str]) -> None:
    """Raises `ValidationError` naming the field."""
    if body.url is not None:
        check_url(body.url, allowed)
    unknown = sorted(set(body.events) - TAILS.keys())
    if unknown or not body.events:
        raise ValidationError(f"events: give some of {', '.join(TAILS)}", "events")
    if len(body.workflows) > _MOST_WORKFLOWS or not all(is_token(name) for name in body.workflows):
        raise ValidationError(f"workflows: give at most {_MOST_WORKFLOWS} names of workflows", "workflows")
    if len(body.description) > _LONGEST_DESCRIPTION:
        raise ValidationError(f"description: at most {_LONGEST_DESCRIPTION} characters", "description")


def check_url(url: str, allowed: frozenset[str]) -> None:
    """Raises `ValidationError`. Where a name leads is seen at each delivery only."""
    parts = _split(url)
    if parts is None or len(url) > _LONGEST_URL or not url.isascii() or not url.isprintable() or " " in url:
        raise ValidationError(f"url: give an https:// URL of at most {_LONGEST_URL} ASCII characters", "url")
    if parts.username is not None or parts.password is not None:
        raise ValidationError("url: it must hold no user and no password", "url")
    host, port = str(parts.hostname), parts.port or (443 if parts.scheme == "https" else 80)
    if is_allowed(host, port, allowed):
        return
    if parts.scheme != "https":
        raise ValidationError("url: http is for hosts that RUNLANE_ALLOWED_HOSTS names; use https", "url")
    if host.lower() == "localhost" or (_ADDRESS.fullmatch(host) and not is_public(host)):
        raise ValidationError("url: it is no public address, and RUNLANE_ALLOWED_HOSTS does not name it", "url")


def _split(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        known = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return None
    return parts if known and not parts.fragment else None


def shown_address(url: str) -> str:
    """The URL without what may be a token in it: long parts of the path, and the query."""
    parts = urlsplit(url)
    path = "/".join(part if len(part) <= _LONGEST_SHOWN else "***" for part in parts.path.split("/"))
    return f"{parts.scheme}://{parts.netloc}{path}" + ("?***" if parts.query else "")
