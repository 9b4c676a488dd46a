"""`runlane restore`: a fresh data directory from a backup, or an empty NATS server and record store of one's own."""

import os
import secrets
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import msgspec

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


async def restore_directory(settings: Settings, directory: Path, target: Path, tell: Tell) -> Manifest:
    """Make the data directory `target`, which must not exist or be empty; all of it, or nothing."""
    manifest = _checked(settings, directory, tell)
    with _growing(target) as growing:
        data = DataDirectory(growing)
        data.create()
        settings = msgspec.structs.replace(settings, data_dir=growing)
        check_records_free(manifest, settings)
        for name in (MASTER_KEY, CREDENTIALS):
            if manifest.holds(name):
                write_private(growing / name, (directory / name).read_bytes())
        async with _broker(data, settings, tell) as found:
            await restore_engine(found, directory, manifest, tell)
    return manifest


async def restore_server(settings: Settings, directory: Path, tell: Tell) -> Manifest:
    """Restore into the NATS server and the record store of `settings`; neither may hold anything of ours."""
    manifest = _checked(settings, directory, tell)
    check_records_free(manifest, settings)
    await restore_engine(settings, directory, manifest, tell)
    return manifest


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
    server = NatsServer(
        directory=data.nats, port=free_port(), user="runlane", password=secrets.token_hex(24), durability="fsync"
    )
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
            nats_user=server.user,
            nats_password=server.password,
            queue_max_bytes=min(settings.queue_max_bytes, shutil.disk_usage(data.path).free // _QUEUE_SHARE),
        )
    finally:
        await service.stop()
        config.unlink(missing_ok=True)
