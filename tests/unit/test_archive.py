"""A backup in one file is unpacked into its own place only, and by every Python that we run on."""

import io
import tarfile
from pathlib import Path

import pytest

from runlane_cli import archive
from runlane_cli.problems import CommandFailed


def packed(path: Path, *members: tuple[tarfile.TarInfo, bytes]) -> Path:
    with tarfile.open(path, "w") as tar:
        for member, content in members:
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def kind(name: str, type_: bytes, link: str = "") -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = type_, link
    return member


@pytest.mark.parametrize(
    "member",
    [
        tarfile.TarInfo("../escaped"),
        tarfile.TarInfo("streams/../../escaped"),
        kind("link", tarfile.SYMTYPE, "/etc/passwd"),
        kind("hard", tarfile.LNKTYPE, "../escaped"),
        kind("pipe", tarfile.FIFOTYPE),
        kind("device", tarfile.CHRTYPE),
        kind("../escaped", tarfile.DIRTYPE),
    ],
    ids=lambda member: f"{member.name}-{member.type!r}",
)
def test_what_does_not_belong_into_a_backup_is_refused_and_written_nowhere(
    tmp_path: Path, member: tarfile.TarInfo
) -> None:
    source = packed(tmp_path / "b.tar", (tarfile.TarInfo("manifest.json"), b"{}"), (member, b""))
    with pytest.raises(CommandFailed, match="cannot be unpacked"), archive.reading(source):
        raise AssertionError("it was read")
    assert [path.name for path in tmp_path.iterdir()] == ["b.tar"]


def test_an_absolute_path_is_refused(tmp_path: Path) -> None:
    source = packed(tmp_path / "b.tar", (tarfile.TarInfo(f"{tmp_path}/escaped"), b"x"))
    # Whoever writes it: tarfile keeps the leading slash, and `/` of Path would take it for the whole.
    with pytest.raises(CommandFailed, match="outside of it"), archive.reading(source):
        raise AssertionError("it was read")
    assert not (tmp_path / "escaped").exists()


def test_the_same_name_twice_is_refused(tmp_path: Path) -> None:
    twice = [(tarfile.TarInfo("records.db"), b"one"), (tarfile.TarInfo("records.db"), b"two")]
    source = packed(tmp_path / "b.tar", *twice)
    with pytest.raises(CommandFailed, match="cannot be unpacked"), archive.reading(source):
        raise AssertionError("it was read")
