"""`runlane backup`, `runlane restore`, `runlane verify`: what an operator does so as not to lose anything."""

from pathlib import Path
from typing import Annotated

import typer

from .datadir import DEFAULT
from .gateway_command import JsonOption

RunningOption = Annotated[
    Path | None,
    typer.Option(envvar="RUNLANE_DATA_DIR", help="The running engine's data directory; .runlane by default."),
]


def backup(
    target: Annotated[Path, typer.Argument(help="A directory that is not there yet, or a file ending in .tar.")],
    data: RunningOption = None,
    with_master_key: Annotated[
        bool, typer.Option("--with-master-key", help="Also what opens it: whoever has the backup then has everything.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Copy everything of a running engine, while it runs."""
    from .backup import back_up

    back_up(target, data, with_master_key=with_master_key, as_json=as_json)


def restore(
    source: Annotated[Path, typer.Argument(help="The backup.")],
    data: Annotated[
        Path,
        typer.Option(envvar="RUNLANE_DATA_DIR", help="The data directory to make; it must not be there or be empty."),
    ] = DEFAULT,
    server: Annotated[
        bool, typer.Option("--server", help="Fill the empty NATS server of RUNLANE_NATS_URL instead of a directory.")
    ] = False,
    master_key: Annotated[
        Path | None,
        typer.Option(help="The file with the master key of the engine, for a backup that does not have it."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Make a fresh data directory from a backup. Overwrites nothing."""
    from .backup import restore

    restore(source, data, server=server, master_key=master_key, as_json=as_json)


def verify(
    data: RunningOption = None,
    repair: Annotated[bool, typer.Option("--repair", help="Write what differs as the events have it.")] = False,
    remove_extra: Annotated[
        bool, typer.Option("--remove-extra", help="With --repair: also delete what the events know nothing of.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Rebuild the records from the events, while the engine runs, and compare; exit code 1 on any difference."""
    from .verifying import verify

    verify(data, repair=repair, remove_extra=remove_extra, as_json=as_json)
