"""`runlane backup` and `runlane restore` as commands: what they are given, what they tell."""

import asyncio
import sys
from pathlib import Path
from typing import Any

import msgspec

from runlane.errors import RunlaneError
from runlane.sealing import key_names
from runlane.settings import Settings, read_settings
from runlane.telemetry import configure_logging

from . import archive
from .copying import age_days, copy_engine
from .datadir import DEFAULT, DataDirectory
from .display import print_json, size
from .problems import USAGE, CommandFailed
from .restoring import restore_directory, restore_server

#: From this age on, events that the restored engine needs may be about to be forgotten.
_OLD_DAYS = 0.5


def back_up(target: Path, data: Path | None, *, with_master_key: bool, as_json: bool) -> None:
    """Copy the engine that runs on `data`, or the one of the environment, to `target`."""
    try:
        settings = engine_settings(data)
        with archive.writing(target) as directory:
            manifest = _name_keys(settings, asyncio.run(copy_engine(settings, directory, _tell)))
            if with_master_key:
                manifest = _add_keys(settings, directory, manifest)
            archive.write_manifest(directory, manifest)
    except RunlaneError as problem:
        raise CommandFailed(problem.message) from None
    if as_json:
        print_json(_shown(target, manifest))
        return
    seconds = (manifest.ended - manifest.began).total_seconds()
    print(
        f"{target}: {size(manifest.size)} in {seconds:.1f} s. All that was accepted before {manifest.began:%F %T} UTC."
    )
    if not with_master_key:
        print("The master key is not in it: keep a copy of it elsewhere. Without it nothing that is sealed opens.")


def restore(source: Path, data: Path, *, server: bool, master_key: Path | None, as_json: bool) -> None:
    """Make `data` from a backup; with `server`, fill the NATS server and record store of the environment."""
    key = None if master_key is None else _content(master_key)
    try:
        settings = read_settings()
        configure_logging("restore", msgspec.structs.replace(settings, log_level="error"))
        with archive.reading(source) as directory:
            if server:
                manifest = asyncio.run(restore_server(settings, directory, _tell))
            else:
                manifest = asyncio.run(restore_directory(settings, directory, data, _tell, key))
    except RunlaneError as problem:
        raise CommandFailed(problem.message) from None
    has_key = server or key is not None or manifest.holds(archive.MASTER_KEY)
    notes = _notes(manifest, data, has_key=has_key)
    if as_json:
        print_json(_shown(source, manifest) | {"notes": notes})
        return
    print("Restored." if server else f"{data.absolute()} is restored.")
    for note in notes:
        print(note)


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as problem:
        raise CommandFailed(f"{path} cannot be read: {problem.strerror}.", USAGE) from None


def engine_settings(data: Path | None) -> Settings:
    """Those of the environment, and where an engine runs on the data directory, its broker.

    Raises `CommandFailed` when a directory is named on which none runs.
    """
    settings = read_settings()
    configure_logging("cli", msgspec.structs.replace(settings, log_level="error"))
    directory = DataDirectory(data or DEFAULT)
    state = directory.state()
    if state is None:
        if data is not None or (directory.nats / "jetstream").exists():
            raise CommandFailed(
                f"No engine runs on {directory.path}: start it, or copy the directory as it is while nothing runs.",
                USAGE,
            )
        return settings
    return msgspec.structs.replace(
        settings,
        data_dir=directory.path,
        nats_url=state.nats_url,
        nats_user=state.nats_user,
        nats_password=state.nats_password,
    )


def _name_keys(settings: Settings, manifest: archive.Manifest) -> archive.Manifest:
    """So that a restore can tell a wrong master key. Where it is not at hand, as on a machine of its own, nothing."""
    try:
        names = key_names(_master_key(settings).decode())
    except (OSError, ValueError):
        return manifest
    return msgspec.structs.replace(manifest, master_keys=names)


def _master_key(settings: Settings) -> bytes:
    return settings.key_file.read_bytes() if settings.master_key is None else settings.master_key.encode()


def _add_keys(settings: Settings, directory: Path, manifest: archive.Manifest) -> archive.Manifest:
    """The master key, and the first keys in plain where the data directory has them."""
    files = list(manifest.files)
    try:
        key = _master_key(settings)
    except OSError as problem:
        raise CommandFailed(f"The master key cannot be read from {settings.key_file}: {problem.strerror}.") from None
    archive.write_file(directory / archive.MASTER_KEY, key)
    files.append(archive.describe(directory, archive.MASTER_KEY))
    credentials = settings.data_dir / archive.CREDENTIALS
    if credentials.is_file():
        archive.write_file(directory / archive.CREDENTIALS, credentials.read_bytes())
        files.append(archive.describe(directory, archive.CREDENTIALS))
    return msgspec.structs.replace(manifest, files=files)


def _notes(manifest: archive.Manifest, data: Path, *, has_key: bool) -> list[str]:
    notes = []
    if not has_key:
        notes.append(
            f"The backup has no master key: put the engine's to {data.absolute() / 'master.key'} before you start it. "
            "With --master-key, restore does that, and finds out whether it is the right one."
        )
    age = age_days(manifest)
    if age >= _OLD_DAYS:
        days = age + manifest.event_retention_days
        notes.append(
            f"The backup is {age:.1f} days old: start with RUNLANE_EVENT_RETENTION_DAYS={days:.0f} until all that was "
            "unfinished has ended, or what had waited for long is forgotten."
        )
    return notes


def _shown(path: Path, manifest: archive.Manifest) -> dict[str, Any]:
    return {
        "path": str(path.absolute()),
        "bytes": manifest.size,
        "began": manifest.began.isoformat(),
        "ended": manifest.ended.isoformat(),
        "runlane": manifest.runlane,
        "records": manifest.records_schema is not None,
        "masterKey": manifest.holds(archive.MASTER_KEY),
        "streams": {stream.name: stream.state["messages"] for stream in manifest.streams},
    }


def _tell(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)
