"""Lists of what the gateway knows, as tables or JSON. Called by the commands."""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .client import Gateway, escaped
from .display import console, done, duration, local_time, print_json, print_table, printable
from .problems import USAGE, CommandFailed


def print_workflows(gateway: Gateway, *, as_json: bool) -> None:
    answer = gateway.get("/workflows")
    if as_json:
        print_json(answer)
        return
    print_table(
        ("NAME", "MODE", "SCHEDULE", "CATEGORY", "DESCRIPTION"),
        [
            (w["name"], w["executionMode"], w.get("schedule"), w["category"], w["description"])
            for w in answer["workflows"]
        ],
        "There are no workflows: put Python files with @workflow functions into the workflows directory.",
    )
    for failure in answer["failures"]:
        console(stderr=True).print(
            f"\n{printable(failure['file'])} could not be imported; its workflows are not available:\n"
            f"    {printable(failure['message'])}",
            style="red",
        )


def print_schedules(gateway: Gateway, *, as_json: bool) -> None:
    answer = gateway.get("/schedules")
    if as_json:
        print_json(answer)
        return
    rows = []
    for schedule in answer["schedules"]:
        fires = schedule.get("nextFires") or []
        rows.append(
            (
                schedule["workflow"],
                schedule["schedule"],
                schedule["timeZone"],
                "on" if schedule["enabled"] else "paused",
                local_time(fires[0]) if fires and schedule["enabled"] else None,
            )
        )
    print_table(("WORKFLOW", "SCHEDULE", "TIME ZONE", "STATE", "NEXT (LOCAL TIME)"), rows, "Nothing is scheduled.")


def print_executions(page: Mapping[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(page)
        return
    print_table(
        ("ID", "WORKFLOW", "ORG", "STATUS", "QUEUED", "TOOK", "ERROR"),
        [
            (
                e["executionId"],
                e["workflowName"],
                e["orgId"],
                e["status"],
                local_time(e.get("queuedAt")),
                duration(e.get("durationMs")),
                e.get("error") or "",
            )
            for e in page["executions"]
        ],
        "There are no such executions.",
    )
    if page.get("next"):
        console(stderr=True).print(f"There are more: --after {page['next']}")


def print_config(gateway: Gateway, *, as_json: bool) -> None:
    values = _config(gateway)
    if as_json:
        print_json(values)
        return
    print_table(
        ("NAME", "VALUE", "FROM", "CHANGED", "BY"),
        [
            (
                v["key"],
                v["value"],
                "platform" if v.get("inherited") else gateway.org,
                local_time(v.get("changedAt")),
                v.get("changedBy"),
            )
            for v in values
        ],
        f"Nothing is set for {gateway.org}.",
    )


def config_value(gateway: Gateway, key: str) -> object:
    """One configuration value; raises `CommandFailed` when it is not set."""
    for value in _config(gateway):
        if value["key"] == key:
            found: object = value["value"]
            return found
    raise CommandFailed(f"{key} is not set for {gateway.org}: runlane config set {key} VALUE", USAGE)


def print_secrets(gateway: Gateway, *, as_json: bool) -> None:
    secrets = gateway.every(f"/orgs/{escaped(gateway.org)}/secrets", "secrets")
    if as_json:
        print_json(secrets)
        return
    print_table(
        ("NAME", "VERSION", "CHANGED", "BY"),
        [(s["name"], s["version"], local_time(s.get("changedAt")), s.get("changedBy")) for s in secrets],
        f"{gateway.org} has no secrets.",
    )


def import_config(gateway: Gateway, file: Path, *, as_json: bool) -> None:
    """Set the values of a JSON file; raises `CommandFailed` for one that holds no JSON object."""
    try:
        text = sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")
        values = json.loads(text)
    except (OSError, ValueError) as problem:
        raise CommandFailed(f"{file} cannot be read: {problem}", USAGE) from None
    if not isinstance(values, dict):
        raise CommandFailed(f"{file} must hold a JSON object: values by name.", USAGE)
    answer = gateway.put(f"/orgs/{escaped(gateway.org)}/config", {"values": values})
    if as_json:
        print_json(answer)
        return
    print(f"{len(answer['changed'])} value(s) set for {gateway.org}, {answer['unchanged']} as they were.")


def switch_workflow(gateway: Gateway, workflow: str, *, enabled: bool, as_json: bool) -> None:
    path = f"/orgs/{escaped(gateway.org)}/workflows/{escaped(workflow)}"
    answer = gateway.put(path, {"enabled": enabled})
    done(f"{gateway.org} {'may' if enabled else 'may not'} run {workflow}.", answer, as_json=as_json)


def print_orgs(gateway: Gateway, tag: str | None, *, as_json: bool) -> None:
    orgs = gateway.every("/orgs", "organizations", tag=tag, limit=1000)
    if as_json:
        print_json(orgs)
        return
    print_table(
        ("ID", "NAME", "TIME ZONE", "TENANT", "TAGS"),
        [(it["id"], it["name"], it["timeZone"], it.get("tenantId"), ", ".join(it.get("tags", []))) for it in orgs],
        "There are no organisations.",
    )


def _config(gateway: Gateway) -> Sequence[Mapping[str, Any]]:
    return gateway.every(f"/orgs/{escaped(gateway.org)}/config", "config")
