"""Subscriptions as tables, and changes of them. Called by the commands."""

import sys
import time
from collections.abc import Mapping
from typing import Any

import typer

from .client import Gateway, escaped
from .display import console, local_time, print_json, print_table, printable
from .problems import USAGE, CommandFailed

_SETTINGS = ("events", "workflows", "description", "enabled")
#: A receiver has 15 s to answer; a scheduler that has to be asked twice a little more.
_PING_SECONDS, _LOOK_SECONDS = 25.0, 0.2


def path_of(gateway: Gateway, id_: str | None = None) -> str:
    path = f"/subscriptions/{escaped(gateway.org)}"
    return path if id_ is None else f"{path}/{escaped(id_)}"


def url_of(given: str) -> str:
    """The URL itself, which - says is on stdin: it may hold a token."""
    if given != "-":
        return given
    url = sys.stdin.readline().strip()
    if not url:
        raise CommandFailed("There is no URL on stdin.", USAGE)
    return url


def settings_of(events: list[str] | None, workflows: list[str] | None, description: str | None) -> dict[str, Any]:
    """What was given of them. An empty text among workflows: all."""
    given: dict[str, Any] = {"events": events, "description": description}
    given["workflows"] = None if workflows is None else [name for name in workflows if name]
    return {name: value for name, value in given.items() if value is not None}


def change(gateway: Gateway, id_: str, given: Mapping[str, Any]) -> Any:
    """Change what is given and leave the rest."""
    known = gateway.get(path_of(gateway, id_))
    return gateway.put(path_of(gateway, id_), {**{name: known[name] for name in _SETTINGS}, **given})


def pinged(gateway: Gateway, path: str) -> Mapping[str, Any]:
    """Send a test and wait for what became of it. Raises `CommandFailed` when that takes too long."""
    event = gateway.post(f"{path}/test", {})["event"]
    deadline = time.monotonic() + _PING_SECONDS
    while time.monotonic() < deadline:
        for attempt in gateway.get(f"{path}/attempts")["attempts"]:
            if attempt["event"] == event:
                found: Mapping[str, Any] = attempt
                return found
        time.sleep(_LOOK_SECONDS)
    raise CommandFailed(f"Nothing was sent within {_PING_SECONDS:.0f} s: does a scheduler run?")


def print_subscriptions(page: Mapping[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(page)
        return
    print_table(
        ("ID", "STATUS", "URL", "EVENTS", "WORKFLOWS", "DESCRIPTION", "REASON"),
        [
            (
                it["id"],
                "failing" if it["status"] == "active" and it["failingSince"] else it["status"],
                it["url"],
                ", ".join(it["events"]),
                ", ".join(it["workflows"]) or "all",
                it["description"],
                it["reason"] or "",
            )
            for it in page["subscriptions"]
        ],
        "There are none: runlane subscriptions add URL.",
    )


def print_subscription(it: Mapping[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(it)
        return
    rows = [
        ("id", it["id"]),
        ("url", it["url"]),
        ("events", ", ".join(it["events"])),
        ("workflows", ", ".join(it["workflows"]) or "all"),
        ("description", it["description"]),
        ("status", it["status"]),
        ("sent since", local_time(it["since"])),
    ]
    rows += [("failing since", local_time(it["failingSince"]))] if it["failingSince"] else []
    print_table(("SETTING", "VALUE"), rows, "")
    for secret in it["secrets"]:
        ends = f", ends {local_time(secret['expiresAt'])}" if secret["expiresAt"] else ""
        print(f"secret {secret['id']} of {local_time(secret['createdAt'])}{ends}")
    if it["reason"]:
        console(stderr=True).print(f"problem: {printable(it['reason'])}", style="yellow")
    if it["secret"]:
        print(f"New secret, shown this once: {it['secret']}")


def print_attempt(it: Mapping[str, Any], *, as_json: bool) -> None:
    """One attempt; ends the command with 1 unless it was taken."""
    if as_json:
        print_json(it)
    else:
        print(f"{it['outcome']}: {_answer(it)} after {it['durationMs']} ms")
    if it["outcome"] != "delivered":
        raise typer.Exit(1)


def print_attempts(page: Mapping[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(page)
        return
    print_table(
        ("WHEN", "EVENT", "TYPE", "ATTEMPT", "OUTCOME", "ANSWER", "MS", "AGAIN AT"),
        [
            (
                local_time(it["at"]),
                it["event"],
                it["type"],
                it["number"],
                it["outcome"],
                _answer(it),
                it["durationMs"],
                local_time(it["nextAt"]) if it["nextAt"] else "",
            )
            for it in page["attempts"]
        ],
        "Nothing was sent yet.",
    )


def _answer(it: Mapping[str, Any]) -> str:
    return str(it["status"] or it["problem"])
