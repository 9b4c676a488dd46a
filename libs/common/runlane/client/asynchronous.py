"""`AsyncClient`: the operations over `httpx.AsyncClient`."""

import asyncio
from collections.abc import AsyncIterator, Generator, Mapping, Sequence
from datetime import datetime
from types import TracebackType
from typing import Any, TypeVar

import httpx
import msgspec

from . import operations
from .calls import Answer, Call, checked, pause_before
from .connection import EVENTS_TIMEOUT, MOST_SILENCES, headers_of, named, timeout_of, unavailable
from .errors import CallRefused
from .models import Accepted, BatchOutcome, Event, Execution, Line
from .operations import Start
from .sse import EventReader

_T = TypeVar("_T")


class AsyncClient:
    """A gateway. Close it, or use it in an `async with` block.

    Args:
        url: The gateway's; RUNLANE_URL where it is None.
        key: An API key or a token of an identity provider; RUNLANE_API_KEY where it is None.
        org: The organisation, where the key is not bound to one; RUNLANE_ORG where it is None.

    Calls are sent again after a broken connection, 429 and 503, under the same idempotency key: each is done once.
    """

    def __init__(
        self,
        url: str | None = None,
        key: str | None = None,
        org: str | None = None,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        target = named(url, key, org)
        self._http = httpx.AsyncClient(base_url=target.url, headers=headers_of(target), transport=transport)

    def __repr__(self) -> str:
        return f"AsyncClient({str(self._http.base_url)!r})"

    async def __aenter__(self) -> "AsyncClient":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """End its connections."""
        await self._http.aclose()

    async def run(  # each is an option of its own
        self,
        workflow: str,
        parameters: Mapping[str, Any] | None = None,
        *,
        timeout: float | None = None,
        idempotency_key: str | None = None,
        delay_seconds: float | None = None,
        run_at: datetime | None = None,
        priority: str | None = None,
    ) -> Execution:
        """Run a workflow to its end. `timeout`: seconds to wait; None: as long as it takes.

        Raises `ExecutionFailed`, `NotYetEnded`, `CallRefused`, `GatewayUnavailable`.
        """
        start = Start(key=idempotency_key, delay_seconds=delay_seconds, run_at=run_at, priority=priority)
        return await self._do(operations.run(workflow, parameters or {}, start, timeout))

    async def submit(  # each is an option of its own
        self,
        workflow: str,
        parameters: Mapping[str, Any] | None = None,
        *,
        idempotency_key: str | None = None,
        delay_seconds: float | None = None,
        run_at: datetime | None = None,
        priority: str | None = None,
    ) -> Accepted:
        """Start a workflow and return at once. Raises `CallRefused`, `GatewayUnavailable`."""
        start = Start(key=idempotency_key, delay_seconds=delay_seconds, run_at=run_at, priority=priority)
        return await self._do(operations.submit(workflow, parameters or {}, start))

    async def batch(
        self, workflow: str, lines: Sequence[Line | Mapping[str, Any]], *, priority: str | None = None
    ) -> BatchOutcome:
        """Start up to 10,000 executions. A mapping is the parameters of one. Raises as `submit` does for the whole."""
        return await self._do(operations.batch(workflow, lines, priority))

    async def execution(self, execution_id: str) -> Execution:
        """An execution as it is now."""
        return await self._do(operations.execution(execution_id))

    async def wait(self, execution_id: str, timeout: float | None = None) -> Execution:
        """An execution when it has ended, well or not. Raises `NotYetEnded` after `timeout` seconds."""
        return await self._do(operations.wait(execution_id, timeout))

    async def executions(self, *, limit: int = 100, **filters: Any) -> AsyncIterator[Execution]:
        """Every execution that the filters of `GET /executions` let through, newest first, `limit` in a request."""
        after: str | None = None
        while True:
            page = await self._do(operations.page(filters, after, limit))
            for found in page.executions:
                yield found
            after = page.next
            if after is None:
                return

    async def cancel(self, execution_id: str) -> Execution:
        """Cancel an execution; it may take a moment to end."""
        return await self._do(operations.cancel(execution_id))

    async def retry(self, execution_id: str, *, idempotency_key: str | None = None) -> Accepted:
        """Run a finished execution once more, with its parameters."""
        return await self._do(operations.retry(execution_id, idempotency_key))

    async def approve(self, execution_id: str, reason: str | None = None) -> None:
        """Let an execution that waits for an approval go on."""
        await self._do(operations.decide(execution_id, True, reason))

    async def reject(self, execution_id: str, reason: str | None = None) -> None:
        """Do not let it."""
        await self._do(operations.decide(execution_id, False, reason))

    async def send_event(
        self, execution_id: str, name: str, data: object = None, *, idempotency_key: str | None = None
    ) -> None:
        """Send what an execution waits for with `context.wait_for_event(name)`."""
        await self._do(operations.send_event(execution_id, name, data, idempotency_key))

    async def call(self, method: str, path: str, body: object = None, **query: Any) -> Any:
        """Any other door of the API: the JSON that it answers."""
        return await self._do(operations.anything(method, path, body, query))

    async def events(self, execution_id: str, after: str | None = None) -> AsyncIterator[Event]:
        """What an execution tells, from its beginning or `after` an event's id, until it has ended; goes on where it
        was when the connection breaks. Raises `CallRefused`, and `GatewayUnavailable` when it stays away."""
        silences = 0
        while True:
            try:
                async for event in self._stream(execution_id, after):
                    after, silences = event.id, 0
                    yield event
                if (await self.execution(execution_id)).ended:
                    return
            except httpx.TransportError as problem:
                silences += 1
                if silences > MOST_SILENCES:
                    raise unavailable(problem) from None
            except CallRefused as problem:
                silences += 1
                if not operations.may_follow_again(problem) or silences > MOST_SILENCES:
                    raise
            await asyncio.sleep(0.25 * silences)

    async def _stream(self, execution_id: str, after: str | None) -> AsyncIterator[Event]:
        headers = {"Accept": "text/event-stream", **({} if after is None else {"Last-Event-ID": after})}
        path = f"/executions/{operations.escaped(execution_id)}/events"
        async with self._http.stream("GET", path, headers=headers, timeout=EVENTS_TIMEOUT) as response:
            if response.status_code != httpx.codes.OK:
                checked(Answer(response.status_code, response.headers, await response.aread()))
            reader = EventReader()
            async for line in response.aiter_lines():
                event = reader.read(line)
                if event is not None:
                    yield Event(event.name, msgspec.json.decode(event.data), event.id)

    async def _do(self, operation: Generator[Call, Answer, _T]) -> _T:
        try:
            call = next(operation)
            while True:
                call = operation.send(await self._send(call))
        except StopIteration as done:
            value: _T = done.value
            return value

    async def _send(self, call: Call) -> Answer:
        attempt = 0
        while True:
            attempt += 1
            answer: Answer | None = None
            problem: httpx.TransportError | None = None
            try:
                response = await self._http.request(
                    call.method,
                    call.path,
                    params=operations.flattened(call.query),
                    headers=dict(call.headers),
                    content=call.content,
                    timeout=timeout_of(call),
                )
                answer = Answer(response.status_code, response.headers, response.content)
            except httpx.TransportError as failed:
                problem = failed
            pause = pause_before(call, attempt, answer)
            if pause is None:
                if answer is None:
                    raise unavailable(problem) from None
                return answer
            await asyncio.sleep(pause)
