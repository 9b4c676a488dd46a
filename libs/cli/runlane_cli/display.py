"""What commands show: tables and live lines for people, JSON for programs. Results go to stdout, the rest to stderr."""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

_STYLE_OF = {
    "Success": "green",
    "Failed": "red",
    "Cancelled": "yellow",
    "Running": "cyan",
    "Retrying": "magenta",
    "PendingApproval": "magenta",
    "error": "red",
    "critical": "bold red",
    "warning": "yellow",
}
_WIDE = 240  # where nobody looks, nothing is shortened


def console(*, stderr: bool = False) -> Console:
    """A console that takes text as it is: what workflows write is never read as markup."""
    made = Console(stderr=stderr, markup=False, highlight=False, emoji=False)
    if not made.is_terminal:
        made.width = _WIDE
    return made


def print_json(value: object) -> None:
    """JSON on stdout, as a program expects it."""
    print(json.dumps(value, indent=2, ensure_ascii=False))


def done(sentence: str, answer: object, *, as_json: bool) -> None:
    """What a command that changes something says: a sentence, or what the gateway answered."""
    if as_json:
        print_json(answer)
    else:
        print(sentence)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], nothing: str) -> None:
    """A table, or the sentence `nothing`. The first column is never cut."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for number, column in enumerate(columns):
        table.add_column(column, no_wrap=number == 0, overflow="fold")
    for row in rows:
        table.add_row(*(shown(cell) for cell in row))
    console().print(table if table.row_count else nothing)


def shown(value: object) -> Text:
    """A value as text, coloured where it is a status."""
    if value is None:
        return Text("–", style="dim")
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return Text(printable(text), style=_STYLE_OF.get(text, ""))


def printable(text: str) -> str:
    """Without control characters: a log line must not move the cursor of whoever reads it."""
    return "".join(char if char.isprintable() or char in "\n\t" else "\N{REPLACEMENT CHARACTER}" for char in text)


def person(who: Mapping[str, Any]) -> str | None:
    """Somebody as people know them, as on the console; for a key its name."""
    return who.get("name") or who.get("email") or who.get("id")


def local_time(timestamp: object) -> str | None:
    """`2025-10-10 14:30:05` in this machine's time zone, of a UTC timestamp of the API."""
    moment = _moment(timestamp)
    return None if moment is None else moment.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def duration(milliseconds: object) -> str | None:
    """`850 ms`, `12.3 s`, `4 min 5 s`."""
    if not isinstance(milliseconds, int | float):
        return None
    if milliseconds < 1000:
        return f"{milliseconds:.0f} ms"
    if milliseconds < 60_000:
        return f"{milliseconds / 1000:.1f} s"
    minutes, seconds = divmod(round(milliseconds / 1000), 60)
    return f"{minutes} min {seconds} s"


def size(count: float) -> str:
    """`850 B`, `12.3 MiB`."""
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"


def progress_bar(where: Console) -> Progress:
    """A bar below what is printed meanwhile; nothing where nobody looks, and nothing is left of it."""
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn())
    return Progress(*columns, TimeElapsedColumn(), console=where, transient=True, disable=not where.is_terminal)


class LiveLines:
    """Prints an execution's events as they come, to stderr; on a terminal with a bar that shows how far it is."""

    def __init__(self) -> None:
        self._console = console(stderr=True)
        self._bar = progress_bar(self._console)
        self._task = self._bar.add_task("Queued", total=None)

    def __enter__(self) -> "LiveLines":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def show(self, event: str, data: Mapping[str, Any]) -> None:
        """One event of the live tail."""
        label, text = _line(event, data)
        line = Text().append(f"{_clock(data.get('timestamp'))} ", style="dim")
        line.append(f"{label:<10} ", style=_STYLE_OF.get(label, "blue"))
        line.append(printable(text))
        self._console.print(line, soft_wrap=True)
        if event == "progress":
            said = printable(str(data.get("message") or ""))
            self._bar.update(self._task, total=100, completed=data.get("percent", 0), description=said)
        elif event == "state":
            self._bar.update(self._task, description=label)


def _line(event: str, data: Mapping[str, Any]) -> tuple[str, str]:
    """The label and the text of an event."""
    match event:
        case "log":
            return str(data.get("level")), f"{data.get('message')}{_compact(data.get('data'))}"
        case "state" | "queued":
            return str(data.get("status")), _state_text(data)
        case "progress":
            return "progress", f"{data.get('percent', 0):.3g} %  {data.get('message') or ''}".rstrip()
        case "call":
            took = duration(data.get("duration_ms"))
            what = f"{data.get('integration')} {data.get('method')} {data.get('endpoint')}"
            return "call", f"{what} → {data.get('status_code')} ({took})"
        case "checkpoint" | "event":
            return event, f"{data.get('name')}{_compact(data.get('data'))}"
        case "variable":
            return "variable", f"{data.get('name')} = {json.dumps(data.get('value'), ensure_ascii=False)}"
        case "step":
            return "step", f"{data.get('name')} ({duration(data.get('duration_ms'))})"
        case "secret":
            return "secret", f"{data.get('name')} was read"
        case "dropped":
            return "dropped", f"{data.get('count')} more of kind {data.get('what')} were not kept"
    return event, json.dumps(data, ensure_ascii=False)


def _state_text(data: Mapping[str, Any]) -> str:
    until = local_time(data.get("runAt") or data.get("resumesAt") or data.get("nextAttemptAt"))
    parts = [
        f"{data['error']}: {data.get('message')}" if data.get("error") else data.get("message"),
        data.get("reason"),
        f"until {until}" if until else None,
        duration(data.get("durationMs")),
    ]
    return ", ".join(str(part) for part in parts if part)


def _compact(value: object) -> str:
    return "" if value is None else f"  {json.dumps(value, ensure_ascii=False)}"


def _clock(timestamp: object) -> str:
    moment = _moment(timestamp)
    return " " * 8 if moment is None else moment.astimezone().strftime("%H:%M:%S")


def _moment(timestamp: object) -> datetime | None:
    if not isinstance(timestamp, str):
        return None
    try:
        moment = datetime.fromisoformat(timestamp)
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
