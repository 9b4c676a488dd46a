"""`python -m tests.chaos.controls`: without a protection, the checker must find what that is there for.

A run in which it finds nothing fails: then either the faults do not reach the protection or the checker is blind.
"""

import re
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import msgspec
import uvloop

from tests.chaos.__main__ import Setting, run
from tests.chaos.checker import check
from tests.chaos.plan import Fault, Plan, make_plan

_SEED = 4
_ZOMBIES = [
    Fault(3.0, "stop", "executor-1", 8.0),
    Fault(12.0, "stop", "executor-2", 8.0),
    Fault(14.0, "stop", "executor-1", 8.0),
]
#: A recorder that dies after it has stored and before it has told so, and answers that never reach it.
_AGAIN = [
    fault
    for at in range(2, 14, 3)
    for fault in (Fault(at, "drop answers", "recorder", 0.5), Fault(at + 1.5, "kill", "recorder", 0.0))
]


class Control(msgspec.Struct, frozen=True):
    """What is switched off, the faults that it protects from, and what the checker has to say."""

    switch: str
    faults: list[Fault]
    expected: Callable[[str], bool]


def _twice_in_the_store(violation: str) -> bool:
    found = re.match(r"I6: .* has (\d+) trace entries in the stream and (\d+) in the store", violation)
    return found is not None and int(found[2]) > int(found[1])


CONTROLS = [
    Control("no-compare-and-set", _ZOMBIES, lambda violation: violation.startswith("I2: ") and "times" in violation),
    Control("no-fencing", _ZOMBIES, lambda violation: violation.startswith("I5: ")),
    Control("no-dedupe", _AGAIN, _twice_in_the_store),
    Control("no-redaction", [], lambda violation: violation.startswith("I12: ") and "records.db" in violation),
]


def plan_of(control: Control) -> Plan:
    plan = make_plan(_SEED, 500, 0, 18.0, ("steps", "cancel", "sync", "secret"))
    return msgspec.structs.replace(plan, faults=control.faults)


def bites(control: Control) -> bool:
    """Whether the checker finds what is to be found."""
    with tempfile.TemporaryDirectory(prefix="chaos-control-") as directory:
        setting = Setting(Path(directory), ("quick-sweep", control.switch), patience=10.0)
        evidence = uvloop.run(run(plan_of(control), setting))
    found = [violation for violation in check(evidence) if control.expected(violation)]
    print(f"{control.switch}: {len(found)} violations of the expected kind; {found[:1]}", flush=True)
    return bool(found)


def main(switches: list[str]) -> int:
    chosen = [control for control in CONTROLS if not switches or control.switch in switches]
    blind = [control.switch for control in chosen if not bites(control)]
    if blind:
        print(f"The checker finds nothing with: {', '.join(blind)}", flush=True)
    return 1 if blind else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
