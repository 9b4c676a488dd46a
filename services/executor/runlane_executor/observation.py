"""What an executor shows of its runs to operators: metrics, and spans where somebody collects them. Told by `intake`,
`runs` and the trace of each execution."""

import time
from datetime import UTC, datetime, timedelta

import msgspec

from runlane.contracts.requests import Request
from runlane.contracts.trace import CallEntry, StepEntry, TraceEntry
from runlane.ports import Delivery
from runlane.tracing import Span, Tracer, trace_id_of

from . import metrics

_entry_decoder: msgspec.json.Decoder[TraceEntry] = msgspec.json.Decoder(TraceEntry)

#: Entries are JSON with their kind first: most need not be read.
_CALL, _STEP = b'{"kind":"call"', b'{"kind":"step"'

#: Authors name their integrations. Beyond so many names the rest shares one.
_MOST_INTEGRATIONS = 100
_integrations: set[str] = set()


class Observation:
    """One run as seen from outside."""

    def __init__(self, request: Request, lane: str, delivery: Delivery, tracer: Tracer | None) -> None:
        self._workflow, self._began = request.workflow, time.monotonic()
        waited = max(0.0, (datetime.now(UTC) - delivery.time).total_seconds())
        metrics.STARTED.inc()
        if delivery.delivered == 1:
            metrics.START_LATENCY.labels(lane).observe(waited)
        else:
            metrics.REDELIVERED.inc()
        self._span = None if tracer is None else _span(tracer, request, lane, waited)

    def entry(self, entry: bytes) -> None:
        """It traced something."""
        is_call = entry.startswith(_CALL)
        if not is_call and (self._span is None or not entry.startswith(_STEP)):
            return
        match _entry_decoder.decode(entry):
            case CallEntry() as call:
                self._call(call)
            case StepEntry(at=at, key=key, duration_ms=took) if self._span is not None:
                self._span.part(key, "internal", at, at + timedelta(milliseconds=took), {"runlane.step": key})

    def over(self, outcome: str) -> None:
        """This run is over; `outcome` is what became of it."""
        metrics.ENDED.labels(self._workflow, outcome).inc()
        metrics.RUN_SECONDS.labels(self._workflow).observe(time.monotonic() - self._began)
        if self._span is not None:
            failed = outcome in ("failed", "timed out", "retrying", "fenced")
            self._span.end({"runlane.outcome": outcome}, outcome if failed else None)

    def _call(self, call: CallEntry) -> None:
        outcome = "ok" if call.success else "error"
        metrics.CALL_SECONDS.labels(_known(call.integration), outcome).observe(call.duration_ms / 1000)
        if self._span is not None:
            facts: dict[str, str | int] = {
                "runlane.integration": call.integration,
                "http.request.method": call.method,
                "url.path": call.endpoint,
            }
            if call.status_code is not None:
                facts["http.response.status_code"] = call.status_code
            ended = call.at + timedelta(milliseconds=call.duration_ms)
            self._span.part(f"{call.integration} {call.method}", "client", call.at, ended, facts, call.error)


def _span(tracer: Tracer, request: Request, lane: str, waited: float) -> Span:
    facts: dict[str, str | int] = {
        "messaging.system": "nats",
        "messaging.operation.type": "process",
        "runlane.execution_id": request.execution_id,
        "runlane.organization": request.org,
        "runlane.workflow": request.workflow,
        "runlane.attempt": request.attempt,
        "runlane.lane": lane,
        "runlane.queued_ms": int(waited * 1000),
    }
    trace_id = trace_id_of(request.traceparent, request.execution_id)
    return tracer.begin(f"run {request.workflow}", "consumer", facts, parent=request.traceparent, trace_id=trace_id)


def _known(integration: str) -> str:
    if integration not in _integrations and len(_integrations) >= _MOST_INTEGRATIONS:
        return "other"
    _integrations.add(integration)
    return integration
