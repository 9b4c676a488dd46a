"""`runlane webhooks …`: list, show, set, delete, rotate, finish, deliveries, replay, url."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from .gateway_command import JsonOption, gateway_command

if TYPE_CHECKING:
    from .client import Gateway

webhooks = typer.Typer(help="Webhooks: what other systems call to run a workflow.", no_args_is_help=True)

NameArgument = Annotated[str, typer.Argument(metavar="WORKFLOW", help="The webhook's workflow.")]
SecretOption = Annotated[str | None, typer.Option(help="The secret, or - to read it from stdin; else one is made.")]


@webhooks.command("list")
@gateway_command
def list_(
    gateway: "Gateway",
    limit: Annotated[int, typer.Option(min=1, max=500, help="How many.")] = 200,
    after: Annotated[str | None, typer.Option(help="The `next` of the page before.")] = None,
    as_json: JsonOption = False,
) -> None:
    """List the webhooks of an organisation."""
    from .client import escaped
    from .webhooks import print_webhooks

    page = gateway.get(f"/webhooks/{escaped(gateway.org)}", limit=limit, after=after)
    print_webhooks(page, as_json=as_json)


@webhooks.command()
@gateway_command
def show(gateway: "Gateway", workflow: NameArgument, as_json: JsonOption = False) -> None:
    """Show how a webhook is called, without its secrets."""
    from .webhooks import path_of, print_webhook

    print_webhook(gateway.get(path_of(gateway, workflow)), gateway.target.url, as_json=as_json)


@webhooks.command()
@gateway_command
def url(gateway: "Gateway", workflow: NameArgument, as_json: JsonOption = False) -> None:
    """Print the URL that a sender is given."""
    from .display import done
    from .webhooks import path_of

    address = gateway.target.url.rstrip("/") + gateway.get(path_of(gateway, workflow))["url"]
    done(address, {"url": address}, as_json=as_json)


@webhooks.command("set")
@gateway_command
def set_(  # noqa: PLR0913  # each parameter is an option
    gateway: "Gateway",
    workflow: NameArgument,
    scheme: Annotated[str | None, typer.Option(help="secret, standard, github, slack, shopify or msgraph.")] = None,
    secret: SecretOption = None,
    enabled: Annotated[bool | None, typer.Option("--enable/--disable", help="Whether deliveries are taken.")] = None,
    header: Annotated[str | None, typer.Option(help="The header with the plain secret.")] = None,
    tolerance: Annotated[
        float | None, typer.Option(help="Seconds by which a signed time may differ from ours.")
    ] = None,
    dedupe: Annotated[str | None, typer.Option(help="What makes deliveries the same: delivery, body or none.")] = None,
    delivery_header: Annotated[str | None, typer.Option(help="The header with the sender's delivery id.")] = None,
    rate: Annotated[float | None, typer.Option(help="Deliveries a minute.")] = None,
    burst: Annotated[int | None, typer.Option(help="Deliveries at once after a pause.")] = None,
    body_as: Annotated[str | None, typer.Option(help="The parameter that gets the whole body.")] = None,
    headers_as: Annotated[str | None, typer.Option(help="The parameter that gets what --pass-header names.")] = None,
    pass_header: Annotated[list[str] | None, typer.Option(help="A header for the workflow; may be repeated.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Change how a webhook is called; what is not named stays. A secret that is made is shown this once."""
    from .webhooks import apply_settings, print_webhook

    given: dict[str, Any] = {
        "enabled": enabled,
        "scheme": scheme,
        "secret": secret,
        "header": header,
        "toleranceSeconds": tolerance,
        "dedupe": dedupe,
        "deliveryHeader": delivery_header,
        "ratePerMinute": rate,
        "burst": burst,
        "bodyAs": body_as,
        "headersAs": headers_as,
        "headers": pass_header,
    }
    print_webhook(apply_settings(gateway, workflow, given), gateway.target.url, as_json=as_json)


@webhooks.command()
@gateway_command
def delete(gateway: "Gateway", workflow: NameArgument, as_json: JsonOption = False) -> None:
    """Forget the settings and secrets of a webhook."""
    from .display import done
    from .webhooks import path_of

    gateway.delete(path_of(gateway, workflow))
    done(f"The webhook of {workflow} has no settings any more.", {"deleted": workflow}, as_json=as_json)


@webhooks.command()
@gateway_command
def rotate(
    gateway: "Gateway",
    workflow: NameArgument,
    secret: SecretOption = None,
    overlap: Annotated[float, typer.Option(min=0, help="Seconds for which the old secret counts beside it.")] = 86_400,
    finish: Annotated[bool, typer.Option("--finish", help="End the old secret now instead.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Begin with a new secret, shown this once; the old one counts for a while beside it."""
    from .webhooks import path_of, print_webhook, read_secret

    path = f"{path_of(gateway, workflow)}/rotate"
    if finish:
        changed = gateway.post(f"{path}/finish", {})
    else:
        given = {} if secret is None else {"secret": read_secret(secret)}
        changed = gateway.post(path, {**given, "overlapSeconds": overlap})
    print_webhook(changed, gateway.target.url, as_json=as_json)


@webhooks.command()
@gateway_command
def deliveries(
    gateway: "Gateway",
    workflow: NameArgument,
    outcome: Annotated[str | None, typer.Option(help="Only accepted, duplicate, refused or handshake.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=200, help="How many.")] = 20,
    after: Annotated[str | None, typer.Option(help="The `next` of the page before.")] = None,
    as_json: JsonOption = False,
) -> None:
    """List what was delivered, newest first, and why it was refused."""
    from .webhooks import path_of, print_deliveries

    page = gateway.get(f"{path_of(gateway, workflow)}/deliveries", outcome=outcome, limit=limit, after=after)
    print_deliveries(page, as_json=as_json)


@webhooks.command()
@gateway_command
def replay(
    gateway: "Gateway",
    workflow: NameArgument,
    delivery: Annotated[str, typer.Argument(help="The delivery's id.")],
    as_json: JsonOption = False,
) -> None:
    """Run once more what a delivery started, as a new execution."""
    from .client import escaped
    from .display import print_json
    from .webhooks import path_of

    started = gateway.post(f"{path_of(gateway, workflow)}/deliveries/{escaped(delivery)}/replay", {})
    print_json(started) if as_json else print(started["executionId"])
