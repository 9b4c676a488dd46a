"""`runlane config …`, `runlane secrets …`, `runlane orgs …`: the directory, through the gateway."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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
    as_json: JsonOption = False,
) -> None:
    """Set a value: JSON where it is JSON (3, true, [1, 2]), else a text."""
    from .client import escaped
    from .display import done
    from .parameters import coerce

    path = f"/orgs/{escaped(gateway.org)}/config/{escaped(name)}"
    done(f"{name} is set for {gateway.org}.", gateway.put(path, {"value": coerce(value, {}, {})}), as_json=as_json)


@config.command("get")
@gateway_command
def config_get(
    gateway: "Gateway",
    name: Annotated[str, typer.Argument(help="Its name.")],
    as_json: JsonOption = False,
) -> None:
    """Print a value as JSON, whether asked to or not."""
    from .display import print_json
    from .lists import config_value

    print_json(config_value(gateway, name))


@config.command("list")
@gateway_command
def config_list(gateway: "Gateway", as_json: JsonOption = False) -> None:
    """List the values of an organisation."""
    from .lists import print_config

    print_config(gateway, as_json=as_json)


@config.command("delete")
@gateway_command
def config_delete(
    gateway: "Gateway",
    name: Annotated[str, typer.Argument(help="Its name.")],
    as_json: JsonOption = False,
) -> None:
    """Take a value back; what the platform has set holds again."""
    from .client import escaped
    from .display import done

    gateway.delete(f"/orgs/{escaped(gateway.org)}/config/{escaped(name)}")
    done(f"{name} is not set for {gateway.org} itself any more.", {"deleted": name}, as_json=as_json)


@config.command("import")
@gateway_command
def config_import(
    gateway: "Gateway",
    file: Annotated[Path, typer.Argument(help="A JSON object: values by name. `-` reads stdin.")],
    as_json: JsonOption = False,
) -> None:
    """Set many values at once; what the file does not name stays as it is."""
    from .lists import import_config

    import_config(gateway, file, as_json=as_json)


@secrets.command("set")
@gateway_command
def secrets_set(
    gateway: "Gateway",
    name: Annotated[str, typer.Argument(help="Its name.")],
    value: Annotated[
        str | None, typer.Option(help="Better left out: then it is asked for, or read from stdin.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Set a secret; it is sealed before it is stored and never shown again."""
    from .client import escaped
    from .display import done

    path = f"/orgs/{escaped(gateway.org)}/secrets/{escaped(name)}"
    answer = gateway.put(path, {"value": value or _ask_secret(name)})
    done(f"The secret {name} is set for {gateway.org}.", answer, as_json=as_json)


@secrets.command("rotate-key")
def secrets_rotate_key(
    data: Annotated[
        Path | None, typer.Option(envvar="RUNLANE_DATA_DIR", help="The engine's data directory; .runlane by default.")
    ] = None,
    retire_old: Annotated[bool, typer.Option("--retire-old", help="Drop the old key, if nothing needs it.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Make a new master key and seal all secrets under it, while everything runs. Safe to run again."""
    from .rotation import rotate_key

    rotate_key(data, retire_old=retire_old, as_json=as_json)


@secrets.command("delete")
@gateway_command
def secrets_delete(
    gateway: "Gateway",
    name: Annotated[str, typer.Argument(help="Its name.")],
    as_json: JsonOption = False,
) -> None:
    """Remove a secret."""
    from .client import escaped
    from .display import done

    gateway.delete(f"/orgs/{escaped(gateway.org)}/secrets/{escaped(name)}")
    done(f"The secret {name} is not set for {gateway.org} any more.", {"deleted": name}, as_json=as_json)


@secrets.command("list")
@gateway_command
def secrets_list(gateway: "Gateway", as_json: JsonOption = False) -> None:
    """List the names of an organisation's secrets."""
    from .lists import print_secrets

    print_secrets(gateway, as_json=as_json)


@orgs.command("list")
@gateway_command
def orgs_list(
    gateway: "Gateway",
    tag: Annotated[str | None, typer.Option(help="Only those with this tag.")] = None,
    as_json: JsonOption = False,
) -> None:
    """List organisations."""
    from .lists import print_orgs

    print_orgs(gateway, tag, as_json=as_json)


@orgs.command("add")
@gateway_command
def orgs_add(  # noqa: PLR0913  # each parameter is an option
    gateway: "Gateway",
    organisation: Annotated[str, typer.Argument(metavar="ID", help="Letters, digits, _ and -.")],
    name: Annotated[str, typer.Option(help="What people call it.")],
    time_zone: Annotated[str | None, typer.Option(help="IANA name, such as Europe/Vienna; UTC at first.")] = None,
    tenant: Annotated[str | None, typer.Option(help="Its Microsoft 365 tenant.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="A tag; may be repeated. Replaces all it had.")] = None,
    max_concurrent: Annotated[
        int | None, typer.Option(min=0, help="So many of its executions run at once; 0: no limit.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Add an organisation, or change its name, time zone, tenant, tags and limit."""
    from .client import escaped
    from .display import done

    given = {"name": name, "time_zone": time_zone, "tenant_id": tenant, "tags": tag}
    body: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    if max_concurrent is not None:
        body["max_concurrent"] = max_concurrent or None
    answer = gateway.put(f"/orgs/{escaped(organisation)}", body)
    done(f"Organisation {organisation} is set.", answer, as_json=as_json)


@orgs.command("delete")
@gateway_command
def orgs_delete(
    gateway: "Gateway",
    organisation: Annotated[str, typer.Argument(metavar="ID", help="Its id.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Remove an organisation with its configuration, secrets, keys and schedules."""
    from .client import escaped
    from .display import done

    if not yes:
        typer.confirm(
            f"Remove {organisation} with its configuration, secrets, keys and schedules?", abort=True, err=True
        )
    gateway.delete(f"/orgs/{escaped(organisation)}")
    done(f"Organisation {organisation} is removed.", {"deleted": organisation}, as_json=as_json)


@orgs.command("enable")
@gateway_command
def orgs_enable(
    gateway: "Gateway",
    workflow: Annotated[str, typer.Argument(help="The workflow.")],
    as_json: JsonOption = False,
) -> None:
    """Let the organisation (--org) run a workflow."""
    from .lists import switch_workflow

    switch_workflow(gateway, workflow, enabled=True, as_json=as_json)


@orgs.command("disable")
@gateway_command
def orgs_disable(
    gateway: "Gateway",
    workflow: Annotated[str, typer.Argument(help="The workflow.")],
    as_json: JsonOption = False,
) -> None:
    """Keep the organisation (--org) from running a workflow, by calls, schedules, webhooks and forms."""
    from .lists import switch_workflow

    switch_workflow(gateway, workflow, enabled=False, as_json=as_json)


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
