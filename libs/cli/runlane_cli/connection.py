"""Where the gateway is and which key opens it: as the options say, else as the data directory does."""

from pathlib import Path
from urllib.parse import urlsplit

from msgspec import Struct

from .datadir import DEFAULT, DataDirectory
from .problems import UNREACHABLE, USAGE, CommandFailed

_LOOPBACK = {"127.0.0.1", "::1", "localhost"}


class Target(Struct, frozen=True, kw_only=True):
    """Whom to speak to. `org` None: the key's own, or none."""

    url: str
    key: str
    org: str | None
    data: Path | None = None

    @property
    def local(self) -> bool:
        """Whether it is this machine."""
        return urlsplit(self.url).hostname in _LOOPBACK


def find_target(url: str | None, key: str | None, org: str | None, data: Path | None) -> Target:
    """The gateway that these options mean; raises `CommandFailed` saying what to give.

    Keys of a data directory are sent to the engine of that directory only, and its organisation is the default there.
    """
    directory = DataDirectory(data or DEFAULT)
    if url is not None and urlsplit(url).scheme not in ("http", "https"):
        raise CommandFailed(f"{url!r} is not an http or https URL.", USAGE)
    state = directory.state()
    own = state is not None and (url is None or url.rstrip("/") == state.url)
    if url is None and state is None:
        raise CommandFailed(
            f"No engine runs on {directory.path}: start one with `runlane up`, or name one with --url and --key.",
            UNREACHABLE,
        )
    credentials = directory.credentials() if own and key is None else None
    if credentials is not None:
        key, org = credentials.admin_key, org or credentials.org
    if key is None:
        raise CommandFailed("Which API key? Give one with --key or in RUNLANE_API_KEY.", USAGE)
    found = url or (state.url if state is not None else "")
    return Target(url=found.rstrip("/"), key=key, org=org, data=directory.path if own else None)
