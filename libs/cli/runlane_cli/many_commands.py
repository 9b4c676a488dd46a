"""`runlane executions cancel-many` and `retry-many`: the same for everything that filters choose, counted before."""

from typing import TYPE_CHECKING, Annotated

import typer

from .completing import workflow_names
from .gateway_command import JsonOption, gateway_command

if TYPE_CHECKING:
    from .client import Gateway

StatusOption = Annotated[list[str] | None, typer.Option(help="Only these; may be repeated.")]
WorkflowOption = Annotated[str | None, typer.Option(help="Only of this workflow.", autocompletion=workflow_names)]
LimitOption = Annotated[int, typer.Option(min=1, max=10_000, help="At most so many, newest first.")]
YesOption = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


@gateway_command
def cancel_many(  # each parameter is an option
    gateway: "Gateway",
    status: StatusOption = None,
    workflow: WorkflowOption = None,
    reason: Annotated[str | None, typer.Option(help="Why; it is kept in the records.")] = None,
    limit: LimitOption = 1000,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Cancel all executions that filters choose; without --status, all that have not ended."""
    from .many import GOING_ON, Choice, for_each

    choice = Choice(statuses=status or list(GOING_ON), workflow=workflow, limit=limit)
    for_each(gateway, choice, "cancel", {} if reason is None else {"reason": reason}, yes=yes, as_json=as_json)


@gateway_command
def retry_many(
    gateway: "Gateway",
    status: StatusOption = None,
    workflow: WorkflowOption = None,
    limit: LimitOption = 1000,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Run all executions that filters choose again, as new ones; without --status, all that failed."""
    from .many import Choice, for_each

    choice = Choice(statuses=status or ["Failed"], workflow=workflow, limit=limit)
    for_each(gateway, choice, "retry", {}, yes=yes, as_json=as_json)
