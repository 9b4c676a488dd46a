"""Webhooks as tables, and changes of their settings. Called by the commands."""

import sys
from collections.abc import Mapping
from typing import Any

from .client import Gateway, escaped
from .display import console, local_time, print_json, print_table, printable
from .problems import USAGE, CommandFailed

#: What of a webhook can be set; the secret is written only.
_SETTINGS = (
    "enabled",
    "scheme",
    "header",
    "toleranceSeconds",
    "dedupe",
    "deliveryHeader",
    "ratePerMinute",
    "burst",
    "bodyAs",
    "headersAs",
    "headers",
)


def path_of(gateway: Gateway, workflow: str) -> str:
    return f"/webhooks/{escaped(gateway.org)}/{escaped(workflow)}"


def apply_settings(gateway: Gateway, workflow: str, given: Mapping[str, Any]) -> Any:
    """Change what is given (None: not given; an empty text: back to nothing) and leave the rest."""
    path = path_of(gateway, workflow)
    known = gateway.get(path)
    settings = {name: known[name] for name in _SETTINGS}
    changes = {name: value for name, value in given.items() if value is not None}
    if "secret" in changes:
        changes["secret"] = read_secret(changes["secret"])
    if changes.get("scheme", known["scheme"]) != known["scheme"] or "deliveryHeader" in changes:
        settings["dedupe"] = None  # as the new scheme has it
    for name in ("dedupe", "deliveryHeader", "bodyAs", "headersAs"):
        if changes.get(name) == "":
            changes[name] = None
    return gateway.put(path, {**settings, **changes})


def read_secret(given: str) -> str:
    """The secret itself, which - says is on stdin: what stands on a command line, others on the machine can read."""
    if given != "-":
        return given
    secret = sys.stdin.readline().rstrip("\r\n")
    if not secret:
        raise CommandFailed("There is no secret on stdin.", USAGE)
    return secret


def print_webhooks(page: Mapping[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(page)
        return
    print_table(
        ("WORKFLOW", "SCHEME", "ENABLED", "SECRETS", "URL", "PROBLEM"),
        [
            (
                hook["workflow"],
                hook["scheme"],
                "yes" if hook["enabled"] else "no",
                len(hook["secrets"]),
                hook["url"],
                "; ".join(hook["problems"]),
            )
            for hook in page["webhooks"]
        ],
        "There are none: declare a workflow with webhook_enabled=True.",
    )
    if page["next"]:
        console(stderr=True).print(f"There are more: --after {page['next']}")


def print_webhook(hook: Mapping[str, Any], base: str, *, as_json: bool) -> None:
    if as_json:
        print_json(hook)
        return
    print_table(
        ("SETTING", "VALUE"),
        [("url", base.rstrip("/") + hook["url"]), *((name, _shown(hook[name])) for name in _SETTINGS)],
        "",
    )
    for secret in hook["secrets"]:
        ends = f", ends {local_time(secret['expiresAt'])}" if secret["expiresAt"] else ""
        print(f"secret {secret['id']} of {local_time(secret['createdAt'])}{ends}")
    for problem in hook["problems"]:
        console(stderr=True).print(f"problem: {printable(problem)}", style="yellow")
    if hook["secret"]:
        print(f"New secret, shown this once: {hook['secret']}")


def print_deliveries(page: Mapping[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(page)
        return
    print_table(
        ("ID", "WHEN", "OUTCOME", "EXECUTION", "SENDER'S ID", "FROM", "REASON"),
        [
            (
                it["id"],
                local_time(it["at"]),
                it["outcome"],
                it["executionId"] or "",
                it["senderId"] or "",
                it["address"] or "",
                it["reason"] or "",
            )
            for it in page["deliveries"]
        ],
        "Nothing was delivered.",
    )
    if page["next"]:
        console(stderr=True).print(f"There are more: --after {page['next']}")


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(value) if isinstance(value, list) else "" if value is None else str(value)
