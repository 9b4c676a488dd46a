"""`runlane restore`: a fresh data directory from a backup, or an empty NATS server and record store of one's own."""

import asyncio
import os
import secrets
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import msgspec

from runlane.contracts.grants import OPERATOR
from runlane.sealing import key_names
from runlane.settings import Settings

from .archive import CREDENTIALS, MASTER_KEY, Manifest, check_files, read_manifest
from .copying import Tell, check_records_free, check_usable, restore_engine
from .datadir import DataDirectory, write_private
from .natsserver import NatsServer, find_program, free_port
from .problems import USAGE, CommandFailed
from .process import ServiceSpec
from .supervisor import RestartPauses, Service

_STOP_SECONDS = 60.0
_QUEUE_SHARE = 4  # as for an engine: JetStream refuses a stream that reserves more than there is


async def restore_directory(
    settings: Settings, directory: Path, target: Path, tell: Tell, master_key: bytes | None = None
) -> Manifest:
    """Make the data directory `target`, which must not exist or be empty; all of it, or nothing.

    `master_key`: the content of its file, for a backup that has none.
    """
    manifest = _checked(settings, directory, tell)
    if master_key is not None:
        check_master_key(manifest, master_key)
    with _growing(target) as growing:
        data = DataDirectory(growing)
        data.create()
        settings = msgspec.structs.replace(settings, data_dir=growing)
        check_records_free(manifest, settings)
        for name in (MASTER_KEY, CREDENTIALS):
            if manifest.holds(name):
                write_private(growing / name, (directory / name).read_bytes())
        if master_key is not None:
            write_private(data.master_key, master_key)
        async with _broker(data, settings, tell) as found:
            await restore_engine(found, directory, manifest, tell)
    return manifest


async def restore_server(settings: Settings, directory: Path, tell: Tell) -> Manifest:
    """Restore into the NATS server and the record store of `settings`; neither may hold anything of ours."""
    manifest = _checked(settings, directory, tell)
    if (key := await asyncio.to_thread(_known_key, settings)) is not None:
        check_master_key(manifest, key)
    check_records_free(manifest, settings)
    await restore_engine(settings, directory, manifest, tell)
    return manifest


def check_master_key(manifest: Manifest, text: bytes) -> None:
    """Raises `CommandFailed` when these master keys cannot open what is sealed in the backup.

    An engine that begins with a wrong one would fail every execution that waits.
    """
    try:
        there = key_names(text.decode())
    except ValueError as problem:
        raise CommandFailed(f"The master key cannot be used: {problem}.", USAGE) from None
    if missing := [name for name in manifest.master_keys if name not in there]:
        raise CommandFailed(
            f"This is not the master key of the backup, which was made with {', '.join(missing)}; "
            f"this is {', '.join(there)}.",
            USAGE,
        )


def _known_key(settings: Settings) -> bytes | None:
    """Who restores need not have the key of the engine."""
    if settings.master_key is not None:
        return settings.master_key.encode()
    return settings.key_file.read_bytes() if settings.key_file.is_file() else None


def _checked(settings: Settings, directory: Path, tell: Tell) -> Manifest:
    manifest = read_manifest(directory)
    check_files(directory, manifest)
    tell(f"{len(manifest.files)} files are as they were written")
    check_usable(manifest, settings)
    return manifest


@contextmanager
def _growing(target: Path) -> Iterator[Path]:
    """A directory that becomes `target` at the end: a half-restored one must not be started by mistake."""
    target = target.absolute()
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise CommandFailed(f"{target} is not empty: a restore overwrites nothing.", USAGE)
    growing = target.with_name(f".{target.name}.{os.getpid()}.restoring")
    try:
        yield growing
        growing.replace(target)
    except OSError as problem:
        raise CommandFailed(f"{target} cannot be made: {problem.strerror or problem}.") from None
    finally:
        shutil.rmtree(growing, ignore_errors=True)


@asynccontextmanager
async def _broker(data: DataDirectory, settings: Settings, tell: Tell) -> AsyncIterator[Settings]:
    """A nats-server on the directory while it is filled. What it acknowledges is on disk."""
    server = NatsServer(directory=data.nats, port=free_port(), password=secrets.token_hex(24), durability="fsync")
    config = data.path / "nats.conf"
    write_private(config, server.config().encode())
    spec = ServiceSpec(
        name="nats-server",
        command=(find_program(), "-c", str(config)),
        log=data.log("nats-server"),
        environment=dict(os.environ),
        stop_seconds=_STOP_SECONDS,
        ready=server.answers,
    )
    service = Service(spec, tell, lambda: None, RestartPauses())
    try:
        await service.start()
        yield msgspec.structs.replace(
            settings,
            nats_url=server.url,
            nats_user=OPERATOR,
            nats_password=server.password_of(OPERATOR),
            queue_max_bytes=min(settings.queue_max_bytes, shutil.disk_usage(data.path).free // _QUEUE_SHARE),
        )
    finally:
        await service.stop()
        config.unlink(missing_ok=True)
