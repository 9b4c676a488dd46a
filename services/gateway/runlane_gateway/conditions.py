"""Entity tags of directory entries, and the conditions that requests make with them (RFC 9110 §13). Used by `changes`.

The tag of an entry is its revision, so it changes with every write and is never used again.
"""

import re
from collections.abc import Mapping

from msgspec import Struct

from runlane.directory import Directory
from runlane.errors import PreconditionFailed, ValidationError

from .answers import Header

_TAG = re.compile(r'\s*(W/)?"([\x21\x23-\x7e\x80-\xff]*)"\s*(?:,|$)')
_REVISION = re.compile(r"[1-9][0-9]{0,18}")


class Condition(Struct, frozen=True):
    """`match` and `none_match` are revisions; None: no such header. `exists` and `absent` stand for `*`."""

    match: frozenset[int] | None = None
    none_match: frozenset[int] | None = None
    exists: bool = False
    absent: bool = False

    def check(self, revision: int | None) -> None:
        """Raises `PreconditionFailed` unless an entry of this revision (None: there is no entry) is as demanded."""
        if (
            (self.exists and revision is None)
            or (self.absent and revision is not None)
            or (self.match is not None and revision not in self.match)
            or (self.none_match is not None and revision in self.none_match)
        ):
            state = "There is no such entry." if revision is None else "The entry is not what it was; read it again."
            raise PreconditionFailed(state)

    @property
    def newest(self) -> int:
        """The highest revision that the caller has seen."""
        return max((self.match or frozenset()) | (self.none_match or frozenset()), default=0)


NO_CONDITION = Condition()


def read_condition(headers: Mapping[bytes, bytes]) -> Condition:
    """The request's `If-Match` and `If-None-Match`; raises `ValidationError` for what is no list of entity tags."""
    match, none_match = headers.get(b"if-match"), headers.get(b"if-none-match")
    if match is None and none_match is None:
        return NO_CONDITION
    return Condition(
        match=None if match in (None, b"*") else _revisions(match or b"", "If-Match", weak=False),
        none_match=None if none_match in (None, b"*") else _revisions(none_match or b"", "If-None-Match", weak=True),
        exists=match == b"*",
        absent=none_match == b"*",
    )


def etag(directory: Directory, key: str) -> list[Header]:
    """The header with the tag of an entry, none where there is no entry."""
    revision = directory.revisions.get(key)
    return [] if revision is None else [(b"etag", b'"%d"' % revision)]


def _revisions(header: bytes, name: str, *, weak: bool) -> frozenset[int]:
    """The revisions in a list of tags. A tag that is not of our making matches nothing; a weak one not where `weak`
    is off (RFC 9110 §8.8.3.2)."""
    text, found, place = header.decode("latin-1"), set(), 0
    while place < len(text) or not place:
        tag = _TAG.match(text, place)
        if tag is None:
            raise ValidationError(f'{name} must be * or entity tags such as "42".', name)
        if (weak or not tag[1]) and _REVISION.fullmatch(tag[2]):
            found.add(int(tag[2]))
        place = tag.end()
    return frozenset(found)
