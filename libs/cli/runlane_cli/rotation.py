"""`runlane secrets rotate-key`: a new master key beside the old one, everything sealed anew, the old one retired.

Speaks to the broker and the record store itself: no gateway ever handles a master key.
"""

import asyncio
import getpass
from pathlib import Path

import msgspec

from runlane.errors import RunlaneError
from runlane.sealing import REFRESH_SECONDS, generate_master_key, parse_master_keys
from runlane.settings import Settings, read_settings
from runlane.telemetry import configure_logging

from .datadir import DEFAULT, DataDirectory, write_private
from .display import print_json
from .offline import RotationReport, rotate
from .problems import USAGE, CommandFailed

#: Until then every process of this machine has seen what changed in the key file.
_SETTLE_SECONDS = REFRESH_SECONDS + 0.5


def rotate_key(data: Path | None, *, retire_old: bool, as_json: bool) -> None:
    """Rotate, or go on with a rotation that was interrupted; raises `CommandFailed` saying what to do."""
    try:
        settings = _settings(data)
        configure_logging("rotate-key", msgspec.structs.replace(settings, log_level="error"))
        keys = _keys(settings)
        if retire_old and len(keys) < 2:
            raise CommandFailed("There is only one master key: nothing is to be retired.", USAGE)
        if len(keys) == 1:
            keys = [_add_key(settings, keys[0]), *keys]
        report = asyncio.run(_run(settings, retire=retire_old))
    except RunlaneError as problem:
        raise CommandFailed(problem.message) from None
    _check(report)
    if retire_old:
        _keep_first(settings, keys)
    _tell(report, settings, retired=retire_old, as_json=as_json)


async def _run(settings: Settings, *, retire: bool) -> RotationReport:
    # Whoever sealed with the old key until now has noticed the new one by then.
    await asyncio.sleep(_SETTLE_SECONDS)
    return await rotate(settings, getpass.getuser(), retire=retire)


def _settings(data: Path | None) -> Settings:
    """Those of the environment, and where an engine runs on the data directory, its broker."""
    settings = read_settings()
    directory = DataDirectory(data or DEFAULT)
    state = directory.state()
    if state is None:
        return settings if data is None else msgspec.structs.replace(settings, data_dir=directory.path)
    return msgspec.structs.replace(
        settings,
        data_dir=directory.path,
        nats_url=state.nats_url,
        nats_user=state.nats_user,
        nats_password=state.nats_password,
    )


def _keys(settings: Settings) -> list[str]:
    """The master keys as texts, the current one first."""
    try:
        text = settings.master_key or settings.key_file.read_text(encoding="utf-8")
        parse_master_keys(text)
    except OSError:
        raise CommandFailed(
            f"There is no master key in RUNLANE_MASTER_KEY or {settings.key_file}: name the engine's directory with "
            "--data, or set the variables that its services have.",
            USAGE,
        ) from None
    except ValueError as problem:
        raise CommandFailed(f"The master key cannot be used: {problem}.", USAGE) from None
    return [part.strip() for part in text.split(",")]


def _add_key(settings: Settings, old: str) -> str:
    if settings.master_key is not None:
        raise CommandFailed(
            "RUNLANE_MASTER_KEY holds one key. Start every service with OLD,NEW first, then every service with "
            f"NEW,OLD, and run this again with the latter. A fresh NEW key: {generate_master_key()}",
            USAGE,
        )
    new = generate_master_key()
    write_private(settings.key_file, f"{new},{old}".encode())
    return new


def _keep_first(settings: Settings, keys: list[str]) -> None:
    if settings.master_key is None:
        write_private(settings.key_file, keys[0].encode())


def _check(report: RotationReport) -> None:
    if report.broken:
        raise CommandFailed(
            f"No master key at hand opens {', '.join(report.broken[:5])}"
            f"{' and more' if len(report.broken) > 5 else ''}: set {'it' if len(report.broken) == 1 else 'them'} again."
        )
    if report.needs:
        shown = "\n".join(f"  {need}" for need in report.needs[:20])
        raise CommandFailed(f"The old key is needed still:\n{shown}\nRun it again when they have ended.")


def _tell(report: RotationReport, settings: Settings, *, retired: bool, as_json: bool) -> None:
    if as_json:
        print_json({"resealed": report.resealed, "retired": retired})
        return
    print(f"{report.resealed} secret(s) sealed anew.")
    if not retired:
        print("The old key stays until `runlane secrets rotate-key --retire-old`.")
    elif settings.master_key is not None:
        print("Nothing needs the old key: take it out of RUNLANE_MASTER_KEY of every service.")
    else:
        print(f"The old key is gone from {settings.key_file}.")
