"""`runlane up`: start the embedded engine, say where it is, drain it on Ctrl-C."""

import asyncio
import errno
import json
import signal
import socket
import sys
import time

import msgspec

from runlane.errors import RunlaneError
from runlane.settings import Settings, read_settings
from runlane.telemetry import configure_logging

from .datadir import Credentials, DataDirectory
from .engine import Engine, EngineOptions
from .logtail import tail_logs
from .natsserver import free_port
from .problems import USAGE, CommandFailed


def up(options: EngineOptions, *, as_json: bool, verbose: bool) -> None:
    """Run the engine until SIGINT, SIGTERM or SIGHUP; raises `CommandFailed` when it cannot start."""
    try:
        settings = read_settings()
    except RunlaneError as problem:
        raise CommandFailed(problem.message, USAGE) from None
    if not options.workflows.is_dir():
        raise CommandFailed(
            f"There is no directory {options.workflows}: make one with `runlane init`, or name one with --workflows.",
            USAGE,
        )
    options = msgspec.structs.replace(options, port=_usable_port(options.host, options.port))
    data = DataDirectory(options.data)
    data.create()
    with data.locked():
        if settings.master_key is None and settings.master_key_file is None:
            data.ensure_master_key()
        # Log lines of ours would mix with what the user reads here; what goes wrong is raised.
        configure_logging("up", msgspec.structs.replace(settings, log_level="error"))
        engine = Engine(options, settings, data, _tell)
        asyncio.run(_run(engine, options, data, settings, as_json=as_json, verbose=verbose))


async def _run(
    engine: Engine, options: EngineOptions, data: DataDirectory, settings: Settings, *, as_json: bool, verbose: bool
) -> None:
    signals = _StopSignals()
    began = time.monotonic()
    logs = asyncio.create_task(tail_logs([s.spec.log for s in engine.services])) if verbose else None
    starting = asyncio.create_task(_start(engine, data))
    try:
        stopped = asyncio.create_task(signals.first.wait())
        await asyncio.wait({starting, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            _announce(options, data, starting.result(), time.monotonic() - began, as_json=as_json)
            await stopped
            _tell(
                f"Draining, at most {settings.drain_grace:g} s for each service. Ctrl-C again ends everything at once."
            )
    finally:
        starting.cancel()
        await _stop(engine, signals)
        if logs is not None:
            logs.cancel()


async def _start(engine: Engine, data: DataDirectory) -> Credentials:
    from .offline import bootstrap

    credentials = data.ensure_credentials()
    await engine.start_broker()
    try:
        await bootstrap(engine.bus_settings, credentials)
    except RunlaneError as problem:
        raise CommandFailed(f"The directory cannot be written: {problem.message}") from None
    await engine.start_services()
    return credentials


async def _stop(engine: Engine, signals: "_StopSignals") -> None:
    stopping = asyncio.create_task(engine.stop())
    hurry = asyncio.create_task(signals.second.wait())
    await asyncio.wait({stopping, hurry}, return_when=asyncio.FIRST_COMPLETED)
    if not stopping.done():
        engine.kill()
    hurry.cancel()
    await stopping


class _StopSignals:
    """The first signal asks to drain, the second to end at once."""

    def __init__(self) -> None:
        self.first, self.second = asyncio.Event(), asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if number is signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN:
                continue  # nohup
            asyncio.get_running_loop().add_signal_handler(number, self._received)

    def _received(self) -> None:
        (self.second if self.first.is_set() else self.first).set()


def _announce(
    options: EngineOptions, data: DataDirectory, credentials: Credentials, seconds: float, *, as_json: bool
) -> None:
    if as_json:
        ready = {"url": options.url, "apiKey": credentials.admin_key, "orgApiKey": credentials.org_key}
        print(json.dumps({**ready, "org": credentials.org, "data": str(data.path)}), flush=True)
        return
    lines = {
        "URL": options.url,
        "API key": f"{credentials.admin_key}  (admin)",
        "": f"{credentials.org_key}  (organisation {credentials.org})",
        "Data": data.path,
        "Workflows": options.workflows.absolute(),
    }
    print(f"Runlane is ready ({seconds:.1f} s).")
    for name, value in lines.items():
        print(f"  {name:<10} {value}")
    print("`runlane workflows` lists what can be run. Ctrl-C drains and stops.", flush=True)


def _usable_port(host: str, port: int) -> int:
    """The port, or a free one for 0; raises `CommandFailed` when it cannot be had."""
    try:
        if port == 0:
            return free_port(host)
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
            return port
    except OSError as problem:
        reason = "it is in use" if problem.errno == errno.EADDRINUSE else str(problem.strerror)
        raise CommandFailed(
            f"Port {port} of {host} cannot be opened: {reason}. Choose another with --port (0 takes any).", USAGE
        ) from None


def _tell(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)
