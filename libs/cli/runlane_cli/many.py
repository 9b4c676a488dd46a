"""Does one thing to many executions: finds them, says how many, asks, shows how far it is. Used by `many_commands`."""

from collections.abc import Mapping, Sequence
from typing import Any

import typer
from msgspec import Struct

from .client import Gateway, GatewayRefused, escaped
from .display import console, print_json, printable, progress_bar
from .problems import FAILED, UNREACHABLE, CommandFailed

GOING_ON = ("Scheduled", "Queued", "Running", "Retrying", "Suspended", "PendingApproval")
_PAGE = 200
_MOST_TOLD = 10  # of what did not work; --json has all
_ASYNC = {"Prefer": "respond-async"}


class Choice(Struct, frozen=True, kw_only=True):
    """Which executions: newest first, at most `limit`."""

    statuses: Sequence[str]
    workflow: str | None
    limit: int


def for_each(gateway: Gateway, choice: Choice, door: str, body: Mapping[str, Any], *, yes: bool, as_json: bool) -> None:
    """Post to a door of each execution; raises `CommandFailed` when some refused. Asks first, unless `yes`."""
    ids = _find(gateway, choice)
    if ids and not yes:
        typer.confirm(f"{door.capitalize()} {len(ids)} execution(s)?", abort=True, err=True)
    done: list[Mapping[str, Any]] = []
    failed: list[dict[str, str]] = []
    with progress_bar(console(stderr=True)) as bar:
        for execution_id in bar.track(ids, description=door):
            try:
                done.append(gateway.post(f"/executions/{escaped(execution_id)}/{door}", body, _ASYNC))
            except GatewayRefused as problem:
                if problem.exit_code == UNREACHABLE:
                    raise
                failed.append({"executionId": execution_id, "message": problem.message})
    _tell(done, failed, as_json=as_json)


def _find(gateway: Gateway, choice: Choice) -> list[str]:
    found: list[str] = []
    after: str | None = None
    while len(found) < choice.limit:
        query = {"status": list(choice.statuses), "workflow": choice.workflow, "after": after}
        page = gateway.get("/executions", limit=min(_PAGE, choice.limit - len(found)), **query)
        found += [one["executionId"] for one in page["executions"]]
        after = page.get("next")
        if after is None:
            break
    return found


def _tell(done: Sequence[Mapping[str, Any]], failed: Sequence[Mapping[str, str]], *, as_json: bool) -> None:
    count = len(done) + len(failed)
    if as_json:
        print_json({"chosen": count, "done": done, "failed": failed})
    else:
        print(f"{len(done)} of {count} done.")
        for problem in failed[:_MOST_TOLD]:
            console(stderr=True).print(f"{problem['executionId']}: {printable(problem['message'])}")
    if failed:
        raise CommandFailed(f"{len(failed)} of {count} could not be done.", FAILED)
