"""The clients of a chaos run: each operation of the plan, and in the history what was asked and what was answered."""

import asyncio
import base64
import hashlib
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import httpx
import msgspec

from tests.chaos.batches import send_batch
from tests.chaos.history import History
from tests.chaos.plan import Operation
from tests.support.webhooks import standard

WEBHOOK_SECRET = "whsec_" + base64.b64encode(b"thirty-two-bytes-of-a-chaos-key.").decode()
_ENDED = ("Success", "Failed", "Cancelled")
#: So long a client goes on with what must be answered one day.
_PATIENCE = 600.0
_LONGEST_PAUSE = 3.0
#: So many calls at once; others wait for one of them. httpx looks through all that wait whenever one is answered:
#: thousands of them would keep this process, which is the supervisor too, from everything else.
_AT_ONCE = 250
#: How a broken connection shows itself; anyio asks one that was reset while it was made for its peer.
_BROKEN = (httpx.TransportError, AttributeError)
#: So long it looks at what came of it.
_WATCHING = 150.0


class People(msgspec.Struct, frozen=True):
    """Connections of those who call: who has work done, an administrator, and somebody of another organisation."""

    asker: httpx.AsyncClient
    boss: httpx.AsyncClient
    stranger: httpx.AsyncClient


class Clients:
    """All clients of one gateway. `began`: the monotonic time of the plan's beginning. `canary`: what no answer may
    contain."""

    def __init__(self, people: People, history: History, began: float, canary: str) -> None:
        self._asker, self._boss, self._stranger = people.asker, people.boss, people.stranger
        self._history, self._began, self._canary = history, began, canary
        self._calls = asyncio.Semaphore(_AT_ONCE)

    async def run(self, operations: list[Operation]) -> None:
        await asyncio.gather(*(self._one(operation) for operation in operations))

    async def _one(self, operation: Operation) -> None:
        await asyncio.sleep(max(0.0, self._began + operation.at - time.monotonic()))
        if operation.kind == "webhook":
            await self._deliver(operation)
            return
        execution = await (self._batch(operation) if operation.kind == "batch" else self._submit(operation))
        if execution is None:
            return
        await self._follow(operation, execution)
        if operation.watched:
            await self._intrude(operation, execution)
            await self._watch(operation, execution)
        if operation.kind == "retry":
            await self._retry(operation, execution)

    # --- asking ------------------------------------------------------------------------------------------------------

    async def _submit(self, operation: Operation) -> str | None:
        workflow, parameters, query = _call(operation)
        key = f"op-{operation.op}" if operation.keyed else None
        headers = {"Idempotency-Key": key} if key else {}
        note = {"op": operation.op, "did": "submit", "kind": operation.kind, "key": key}
        self._history.note(**(note | {"did": "ask"}))
        url = f"/workflows/{workflow}"
        answer = await self._ask(
            self._asker, "POST", url, note, keyed=operation.keyed, json=parameters, headers=headers, params=query
        )
        return None if answer is None else answer.get("executionId")

    async def _batch(self, operation: Operation) -> str | None:
        async def ask(body: bytes, note: dict[str, Any]) -> dict[str, Any] | None:
            headers = {"Content-Type": "application/x-ndjson"}
            url = "/workflows/chaos_plain/batch"
            return await self._ask(self._asker, "POST", url, note, keyed=True, content=body, headers=headers)

        return await send_batch(operation, self._history, ask)

    async def _follow(self, operation: Operation, execution: str) -> None:
        """What a client does with what it started."""
        note = {"op": operation.op, "id": execution}
        match operation.kind:
            case "cancel":
                await asyncio.sleep(operation.pause)
                url = f"/executions/{execution}/cancel"
                await self._ask(self._asker, "POST", url, note | {"did": "cancel"}, keyed=True)
            case "approval":
                await asyncio.sleep(operation.pause)
                verb = "reject" if operation.number % 4 == 0 else "approve"
                url = f"/executions/{execution}/{verb}"
                await self._ask(self._boss, "POST", url, note | {"did": verb}, keyed=True)
            case "event":
                await asyncio.sleep(operation.pause)
                url, headers = f"/executions/{execution}/events/paid", {"Idempotency-Key": f"paid-{operation.op}"}
                body = {"amount": operation.number}
                said = note | {"did": "event"}
                await self._ask(self._asker, "POST", url, said, keyed=True, json=body, headers=headers)

    async def _retry(self, operation: Operation, execution: str) -> None:
        note = {"op": operation.op, "did": "retry", "of": execution}
        headers = {"Idempotency-Key": f"again-{operation.op}", "Prefer": "respond-async"}
        await self._ask(self._asker, "POST", f"/executions/{execution}/retry", note, keyed=True, headers=headers)

    async def _deliver(self, operation: Operation) -> None:
        """A webhook, sent again until it is answered, and once more by its sender at times."""
        self._history.note(op=operation.op, did="ask", kind="webhook", key=_delivery(operation))
        for _ in range(1 + operation.number % 2):
            for _ in range(int(_PATIENCE)):
                if await self._deliver_once(operation) is not None:
                    break
                await asyncio.sleep(1)

    async def _deliver_once(self, operation: Operation) -> dict[str, Any] | None:
        note = {"op": operation.op, "kind": "webhook", "key": _delivery(operation), "did": "submit"}
        signed = partial(standard, {"op": operation.op}, WEBHOOK_SECRET, id_=_delivery(operation))
        return await self._ask(self._asker, "POST", "/webhooks/demo/chaos_hook", note, keyed=False, signed=signed)

    async def _ask(
        self,
        client: httpx.AsyncClient,
        method: str,
        url: str,
        note: dict[str, Any],
        *,
        keyed: bool,
        signed: Callable[[], dict[str, Any]] | None = None,
        **request: Any,
    ) -> dict[str, Any] | None:
        """The answer; None when there is none. With `keyed`, asked again until there is one.

        `signed` makes body and headers in the moment in which it is sent: on a slow machine calls wait for their turn
        longer than a signature is good.
        """
        deadline = time.monotonic() + _PATIENCE
        pause = 0.2
        while True:
            status, answer, problem = 0, {}, None
            try:
                async with self._calls:
                    response = await client.request(method, url, **(request if signed is None else signed()))
                status, answer = response.status_code, response.json()
                self._look_for_secrets(response)
            except (*_BROKEN, ValueError) as failed:
                problem = type(failed).__name__
            seen = {"status": status, "id": answer.get("executionId"), "problem": problem, "error": answer.get("error")}
            if status >= 400:
                seen["message"] = answer.get("message")
            if answer.get("executionId") and status != 409:
                seen |= _outcome(answer)
            self._history.note(**(seen | {key: value for key, value in note.items() if value is not None}))
            if status not in (0, 503):
                return answer
            if not keyed or time.monotonic() > deadline:
                return None
            pause = min(_LONGEST_PAUSE, pause * 1.6)
            await asyncio.sleep(pause)

    # --- seeing ------------------------------------------------------------------------------------------------------

    def _look_for_secrets(self, response: httpx.Response) -> None:
        if self._canary in response.text:
            self._history.note(did="leak", url=str(response.url))

    async def _intrude(self, operation: Operation, execution: str) -> None:
        """Somebody of another organisation tries to read it."""
        with suppress(*_BROKEN):
            async with self._calls:
                answer = await self._stranger.get(f"/executions/{execution}")
            self._history.note(op=operation.op, did="intrude", id=execution, status=answer.status_code)

    async def _watch(self, operation: Operation, execution: str) -> None:
        """Read it until it has ended, and write down how."""
        deadline = time.monotonic() + _WATCHING
        while time.monotonic() < deadline:
            with suppress(*_BROKEN, ValueError):
                async with self._calls:
                    response = await self._asker.get(f"/executions/{execution}", params={"wait": 20})
                shown = response.json()
                self._look_for_secrets(response)
                if response.status_code in (200, 404):
                    seen = {"status": response.status_code, **_outcome(shown)}
                    self._history.note(op=operation.op, did="read", id=execution, **seen)
                # A refusal looks like a failed execution, but for its status.
                if response.status_code == 200 and shown.get("status") in _ENDED:
                    return
            await asyncio.sleep(0.5)


def _delivery(operation: Operation) -> str:
    return f"msg_{operation.op}"


def result_digest(result: Any) -> str:
    """What results are compared by."""
    return hashlib.sha256(msgspec.json.encode(result, order="sorted")).hexdigest()[:16]


def _outcome(answer: dict[str, Any]) -> dict[str, Any]:
    """How an execution stands according to an answer, and a digest of its result."""
    state = answer.get("status")
    found: dict[str, Any] = {"state": state} if isinstance(state, str) else {}
    if state == "Success":
        found["result"] = result_digest(answer.get("result"))
    return found


def _call(operation: Operation) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """Workflow, parameters and query of an operation."""
    op, number = operation.op, operation.number
    parameters: dict[str, Any] = {"op": op}
    query: dict[str, Any] = {}
    workflow = f"chaos_{operation.kind}"
    match operation.kind:
        case "plain" | "sync":
            parameters["value"] = number
            if operation.kind == "plain" and number % 10 == 0:
                query["delaySeconds"] = 1 + number % 3
        case "steps":
            parameters["pause"] = (0.0, 0.02, 0.2, 1.2)[number % 4]
        case "flaky":
            parameters["fails"] = number % 5
        case "cancel" | "retry":
            workflow = "chaos_slow"
            parameters["seconds"] = (0.2, 1.0, 3.0)[number % 3]
        case "secret":
            parameters["leak"] = ("result", "error")[number % 2]
        case "big":
            parameters |= {"blob": "b" * (number % 300_000), "size": number}
    return workflow, parameters, query
