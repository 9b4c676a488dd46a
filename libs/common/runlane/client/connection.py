"""Where a client connects, and how patient it is. Used by both clients."""

import os

import httpx
from msgspec import Struct

from .calls import Call
from .errors import GatewayUnavailable

_CONNECT_SECONDS, _ANSWER_SECONDS = 5.0, 15.0
#: The gateway says something at least every 15 seconds.
EVENTS_TIMEOUT = httpx.Timeout(40.0, connect=_CONNECT_SECONDS)
#: So often in a row a stream of events may break without having told anything.
MOST_SILENCES = 10


class Target(Struct, frozen=True):
    """A gateway, and who calls it."""

    url: str
    key: str
    org: str | None


def named(url: str | None, key: str | None, org: str | None) -> Target:
    """What was given, else what the environment says. Raises `ValueError` where neither does."""
    url = url or os.environ.get("RUNLANE_URL")
    key = key or os.environ.get("RUNLANE_API_KEY")
    if not url or not key:
        missing = "url, or RUNLANE_URL" if not url else "key, or RUNLANE_API_KEY"
        raise ValueError(f"which gateway, and who calls? Give {missing}")
    return Target(url, key, org or os.environ.get("RUNLANE_ORG"))


def headers_of(target: Target) -> dict[str, str]:
    """What every request carries."""
    headers = {"Authorization": f"Bearer {target.key}", "User-Agent": "runlane-client"}
    return headers if target.org is None else headers | {"X-Organization-Id": target.org}


def timeout_of(call: Call) -> httpx.Timeout:
    """How long a call may take."""
    return httpx.Timeout(_ANSWER_SECONDS + call.patience, connect=_CONNECT_SECONDS)


def unavailable(problem: httpx.TransportError | None) -> GatewayUnavailable:
    """What to raise when nobody answers. Says nothing of headers, and so nothing of the key."""
    return GatewayUnavailable(f"the gateway cannot be reached: {problem or type(problem).__name__}")
