"""The nats-servers of a chaos run, one or a cluster of three, and what stands between them and others: proxies, and
network namespaces where there can be any."""

import asyncio
from pathlib import Path

from runlane_cli.natsserver import NatsServer
from tests.chaos.namespaces import Namespaces, NamespacesRefused
from tests.chaos.proxy import Mode, Proxy
from tests.support.ports import quiet_port

_PASSWORD = "chaos"


class Link:
    """The ways from one process to each of some servers."""

    def __init__(self, servers: list[NatsServer]) -> None:
        self.proxies = [Proxy(server.port, host=server.host) for server in servers]

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
    """`names` of the servers, each with a directory of its own below `directory`.

    Several know each other by the addresses of namespaces of their own or, where `refused` says why there are none, by
    proxies alone.
    """

    def __init__(self, names: tuple[str, ...], directory: Path, max_bytes: int) -> None:
        self._namespaces, self.refused = _namespaces(names)
        self.servers = {
            name: NatsServer(
                directory=directory / name,
                port=quiet_port(),
                password=_PASSWORD,
                max_bytes=max_bytes,
                host="127.0.0.1" if self._namespaces is None else self._namespaces.address(name),
            )
            for name in names
        }
        self._routes = {name: quiet_port() for name in names}
        #: Who → whom: the way that a server goes to another one.
        self._between = {(one, other): Proxy(self._routes[other]) for one in names for other in names if one != other}

    def link(self) -> Link:
        """A way of its own to every server for one service."""
        return Link(list(self.servers.values()))

    @property
    def url(self) -> str:
        """Past all proxies."""
        return ",".join(server.url for server in self.servers.values())

    def password_of(self, user: str) -> str:
        return next(iter(self.servers.values())).password_of(user)

    async def start_proxies(self) -> None:
        for proxy in self._between.values():
            await proxy.start()

    def stop(self) -> None:
        """Take away what stands between them, once they have ended."""
        for proxy in self._between.values():
            proxy.stop()
        if self._namespaces is not None:
            self._namespaces.remove()

    async def partition(self, name: str, seconds: float) -> None:
        """Cut a server off from the others for a while; clients see all of them still."""
        if self._namespaces is None:
            await behave([proxy for ends, proxy in self._between.items() if name in ends], "blackhole", seconds)
            return
        self._namespaces.unplug(name)
        try:
            await asyncio.sleep(seconds)
        finally:
            self._namespaces.plug(name)

    def command(self, name: str, program: tuple[str, ...]) -> tuple[str, ...]:
        """What starts a server."""
        return program if self._namespaces is None else self._namespaces.inside(name, program)

    def config(self, name: str) -> str:
        """A server's configuration."""
        alone = self.servers[name].config()
        if len(self.servers) == 1:
            return alone
        routes = ", ".join(f'"nats://{self._way(name, other)}"' for other in self.servers if other != name)
        host = "127.0.0.1" if self._namespaces is None else self._namespaces.meeting_address(name)
        cluster = f'name: chaos, listen: "{host}:{self._routes[name]}", no_advertise: true, routes: [{routes}]'
        return alone.replace("server_name: runlane", f"server_name: {name}") + f"cluster {{ {cluster} }}\n"

    def _way(self, one: str, other: str) -> str:
        if self._namespaces is None:
            return f"127.0.0.1:{self._between[one, other].port}"
        return f"{self._namespaces.meeting_address(other)}:{self._routes[other]}"


def _namespaces(names: tuple[str, ...]) -> tuple[Namespaces | None, str]:
    """Namespaces for several servers, or None and why."""
    if len(names) == 1:
        return None, ""
    made = Namespaces(names)
    try:
        made.start()
    except NamespacesRefused as problem:
        return None, str(problem)
    return made, ""


async def behave(proxies: list[Proxy], mode: Mode, seconds: float) -> None:
    """All of them at once."""
    await asyncio.gather(*(proxy.behave(mode, seconds) for proxy in proxies))
