"""`runlane.client`: run workflows and see what became of them, from Python. `Client` waits, `AsyncClient` awaits.

with Client("http://127.0.0.1:8080", key="rl_…") as runlane:
    print(runlane.run("onboard_user", {"email": "ann@acme.example"}).result)
"""

from runlane.client.asynchronous import AsyncClient
from runlane.client.errors import (
    CallRefused,
    ClientError,
    ExecutionFailed,
    GatewayUnavailable,
    NotYetEnded,
)
from runlane.client.models import Accepted, BatchOutcome, Event, Execution, Line, Page, RefusedLine
from runlane.client.synchronous import Client

__all__ = [
    "Accepted",
    "AsyncClient",
    "BatchOutcome",
    "CallRefused",
    "Client",
    "ClientError",
    "Event",
    "Execution",
    "ExecutionFailed",
    "GatewayUnavailable",
    "Line",
    "NotYetEnded",
    "Page",
    "RefusedLine",
]
