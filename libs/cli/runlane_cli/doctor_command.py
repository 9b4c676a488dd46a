"""`runlane doctor`: looks at everything an engine stands on."""

from pathlib import Path
from typing import Annotated

import typer

from .gateway_command import JsonOption


def doctor(
    data: Annotated[
        Path | None, typer.Option(envvar="RUNLANE_DATA_DIR", help="The engine's data directory; .runlane by default.")
    ] = None,
    monitor: Annotated[
        str | None,
        typer.Option(
            envvar="RUNLANE_NATS_MONITOR",
            help="The monitoring URL of a NATS server of yours (http://…:8222): asked how durable it is.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Check versions, ports, files, disk, clock, durability, streams, record store and Redis, and say how to mend what
    is broken; exit code 1 if something is. Changes nothing."""
    from .doctor import doctor

    doctor(data, monitor, as_json=as_json)
