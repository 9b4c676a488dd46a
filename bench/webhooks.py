"""What a signed webhook costs beyond an asynchronous call of the same kind of workflow, one sender at a time."""

import base64
import hmac
import statistics
import time
import uuid

import httpx

from bench.load import Connection, post
from tests.support.engine import Engine

_PAIRS = 2_000
_WARM = 100
_KEY = b"a-webhook-secret-for-the-bench.."
_PATH = "/webhooks/demo/noop_hook"


async def measure_webhook(engine: Engine) -> dict[str, float]:
    """Calls and deliveries by turns, so that whatever else the machine does meets both."""
    _settle(engine)
    call = post("/workflows/noop_async", engine.credentials()["org_key"])
    connection = await Connection.open(engine.port)
    calls, deliveries = [], []
    for _ in range(_PAIRS + _WARM):
        calls.append(await _timed(connection, call))
        deliveries.append(await _timed(connection, _delivery()))
    connection.close()
    call_ms, delivery_ms = statistics.median(calls[_WARM:]), statistics.median(deliveries[_WARM:])
    p99 = statistics.quantiles(deliveries[_WARM:], n=100)[98]
    return {"p50_ms": delivery_ms, "p99_ms": p99, "async_p50_ms": call_ms, "added_p50_ms": delivery_ms - call_ms}


def _settle(engine: Engine) -> None:
    secret = "whsec_" + base64.b64encode(_KEY).decode()
    settings = {"scheme": "standard", "secret": secret, "ratePerMinute": 1_000_000, "burst": 100_000}
    headers = {"Authorization": f"Bearer {engine.credentials()['admin_key']}"}
    httpx.put(f"{engine.url}{_PATH}", json=settings, headers=headers, timeout=20).raise_for_status()


async def _timed(connection: Connection, request: bytes) -> float:
    began = time.perf_counter()
    status, body = await connection.call(request)
    took = (time.perf_counter() - began) * 1000
    if status != 202:
        raise RuntimeError(f"HTTP {status} instead of 202: {body[:300]!r}")
    return took


def _delivery() -> bytes:
    id_, stamp, body = f"msg_{uuid.uuid4().hex}", str(int(time.time())), b"{}"
    digest = hmac.digest(_KEY, f"{id_}.{stamp}.".encode() + body, "sha256")
    return (
        f"POST {_PATH} HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        f"webhook-id: {id_}\r\nwebhook-timestamp: {stamp}\r\n"
        f"webhook-signature: v1,{base64.b64encode(digest).decode()}\r\n\r\n"
    ).encode() + body
