"""`runlane batch`: one execution of a workflow for each line of a file, sent in pieces."""

import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import IO, Any

import msgspec
from msgspec import Struct
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from .client import Gateway, GatewayRefused, escaped
from .display import console, print_json
from .problems import FAILED, USAGE, CommandFailed

_SHOWN = 10


class BatchOptions(Struct, frozen=True):
    """What `runlane batch` was told beside workflow and file."""

    key_prefix: str | None
    priority: str | None
    size: int
    as_json: bool


class _Outcome(Struct):
    """What became of the lines so far; their numbers are those of the file."""

    executions: list[dict[str, Any]] = msgspec.field(default_factory=list)
    errors: list[dict[str, Any]] = msgspec.field(default_factory=list)


def submit_batch(gateway: Gateway, name: str, file: Path, options: BatchOptions) -> None:
    """Raises `CommandFailed` with 1 when a line was refused, 2 when the file cannot be read."""
    lines = _read(file, options.key_prefix)
    outcome = _Outcome()
    columns = (TextColumn("Submitting"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=console(stderr=True), transient=True) as progress:
        bar = progress.add_task("", total=len(lines))
        left = iter(lines)
        while piece := list(islice(left, options.size)):
            _send(gateway, name, piece, options.priority, outcome)
            progress.advance(bar, len(piece))
    _tell(outcome, as_json=options.as_json)


def _read(file: Path, key_prefix: str | None) -> list[tuple[int, bytes]]:
    try:
        if str(file) == "-":
            return list(_numbered(sys.stdin.buffer, key_prefix))
        with file.open("rb") as opened:
            return list(_numbered(opened, key_prefix))
    except OSError as problem:
        raise CommandFailed(f"{file} cannot be read: {problem.strerror}.", USAGE) from None


def _numbered(lines: IO[bytes], key_prefix: str | None) -> Iterator[tuple[int, bytes]]:
    for number, line in enumerate(lines, 1):
        if line.strip():
            yield number, line.strip() if key_prefix is None else _with_key(number, line, key_prefix)


def _with_key(number: int, line: bytes, prefix: str) -> bytes:
    try:
        given = msgspec.json.decode(line, type=dict[str, Any])
    except msgspec.DecodeError as problem:
        raise CommandFailed(f"Line {number} is no JSON object: {problem}.", USAGE) from None
    return msgspec.json.encode({"idempotencyKey": f"{prefix}:{number}", **given})


def _send(gateway: Gateway, name: str, piece: list[tuple[int, bytes]], priority: str | None, outcome: _Outcome) -> None:
    headers = {"Content-Type": "application/x-ndjson", **({} if priority is None else {"X-Priority": priority})}
    body = b"\n".join(line for _, line in piece)
    try:
        told = gateway.post_bytes(f"/workflows/{escaped(name)}/batch", body, headers)
    except GatewayRefused as refused:
        errors = (refused.envelope.get("details") or {}).get("errors")
        if errors is None:
            raise
        told = {"executions": [], "errors": errors}  # every line of this piece was refused
    for kind, found in (("executions", outcome.executions), ("errors", outcome.errors)):
        found += [{**one, "line": piece[one["line"] - 1][0]} for one in told[kind]]


def _tell(outcome: _Outcome, *, as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "accepted": len(outcome.executions),
                "refused": len(outcome.errors),
                "executions": outcome.executions,
                "errors": outcome.errors,
            }
        )
    else:
        for one in outcome.executions:
            print(one["executionId"])
    if outcome.errors:
        shown = "\n".join(f"line {one['line']}: {one['message']}" for one in outcome.errors[:_SHOWN])
        more = len(outcome.errors) - _SHOWN
        rest = f"\nand {more} more: --json has all of them" if more > 0 else ""
        raise CommandFailed(
            f"{len(outcome.errors)} line(s) were refused, {len(outcome.executions)} became executions.\n{shown}{rest}",
            FAILED,
        )
