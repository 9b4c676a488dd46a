"""`python -m tests.support.vendors [PORT]`: all three stand-ins on three ports, and how to point an engine at them."""

import asyncio
import sys
from contextlib import AsyncExitStack, suppress

from tests.support.vendors.connectwise import ConnectWiseStandIn
from tests.support.vendors.halopsa import HaloStandIn
from tests.support.vendors.msgraph import GraphStandIn
from tests.support.vendors.settings import config, secrets


async def main() -> None:
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 18300
    graph, halo, connectwise = GraphStandIn(), HaloStandIn(), ConnectWiseStandIn()
    graph.add_group("Sales-Users")
    async with AsyncExitStack() as stack:
        for number, vendor in enumerate((graph, halo, connectwise)):
            await stack.enter_async_context(vendor.serving(port + number))
        print("RUNLANE_ALLOWED_HOSTS=127.0.0.1 runlane up --workflows examples/workflows\n\nand in another terminal:\n")
        for key, value in config(graph, halo, connectwise).items():
            print(f"runlane config set {key} {value}")
        for key, value in secrets(graph, halo, connectwise).items():
            print(f"echo {value} | runlane secrets set {key}")
        sys.stdout.flush()
        await asyncio.Event().wait()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(main())
