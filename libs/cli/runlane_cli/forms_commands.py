"""`runlane forms …`: list, show, apply, delete, submit."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .gateway_command import JsonOption, gateway_command

if TYPE_CHECKING:
    from .client import Gateway

forms = typer.Typer(help="Forms: what people fill in to run a workflow.", no_args_is_help=True)

IdArgument = Annotated[str, typer.Argument(metavar="ID", help="The form's id.")]


@forms.command("list")
@gateway_command
def list_(
    gateway: "Gateway",
    limit: Annotated[int, typer.Option(min=1, max=500, help="How many.")] = 200,
    after: Annotated[str | None, typer.Option(help="The `next` of the page before.")] = None,
    as_json: JsonOption = False,
) -> None:
    """List the forms that you may use."""
    from .forms import print_forms

    print_forms(gateway.get("/forms", limit=limit, after=after), as_json=as_json)


@forms.command()
@gateway_command
def show(gateway: "Gateway", form_id: IdArgument, as_json: JsonOption = False) -> None:
    """Show a form. Its JSON can be changed and given to `apply`."""
    from .client import escaped
    from .forms import print_form

    print_form(gateway.get(f"/forms/{escaped(form_id)}"), as_json=as_json)


@forms.command()
@gateway_command
def apply(
    gateway: "Gateway",
    file: Annotated[Path, typer.Argument(help="A form as JSON, with its id; - reads stdin.")],
    form_id: Annotated[str | None, typer.Option("--id", help="Save it under this id instead.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Make a form, or replace it."""
    from .client import escaped
    from .display import done
    from .forms import read_form

    form_id, body = read_form(file, form_id)
    saved = gateway.put(f"/forms/{escaped(form_id)}", body)
    done(f"Form {saved['id']} runs {saved['linkedWorkflow']}.", saved, as_json=as_json)


@forms.command()
@gateway_command
def delete(gateway: "Gateway", form_id: IdArgument, as_json: JsonOption = False) -> None:
    """Delete a form of the organisation's own."""
    from .client import escaped
    from .display import done

    gateway.delete(f"/forms/{escaped(form_id)}")
    done(f"Form {form_id} is deleted.", {"deleted": form_id}, as_json=as_json)


@forms.command()
@gateway_command
def submit(  # noqa: PLR0913  # each parameter is an option
    gateway: "Gateway",
    form_id: IdArgument,
    field: Annotated[list[str] | None, typer.Option(help="A field as name=value; may be repeated.")] = None,
    fields: Annotated[str | None, typer.Option(help="All fields as a JSON object, or @file.")] = None,
    wait: Annotated[bool, typer.Option(help="Show what it says until it has ended, or return at once.")] = True,
    timeout: Annotated[float | None, typer.Option(min=0, help="Seconds to wait; the execution itself goes on.")] = None,
    idempotency_key: Annotated[str | None, typer.Option(help="Submissions with the same key are one.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Fill in a form and run its workflow."""
    from .client import escaped
    from .parameters import read_parameters
    from .run_command import RunOptions, start

    path = f"/forms/{escaped(form_id)}"
    given = read_parameters(fields, field or [], gateway.get(path).get("parameters") or {})
    options = RunOptions(
        params=None,
        param=[],
        wait=wait,
        timeout=timeout,
        idempotency_key=idempotency_key,
        delay=None,
        as_json=as_json,
    )
    start(gateway, f"{path}/submit", given, options)
