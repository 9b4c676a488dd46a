"""What a client can do, each as a generator that yields calls and is given their answers. The transports beside this
send, wait and send again, so that everything else is written once.
"""

import time
import uuid
from collections.abc import Generator, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeAlias
from urllib.parse import quote

import msgspec
from msgspec import Struct

from .calls import Answer, Call, checked, json_call
from .errors import CallRefused, NotYetEnded
from .models import Accepted, BatchOutcome, Execution, Line, Page, RefusedLine

#: The gateway waits so many seconds at once.
_WAIT_SECONDS = 25
_BATCH_PATIENCE = 120.0

Operation: TypeAlias = Generator[Call, Answer, Any]


class Start(Struct, frozen=True, kw_only=True):
    """How an execution is to be started. `key`: calls with the same one are one execution; made up where it is None."""

    key: str | None = None
    delay_seconds: float | None = None
    run_at: datetime | None = None
    priority: str | None = None


def submit(workflow: str, parameters: Mapping[str, Any], start: Start) -> Generator[Call, Answer, Accepted]:
    query = {"delaySeconds": start.delay_seconds, "runAt": None if start.run_at is None else _iso(start.run_at)}
    headers = {"Prefer": "respond-async", "Idempotency-Key": start.key or uuid.uuid4().hex}
    if start.priority is not None:
        headers["X-Priority"] = start.priority
    answer = yield json_call("POST", f"/workflows/{escaped(workflow)}", parameters, query=query, headers=headers)
    if answer.status >= 400:
        # Under its key it may have run and failed before: that is an execution, too.
        told = answer.read(_Told) if b'"executionId"' in answer.content else _Told()
        if told.execution_id is not None:
            return Accepted(told.execution_id, told.status)
    return checked(answer).read(Accepted)


def run(
    workflow: str, parameters: Mapping[str, Any], start: Start, timeout: float | None
) -> Generator[Call, Answer, Execution]:
    accepted = yield from submit(workflow, parameters, start)
    ended = yield from wait(accepted.execution_id, timeout)
    return ended.require_success()


def wait(execution_id: str, timeout: float | None) -> Generator[Call, Answer, Execution]:
    deadline = None if timeout is None else time.monotonic() + timeout
    while True:
        left = _WAIT_SECONDS if deadline is None else min(_WAIT_SECONDS, max(0, round(deadline - time.monotonic())))
        found = yield from execution(execution_id, wait=left)
        if found.ended:
            return found
        if deadline is not None and time.monotonic() >= deadline:
            raise NotYetEnded(execution_id, found.status)


def execution(execution_id: str, wait: int = 0) -> Generator[Call, Answer, Execution]:
    query = {"wait": wait} if wait else {}
    answer = yield json_call("GET", f"/executions/{escaped(execution_id)}", query=query, patience=float(wait))
    return checked(answer).read(Execution)


def page(filters: Mapping[str, Any], after: str | None, limit: int) -> Generator[Call, Answer, Page]:
    answer = yield json_call("GET", "/executions", query={**filters, "after": after, "limit": limit})
    return checked(answer).read(Page)


def cancel(execution_id: str) -> Generator[Call, Answer, Execution]:
    checked((yield json_call("POST", f"/executions/{escaped(execution_id)}/cancel", {})))
    return (yield from execution(execution_id))


def retry(execution_id: str, key: str | None) -> Generator[Call, Answer, Accepted]:
    headers = {"Prefer": "respond-async", "Idempotency-Key": key or uuid.uuid4().hex}
    answer = yield json_call("POST", f"/executions/{escaped(execution_id)}/retry", {}, headers=headers)
    return checked(answer).read(Accepted)


def decide(execution_id: str, approved: bool, reason: str | None) -> Generator[Call, Answer, None]:
    door = "approve" if approved else "reject"
    body = {} if reason is None else {"reason": reason}
    checked((yield json_call("POST", f"/executions/{escaped(execution_id)}/{door}", body)))


def send_event(execution_id: str, name: str, data: object, key: str | None) -> Generator[Call, Answer, None]:
    path = f"/executions/{escaped(execution_id)}/events/{escaped(name)}"
    body = {} if data is None else data
    checked((yield json_call("POST", path, body, headers={"Idempotency-Key": key or uuid.uuid4().hex})))


def batch(
    workflow: str, lines: Sequence[Line | Mapping[str, Any]], priority: str | None
) -> Generator[Call, Answer, BatchOutcome]:
    headers = {"Content-Type": "application/x-ndjson", **({} if priority is None else {"X-Priority": priority})}
    keyed = [_with_key(line if isinstance(line, Line) else Line(parameters=line)) for line in lines]
    answer = yield Call(
        method="POST",
        path=f"/workflows/{escaped(workflow)}/batch",
        content=b"\n".join(map(msgspec.json.encode, keyed)),
        headers=headers,
        patience=_BATCH_PATIENCE,
    )
    try:
        return checked(answer).read(BatchOutcome)
    except CallRefused as refused:
        if "errors" not in refused.details:
            raise
        return BatchOutcome([], msgspec.convert(refused.details["errors"], list[RefusedLine]))


def anything(method: str, path: str, body: object, query: Mapping[str, Any]) -> Generator[Call, Answer, Any]:
    repeatable = method in ("GET", "PUT", "DELETE")
    answer = checked((yield json_call(method, path, body, query=query, repeatable=repeatable)))
    return msgspec.json.decode(answer.content) if answer.content else None


def may_follow_again(problem: CallRefused) -> bool:
    """Whether a stream of events that was refused may be asked for once more."""
    return problem.status in (429, 502, 503, 504)


def flattened(query: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """A query as its pairs; None is left out, and what stands in a list is repeated."""
    found: list[tuple[str, str]] = []
    for name, value in query.items():
        values: Iterable[Any] = value if isinstance(value, list | tuple | set | frozenset) else [value]
        found += [(name, _text(one)) for one in values if one is not None]
    return tuple(found)


def escaped(segment: str) -> str:
    """One segment of a path, whatever it holds."""
    return quote(segment, safe="")


class _Told(Struct, rename="camel"):
    execution_id: str | None = None
    status: str = ""


def _with_key(line: Line) -> Line:
    return line if line.idempotency_key is not None else msgspec.structs.replace(line, idempotency_key=uuid.uuid4().hex)


def _text(value: object) -> str:
    if isinstance(value, datetime):
        return _iso(value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def _iso(moment: datetime) -> str:
    """Raises `ValueError` for a time without a zone: nobody could tell when it is."""
    if moment.tzinfo is None:
        raise ValueError("give a time with its zone, such as datetime.now(UTC)")
    return moment.isoformat()
