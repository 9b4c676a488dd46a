"""Ports for servers that are started later, and again after each kill."""

import random
import socket

#: Below what the kernel gives to those who ask for any port, and to whoever connects: a run of chaos makes thousands of
#: connections, and now and then one of them had just taken the port of a server that was to start.
_RANGE = range(15_000, 32_000)


def quiet_port() -> int:
    """A port that nobody listens on, and that nobody is given by chance."""
    for port in random.sample(_RANGE, 200):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise OSError(f"200 ports of {_RANGE.start} to {_RANGE.stop} are taken")
