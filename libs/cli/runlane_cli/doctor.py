"""`runlane doctor`: asks each part how it is, shows the findings. A part that cannot answer is a finding, too."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import msgspec
from rich.text import Text

from runlane.clock import Clock, SystemClock
from runlane.errors import RunlaneError
from runlane.settings import Settings, read_settings
from runlane.telemetry import configure_logging

from .datadir import DEFAULT, DataDirectory, EngineState
from .display import console, print_json, printable
from .findings import Finding, broken
from .machine import Limits, disk, files, packages, ports, programs
from .problems import CommandFailed

_SIGNS = {"ok": ("ok", "green"), "warning": ("warning", "yellow"), "broken": ("BROKEN", "bold red")}


def doctor(data: Path | None, monitor: str | None, *, as_json: bool) -> None:
    """Show every finding; raises `CommandFailed` when something is broken."""
    findings = examine(data, monitor)
    show(findings, as_json=as_json)
    wrong = sum(finding.status == "broken" for finding in findings)
    if wrong:
        raise CommandFailed(f"{wrong} of {len(findings)} checks found something broken.")


def examine(
    data: Path | None, monitor: str | None = None, *, clock: Clock | None = None, limits: Limits | None = None
) -> list[Finding]:
    """All findings, in the order in which they build on each other."""
    found = [*packages(), programs()]
    try:
        settings = read_settings()
    except RunlaneError as problem:
        return [*found, broken("settings", problem.message, "Correct that variable, or unset it.")]
    configure_logging("doctor", msgspec.structs.replace(settings, log_level="error"))
    directory = DataDirectory(data or DEFAULT)
    limits = limits or Limits()
    try:
        state = directory.state()
    except CommandFailed as problem:
        return [*found, broken("engine", problem.message, "Stop the engine, remove that file, start it again.")]
    settings = _of_engine(settings, directory, state)
    found += [*files(settings, directory), *disk(directory.path, limits), *ports(settings, state)]
    if state is None and settings.nats_url == Settings().nats_url:
        return found  # an engine that is not running: there is nobody to ask
    from .surroundings import ask_services

    return found + asyncio.run(ask_services(settings, state, monitor, clock or SystemClock(), limits))


def show(findings: Sequence[Finding], *, as_json: bool) -> None:
    """Aligned lines for people; what to do stands below what is wrong."""
    if as_json:
        healthy = all(finding.status != "broken" for finding in findings)
        print_json({"healthy": healthy, "findings": msgspec.to_builtins(findings)})
        return
    out = console()
    width = max(len(finding.check) for finding in findings)
    for finding in findings:
        sign, style = _SIGNS[finding.status]
        line = Text().append(f"{sign:<8} ", style=style).append(f"{finding.check:<{width}}  ", style="bold")
        out.print(line.append(printable(finding.found)), soft_wrap=True)
        if finding.mend:
            out.print(Text(" " * (width + 11) + "→ " + printable(finding.mend)), soft_wrap=True)


def _of_engine(settings: Settings, directory: DataDirectory, state: EngineState | None) -> Settings:
    if state is None:
        return msgspec.structs.replace(settings, data_dir=directory.path)
    return msgspec.structs.replace(
        settings,
        data_dir=directory.path,
        nats_url=state.nats_url,
        nats_user=state.nats_user,
        nats_password=state.nats_password,
        durability=state.durability,
        queue_max_bytes=state.queue_max_bytes or settings.queue_max_bytes,
    )
