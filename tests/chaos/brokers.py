"""The nats-servers of a chaos run, one or a cluster of three, and everything between them and others: proxies."""

import asyncio
from pathlib import Path

from runlane_cli.natsserver import NatsServer, free_port
from tests.chaos.proxy import Mode, Proxy

_PASSWORD = "chaos"


class Link:
    """The ways from one process to each of some others."""

    def __init__(self, targets: list[int]) -> None:
        self.proxies = [Proxy(target) for target in targets]

    async def start(self) -> None:
        for proxy in self.proxies:
            await proxy.start()

    def stop(self) -> None:
        for proxy in self.proxies:
            proxy.stop()

    @property
    def url(self) -> str:
        return ",".join(f"nats://127.0.0.1:{proxy.port}" for proxy in self.proxies)


class Brokers:
    """`names` of the servers, each with a directory of its own below `directory`."""

    def __init__(self, names: tuple[str, ...], directory: Path, max_bytes: int) -> None:
        self.servers = {
            name: NatsServer(directory=directory / name, port=free_port(), password=_PASSWORD, max_bytes=max_bytes)
            for name in names
        }
        self._routes = {name: free_port() for name in names}
        #: Who → whom: the way that a server goes to another one.
        self._between = {(one, other): Proxy(self._routes[other]) for one in names for other in names if one != other}

    def link(self) -> Link:
        """A way of its own to every server for one service."""
        return Link([server.port for server in self.servers.values()])

    @property
    def url(self) -> str:
        """Past all proxies."""
        return ",".join(server.url for server in self.servers.values())

    def password_of(self, user: str) -> str:
        return next(iter(self.servers.values())).password_of(user)

    async def start_proxies(self) -> None:
        for proxy in self._between.values():
            await proxy.start()

    def stop_proxies(self) -> None:
        for proxy in self._between.values():
            proxy.stop()

    def around(self, name: str) -> list[Proxy]:
        """All ways between a server and the others."""
        return [proxy for ends, proxy in self._between.items() if name in ends]

    def config(self, name: str) -> str:
        """A server's configuration. Servers know each other by proxies alone."""
        alone = self.servers[name].config()
        if len(self.servers) == 1:
            return alone
        routes = ", ".join(
            f'"nats://127.0.0.1:{proxy.port}"' for (one, _), proxy in self._between.items() if one == name
        )
        cluster = f'name: chaos, listen: "127.0.0.1:{self._routes[name]}", no_advertise: true, routes: [{routes}]'
        return alone.replace("server_name: runlane", f"server_name: {name}") + f"cluster {{ {cluster} }}\n"


async def behave(proxies: list[Proxy], mode: Mode, seconds: float) -> None:
    """All of them at once."""
    await asyncio.gather(*(proxy.behave(mode, seconds) for proxy in proxies))
