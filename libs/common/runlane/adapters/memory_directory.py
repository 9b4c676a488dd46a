"""`ports.DirectoryStore` in memory: for tests, and for whatever needs a directory without a broker."""

from collections.abc import Callable

from runlane.errors import StateConflict

_Changed = Callable[[str, bytes | None, int], None]


class MemoryDirectoryStore:
    """See `ports.DirectoryStore`. Forgets everything with its process."""

    def __init__(self) -> None:
        self._entries: dict[str, tuple[bytes, int]] = {}
        self._watching: list[_Changed] = []
        self._revision = 0

    async def put(self, key: str, value: bytes, *, expect: int | None = None) -> int:
        self._check(key, expect)
        self._revision += 1
        self._entries[key] = value, self._revision
        self._tell(key, value)
        return self._revision

    async def delete(self, key: str, *, expect: int | None = None) -> None:
        self._check(key, expect)
        if key in self._entries:
            del self._entries[key]
            self._revision += 1
            self._tell(key, None)

    async def watch(self, changed: _Changed) -> None:
        for key, (value, revision) in sorted(self._entries.items(), key=lambda item: item[1][1]):
            changed(key, value, revision)
        self._watching.append(changed)

    def _check(self, key: str, expect: int | None) -> None:
        revision = self._entries[key][1] if key in self._entries else 0
        if expect is not None and expect != revision:
            raise StateConflict

    def _tell(self, key: str, value: bytes | None) -> None:
        for changed in self._watching:
            changed(key, value, self._revision)
