"""`runlane.tracing` over OpenTelemetry, exported as OTLP over HTTP. Opened by composition roots; needs extra `otel`.

Configured as every OpenTelemetry program is: by the `OTEL_…` variables of its specification.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime
from typing import TYPE_CHECKING

from runlane.errors import ConfigurationError
from runlane.tracing import Facts, SpanKind, Tracer

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")

#: The trace that the next root belongs to.
_wanted: ContextVar[int] = ContextVar("wanted", default=0)


@contextmanager
def open_tracer(service: str) -> Iterator[Tracer | None]:
    """A tracer, or None where no endpoint is named. What is left is sent at the end.

    Raises `ConfigurationError` where an endpoint is named and the packages are missing.
    """
    named = next((name for name in _ENDPOINTS if os.environ.get(name)), None)
    if named is None or os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        yield None
        return
    try:
        provider = _provider(service)
    except ModuleNotFoundError:
        raise ConfigurationError(f"{named} needs the packages of pip install 'runlane[otel]'.", named) from None
    try:
        yield OtelTracer(provider)
    finally:
        provider.shutdown()


def _provider(service: str) -> "TracerProvider":
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.trace.id_generator import RandomIdGenerator

    class Ids(RandomIdGenerator):
        """Random ones, save for the trace that a root asks for."""

        def generate_trace_id(self) -> int:
            return _wanted.get() or super().generate_trace_id()

    name = os.environ.get("OTEL_SERVICE_NAME") or f"runlane-{service}"
    provider = TracerProvider(
        id_generator=Ids(), resource=Resource.create({"service.name": name}), shutdown_on_exit=False
    )
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider


class OtelSpan:
    """See `tracing.Span`."""

    def __init__(self, tracer: "OtelTracer", span: "Span") -> None:
        self._tracer, self._span = tracer, span

    @property
    def traceparent(self) -> str:
        context = self._span.get_span_context()
        return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"

    def part(
        self, name: str, kind: SpanKind, began: datetime, ended: datetime, facts: Facts, problem: str | None = None
    ) -> None:
        from opentelemetry.trace import set_span_in_context

        context = set_span_in_context(self._span)
        span = self._tracer.start(name, kind, context=context, start_time=_nanoseconds(began))
        _close(span, facts, problem, _nanoseconds(ended))

    def end(self, facts: Facts, problem: str | None = None, name: str | None = None) -> None:
        if name is not None:
            self._span.update_name(name)
        _close(self._span, facts, problem, None)


class OtelTracer:
    """See `tracing.Tracer`."""

    def __init__(self, provider: "TracerProvider") -> None:
        from opentelemetry.trace import SpanKind as Kind

        self._tracer = provider.get_tracer("runlane")
        self._kinds = {"server": Kind.SERVER, "consumer": Kind.CONSUMER, "client": Kind.CLIENT}
        self._internal = Kind.INTERNAL

    def begin(self, name: str, kind: SpanKind, facts: Facts, *, parent: str | None, trace_id: str = "") -> OtelSpan:
        from opentelemetry.context import Context
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        context = Context()
        if parent is not None:
            context = TraceContextTextMapPropagator().extract({"traceparent": parent}, context)
        token = _wanted.set(_number(trace_id))
        try:
            span = self.start(name, kind, context=context)
        finally:
            _wanted.reset(token)
        span.set_attributes(facts)
        return OtelSpan(self, span)

    def start(self, name: str, kind: SpanKind, *, context: object, start_time: int | None = None) -> "Span":
        """A span of the SDK's."""
        return self._tracer.start_span(
            name,
            context,  # type: ignore[arg-type]  # a Context; its type would have to be imported
            kind=self._kinds.get(kind, self._internal),
            start_time=start_time,
        )


def _close(span: "Span", facts: Facts, problem: str | None, at: int | None) -> None:
    from opentelemetry.trace import Status, StatusCode

    span.set_attributes(facts)
    if problem is not None:
        span.set_status(Status(StatusCode.ERROR, problem))
    span.end(at)


def _nanoseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1e9)


def _number(trace_id: str) -> int:
    try:
        return int(trace_id, 16) if len(trace_id) == 32 else 0
    except ValueError:
        return 0
