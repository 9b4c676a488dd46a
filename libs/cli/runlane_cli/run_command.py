"""`runlane run`: calls a workflow, shows what it says while it runs, prints its result."""

import math
from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from .client import Gateway, escaped
from .display import LiveLines, console, print_json
from .following import follow
from .parameters import read_parameters
from .problems import FAILED, STILL_RUNNING, USAGE, CommandFailed


class RunOptions(Struct, frozen=True, kw_only=True):
    """What `runlane run` was told beside the workflow's name. Seconds."""

    params: str | None
    param: list[str]
    wait: bool
    timeout: float | None
    idempotency_key: str | None
    delay: float | None
    as_json: bool


def run(gateway: Gateway, name: str, options: RunOptions) -> None:
    """Raises `CommandFailed` with 1 when the execution failed, 4 when it still runs after the timeout."""
    if options.delay is not None and not (0 <= options.delay < math.inf):
        raise CommandFailed("--delay is a number of seconds.", USAGE)
    manifest = gateway.get(f"/workflows/{escaped(name)}")
    parameters = read_parameters(options.params, options.param, manifest.get("parameters") or {})
    start(gateway, f"/workflows/{escaped(name)}", parameters, options)


def start(gateway: Gateway, path: str, body: Mapping[str, Any], options: RunOptions) -> None:
    """Post to a door that starts an execution, and show what becomes of it as the options say."""
    headers = {"Prefer": "respond-async"}
    if options.idempotency_key is not None:
        headers["Idempotency-Key"] = options.idempotency_key
    accepted = gateway.post(path, body, headers, delaySeconds=options.delay)
    if options.wait:
        wait_and_print(gateway, accepted["executionId"], options.timeout, as_json=options.as_json)
    elif options.as_json:
        print_json(accepted)
    else:
        print(accepted["executionId"])
        console(stderr=True).print(
            f"{accepted['status']}. Look at it with: runlane executions tail {accepted['executionId']}"
        )


def wait_and_print(gateway: Gateway, execution_id: str, timeout: float | None, *, as_json: bool) -> None:
    """Follow an execution to its end and print its result on stdout (the whole of it with `as_json`)."""
    go_on = f"Go on watching: runlane executions tail {execution_id}"
    try:
        status = _watch(gateway, execution_id, timeout, live=not as_json)
    except KeyboardInterrupt:
        raise CommandFailed(f"It goes on without you. {go_on}", STILL_RUNNING) from None
    if status is None:
        raise CommandFailed(f"It still runs after {timeout:g} s. {go_on}", STILL_RUNNING)
    print_outcome(gateway.get(f"/executions/{escaped(execution_id)}"), as_json=as_json)


def print_outcome(execution: Mapping[str, Any], *, as_json: bool) -> None:
    """The result of a finished execution; raises `CommandFailed` when it did not succeed."""
    if as_json:
        print_json(execution)
    elif execution["status"] == "Success":
        print_json(execution.get("result"))
    if execution["status"] != "Success":
        reason = f"{execution.get('error') or execution['status']}: {execution.get('message') or 'no message'}"
        look = f"Look at all of it with: runlane executions show {execution['executionId']}"
        raise CommandFailed(f"{execution['workflowName']} did not succeed. {reason}\n{look}", FAILED)


def _watch(gateway: Gateway, execution_id: str, timeout: float | None, *, live: bool) -> str | None:
    if not live:
        return follow(gateway, execution_id, _show_nothing, timeout)
    console(stderr=True).print(f"Execution {execution_id}")
    with LiveLines() as lines:
        return follow(gateway, execution_id, lines.show, timeout)


def _show_nothing(event: str, data: Mapping[str, Any]) -> None:
    """Programs that ask for JSON want no live lines."""
