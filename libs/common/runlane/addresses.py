"""Where clients of vendors' APIs may connect to: public addresses, and hosts that an operator allows by name.

`settings` reads RUNLANE_ALLOWED_HOSTS with it; `integrations.guard` asks before each connection.
"""

import re
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

_HOST = re.compile(r"(?P<host>\[[0-9a-fA-F:.]+\]|[A-Za-z0-9_.-]+)(?::(?P<port>\d{1,5}))?")
#: IPv4 within IPv6 (RFC 6052): what is behind it decides.
_NAT64 = IPv6Network("64:ff9b::/96")
#: Answers inside every Azure network, with credentials among other things, though the address is a public one.
_AZURE_HOST = IPv4Address("168.63.129.16")


def parse_allowed_hosts(text: str) -> frozenset[str]:
    """Read `host[:port],…`; raises `ValueError` saying which part cannot be used. IPv6 addresses stand in brackets."""
    return frozenset(_allowed(part.strip()) for part in text.split(",") if part.strip())


def _allowed(part: str) -> str:
    found = _HOST.fullmatch(part)
    if found is None or (found["port"] is not None and not 0 < int(found["port"]) < 65536):
        raise ValueError(f"{part!r} is not host or host:port")
    return part.lower()


def is_allowed(host: str, port: int, allowed: frozenset[str]) -> bool:
    """Whether the operator allows this host, on this port or on any."""
    name = f"[{host}]" if ":" in host else host.lower().rstrip(".")
    return name in allowed or f"{name}:{port}" in allowed


def is_public(address: str) -> bool:
    """Whether an IP address is one of the internet at large: not private, local, shared, reserved or multicast."""
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(found, IPv6Address):
        inner = found.ipv4_mapped or found.sixtofour or (found in _NAT64 and IPv4Address(int(found) & 0xFFFFFFFF))
        found = inner or found
    return found.is_global and not found.is_multicast and not found.is_reserved and found != _AZURE_HOST
