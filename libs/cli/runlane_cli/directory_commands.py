"""`runlane config …`, `runlane secrets …`, `runlane orgs …`: the directory, through the gateway."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from .gateway_command import JsonOption, gateway_command

if TYPE_CHECKING:
    from .client import Gateway

config = typer.Typer(help="Configuration values of an organisation.", no_args_is_help=True)
secrets = typer.Typer(help="Secrets of an organisation. They can be set, not read.", no_args_is_help=True)
orgs = typer.Typer(help="Organisations.", no_args_is_help=True)


@config.command("set")
@gateway_command
def config_set(
    gateway: "Gateway",
    name: Annotated[str, typer.Argument(help="Its name.")],
    value: Annotated[str, typer.Argument(help="JSON, or a text.")],
) -> None:
    """Set a value: JSON where it is JSON (3, true, [1, 2]), else a text."""
    from .client import escaped
    from .parameters import coerce

    gateway.put(f"/orgs/{escaped(gateway.org)}/config/{escaped(name)}", {"value": coerce(value, {}, {})})
    print(f"{name} is set for {gateway.org}.")


@config.command("get")
@gateway_command
def config_get(gateway: "Gateway", name: Annotated[str, typer.Argument(help="Its name.")]) -> None:
    """Print a value as JSON."""
    from .display import print_json
    from .lists import config_value

    print_json(config_value(gateway, name))


@config.command("list")
@gateway_command
def config_list(gateway: "Gateway", as_json: JsonOption = False) -> None:
    """List the values of an organisation."""
    from .lists import print_config

    print_config(gateway, as_json=as_json)


@secrets.command("set")
@gateway_command
def secrets_set(
    gateway: "Gateway",
    name: Annotated[str, typer.Argument(help="Its name.")],
    value: Annotated[
        str | None, typer.Option(help="Better left out: then it is asked for, or read from stdin.")
    ] = None,
) -> None:
    """Set a secret; it is sealed before it is stored and never shown again."""
    from .client import escaped

    gateway.put(f"/orgs/{escaped(gateway.org)}/secrets/{escaped(name)}", {"value": value or _ask_secret(name)})
    print(f"The secret {name} is set for {gateway.org}.")


@secrets.command("list")
@gateway_command
def secrets_list(gateway: "Gateway", as_json: JsonOption = False) -> None:
    """List the names of an organisation's secrets."""
    from .lists import print_secrets

    print_secrets(gateway, as_json=as_json)


@orgs.command("list")
@gateway_command
def orgs_list(gateway: "Gateway", as_json: JsonOption = False) -> None:
    """List organisations."""
    from .lists import print_orgs

    print_orgs(gateway, as_json=as_json)


@orgs.command("add")
@gateway_command
def orgs_add(
    gateway: "Gateway",
    organisation: Annotated[str, typer.Argument(metavar="ID", help="Letters, digits, _ and -.")],
    name: Annotated[str, typer.Option(help="What people call it.")],
    time_zone: Annotated[str | None, typer.Option(help="IANA name, such as Europe/Vienna; UTC at first.")] = None,
) -> None:
    """Add an organisation, or change its name and time zone."""
    from .client import escaped

    body = {"name": name} if time_zone is None else {"name": name, "time_zone": time_zone}
    gateway.put(f"/orgs/{escaped(organisation)}", body)
    print(f"Organisation {organisation} is set.")


def _ask_secret(name: str) -> str:
    """From whoever sits there, else from stdin (without the newline at its end)."""
    if sys.stdin.isatty():
        asked: str = typer.prompt(name, hide_input=True)
        return asked
    value = sys.stdin.read().removesuffix("\n")
    if not value:
        from .problems import USAGE, CommandFailed

        raise CommandFailed("The secret is empty: give it on stdin.", USAGE)
    return value
