"""`runlane executions bulk-cancel` and `bulk-retry`: what a filter matches, counted first, with a progress bar."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from .gateway_command import JsonOption, gateway_command

if TYPE_CHECKING:
    from .client import Gateway

_PAGE = 100
_SHOWN = 20

StatusOption = Annotated[list[str] | None, typer.Option(help="Only these; may be repeated.")]
WorkflowOption = Annotated[str | None, typer.Option(help="Only of this workflow.")]
TagOption = Annotated[str | None, typer.Option(help="Only with this tag.")]
FromOption = Annotated[str | None, typer.Option("--from", help="Only those queued at this time or later.")]
ToOption = Annotated[str | None, typer.Option("--to", help="Only those queued before this time.")]
YesOption = Annotated[bool, typer.Option("--yes", help="Do not ask; needed where nobody can be asked.")]


@gateway_command
def bulk_cancel(  # noqa: PLR0913  # each parameter is an option
    gateway: "Gateway",
    status: StatusOption = None,
    workflow: WorkflowOption = None,
    tag: TagOption = None,
    since: FromOption = None,
    before: ToOption = None,
    reason: Annotated[str | None, typer.Option(help="Why; it is kept in the records.")] = None,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Cancel everything unfinished that matches. Says how many first."""
    chosen = _filter(status, workflow, tag, since, before)
    _act(gateway, {"action": "cancel", "reason": reason}, chosen, yes=yes, as_json=as_json)


@gateway_command
def bulk_retry(  # noqa: PLR0913  # each parameter is an option
    gateway: "Gateway",
    status: StatusOption = None,
    workflow: WorkflowOption = None,
    tag: TagOption = None,
    since: FromOption = None,
    before: ToOption = None,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Run again everything that matches and has ended; without --status, what failed or was cancelled."""
    import uuid

    chosen = _filter(status, workflow, tag, since, before)
    _act(gateway, {"action": "retry", "key": uuid.uuid4().hex}, chosen, yes=yes, as_json=as_json)


def _filter(
    status: list[str] | None, workflow: str | None, tag: str | None, since: str | None, before: str | None
) -> dict[str, Any]:
    given = {"status": status, "workflow": workflow, "tag": tag, "from": since, "to": before}
    return {name: value for name, value in given.items() if value}


def _act(gateway: "Gateway", order: dict[str, Any], chosen: dict[str, Any], *, yes: bool, as_json: bool) -> None:
    """Raises `CommandFailed` with 1 when some were refused, with 2 where nobody agreed."""
    import sys

    from .problems import USAGE, CommandFailed

    counted = gateway.post("/executions/bulk", {**order, "filter": chosen, "dryRun": True})
    number = f"{counted['count']}{' or more' if counted['more'] else ''} execution(s)"
    if counted["count"] and not yes:
        if as_json or not sys.stdin.isatty():
            raise CommandFailed(f"It would {order['action']} {number}: say --yes.", USAGE)
        typer.confirm(f"{order['action'].title()} {number}?", abort=True, err=True)
    _report(order["action"], _pages(gateway, order, chosen, counted["count"]), as_json=as_json)


def _pages(gateway: "Gateway", order: dict[str, Any], chosen: dict[str, Any], expected: int) -> dict[str, Any]:
    from rich.progress import Progress

    from .display import console

    found: dict[str, Any] = {"done": 0, "refused": []}
    after: str | None = None
    with Progress(console=console(stderr=True), disable=not console(stderr=True).is_terminal) as progress:
        bar = progress.add_task(order["action"], total=expected)
        while expected:
            page = gateway.post("/executions/bulk", {**order, "filter": {**chosen, "limit": _PAGE, "after": after}})
            found["done"] += page["done"]
            found["refused"] += page["refused"]
            tried = found["done"] + len(found["refused"])
            progress.update(bar, completed=tried, total=max(expected, tried))
            after = page["next"]
            if after is None:
                break
    return found


def _report(action: str, found: dict[str, Any], *, as_json: bool) -> None:
    from .display import print_json, printable
    from .problems import FAILED, CommandFailed

    if as_json:
        print_json(found)
    else:
        print(f"{found['done']} {'cancelled' if action == 'cancel' else 'started again'}")
    if found["refused"]:
        told = [f"    {one['executionId']}: {printable(one['message'])}" for one in found["refused"][:_SHOWN]]
        raise CommandFailed("\n".join([f"{len(found['refused'])} were refused:", *told]), FAILED)
