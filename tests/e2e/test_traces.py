"""OpenTelemetry spans of a real engine, from HTTP through the queue to a vendor, as a collector gets them."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.collector import Collector, collecting
from tests.support.engine import Engine
from tests.support.eventually import eventually
from tests.support.executions import finished, submit

WORKFLOWS = """
from runlane import BaseIntegration, Context, workflow


class Tailor(BaseIntegration):
    integration_name = "tailor"

    async def authenticate(self):
        return await self.get_secret("tailor_api_key")

    async def orders(self):
        return await self.request_json("GET", "/v1/orders")


@workflow(name="traced", description="One step that calls a vendor", execution_mode="async")
async def traced(context: Context) -> int:
    return len(await context.step("fetch orders", context.get_integration("tailor").orders))


@workflow(name="broken", description="Fails", execution_mode="async")
async def broken(context: Context) -> None:
    raise ValueError("no")
"""
CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as collector:
        yield collector


@pytest.fixture
async def client(
    tmp_path: Path, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[httpx.AsyncClient]:
    (tmp_path / "workflows").mkdir()
    (tmp_path / "workflows" / "traced.py").write_text(WORKFLOWS)
    monkeypatch.setenv("RUNLANE_ALLOWED_HOSTS", "127.0.0.1")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
    engine = Engine(tmp_path / "data", tmp_path / "workflows")
    await asyncio.to_thread(engine.start)
    async with engine.client(admin=True) as admin:
        answer = await admin.put("/orgs/demo/config/tailor_api_url", json={"value": collector.url})
        assert answer.is_success, answer.text
        assert (await admin.put("/orgs/demo/secrets/tailor_api_key", json={"value": "needle-and-thread"})).is_success
    async with engine.client() as client:
        yield client
    await asyncio.to_thread(engine.stop)


async def test_a_callers_trace_goes_on_through_the_queue_to_a_vendors_api(
    client: httpx.AsyncClient, collector: Collector
) -> None:
    execution_id = await submit(client, "traced", {}, headers={"traceparent": CALLER})
    assert (await finished(client, execution_id))["status"] == "Success"
    door = await _only(collector, "runlane-gateway", "POST /workflows/{name}")
    run = await _only(collector, "runlane-executor", "run traced")
    step = await _only(collector, "runlane-executor", "fetch orders")
    call = await _only(collector, "runlane-executor", "tailor GET")
    assert {span.trace_id.hex() for span in (door, run, step, call)} == {CALLER[3:35]}
    assert door.parent_span_id.hex() == CALLER[36:52]
    assert run.parent_span_id == door.span_id
    assert {step.parent_span_id, call.parent_span_id} == {run.span_id}
    facts = _facts(run)
    assert (facts["runlane.execution_id"], facts["runlane.outcome"]) == (execution_id, "succeeded")
    assert _facts(call)["url.path"] == "/v1/orders"
    assert run.start_time_unix_nano <= call.start_time_unix_nano <= call.end_time_unix_nano <= run.end_time_unix_nano
    assert b"needle-and-thread" not in b"".join(span.SerializeToString() for _, span in collector.spans)


async def test_a_failed_run_is_an_error_and_probes_leave_no_spans(
    client: httpx.AsyncClient, collector: Collector
) -> None:
    await client.get("/readyz")
    await finished(client, await submit(client, "broken", {}))
    run = await _only(collector, "runlane-executor", "run broken")
    assert run.status.code == run.status.STATUS_CODE_ERROR
    assert not [span for _, span in collector.spans if "readyz" in span.name or span.name == "GET"]


async def _only(collector: Collector, service: str, name: str) -> Any:
    async def look() -> list[Any] | None:
        return collector.named(service, name) or None

    found = await eventually(look)
    assert found is not None
    assert len(found) == 1, [span.name for _, span in collector.spans]
    return found[0]


def _facts(span: Any) -> dict[str, Any]:
    return {it.key: it.value.string_value or it.value.int_value for it in span.attributes}
