"""`POST /workflows/{name}/batch`: many executions of one workflow, a line of JSON for each (NDJSON)."""

import asyncio
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import msgspec
from fastapi import APIRouter
from msgspec import Struct, field
from starlette.requests import Request

from runlane.contracts.directory import PLATFORM, Manifest, Priority
from runlane.errors import BadRequest, PayloadTooLarge, UnsupportedMediaType, ValidationError
from runlane.ids import new_execution_id, repeatable_execution_id

from .answers import Answer, ErrorEnvelope, answer, refusal
from .bodies import check_depth, read_body
from .call_rates import CallRates
from .calls import Call, traceparent_of
from .describe import Described
from .parts import Parts, headers_of, organisation, principal_of
from .preferences import check_idempotency_key, delayed_until, read_priority
from .principals import Principal

MOST_LINES = 10_000
_MOST_BYTES = 64 * 1024 * 1024
_BODY_SECONDS = 120.0
_AT_ONCE = 64
_TYPES = ("application/x-ndjson", "application/ndjson", "application/jsonl", "application/json")


class BatchLine(Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """One execution. The rest is as for `POST /workflows/{name}`."""

    parameters: dict[str, Any] = field(default_factory=dict)
    idempotency_key: str | None = None
    delay_seconds: float | None = None
    run_at: str | None = None
    priority: Priority | None = None


class BatchAccepted(Struct, frozen=True, rename="camel"):
    """A line that became an execution, or was one before under its idempotency key."""

    line: int
    execution_id: str
    status: str


class BatchRefused(Struct, frozen=True):
    """A line that became none, and why. Lines count from 1."""

    line: int
    error: str
    message: str
    details: Mapping[str, Any]


class BatchView(Struct, frozen=True):
    """What became of each line that is not blank."""

    accepted: int
    refused: int
    executions: list[BatchAccepted]
    errors: list[BatchRefused]


class _Told(Struct, rename="camel"):
    execution_id: str
    status: str


class _Batch(Struct, frozen=True):
    """What holds for every line."""

    org: str
    manifest: Manifest
    principal: Principal
    now: datetime
    priority: Priority | None
    traceparent: str | None


class BatchDoor:
    """See the module."""

    def __init__(self, parts: Parts, rates: CallRates | None) -> None:
        self._parts, self._rates = parts, rates

    def routes(self, described: Described) -> APIRouter:
        router = APIRouter(tags=["workflows"])
        router.add_api_route(
            "/workflows/{name}/batch",
            self.submit,
            methods=["POST"],
            responses=described.answers(BatchView, 202),
            openapi_extra=described.lines(BatchLine),
        )
        return router

    async def submit(self, request: Request, name: str) -> Answer:
        """Start up to 10,000 executions, one for each line. A line that cannot be accepted stops no other: the answer
        tells of each. With an `idempotencyKey` in every line the same batch may be sent again.
        """
        parts, headers, principal = self._parts, headers_of(request.scope), principal_of(request.scope)
        known = parts.directory.workflow(name)
        org = organisation(request.scope, parts.directory, None if known is None or known.requires_org else PLATFORM)
        batch = _Batch(
            org=org,
            manifest=parts.calls.workflow(name, org, principal),
            principal=principal,
            now=parts.clock.now(),
            priority=read_priority(headers),
            traceparent=traceparent_of(headers),
        )
        _check_type(headers)
        body = await read_body(headers, request.receive, _MOST_BYTES, seconds=_BODY_SECONDS)
        lines = list(_lines(body))
        if not lines:
            raise BadRequest("There is nothing in the batch: send a line of JSON for each execution.")
        if self._rates is not None and len(lines) > 1:
            await self._rates.admit_more(request.scope, principal, len(lines) - 1)
        accepted, refused = await self._start_all(batch, lines)
        if not accepted:
            return _all_refused(refused)
        return answer(BatchView(len(accepted), len(refused), accepted, [one for one, _ in refused]), 202)

    async def _start_all(
        self, batch: _Batch, lines: list[tuple[int, bytes]]
    ) -> tuple[list[BatchAccepted], list[tuple[BatchRefused, int]]]:
        accepted: list[BatchAccepted] = []
        refused: list[tuple[BatchRefused, int]] = []
        left = iter(lines)

        async def some() -> None:
            for number, line in left:
                try:
                    told = msgspec.json.decode((await self._start(batch, line)).body, type=_Told)
                    accepted.append(BatchAccepted(number, told.execution_id, told.status))
                except Exception as problem:
                    refused.append(_refused(number, problem))

        await asyncio.gather(*(some() for _ in range(_AT_ONCE)))
        accepted.sort(key=lambda one: one.line)
        refused.sort(key=lambda one: one[0].line)
        return accepted, refused

    async def _start(self, batch: _Batch, line: bytes) -> Answer:
        if len(line) > self._parts.settings.max_body:
            limit = self._parts.settings.max_body
            raise PayloadTooLarge(f"The line exceeds {limit} bytes.", details={"limit_bytes": limit})
        one = _read(line)
        key = check_idempotency_key(one.idempotency_key, "idempotencyKey")
        org, name = batch.org, batch.manifest.name
        call = Call(
            execution_id=new_execution_id() if key is None else repeatable_execution_id("idempotency", org, name, key),
            org=org,
            manifest=batch.manifest,
            parameters=one.parameters,
            principal=batch.principal,
            run_at=_run_at(one, batch.now),
            traceparent=batch.traceparent,
            repeatable=key is not None,
            priority=one.priority or batch.priority,
        )
        return await self._parts.calls.start(call)


def _lines(body: bytes) -> Iterator[tuple[int, bytes]]:
    """The lines that are not blank, with their numbers. Raises `PayloadTooLarge`."""
    too_many = PayloadTooLarge(
        f"A batch has at most {MOST_LINES} lines: send the rest in another.", details={"limit_lines": MOST_LINES}
    )
    if body.count(b"\n") > 2 * MOST_LINES:  # blank ones too: millions of them would hold up all other callers
        raise too_many
    count = 0
    for number, line in enumerate(body.split(b"\n"), 1):
        if not line.strip():
            continue
        count += 1
        if count > MOST_LINES:
            raise too_many
        yield number, line


def _read(line: bytes) -> BatchLine:
    try:
        return msgspec.convert(check_depth(line, msgspec.json.decode(line)), BatchLine)
    except msgspec.ValidationError as problem:
        raise ValidationError(str(problem)) from None
    except (ValueError, RecursionError) as problem:
        raise ValidationError(f"The line is not valid JSON: {problem}") from None


def _run_at(one: BatchLine, now: datetime) -> datetime | None:
    given = {"delaySeconds": one.delay_seconds, "runAt": one.run_at}
    return delayed_until({name: str(value) for name, value in given.items() if value is not None}, now)


def _refused(line: int, problem: Exception) -> tuple[BatchRefused, int]:
    told = refusal(problem)
    envelope = msgspec.json.decode(told.body, type=ErrorEnvelope)
    return BatchRefused(line, envelope.error, envelope.message, envelope.details), told.status_code


def _all_refused(refused: list[tuple[BatchRefused, int]]) -> Answer:
    """Where every line met the same wall, such as a full queue, the whole may be tried again."""
    gravest, status = max(refused, key=lambda one: one[1])
    envelope = ErrorEnvelope(
        error=gravest.error,
        message=f"No line was accepted. Line {gravest.line}: {gravest.message}",
        details={"errors": [one for one, _ in refused]},
    )
    return answer(envelope, status, [(b"retry-after", b"1")] if status == 503 else [])


def _check_type(headers: Mapping[bytes, bytes]) -> None:
    media = headers.get(b"content-type", b"").partition(b";")[0].strip().lower().decode("latin-1")
    if media not in _TYPES or headers.get(b"content-encoding", b"identity") != b"identity":
        raise UnsupportedMediaType("A batch is lines of JSON: send it as application/x-ndjson.")
