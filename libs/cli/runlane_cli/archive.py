"""A backup as it lies on disk: a directory, or one .tar file of it, with a manifest that says what belongs to it.

manifest.json       what was copied, when, from which versions, with the checksum of every file
streams/            one copy of each stream, as the server made it
records.db          the record store
master.key, credentials.json    only where they were asked for

It comes into being under another name: what bears its name is whole.
"""

import hashlib
import os
import shutil
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from runlane.ports import Position

from .problems import USAGE, CommandFailed

FORMAT = 1
MANIFEST = "manifest.json"
RECORDS = "records.db"
MASTER_KEY = "master.key"
CREDENTIALS = "credentials.json"

_READ_BYTES = 128 * 1024


class StoredFile(Struct, frozen=True):
    """A file of the backup, by its path in it."""

    path: str
    bytes: int
    sha256: str


class StreamCopy(Struct, frozen=True):
    """A stream. `state` is what the server said of it when it was copied."""

    name: str
    path: str
    state: dict[str, Any]


class Manifest(Struct, frozen=True, kw_only=True):
    """What a backup is. `recorded` is the event up to which the record store in it is complete.

    `records_schema` None: there is no record store in it. `master_keys`: the names of those that seal what is in it,
    none where whoever made the backup did not have them. `subscribers`: how far each subscription was delivered.
    """

    format: int = FORMAT
    runlane: str
    nats_server: tuple[int, int]
    records_schema: str | None
    recorded: int
    began: datetime
    ended: datetime
    event_retention_days: float
    master_keys: list[str] = []
    subscribers: list[Position] = []
    streams: list[StreamCopy]
    files: list[StoredFile]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.bytes for file in self.files)

    def holds(self, path: str) -> bool:
        """Whether a file belongs to it."""
        return any(file.path == path for file in self.files)


@contextmanager
def writing(target: Path) -> Iterator[Path]:
    """A directory to be filled; at the end it becomes `target`, or a .tar file where that is what it is called.

    Raises `CommandFailed` when there is something already.
    """
    is_tar = target.suffix == ".tar"
    if target.exists() and (is_tar or not target.is_dir() or any(target.iterdir())):
        raise CommandFailed(f"{target} exists: a backup overwrites nothing.", USAGE)
    growing = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        (growing / "streams").mkdir(parents=True)
        growing.chmod(0o700)
        yield growing
        if is_tar:
            _pack(growing, target)
        else:
            growing.replace(target)
    except OSError as problem:
        raise CommandFailed(f"{target} cannot be written: {problem.strerror or problem}.") from None
    finally:
        shutil.rmtree(growing, ignore_errors=True)


@contextmanager
def reading(source: Path) -> Iterator[Path]:
    """The directory of a backup; a .tar file is unpacked beside itself for as long as it is needed."""
    if not source.exists():
        raise CommandFailed(f"There is no {source}: name a directory or .tar file that `runlane backup` made.", USAGE)
    if source.is_dir():
        yield source
        return
    unpacked = source.with_name(f".{source.name}.{os.getpid()}.unpacked")
    try:
        _unpack(source, unpacked)
        yield unpacked
    finally:
        shutil.rmtree(unpacked, ignore_errors=True)


def read_manifest(directory: Path) -> Manifest:
    """What the backup says of itself; raises `CommandFailed` when it is none, or of a newer form."""
    try:
        text = (directory / MANIFEST).read_bytes()
        format_ = msgspec.json.decode(text)["format"]
        if format_ == FORMAT:
            return msgspec.json.decode(text, type=Manifest)
    except FileNotFoundError:
        raise CommandFailed(f"{directory} is no backup: it has no {MANIFEST}.", USAGE) from None
    except (OSError, msgspec.DecodeError, KeyError, TypeError) as problem:
        raise CommandFailed(f"The {MANIFEST} of the backup cannot be read: {problem}.") from None
    raise CommandFailed(f"The backup has format {format_}, this version reads {FORMAT}: use the version that made it.")


def write_manifest(directory: Path, manifest: Manifest) -> None:
    """The last thing to be written."""
    write_file(directory / MANIFEST, msgspec.json.format(msgspec.json.encode(manifest)))


def check_files(directory: Path, manifest: Manifest) -> None:
    """Raises `CommandFailed` with every file that is missing or is not as it was written."""
    wrong = [file.path for file in manifest.files if not _is_whole(directory, file)]
    if wrong:
        raise CommandFailed(f"The backup is damaged: {', '.join(wrong)}. Nothing was restored.")


def write_file(path: Path, content: bytes) -> None:
    """A file that only its owner can read, on disk when this returns."""
    with open_file(path) as write:
        write(content)


@contextmanager
def open_file(path: Path) -> Iterator[Callable[[bytes], object]]:
    """The same, in pieces."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        yield file.write
        file.flush()
        os.fsync(descriptor)


def pieces(path: Path) -> Iterator[bytes]:
    """The content of a file, piece by piece."""
    with path.open("rb") as file:
        while piece := file.read(_READ_BYTES):
            yield piece


def describe(directory: Path, path: str) -> StoredFile:
    """A file as the manifest names it."""
    digest, size = hashlib.sha256(), 0
    for piece in pieces(directory / path):
        digest.update(piece)
        size += len(piece)
    return StoredFile(path, size, digest.hexdigest())


def _is_whole(directory: Path, file: StoredFile) -> bool:
    inside = (directory / file.path).resolve().is_relative_to(directory.resolve())
    try:
        return inside and describe(directory, file.path) == file
    except OSError:
        return False


def _unpack(source: Path, target: Path) -> None:
    try:
        target.mkdir(mode=0o700)
        with tarfile.open(source, "r:") as tar:
            for member in tar:
                _unpack_member(tar, member, target)
    except (tarfile.TarError, OSError) as problem:
        raise CommandFailed(f"{source} cannot be unpacked: {problem}. Nothing was restored.") from None


def _unpack_member(tar: tarfile.TarFile, member: tarfile.TarInfo, target: Path) -> None:
    """One file or directory, as `tarfile`'s "data" filter has it, which Python got with 3.11.4 only."""
    place = target / member.name
    if not place.resolve().is_relative_to(target.resolve()):
        raise tarfile.TarError(f"{member.name!r} is outside of it")
    if member.isdir():
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        return
    content = tar.extractfile(member) if member.isreg() else None
    if content is None:
        raise tarfile.TarError(f"{member.name!r} is neither a file nor a directory")
    place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with place.open("xb") as file:
        shutil.copyfileobj(content, file, _READ_BYTES)


def _pack(directory: Path, target: Path) -> None:
    growing = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        with os.fdopen(os.open(growing, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            # The streams are compressed by the server already.
            with tarfile.open(fileobj=file, mode="w") as tar:
                for path in sorted(directory.rglob("*")):
                    tar.add(path, path.relative_to(directory).as_posix(), recursive=False)
            file.flush()
            os.fsync(file.fileno())
        growing.replace(target)
    finally:
        growing.unlink(missing_ok=True)
