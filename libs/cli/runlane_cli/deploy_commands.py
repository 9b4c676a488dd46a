"""Commands for an engine that is spread over machines: `deploy-secrets` once, `migrate` before its services start."""

import asyncio
import json
from pathlib import Path
from typing import Annotated

import typer

from runlane.errors import RunlaneError

from .gateway_command import JsonOption
from .problems import USAGE, CommandFailed


def migrate(
    admin_key_file: Annotated[
        Path | None,
        typer.Option(help="A file with an administrator's key (rl_…), entered where no key was ever entered."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Bring streams and record store up to date, as RUNLANE_… variables say. Safe to repeat; run it before an upgrade's
    services start, as a NATS user who may shape streams."""
    from runlane.settings import read_settings

    from .offline import prepare

    key = None if admin_key_file is None else _key(admin_key_file)
    try:
        asyncio.run(prepare(read_settings(), key))
    except RunlaneError as problem:
        raise CommandFailed(problem.message) from None
    print(json.dumps({"upToDate": True}) if as_json else "Streams and record store are up to date.")


def deploy_secrets(
    directory: Annotated[Path, typer.Argument(help="Where; what is there already is kept.")],
    as_json: JsonOption = False,
) -> None:
    """Make what a distributed engine keeps secret, a file each: keys and passwords."""
    from .deployment import make_secrets

    made = make_secrets(directory)
    if as_json:
        print(json.dumps({"made": [str(path) for path in made]}))
        return
    for path in made:
        print(f"made {path}")
    print(f"{directory / 'admin_key'} holds the administrator's key." if made else "Everything was there already.")


def _key(path: Path) -> str:
    try:
        key = path.read_text(encoding="utf-8").strip()
    except OSError as problem:
        raise CommandFailed(f"{path} cannot be read: {problem.strerror}.", USAGE) from None
    if len(parts := key.split("_")) != 3 or parts[0] != "rl" or len(parts[2]) < 32:
        raise CommandFailed(f"{path} holds no key: rl_, an id, _, and a secret of at least 32 characters.", USAGE)
    return key
