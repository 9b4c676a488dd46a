"""Approvals for people: the inbox, one approval, the rules. Called by `approvals_commands`."""

import json
from collections.abc import Mapping
from typing import Any

from rich.text import Text

from .display import console, local_time, person, print_json, print_table, printable, shown
from .problems import USAGE, CommandFailed


def print_inbox(inbox: Mapping[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(inbox)
        return
    print_table(
        ("ID", "WORKFLOW", "ORG", "ASKED BY", "SINCE", "EXPIRES", "AGREED", "MESSAGE"),
        [
            (
                it["executionId"],
                it["workflowName"],
                it["orgId"],
                person(it["requestedBy"]),
                local_time(it["approval"]["requestedAt"]),
                local_time(it["approval"]["expiresAt"]),
                f"{len(it['approval']['decisions'])} of {it['approval']['count']}",
                it["approval"]["message"],
            )
            for it in inbox["approvals"]
        ],
        "Nothing waits for an approval.",
    )
    if inbox.get("next"):
        console(stderr=True).print(f"There are more: --after {inbox['next']}")


def print_approval(execution: Mapping[str, Any], *, as_json: bool) -> None:
    """Raises `CommandFailed` when the execution waits for none."""
    approval = execution.get("approval")
    if approval is None:
        raise CommandFailed(f"{execution['executionId']} waits for no approval: it is {execution['status']}.", USAGE)
    if as_json:
        print_json({"executionId": execution["executionId"], "input": execution["input"], "approval": approval})
        return
    out = console()
    for name, value in {
        "Execution": execution["executionId"],
        "Workflow": execution["workflowName"],
        "Asked by": person(execution["executedBy"]),
        "Message": approval["message"],
        "Rule": approval["rule"],
        "Approvers": ", ".join(approval["approvers"]) or "everyone with canApproveExecutions",
        "Agreed": f"{len(approval['decisions'])} of {approval['count']}",
        "Since": local_time(approval["requestedAt"]),
        "Expires": local_time(approval["expiresAt"]),
        "Digest": approval["digest"],
    }.items():
        if value is not None:
            out.print(Text(f"{name:<12} ", style="bold").append_text(shown(value)), soft_wrap=True)
    out.print("\nInput", style="bold")
    out.print(printable(json.dumps(execution["input"], indent=2, ensure_ascii=False)), soft_wrap=True)


def print_rules(answer: Mapping[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(answer)
        return
    print_table(
        ("WORKFLOW", "REQUIRED", "APPROVERS", "COUNT", "OFFICE HOURS", "EXPIRES AFTER"),
        [
            (
                rule["workflow"],
                {None: "as declared", True: "yes", False: "no"}[rule["required"]],
                ", ".join(rule["approvers"]) or "everyone who may",
                rule["count"],
                _hours(rule["officeHours"]),
                f"{rule['expiresSeconds']:g} s",
            )
            for rule in answer["rules"]
        ],
        "There are no approval rules: workflows are approved as they declare.",
    )


def _hours(hours: Mapping[str, Any] | None) -> str | None:
    return None if hours is None else f"{hours.get('start', '09:00')}-{hours.get('end', '17:00')}"
