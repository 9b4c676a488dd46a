"""Reads server-sent events (WHATWG HTML §9.2.6). Pure; used by `client`."""

from collections.abc import Iterable, Iterator

from msgspec import Struct


class ServerEvent(Struct, frozen=True):
    """One event; `id` is the last one given, by this event or before it."""

    name: str
    data: str
    id: str | None


def read_events(lines: Iterable[str]) -> Iterator[ServerEvent]:
    """The events in these lines; comments and unknown fields are skipped, an unfinished event is none yet."""
    last_id: str | None = None
    name, data = "", list[str]()
    for line in lines:
        if not line:
            if data:
                yield ServerEvent(name or "message", "\n".join(data), last_id)
            name, data = "", []
            continue
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "event":
            name = value
        elif field == "data":
            data.append(value)
        elif field == "id":
            last_id = value
