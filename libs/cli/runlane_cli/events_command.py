"""`runlane events-access`: how a program of one's own listens to the events of the embedded engine."""

from pathlib import Path
from typing import Annotated

import typer

from .gateway_command import JsonOption


def events_access(
    data: Annotated[
        Path | None,
        typer.Option(envvar="RUNLANE_DATA_DIR", help="The running engine's data directory; .runlane by default."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Print where NATS listens and who may read events there, as shell variables."""
    from runlane.contracts.grants import SUBSCRIBER

    from .datadir import DEFAULT, DataDirectory
    from .display import print_json
    from .problems import UNREACHABLE, CommandFailed

    directory = data or DEFAULT
    state = DataDirectory(directory).state()
    if state is None:
        raise CommandFailed(
            f"No engine runs in {directory}. Start it with `runlane up --data {directory}`.", UNREACHABLE
        )
    found = {"NATS_URL": state.nats_url, "NATS_USER": SUBSCRIBER, "NATS_PASSWORD": state.subscriber_password}
    if as_json:
        print_json(found)
    else:
        print("\n".join(f"export {name}={value}" for name, value in found.items()))
