"""Batches of the clients: many lines in one call, each an operation of its own with a key of its own."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from tests.chaos.history import History
from tests.chaos.plan import Operation

Ask = Callable[[bytes, dict[str, Any]], Awaitable[dict[str, Any] | None]]

_PRIORITIES = ("high", "normal", "low")
#: While lines of it are refused, a batch is sent again so often.
_ROUNDS = 200


async def send_batch(operation: Operation, history: History, ask: Ask) -> str | None:
    """Send it until every line is accepted, and at times once more; returns the execution of its first line.

    `ask` sends a body, repeats that until there is an answer, and notes it in the history as it is told.
    """
    lines = [_line(operation, number) for number in range(2 + operation.number % 8)]
    for line in lines:
        history.note(op=line["parameters"]["op"], did="ask", kind="batch", key=line["idempotencyKey"])
    body = b"\n".join(map(msgspec.json.encode, lines))
    again, first = operation.number % 3 == 0, None
    for _ in range(_ROUNDS):
        answer = await ask(body, {"op": operation.op, "did": "batch"})
        accepted = [] if answer is None else answer.get("executions", [])
        for one in accepted:
            line = lines[one["line"] - 1]
            note = {"op": line["parameters"]["op"], "kind": "batch", "key": line["idempotencyKey"], "did": "submit"}
            history.note(**note, status=202, id=one["executionId"])
            first = first or one["executionId"]
        if len(accepted) == len(lines):
            if not again:
                return str(first)
            again = False
        else:
            await asyncio.sleep(1.0)
    return first


def _line(operation: Operation, number: int) -> dict[str, Any]:
    # Below zero: operations of the plan and probes are not.
    op = -(operation.op * 10 + number + 1)
    return {
        "parameters": {"op": op, "value": number},
        "idempotencyKey": f"op-{operation.op}-{number}",
        "priority": _PRIORITIES[number % len(_PRIORITIES)],
    }
