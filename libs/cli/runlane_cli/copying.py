"""Copies a running engine into a backup, and a backup into an empty broker and record store: `runlane backup`,
`runlane restore`. With `offline` and `verifying` the only module of the command line that names an adapter.

The order is what makes a copy of several moving parts one that loses nothing and runs nothing twice. Everything that
an execution *is* stands in the events; they come last, so whatever an earlier copy still shows as to be done is known
by then to have ended, and is dropped when it is taken up. What moves on from the delayed requests to the queue is in
both copies or in the later one. What moves the other way in between is in neither: its state says when it should go on,
and the sweeper puts it on the queue then. Records come before the events, and are brought up to date from them.
"""

from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

from runlane.adapters.nats.bus import NatsBus
from runlane.adapters.nats.connection import open_bus
from runlane.adapters.nats.snapshots import (
    StreamState,
    begin_after,
    existing_streams,
    kept_days,
    positions,
    put_position,
    restore_snapshot,
    server_version,
    take_snapshot,
)
from runlane.adapters.nats.topology import ensure_topology
from runlane.adapters.sql.copies import copy_database, file_of, is_known
from runlane.clock import SystemClock
from runlane.contracts import subjects
from runlane.settings import Settings

from .archive import RECORDS, Manifest, StreamCopy, describe, open_file, pieces
from .display import size
from .problems import USAGE, CommandFailed

Tell = Callable[[str], None]

#: See above. The trail of changes is told before a change: it has to be copied after the directory.
_BEFORE_RECORDS = (subjects.DIRECTORY_STREAM, subjects.DEAD)
#: Permits are not copied: those who have them are not there after a restore. Nor is what became of deliveries to
#: subscriptions: it is looked at while a receiver is set up. A request that moves between WAITING and
#: REQUESTS may be in neither copy; the sweeper finds its execution.
_AFTER_RECORDS = (subjects.DELAYED, subjects.WAITING, subjects.REQUESTS, subjects.EVENTS)


async def copy_engine(settings: Settings, directory: Path, tell: Tell) -> Manifest:
    """Copy streams and record store into `directory`. Raises `BusUnavailable`, `StoreUnavailable`,
    `ConfigurationError`."""
    clock = SystemClock()
    began = clock.now()
    async with open_bus(settings, "backup", shape=False) as bus:
        streams = [await _copy_stream(bus, name, directory, tell) for name in _BEFORE_RECORDS]
        subscribers = await positions(bus, subjects.EVENTS, subjects.SUBSCRIBERS)
        recorded = (await bus.lag(subjects.EVENTS, subjects.RECORDER)).floor
        schema = await _copy_records(settings, directory, tell)
        streams += [await _copy_stream(bus, name, directory, tell) for name in _AFTER_RECORDS]
        paths = [stream.path for stream in streams] + ([] if schema is None else [RECORDS])
        return Manifest(
            runlane=version("runlane"),
            nats_server=server_version(bus),
            records_schema=schema,
            recorded=recorded if schema is not None else 0,
            began=began,
            ended=clock.now(),
            event_retention_days=await kept_days(bus, subjects.EVENTS),
            subscribers=subscribers,
            streams=streams,
            files=[describe(directory, path) for path in paths],
        )


async def _copy_stream(bus: NatsBus, name: str, directory: Path, tell: Tell) -> StreamCopy:
    path = f"streams/{name}.snapshot"
    with open_file(directory / path) as write:
        state = await take_snapshot(bus, name, write)
    tell(f"{name}: {state['messages']} messages, {size((directory / path).stat().st_size)}")
    return StreamCopy(name, path, state)


async def _copy_records(settings: Settings, directory: Path, tell: Tell) -> str | None:
    """The revision of its schema; None where the record store is another server's to copy."""
    if not _is_file(settings):
        tell("records: not copied. They are in a database of its own: pg_dump it before each backup, see the guide")
        return None
    target = directory / RECORDS
    with open_file(target):
        pass  # SQLite would make it for everybody to read
    schema = await copy_database(settings.record_store_url, target)
    tell(f"records: {size(target.stat().st_size)}")
    return schema


def _is_file(settings: Settings) -> bool:
    return settings.record_store_url.startswith("sqlite")


def check_usable(manifest: Manifest, settings: Settings) -> None:
    """Raises `CommandFailed` when this version or these settings cannot do with the backup."""
    if manifest.records_schema is not None and not is_known(manifest.records_schema):
        raise CommandFailed(
            f"The records have schema {manifest.records_schema}, which this version does not know: the backup was made "
            f"by runlane {manifest.runlane}, this is {version('runlane')}."
        )
    if {stream.name for stream in manifest.streams} != {*_BEFORE_RECORDS, *_AFTER_RECORDS}:
        raise CommandFailed("The backup does not have the streams of this version.")
    age = age_days(manifest)
    if age >= settings.event_retention_days:
        raise CommandFailed(
            f"The backup is {age:.1f} days old and events are kept for {settings.event_retention_days:g}: they would "
            "be gone at once, and what had ended could run again. Set RUNLANE_EVENT_RETENTION_DAYS to at least "
            f"{age + manifest.event_retention_days:.0f}, here and for the engine until all that was unfinished ended.",
            USAGE,
        )


def age_days(manifest: Manifest) -> float:
    """How old the backup is."""
    return (SystemClock().now() - manifest.began).total_seconds() / 86_400


def check_records_free(manifest: Manifest, settings: Settings) -> None:
    """Raises `CommandFailed` when there is a record store already, or the wrong kind of one is wanted."""
    if manifest.holds(RECORDS) and not _is_file(settings):
        raise CommandFailed(
            "The backup has its records as SQLite, and RUNLANE_DATABASE_URL names another database.", USAGE
        )
    if manifest.holds(RECORDS) and file_of(settings.record_store_url).exists():
        raise CommandFailed(f"{file_of(settings.record_store_url)} exists: a restore overwrites nothing.", USAGE)


async def restore_engine(settings: Settings, directory: Path, manifest: Manifest, tell: Tell) -> None:
    """Make streams and record store from the backup in `directory`, whose files have been checked."""
    async with open_bus(settings, "restore", shape=False) as bus:
        if server_version(bus) < manifest.nats_server:
            needed = ".".join(map(str, manifest.nats_server))
            raise CommandFailed(f"The backup is of nats-server {needed}: an older one may not read it.")
        if there := await existing_streams(bus, settings):
            raise CommandFailed(f"There are streams already: {', '.join(there)}. A restore overwrites nothing.", USAGE)
        if manifest.holds(RECORDS):
            _put_records(directory / RECORDS, file_of(settings.record_store_url))
            tell("records: restored")
        for stream in manifest.streams:
            state = await restore_snapshot(bus, settings, stream.name, stream.state, pieces(directory / stream.path))
            _check_state(stream, state)
            tell(f"{stream.name}: {state['messages']} messages")
        await ensure_topology(bus, settings)
        if manifest.recorded:
            # The records have everything up to there; from there on they are folded from the events.
            await begin_after(bus, subjects.EVENTS, subjects.RECORDER, manifest.recorded)
        for position in manifest.subscribers:
            await put_position(bus, subjects.EVENTS, position)


def _put_records(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with open_file(target) as write:
        for piece in pieces(source):
            write(piece)


def _check_state(stream: StreamCopy, state: StreamState) -> None:
    # Messages may have aged since; a sequence that was given must never be given again.
    if state.get("last_seq", 0) < stream.state["last_seq"]:
        raise CommandFailed(
            f"{stream.name} came back with last sequence {state.get('last_seq')} instead of {stream.state['last_seq']}."
        )
