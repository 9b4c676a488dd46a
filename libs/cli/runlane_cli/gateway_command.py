"""Turns a function that takes a `Gateway` into a command with the options that find one."""

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Concatenate, ParamSpec

import typer

from .completing import organisation_ids

if TYPE_CHECKING:
    from .client import Gateway

P = ParamSpec("P")

_GROUP = "Connection"

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]

_OPTIONS: dict[str, Any] = {
    "org": Annotated[
        str | None,
        typer.Option(
            envvar="RUNLANE_ORG", help="The organisation.", rich_help_panel=_GROUP, autocompletion=organisation_ids
        ),
    ],
    "url": Annotated[str | None, typer.Option(envvar="RUNLANE_URL", help="The gateway's URL.", rich_help_panel=_GROUP)],
    "key": Annotated[str | None, typer.Option(envvar="RUNLANE_API_KEY", help="An API key.", rich_help_panel=_GROUP)],
    "data": Annotated[
        Path | None,
        typer.Option(
            envvar="RUNLANE_DATA_DIR",
            help="Data directory that holds URL and key; .runlane if nothing is given.",
            rich_help_panel=_GROUP,
        ),
    ],
}


def gateway_command(function: "Callable[Concatenate[Gateway, P], None]") -> Callable[..., None]:
    """The first parameter of `function` becomes the options --org, --url, --key and --data."""

    @functools.wraps(function)
    def command(*args: Any, **given: Any) -> None:
        from .client import Gateway
        from .connection import find_target

        target = find_target(**{name: given.pop(name) for name in ("url", "key", "org", "data")})
        with Gateway(target) as gateway:
            function(gateway, *args, **given)

    own = list(inspect.signature(function).parameters.values())[1:]
    options = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
        for name, annotation in _OPTIONS.items()
    ]
    command.__signature__ = inspect.Signature([*own, *options])  # type: ignore[attr-defined]  # what typer reads
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in (*own, *options)}
    return command
