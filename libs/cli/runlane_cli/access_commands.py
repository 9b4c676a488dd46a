"""`runlane keys …` and `runlane whoami`: who may do what, through the gateway."""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .gateway_command import JsonOption, gateway_command

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .client import Gateway

keys = typer.Typer(help="API keys.", no_args_is_help=True)

KeyId = Annotated[str, typer.Argument(metavar="ID", help="Its id: the part between rl_ and the next _.")]


@keys.command("list")
@gateway_command
def keys_list(
    gateway: "Gateway",
    every: Annotated[bool, typer.Option("--all-orgs", help="Of every organisation, whatever --org says.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=200, help="How many at most.")] = 50,
    after: Annotated[str | None, typer.Option(help="Continue after this id.")] = None,
    as_json: JsonOption = False,
) -> None:
    """List keys, without their secrets."""
    from .display import console, local_time, print_json, print_table

    page = gateway.get("/keys", org=None if every else gateway.target.org, limit=limit, after=after)
    if as_json:
        print_json(page)
        return
    print_table(
        ("ID", "NAME", "ORGS", "MAY", "EXPIRES", "MADE BY"),
        [
            (
                key["id"],
                key["name"],
                _orgs(key["orgs"]),
                ", ".join([*key["roles"], *key["permissions"]]),
                "expired" if key["expired"] else local_time(key["expiresAt"]) or "never",
                key["createdBy"],
            )
            for key in page["keys"]
        ],
        "There are no keys.",
    )
    if page["next"]:
        console(stderr=True).print(f"There are more: --after {page['next']}")


@keys.command("create")
@gateway_command
def keys_create(  # noqa: PLR0913  # each parameter is an option
    gateway: "Gateway",
    name: Annotated[str, typer.Argument(help="What or whom it is for.")],
    role: Annotated[list[str] | None, typer.Option(help="A role, such as technician; may be repeated.")] = None,
    permission: Annotated[
        list[str] | None, typer.Option(help="A permission, such as canViewExecutions; may be repeated.")
    ] = None,
    for_org: Annotated[
        list[str] | None, typer.Option(help="An organisation it may act in, instead of --org; may be repeated.")
    ] = None,
    every: Annotated[bool, typer.Option("--all-orgs", help="It may act in every organisation.")] = False,
    email: Annotated[str | None, typer.Option(help="Whom to ask about it.")] = None,
    days: Annotated[int | None, typer.Option(min=1, max=36_500, help="Days until it expires.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Make a key. It is printed once, on stdout, and kept nowhere."""
    from .display import console, print_json

    body: dict[str, Any] = {"name": name, "roles": role or [], "permissions": permission or [], "email": email}
    if every or for_org:
        body["orgs"] = "*" if every else for_org
    if days is not None:
        body["expires_at"] = (datetime.now(UTC) + timedelta(days=days)).isoformat(timespec="seconds")
    made = gateway.post("/keys", body)
    if as_json:
        print_json(made)
        return
    console(stderr=True).print(f"Key {made['id']} for {_orgs(made['orgs'])}. Keep it now, it is not shown again:")
    print(made["key"])


@keys.command("show")
@gateway_command
def keys_show(gateway: "Gateway", key_id: KeyId, as_json: JsonOption = False) -> None:
    """Show a key, without its secret."""
    from .client import escaped

    _print_fields(gateway.get(f"/keys/{escaped(key_id)}"), as_json=as_json)


@keys.command("revoke")
@gateway_command
def keys_revoke(gateway: "Gateway", key_id: KeyId, as_json: JsonOption = False) -> None:
    """Take a key back, at once and for good."""
    from .client import escaped
    from .display import done

    gateway.delete(f"/keys/{escaped(key_id)}")
    done(f"Key {key_id} is revoked.", {"deleted": key_id}, as_json=as_json)


@gateway_command
def whoami(gateway: "Gateway", as_json: JsonOption = False) -> None:
    """Show who you are to the gateway, where you may act and what you may do."""
    _print_fields(gateway.get("/me"), as_json=as_json)


def _print_fields(found: "Mapping[str, Any]", *, as_json: bool) -> None:
    from .display import print_json, print_table

    if as_json:
        print_json(found)
        return
    shown = {name: value for name, value in found.items() if value not in (None, [], False) or name == "orgs"}
    rows = [(name, _orgs(value) if name == "orgs" else _listed(value)) for name, value in shown.items()]
    print_table(("FIELD", "VALUE"), rows, "Nothing is known.")


def _orgs(orgs: "Sequence[str] | None") -> str:
    return "all organisations" if orgs is None else ", ".join(orgs)


def _listed(value: object) -> object:
    return ", ".join(value) if isinstance(value, list) and all(isinstance(item, str) for item in value) else value
