"""`runlane subscriptions …`: list, add, show, set, remove, rotate, test, attempts."""

from typing import TYPE_CHECKING, Annotated

import typer

from .gateway_command import JsonOption, gateway_command

if TYPE_CHECKING:
    from .client import Gateway

subscriptions = typer.Typer(help="Subscriptions: where events of an organisation are sent.", no_args_is_help=True)

IdArgument = Annotated[str, typer.Argument(metavar="ID", help="The subscription.")]
EventOption = Annotated[
    list[str] | None, typer.Option("--event", help="An event, such as failed; may be repeated. Else all endings.")
]
WorkflowOption = Annotated[list[str] | None, typer.Option("--workflow", help="A workflow; may be repeated. Else all.")]
DescriptionOption = Annotated[str | None, typer.Option(help="What it is for.")]


@subscriptions.command("list")
@gateway_command
def list_(gateway: "Gateway", as_json: JsonOption = False) -> None:
    """List the subscriptions of an organisation."""
    from .subscriptions import path_of, print_subscriptions

    print_subscriptions(gateway.get(path_of(gateway)), as_json=as_json)


@subscriptions.command()
@gateway_command
def add(  # each parameter is an option
    gateway: "Gateway",
    address: Annotated[str, typer.Argument(metavar="URL", help="Where to post to; - reads it from stdin.")],
    event: EventOption = None,
    workflow: WorkflowOption = None,
    description: DescriptionOption = None,
    as_json: JsonOption = False,
) -> None:
    """Subscribe an address. The secret that signs what is sent is shown this once."""
    from .subscriptions import path_of, print_subscription, settings_of, url_of

    body = {"url": url_of(address), **settings_of(event, workflow, description)}
    print_subscription(gateway.post(path_of(gateway), body), as_json=as_json)


@subscriptions.command()
@gateway_command
def show(gateway: "Gateway", id: IdArgument, as_json: JsonOption = False) -> None:
    """Show a subscription and how delivering goes, without its secrets."""
    from .subscriptions import path_of, print_subscription

    print_subscription(gateway.get(path_of(gateway, id)), as_json=as_json)


@subscriptions.command("set")
@gateway_command
def set_(  # noqa: PLR0913  # each parameter is an option
    gateway: "Gateway",
    id: IdArgument,
    to: Annotated[str | None, typer.Option(help="The URL to post to; - reads it from stdin.")] = None,
    event: EventOption = None,
    workflow: WorkflowOption = None,
    description: DescriptionOption = None,
    enabled: Annotated[
        bool | None, typer.Option("--enable/--disable", help="Whether events are sent; what is enabled begins anew.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Change what is named and leave the rest; `--enable` also takes up one that was stopped."""
    from .subscriptions import change, print_subscription, settings_of, url_of

    given = settings_of(event, workflow, description)
    given |= {} if to is None else {"url": url_of(to)}
    given |= {} if enabled is None else {"enabled": enabled}
    print_subscription(change(gateway, id, given), as_json=as_json)


@subscriptions.command()
@gateway_command
def remove(gateway: "Gateway", id: IdArgument, as_json: JsonOption = False) -> None:
    """Send nothing more."""
    from .display import done
    from .subscriptions import path_of

    gateway.delete(path_of(gateway, id))
    done(f"There is no subscription {id} any more.", {"removed": id}, as_json=as_json)


@subscriptions.command()
@gateway_command
def rotate(
    gateway: "Gateway",
    id: IdArgument,
    overlap: Annotated[float, typer.Option(min=0, help="Seconds for which the old secret signs beside it.")] = 86_400,
    as_json: JsonOption = False,
) -> None:
    """Begin with a new secret, shown this once; the old one signs beside it for a while."""
    from .subscriptions import path_of, print_subscription

    changed = gateway.post(f"{path_of(gateway, id)}/rotate", {"overlapSeconds": overlap})
    print_subscription(changed, as_json=as_json)


@subscriptions.command("test")
@gateway_command
def ping(gateway: "Gateway", id: IdArgument, as_json: JsonOption = False) -> None:
    """Send an event that tells of nothing, and say what became of it; exits with 1 unless it was taken."""
    from .subscriptions import path_of, pinged, print_attempt

    print_attempt(pinged(gateway, path_of(gateway, id)), as_json=as_json)


@subscriptions.command()
@gateway_command
def attempts(gateway: "Gateway", id: IdArgument, as_json: JsonOption = False) -> None:
    """List the newest attempts to deliver, the newest first."""
    from .subscriptions import path_of, print_attempts

    print_attempts(gateway.get(f"{path_of(gateway, id)}/attempts"), as_json=as_json)
