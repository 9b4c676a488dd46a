"""`python -m bench.peers [NAME …]`: Runlane and others on the same work, over HTTP, one after the other.

Each is installed into a directory of its own below `.bench-peers` (Restate's server by npm), as its newest version. The
work: nothing, awaited; nothing, in the background, until the last is done; five durable steps of 200 bytes. One
machine, one web process, workers as the peer's documents advise.
"""

import argparse
import json
import os
import socket
import statistics
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from pathlib import Path

import uvloop

from bench.load import drive, until
from bench.peers.systems import PEERS, THIS_PYTHON, Doors, Peer, Room
from tests.support.engine import descendants
from tests.support.ports import quiet_port

HOME = Path(__file__).parents[2] / ".bench-peers"

Figures = dict[str, float]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.peers", description=__doc__)
    parser.add_argument("names", nargs="*", help=f"of {', '.join(peer.name for peer in PEERS)}; all by default")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--work", type=int, default=3000, help="executions in each measurement, at most")
    options = parser.parse_args()
    chosen = [peer for peer in PEERS if not options.names or peer.name in options.names]
    rows = []
    for peer in chosen:
        try:
            versions, figures = _measured(peer, options.rounds, options.work)
        except Exception as problem:  # one that does not run here must not cost the others their rows
            print(f"{peer.name}: {problem}", flush=True)
            continue
        rows.append((peer, versions, figures))
        print(f"{peer.name} {versions}: {json.dumps({k: round(v, 2) for k, v in figures.items()})}", flush=True)
    print()
    print(_table(rows))


def _measured(peer: Peer, rounds: int, work: int) -> tuple[str, Figures]:
    python = _installed(peer)
    HOME.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="room-", dir=HOME) as directory, ExitStack() as stack:
        room = Room(Path(directory), python, stack, _free_ports())
        doors = peer.start(room)
        try:
            return _versions(peer, python), uvloop.run(_measure(doors, rounds, work))
        except RuntimeError as problem:
            raise RuntimeError(f"{problem}\n{room.log()}") from problem


async def _measure(doors: Doors, rounds: int, work: int) -> Figures:
    """Medians of all rounds; what a peer has no door for is left out."""
    cases: list[Callable[[], Awaitable[Figures]]] = []
    if doors.sync is not None:
        sync = doors.sync
        cases += [lambda: _sync(doors, sync, 1, work // 5), lambda: _sync(doors, sync, 32, work)]
    if doors.background is not None:
        background = doors.background
        cases.append(lambda: _background(doors, background, "async", work))
    if doors.five is not None:
        five = doors.five
        cases.append(lambda: _background(doors, five, "five_steps", work // 2))
    figures: Figures = {}
    for case in cases:
        await case()  # warm
        runs = [await case() for _ in range(rounds)]
        figures |= {name: statistics.median(run[name] for run in runs) for name in runs[0]}
    return figures


async def _sync(doors: Doors, path: str, callers: int, total: int) -> Figures:
    # A slow peer is not waited for for ever.
    total = min(total, max(callers * 3, await _affordable(doors, path, callers)))
    cpu = _cpu_seconds()
    seconds, took = await drive(doors.port, _post(path, doors.headers), callers, total, 200)
    if callers == 1:
        return {"sync_p50_ms": statistics.median(took)}
    return {"sync_per_second": total / seconds, "cpu_ms": (_cpu_seconds() - cpu) / total * 1000}


async def _affordable(doors: Doors, path: str, callers: int, seconds: float = 6.0) -> int:
    began = time.perf_counter()
    await drive(doors.port, _post(path, doors.headers), callers, callers * 2, 200)
    return int(callers * 2 * seconds / (time.perf_counter() - began))


async def _background(doors: Doors, path: str, name: str, total: int) -> Figures:
    request = _post(path, doors.headers)
    before, began = doors.done(path), time.perf_counter()
    await drive(doors.port, request, 32, total // 10, 202)
    await until(lambda: doors.done(path) - before >= total // 10, within=120)
    total = min(total, int(total // 10 * 8 / (time.perf_counter() - began)))
    before, began = doors.done(path), time.perf_counter()
    await drive(doors.port, request, 64, total, 202)
    await until(lambda: doors.done(path) - before >= total, within=120)
    return {f"{name}_per_second": total / (time.perf_counter() - began)}


def _post(path: str, headers: str) -> bytes:
    head = (
        f"POST {path} HTTP/1.1\r\nHost: bench\r\n{headers}Content-Type: application/json\r\nContent-Length: 2\r\n\r\n"
    )
    return head.encode() + b"{}"


def _cpu_seconds() -> float:
    """What everything below this process has used so far."""
    ticks = 0
    for pid in descendants(os.getpid()):
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def _installed(peer: Peer) -> Path:
    """The Python of the peer's own environment."""
    if not peer.packages:
        return THIS_PYTHON
    home = HOME / peer.name.split(",")[0].lower()
    python = home / "bin" / "python"
    if not (home / "ready").exists():
        subprocess.run([str(THIS_PYTHON), "-m", "venv", str(home)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *peer.packages], check=True)
        if peer.node_packages:
            node = HOME / f"{home.name}-node"
            node.mkdir(exist_ok=True)
            subprocess.run(["npm", "install", "--silent", "--prefix", str(node), *peer.node_packages], check=True)
        (home / "ready").touch()
    return python


def _versions(peer: Peer, python: Path) -> str:
    names = [package.partition("[")[0] for package in peer.packages[:1]] or ["runlane"]
    code = f"from importlib.metadata import version; print(' '.join(version(n) for n in {names!r}))"
    return subprocess.run([str(python), "-c", code], check=True, capture_output=True, text=True).stdout.strip()


def _free_ports() -> int:
    """The first of some ports in a row that nobody has."""
    while True:
        first = quiet_port()
        if all(_is_free(first + n) for n in range(4)):
            return first


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


_COLUMNS = {
    "sync_p50_ms": "sync p50 ms, 1 caller",
    "sync_per_second": "sync/s, 32 callers",
    "async_per_second": "async/s",
    "five_steps_per_second": "five steps/s",
    "cpu_ms": "CPU ms per sync call",
}


def _table(rows: list[tuple[Peer, str, Figures]]) -> str:
    lines = [f"| | {' | '.join(_COLUMNS.values())} | acknowledged survives |", "|---" * (len(_COLUMNS) + 2) + "|"]
    for peer, versions, figures in rows:
        cells = [_cell(figures.get(name)) for name in _COLUMNS]
        lines.append(f"| {peer.name} {versions} | {' | '.join(cells)} | {peer.durability} |")
    return "\n".join(lines)


def _cell(value: float | None) -> str:
    if value is None:
        return "none"
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}"


if __name__ == "__main__":
    main()
