"""What the shell offers after Tab: the script for the shell, and names that the gateway knows.

Whatever goes wrong while somebody types, nothing is offered and nothing is said.
"""

from collections.abc import Callable, Iterator
from typing import Any

import typer

from .problems import USAGE, CommandFailed

SHELLS = ("bash", "zsh", "fish")
VARIABLE = "_RUNLANE_COMPLETE"  # the shell asks with this in the environment
_MOST = 100


def script(shell: str) -> str:
    """What makes a shell ask `runlane` at Tab; raises `CommandFailed` for a shell that is not known."""
    from typer._completion_shared import get_completion_script  # typer offers it as an option of its own only

    if shell not in SHELLS:
        raise CommandFailed(f"There is no completion for {shell!r}: {', '.join(SHELLS)}.", USAGE)
    return get_completion_script(prog_name="runlane", complete_var=VARIABLE, shell=shell)  # nosec B604  # a name


def prepare() -> None:
    """Have typer answer shells; before any command line is looked at."""
    from typer._completion_classes import completion_init

    completion_init()


def workflow_names(ctx: typer.Context, incomplete: str) -> list[str]:
    """Workflows that the organisation may run."""
    return _offer(ctx, incomplete, lambda gateway: (one["name"] for one in gateway.get("/workflows")["workflows"]))


def organisation_ids(ctx: typer.Context, incomplete: str) -> list[str]:
    return _offer(ctx, incomplete, lambda gateway: (one["id"] for one in gateway.get("/orgs")["organizations"]))


def execution_ids(ctx: typer.Context, incomplete: str) -> list[str]:
    """The newest executions."""

    def newest(gateway: Any) -> Iterator[str]:
        return (one["executionId"] for one in gateway.get("/executions", limit=_MOST)["executions"])

    return _offer(ctx, incomplete, newest)


def _offer(ctx: typer.Context, incomplete: str, names: Callable[[Any], Iterator[str]]) -> list[str]:
    from .client import Gateway
    from .connection import find_target

    try:
        target = find_target(**{name: ctx.params.get(name) for name in ("url", "key", "org", "data")})
        with Gateway(target) as gateway:
            return [name for name in names(gateway) if name.startswith(incomplete)][:_MOST]
    except (CommandFailed, LookupError, TypeError):
        return []
