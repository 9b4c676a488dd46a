"""`runlane approvals …`, `runlane approve`, `runlane reject`, `runlane executions send-event`: people and events."""

from typing import TYPE_CHECKING, Annotated

import typer

from .completing import execution_ids
from .gateway_command import JsonOption, gateway_command

if TYPE_CHECKING:
    from .client import Gateway

approvals = typer.Typer(help="What waits for an approval, and the rules for it.", no_args_is_help=True)

IdArgument = Annotated[str, typer.Argument(metavar="ID", help="The execution's id.", autocompletion=execution_ids)]
ReasonOption = Annotated[str | None, typer.Option(help="Why; it is kept in the record.")]
DigestOption = Annotated[
    str | None, typer.Option(help="The digest that was shown: with another one, nothing is decided.")
]
WorkflowArgument = Annotated[str, typer.Argument(metavar="WORKFLOW", help="A workflow, or * for every one.")]


@approvals.command("list")
@gateway_command
def list_(
    gateway: "Gateway",
    limit: Annotated[int, typer.Option(min=1, max=100, help="How many, newest first.")] = 50,
    after: Annotated[str | None, typer.Option(help="The `next` of the page before.")] = None,
    as_json: JsonOption = False,
) -> None:
    """List what waits for an approval."""
    from .approvals_view import print_inbox

    print_inbox(gateway.get("/approvals", limit=limit, after=after), as_json=as_json)


@approvals.command()
@gateway_command
def show(gateway: "Gateway", execution_id: IdArgument, as_json: JsonOption = False) -> None:
    """Show what an execution asks for: its input, who asked, until when, who has agreed."""
    from .approvals_view import print_approval
    from .client import escaped

    print_approval(gateway.get(f"/executions/{escaped(execution_id)}"), as_json=as_json)


@approvals.command()
@gateway_command
def rules(gateway: "Gateway", as_json: JsonOption = False) -> None:
    """List the organisation's approval rules."""
    from .approvals_view import print_rules
    from .client import escaped

    print_rules(gateway.get(f"/orgs/{escaped(gateway.org)}/approval-rules"), as_json=as_json)


@approvals.command("set-rule")
@gateway_command
def set_rule(  # noqa: PLR0913  # each parameter is an option
    gateway: "Gateway",
    workflow: WorkflowArgument,
    required: Annotated[
        bool | None, typer.Option("--required/--not-required", help="Whatever the workflow declares.")
    ] = None,
    approver: Annotated[
        list[str] | None, typer.Option(help="A key id, e-mail address, role or permission; may be repeated.")
    ] = None,
    count: Annotated[int, typer.Option(min=1, help="How many have to agree.")] = 1,
    expires: Annotated[float | None, typer.Option(min=1, help="Seconds until it expires; 3 days at first.")] = None,
    hours: Annotated[
        str | None, typer.Option(help="Office hours in the organisation's time zone, as 09:00-17:00.")
    ] = None,
    days: Annotated[str, typer.Option(help="The days of the office hours.")] = "mon,tue,wed,thu,fri",
    allow_own: Annotated[bool, typer.Option("--allow-own", help="Who asked may decide himself.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Set the organisation's approval rule for a workflow."""
    from .client import escaped
    from .display import done

    body: dict[str, object] = {"required": required, "approvers": approver or [], "count": count}
    body |= {"allowOwn": allow_own, "expiresSeconds": expires}
    if hours is not None:
        start, _, end = hours.partition("-")
        body["officeHours"] = {"start": start, "end": end, "days": days.split(",")}
    answer = gateway.put(f"/orgs/{escaped(gateway.org)}/approval-rules/{escaped(workflow)}", body)
    done(f"The approval rule for {workflow} is set for {gateway.org}.", answer, as_json=as_json)


@approvals.command("delete-rule")
@gateway_command
def delete_rule(gateway: "Gateway", workflow: WorkflowArgument, as_json: JsonOption = False) -> None:
    """Delete a rule: the one for *, else what the workflow declares, holds again."""
    from .client import escaped
    from .display import done

    gateway.delete(f"/orgs/{escaped(gateway.org)}/approval-rules/{escaped(workflow)}")
    done(f"{gateway.org} has no approval rule for {workflow} any more.", {"deleted": workflow}, as_json=as_json)


@gateway_command
def approve(
    gateway: "Gateway",
    execution_id: IdArgument,
    reason: ReasonOption = None,
    digest: DigestOption = None,
    as_json: JsonOption = False,
) -> None:
    """Approve an execution that waits for it."""
    _decide(gateway, "approve", execution_id, reason, digest, as_json=as_json)


@gateway_command
def reject(
    gateway: "Gateway",
    execution_id: IdArgument,
    reason: ReasonOption = None,
    digest: DigestOption = None,
    as_json: JsonOption = False,
) -> None:
    """Refuse an execution that waits for an approval."""
    _decide(gateway, "reject", execution_id, reason, digest, as_json=as_json)


@gateway_command
def send_event(  # each parameter is an option
    gateway: "Gateway",
    execution_id: IdArgument,
    name: Annotated[str, typer.Argument(help="The event's name.")],
    param: Annotated[list[str] | None, typer.Option(help="A part of its data as name=value; may be repeated.")] = None,
    params: Annotated[str | None, typer.Option(help="All its data as a JSON object, or @file.")] = None,
    event_id: Annotated[str | None, typer.Option("--id", help="Sent again with the same id, it is one event.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Send an event to an execution that waits for it, or will."""
    from .client import escaped
    from .display import print_json
    from .parameters import read_parameters

    headers = {} if event_id is None else {"Idempotency-Key": event_id}
    path = f"/executions/{escaped(execution_id)}/events/{escaped(name)}"
    answer = gateway.post(path, read_parameters(params, param or [], {}), headers)
    if as_json:
        print_json(answer)
    else:
        print(f"{answer['event']} {answer['eventId']}{' (sent before)' if answer['duplicate'] else ''}")


def _decide(
    gateway: "Gateway", door: str, execution_id: str, reason: str | None, digest: str | None, *, as_json: bool
) -> None:
    from .client import escaped
    from .display import print_json

    given = {"reason": reason, "digest": digest}
    body = {name: value for name, value in given.items() if value is not None}
    answer = gateway.post(f"/executions/{escaped(execution_id)}/{door}", body)
    if as_json:
        print_json(answer)
    else:
        print(f"{answer['executionId']} {answer['status']}")
