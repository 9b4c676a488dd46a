"""`runlane executions show`: one execution for people, from its head to its last log line."""

import json
from collections.abc import Mapping
from typing import Any

from rich.text import Text

from .display import console, duration, local_time, person, print_json, printable, shown

_WORDS = 12  # width of the names at the left


def print_execution(execution: Mapping[str, Any], *, as_json: bool) -> None:
    """The whole of it as JSON, or what people look for first."""
    if as_json:
        print_json(execution)
        return
    out = console()
    for name, value in _head(execution).items():
        if value not in (None, ""):
            out.print(Text(f"{name:<{_WORDS}} ", style="bold").append_text(shown(value)), soft_wrap=True)
    for title, key in (("Input", "input"), ("Result", "result"), ("Variables", "variables")):
        if execution.get(key) not in (None, {}):
            out.print(f"\n{title}", style="bold")
            out.print(printable(json.dumps(execution[key], indent=2, ensure_ascii=False)), soft_wrap=True)
    for title, lines in _sections(execution):
        if lines:
            out.print(f"\n{title}", style="bold")
            for line in lines:
                out.print("  " + printable(line), soft_wrap=True)


def _head(execution: Mapping[str, Any]) -> dict[str, Any]:
    error = execution.get("error")
    trigger = execution.get("trigger") or {}
    internal = execution.get("internal") or {}
    return {
        "Execution": execution["executionId"],
        "Workflow": execution["workflowName"],
        "Organisation": execution["orgId"],
        "Status": execution["status"],
        "Error": f"{error}: {execution.get('message')}" if error else None,
        "Details": execution.get("details") or None,
        **{f"({name})": value for name, value in internal.items()},
        "Trigger": " ".join(str(part) for part in (trigger.get("kind"), trigger.get("reference")) if part),
        "By": person(execution.get("executedBy") or {}),
        "Attempt": execution.get("attempt"),
        "Queued": local_time(execution.get("queuedAt")),
        "Starts": local_time(execution.get("runAt")),
        "Started": local_time(execution.get("startedAt")),
        "Ended": local_time(execution.get("completedAt")),
        "Took": duration(execution.get("durationMs")),
        "Progress": None if execution.get("progress") is None else f"{execution['progress']:.3g} %",
    }


def _sections(execution: Mapping[str, Any]) -> list[tuple[str, list[str]]]:
    return [
        ("State", [_transition(entry) for entry in execution.get("transitions") or []]),
        (
            "Checkpoints",
            [
                f"{_at(entry)}  {entry['name']}  {_json(entry.get('data'))}"
                for entry in execution.get("stateSnapshots") or []
            ],
        ),
        (
            "Steps",
            [
                f"{_at(entry)}  {entry['name']} ({duration(entry.get('duration_ms'))})"
                for entry in execution.get("steps") or []
            ],
        ),
        (
            "Events",
            [f"{_at(entry)}  {entry['name']}  {_json(entry.get('data'))}" for entry in execution.get("events") or []],
        ),
        ("Calls", [_call(entry) for entry in execution.get("integrationCalls") or []]),
        ("Log", [_log(entry) for entry in execution.get("logs") or []]),
        (
            "Not kept",
            [f"{entry['count']} of kind {entry['what']}" for entry in execution.get("dropped") or []],
        ),
    ]


def _transition(entry: Mapping[str, Any]) -> str:
    until = local_time(entry.get("until"))
    by = person(entry.get("by") or {})
    parts = [f"by {by}" if by else None, entry.get("reason"), f"until {until}" if until else None]
    return f"{_at(entry)}  {entry['status']} (attempt {entry['attempt']})  " + ", ".join(p for p in parts if p)


def _call(entry: Mapping[str, Any]) -> str:
    line = f"{_at(entry)}  {entry['integration']} {entry['method']} {entry['endpoint']} → {entry.get('status_code')}"
    return f"{line} ({duration(entry.get('duration_ms'))})" + (f"  {entry['error']}" if entry.get("error") else "")


def _log(entry: Mapping[str, Any]) -> str:
    data = f"  {_json(entry['data'])}" if "data" in entry else ""
    return f"{_at(entry)}  {entry['level']:<8} {entry['message']}{data}"


def _at(entry: Mapping[str, Any]) -> str | None:
    return local_time(entry.get("timestamp"))


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
