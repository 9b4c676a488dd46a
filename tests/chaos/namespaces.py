"""Hosts of a chaos run's own: a network namespace for each nats-server of a cluster, which needs root and `ip`.

Each has two cables: one to a bridge where the servers meet, one to another where the rest of the run (in the namespace
that it was started in) reaches them. A partition unplugs the first from its bridge: the link stays up, and what is sent
is lost by the kernel without a word, as it is where a switch dies.
"""

import os
import re
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path

_PREFIX = "rlchaos"


class NamespacesRefused(Exception):
    """There can be none here; the text says why."""


class Namespaces:
    """Namespaces for `names`. Everything is named after this process, so that a later run knows what nobody needs."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self._pid = os.getpid()
        self._number = {name: number for number, name in enumerate(names, 1)}
        self._meeting, self._clients = f"{_PREFIX}m{self._pid}", f"{_PREFIX}c{self._pid}"
        # Addresses of their own for runs side by side; none leaves this machine.
        self._net = self._pid % 250

    def start(self) -> None:
        """Make them. Raises `NamespacesRefused`, and then nothing is left of them."""
        try:
            _remove_leftovers()
            for bridge in (self._meeting, self._clients):
                _ip("link", "add", bridge, "type", "bridge")
                _ip("link", "set", "dev", bridge, "up")
            _ip("address", "add", f"10.77.{self._net}.254/24", "dev", self._clients)
            for name in self._number:
                self._add(name)
        except (OSError, subprocess.CalledProcessError) as problem:
            self.remove()
            said = getattr(problem, "stderr", b"") or str(problem).encode()
            raise NamespacesRefused(said.decode().strip()) from None

    def remove(self) -> None:
        """Take them away; what runs in them loses its network."""
        for name in self._number:
            _ip_if_it_can("netns", "delete", self._space(name))
        for bridge in (self._meeting, self._clients):
            _ip_if_it_can("link", "delete", bridge)

    def inside(self, name: str, command: tuple[str, ...]) -> tuple[str, ...]:
        """The command that runs another in a server's namespace."""
        return (shutil.which("ip") or "ip", "netns", "exec", self._space(name), *command)

    def address(self, name: str) -> str:
        """Where clients find it."""
        return f"10.77.{self._net}.{self._number[name]}"

    def meeting_address(self, name: str) -> str:
        """Where the other servers find it."""
        return f"10.78.{self._net}.{self._number[name]}"

    def unplug(self, name: str) -> None:
        """Cut a server off from the others."""
        _ip("link", "set", "dev", self._cable("m", name), "nomaster")

    def plug(self, name: str) -> None:
        """Heal that."""
        _ip("link", "set", "dev", self._cable("m", name), "master", self._meeting)

    def _add(self, name: str) -> None:
        space = self._space(name)
        _ip("netns", "add", space)
        _ip("-n", space, "link", "set", "dev", "lo", "up")
        for kind, bridge, address in (
            ("m", self._meeting, self.meeting_address(name)),
            ("c", self._clients, self.address(name)),
        ):
            cable = self._cable(kind, name)
            _ip("link", "add", cable, "type", "veth", "peer", "name", kind, "netns", space)
            _ip("link", "set", "dev", cable, "master", bridge, "up")
            _ip("-n", space, "address", "add", f"{address}/24", "dev", kind)
            _ip("-n", space, "link", "set", "dev", kind, "up")

    def _space(self, name: str) -> str:
        return f"{_PREFIX}-{self._pid}-{self._number[name]}"

    def _cable(self, kind: str, name: str) -> str:
        # Names of links are 15 characters at most.
        return f"rlc{kind}{self._pid}-{self._number[name]}"


def _remove_leftovers() -> None:
    """What runs left behind that were killed."""
    spaces = _ip("netns", "list").split("\n")
    for space in (line.split(" ")[0] for line in spaces):
        found = re.fullmatch(rf"{_PREFIX}-(\d+)-\d+", space)
        if found is not None and not Path(f"/proc/{found[1]}").exists():
            _ip_if_it_can("netns", "delete", space)
    for link in re.findall(rf"^\d+: ({_PREFIX}[mc](\d+)):", _ip("-o", "link"), re.M):
        if not Path(f"/proc/{link[1]}").exists():
            _ip_if_it_can("link", "delete", link[0])


def _ip(*words: str) -> str:
    return subprocess.run(("ip", *words), capture_output=True, check=True, text=False).stdout.decode()


def _ip_if_it_can(*words: str) -> None:
    with suppress(OSError, subprocess.CalledProcessError):
        _ip(*words)
