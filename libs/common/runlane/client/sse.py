"""Reads server-sent events (WHATWG HTML §9.2.6). Pure; the command line reads them with it too."""

from collections.abc import Iterable, Iterator

from msgspec import Struct


class ServerEvent(Struct, frozen=True):
    """One event; `id` is the last one given, by this event or before it."""

    name: str
    data: str
    id: str | None


class EventReader:
    """Reads events line by line; comments and unknown fields are skipped, an unfinished event is none yet."""

    def __init__(self) -> None:
        self._last_id: str | None = None
        self._name, self._data = "", list[str]()

    def read(self, line: str) -> ServerEvent | None:
        """The event that this line ends, if it ends one."""
        if not line:
            found = ServerEvent(self._name or "message", "\n".join(self._data), self._last_id) if self._data else None
            self._name, self._data = "", []
            return found
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "event":
            self._name = value
        elif field == "data":
            self._data.append(value)
        elif field == "id":
            self._last_id = value
        return None


def read_events(lines: Iterable[str]) -> Iterator[ServerEvent]:
    """The events in these lines."""
    reader = EventReader()
    for line in lines:
        event = reader.read(line)
        if event is not None:
            yield event
