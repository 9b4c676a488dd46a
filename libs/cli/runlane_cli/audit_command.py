"""`runlane audit`: who changed what, when and from where."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from .gateway_command import JsonOption, gateway_command

if TYPE_CHECKING:
    from .client import Gateway


@gateway_command
def audit(  # noqa: PLR0913  # each parameter is an option
    gateway: "Gateway",
    actor: Annotated[str | None, typer.Option(help="Only what this key or user did.")] = None,
    kind: Annotated[str | None, typer.Option(help="Only this kind: orgs, config, secrets, keys, executions…")] = None,
    action: Annotated[str | None, typer.Option(help="Only this action: create, update, delete, cancel…")] = None,
    since: Annotated[str | None, typer.Option("--from", help="From this time on (ISO 8601).")] = None,
    until: Annotated[str | None, typer.Option("--to", help="Before this time (ISO 8601).")] = None,
    every_org: Annotated[bool, typer.Option("--all", help="Of all organisations and the platform.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=200, help="At most so many.")] = 50,
    after: Annotated[str | None, typer.Option(help="The page after this one.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Show who changed what, newest first. `--org platform` shows what concerns no single organisation."""
    from .display import print_json

    asked = {
        "actor": actor,
        "kind": kind,
        "action": action,
        "from": since,
        "to": until,
        "org": "*" if every_org else None,
    }
    page = gateway.get("/audit", limit=limit, after=after, **asked)
    if as_json:
        print_json(page)
        return
    _print(page)


def _print(page: dict[str, Any]) -> None:
    from .display import console, local_time, print_table

    print_table(
        ("WHEN", "ORG", "WHO", "DID", "WHAT", "OUTCOME", "FROM", "AFTER"),
        [
            (
                local_time(entry["at"]),
                entry["org"],
                entry["actor"]["name"] or entry["actor"]["id"],
                entry["action"],
                f"{entry['kind']} {entry['key']}",
                entry["outcome"] if entry["reason"] is None else f"{entry['outcome']}: {entry['reason']}",
                entry["address"],
                entry["after"],
            )
            for entry in page["entries"]
        ],
        "Nothing was changed.",
    )
    if page["next"]:
        console(stderr=True).print(f"There are more: --after {page['next']}")
