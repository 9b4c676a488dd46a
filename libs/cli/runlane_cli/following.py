"""Follows an execution live until it has ended, across lost connections. Used by `run`, `tail` and `retry`."""

import json
import math
import time
from collections.abc import Callable, Mapping
from typing import Any

from .client import Gateway, GatewayRefused, GatewayUnreachable
from .problems import UNREACHABLE

FINISHED = frozenset({"Success", "Failed", "Cancelled"})

_QUIET_SECONDS = 40.0  # the gateway says something at least every 15
_AWAY_SECONDS = 15.0  # how long a gateway may be away (it is being started again) before we give up
_AGAIN_SECONDS = 0.25

Show = Callable[[str, Mapping[str, Any]], None]


def follow(gateway: Gateway, execution_id: str, show: Show, timeout: float | None = None) -> str | None:
    """Call `show(event, data)` for each event; the final status, or None when `timeout` seconds were not enough.

    Raises `CommandFailed` when the gateway stays away.
    """
    deadline = math.inf if timeout is None else time.monotonic() + timeout
    away_since: float | None = None
    last_id: str | None = None
    while (now := time.monotonic()) < deadline:
        try:
            with gateway.events(execution_id, last_id, min(_QUIET_SECONDS, deadline - now)) as events:
                away_since = None
                for event in events:
                    last_id, data = event.id, json.loads(event.data)
                    show(event.name, data)
                    if event.name == "state" and data.get("status") in FINISHED:
                        return str(data["status"])
                    if time.monotonic() >= deadline:
                        return None
        except (GatewayUnreachable, GatewayRefused) as problem:
            away_since = away_since or time.monotonic()
            if problem.exit_code != UNREACHABLE or time.monotonic() - away_since > _AWAY_SECONDS:
                raise
        time.sleep(_AGAIN_SECONDS)
    return None
