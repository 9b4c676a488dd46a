"""`runlane serve NAME`: runs one service, found by its entry point. `runlane up` starts services through this module.

Kept apart from `main` so that a service process does not carry the command line in its memory.
"""

import gc
import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points

from .problems import USAGE, CommandFailed

GROUP = "runlane.services"


def serve(name: str) -> None:
    """Run the service until it ends the process; raises `CommandFailed` when it is not installed here."""
    found = {entry.name: entry for entry in entry_points(group=GROUP)}
    if name not in found:
        known = ", ".join(sorted(found)) or "none"
        raise CommandFailed(f"There is no service {name!r}; installed here: {known}.", USAGE)
    _load(found[name])()


def _load(entry: EntryPoint) -> Callable[[], None]:
    package = entry.module.partition(".")[0]
    gc.disable()  # modules are there to stay: looking for garbage among them takes an eighth of their loading
    try:
        loaded: Callable[[], None] = entry.load()
    except ModuleNotFoundError as problem:
        if problem.name not in (package, entry.module):
            raise
        raise CommandFailed(
            f"The service {entry.name!r} is not part of this installation ({package}).", USAGE
        ) from None
    finally:
        gc.enable()
    return loaded


def main() -> None:
    """`python -m runlane_cli.serve NAME`."""
    try:
        serve(sys.argv[1])
    except CommandFailed as problem:
        print(f"runlane: {problem.message}", file=sys.stderr)
        raise SystemExit(problem.exit_code) from None


if __name__ == "__main__":
    main()
