"""Starts a service as `runlane serve` does, after changing what the switches name: `python shim.py KIND SWITCH…`.

Only the chaos harness starts services through this file. `quick-sweep` makes the sweeper look more often than it would;
the others take away one protection each, and the checker has to notice (negative controls).
"""

import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any


def quick_sweep() -> None:
    """Lost executions are looked for every five seconds: a run of three minutes does not wait for them that long."""
    from runlane_recorder import sweeper

    pace = sweeper.Sweep(every=5.0, patience=10.0)
    given = sweeper.Sweeper.__init__

    def __init__(self: Any, bus: Any, store: Any, clock: Any, _: Any = None) -> None:
        given(self, bus, store, clock, pace)

    sweeper.Sweeper.__init__ = __init__  # type: ignore[method-assign]


def no_compare_and_set() -> None:
    """Nothing is stored on condition of anything."""
    from runlane.adapters.nats import publisher

    headers = publisher._headers

    def unconditional(message: Any) -> dict[str, str]:
        return {k: v for k, v in headers(message).items() if not k.startswith("Nats-Expected-Last")}

    publisher._headers = unconditional


def no_fencing() -> None:
    """States are moved on condition, but what a run tells of itself is stored whoever owns the execution by now."""
    import msgspec

    from runlane_executor.runs import Runs
    from runlane_executor.stateline import StateLine

    publish = StateLine.publish

    async def unfenced(self: Any, message: Any) -> int:
        if message.subject.endswith(".trace"):
            message = msgspec.structs.replace(message, expect_last=None, expect_on=None)
        return await publish(self, message)

    async def never(self: Any) -> None:
        """Not even look who owns it after a silence."""

    StateLine.publish = unfenced  # type: ignore[method-assign]
    Runs.check_claims = never  # type: ignore[method-assign]


def no_dedupe() -> None:
    """The recorder takes every delivery for a new event."""
    import msgspec

    from runlane.adapters.sql.store import SqlRecordStore

    apply = SqlRecordStore.apply

    async def each_anew(self: Any, events: Sequence[Any]) -> None:
        first = time.time_ns()
        fresh = [msgspec.structs.replace(event, sequence=first + place) for place, event in enumerate(events)]
        await apply(self, fresh)

    SqlRecordStore.apply = each_anew  # type: ignore[method-assign]


def no_redaction() -> None:
    """What is read as a secret is written like anything else. Children import no shim, but they import workflows."""
    from runlane.redaction import Redactor

    change = "from runlane.redaction import Redactor\n\nRedactor.learn = lambda self, value: None\n"
    Path(os.environ["RUNLANE_WORKFLOWS"], "unmasked.py").write_text(change)
    Redactor.learn = lambda self, value: None  # type: ignore[method-assign]


SWITCHES: dict[str, tuple[str, Callable[[], None]]] = {
    "quick-sweep": ("recorder", quick_sweep),
    "no-compare-and-set": ("", no_compare_and_set),
    "no-fencing": ("executor", no_fencing),
    "no-dedupe": ("recorder", no_dedupe),
    "no-redaction": ("executor", no_redaction),
}


def main() -> None:
    from runlane_cli.serve import serve

    kind = sys.argv[1]
    for name in sys.argv[2:]:
        only, switch = SWITCHES[name]
        if only in ("", kind):
            switch()
    serve(kind)


if __name__ == "__main__":
    main()
