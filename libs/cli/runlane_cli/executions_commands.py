"""`runlane executions …`: list, show, tail, cancel, retry."""

from typing import TYPE_CHECKING, Annotated

import typer

from .completing import execution_ids, workflow_names
from .gateway_command import JsonOption, gateway_command

if TYPE_CHECKING:
    from .client import Gateway

executions = typer.Typer(help="See and steer executions.", no_args_is_help=True)

IdArgument = Annotated[str, typer.Argument(metavar="ID", help="The execution's id.", autocompletion=execution_ids)]


@executions.command("list")
@gateway_command
def list_(
    gateway: "Gateway",
    status: Annotated[list[str] | None, typer.Option(help="Only these; may be repeated.")] = None,
    workflow: Annotated[str | None, typer.Option(help="Only of this workflow.", autocompletion=workflow_names)] = None,
    limit: Annotated[int, typer.Option(min=1, max=200, help="How many, newest first.")] = 20,
    after: Annotated[str | None, typer.Option(help="The `next` of the page before.")] = None,
    as_json: JsonOption = False,
) -> None:
    """List executions, newest first."""
    from .lists import print_executions

    page = gateway.get("/executions", status=status or None, workflow=workflow, limit=limit, after=after)
    print_executions(page, as_json=as_json)


@executions.command()
@gateway_command
def show(gateway: "Gateway", execution_id: IdArgument, as_json: JsonOption = False) -> None:
    """Show everything known of an execution."""
    from .client import escaped
    from .execution_view import print_execution

    print_execution(gateway.get(f"/executions/{escaped(execution_id)}"), as_json=as_json)


@executions.command()
@gateway_command
def tail(
    gateway: "Gateway",
    execution_id: IdArgument,
    timeout: Annotated[float | None, typer.Option(min=0, help="Seconds to wait.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Show what an execution says, from its beginning until it has ended, then its result."""
    from .run_command import wait_and_print

    wait_and_print(gateway, execution_id, timeout, as_json=as_json)


@executions.command()
@gateway_command
def cancel(
    gateway: "Gateway",
    execution_id: IdArgument,
    reason: Annotated[str | None, typer.Option(help="Why; it is kept in the record.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Cancel an execution, queued or running."""
    from .client import escaped
    from .display import print_json

    body = {} if reason is None else {"reason": reason}
    answer = gateway.post(f"/executions/{escaped(execution_id)}/cancel", body)
    if as_json:
        print_json(answer)
    else:
        print(f"{answer['executionId']} {answer['status']}")


@executions.command()
@gateway_command
def retry(
    gateway: "Gateway",
    execution_id: IdArgument,
    wait: Annotated[bool, typer.Option(help="Follow the new execution until it has ended.")] = False,
    timeout: Annotated[float | None, typer.Option(min=0, help="Seconds to wait.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Run a finished execution again, as a new one with the same parameters."""
    from .client import escaped
    from .display import print_json
    from .run_command import wait_and_print

    accepted = gateway.post(f"/executions/{escaped(execution_id)}/retry", headers={"Prefer": "respond-async"})
    if wait:
        wait_and_print(gateway, accepted["executionId"], timeout, as_json=as_json)
    elif as_json:
        print_json(accepted)
    else:
        print(accepted["executionId"])
