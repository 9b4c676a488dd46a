"""Spans: what a service did, when and for which trace, for whoever collects traces (OpenTelemetry).

A room is given a `Tracer`, or None where nobody collects. Adapters: `runlane.adapters.otel`.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Literal, Protocol, TypeAlias

#: As in OpenTelemetry: who answers a call, who works off a queue, who calls somebody else, and anything else.
SpanKind: TypeAlias = Literal["server", "consumer", "client", "internal"]
Facts: TypeAlias = Mapping[str, str | int | float | bool]


class Span(Protocol):
    """Something that is being done."""

    @property
    def traceparent(self) -> str:
        """It as the parent of others, in the form of W3C Trace Context."""
        ...

    def part(
        self, name: str, kind: SpanKind, began: datetime, ended: datetime, facts: Facts, problem: str | None = None
    ) -> None:
        """A part of it that is over. `problem` makes it an error."""
        ...

    def end(self, facts: Facts, problem: str | None = None, name: str | None = None) -> None:
        """It is over. `problem` makes it an error; `name` is what it was, where that was not known before."""
        ...


class Tracer(Protocol):
    """Where spans go."""

    def begin(self, name: str, kind: SpanKind, facts: Facts, *, parent: str | None, trace_id: str = "") -> Span:
        """Something begins now. Without a `parent` (a traceparent) it is the root of trace `trace_id`, 32 hexadecimal
        digits, or of a new one where that is none."""
        ...


def trace_id_of(traceparent: str | None, execution_id: str) -> str:
    """The trace that an execution belongs to: its caller's, else one that has the execution's own id."""
    return execution_id if traceparent is None else traceparent[3:35]
