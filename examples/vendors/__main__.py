"""`python -m examples.vendors [PORT]`: stand-ins for four vendors, and the commands that point an engine at them."""

import asyncio
import json
import signal
import sys
from contextlib import AsyncExitStack

from examples.vendors.backup import BackupStandIn
from examples.vendors.connectwise import ConnectWiseStandIn
from examples.vendors.halopsa import HaloStandIn
from examples.vendors.msgraph import GraphStandIn
from examples.vendors.sample import fill
from examples.vendors.settings import config, secrets


async def main() -> None:
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 18300
    graph, halo, connectwise, backup = GraphStandIn(), HaloStandIn(), ConnectWiseStandIn(), BackupStandIn()
    fill(graph, halo, connectwise)
    vendors = (graph, halo, connectwise, backup)
    async with AsyncExitStack() as stack:
        for number, vendor in enumerate(vendors):
            await stack.enter_async_context(vendor.serving(port + number if port else 0))
        print("# The vendors are there. For an engine started with RUNLANE_ALLOWED_HOSTS=127.0.0.1:")
        print(f"runlane config import - <<'END'\n{json.dumps(config(*vendors), indent=2)}\nEND")
        for key, value in secrets(*vendors).items():
            print(f"echo {value} | runlane secrets set {key}")
        print("# Ctrl-C ends them.", flush=True)
        await _told_to_stop()


async def _told_to_stop() -> None:
    """Ctrl-C, or SIGTERM; asked for by name, as what a script starts in the background ignores Ctrl-C."""
    told = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, told.set)
    await told.wait()


if __name__ == "__main__":
    asyncio.run(main())
