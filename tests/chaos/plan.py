"""Seed → plan: each operation of the clients and each fault with its moment. Pure, so a seed repeats its plan."""

import random
from collections.abc import Callable

from msgspec import Struct

from tests.chaos.topology import ONE_NODE, Topology

#: Kind of work → its share. Cron needs no client.
SHARES = {
    "plain": 24.5,
    "sync": 22,
    "steps": 14,
    "flaky": 6,
    "cancel": 10,
    "retry": 3,
    "doze": 4,
    "approval": 4,
    "event": 4,
    "big": 2,
    "webhook": 2.5,
    "secret": 1.5,
    "batch": 2,
    "poison": 0.5,
}


class Operation(Struct, frozen=True):
    """One piece of a client's work, `at` seconds after the start.

    `keyed`: it is repeated under its Idempotency-Key until it is answered. `pause` and `number` are what its kind makes
    of them. `watched`: the client waits for the end and writes down what it saw.
    """

    op: int
    at: float
    kind: str
    keyed: bool
    watched: bool
    pause: float
    number: int


class Fault(Struct, frozen=True):
    """Something bad, `at` seconds after the start, for so many `seconds`."""

    at: float
    kind: str
    target: str
    seconds: float


#: Operations from here on are asked for after the last fault: a healthy engine answers them.
PROBES = 1_000_000


class Plan(Struct, frozen=True):
    seed: int
    seconds: float
    operations: list[Operation]
    faults: list[Fault]
    there: Topology = ONE_NODE


Lasting = Callable[[random.Random], float]
_STOPPED_AT_MOST = {"nats-server": 4.0, "child": 4.0}


def kinds_of_faults(there: Topology) -> dict[str, tuple[tuple[str, ...], Lasting]]:
    """Kind of fault → its targets and how long it lasts. A lease ends after 5 s: executors are stopped for longer at
    times. A service's connections to nats-server go through proxies of its own."""
    found: dict[str, tuple[tuple[str, ...], Lasting]] = {
        "kill": (there.processes, lambda dice: 0.0),
        "stop": (there.processes, lambda dice: dice.choice([0.5, 2.0, 4.0, 7.0])),
        "cut": (there.services, lambda dice: 0.0),
        "delay": (there.services, lambda dice: dice.uniform(1, 4)),
        "blackhole": (there.services, lambda dice: dice.choice([1.0, 3.0, 7.0])),
        "drop answers": (there.services, lambda dice: dice.choice([0.3, 1.0, 3.0])),
        "lock": (("database",), lambda dice: dice.uniform(1, 7)),
    }
    if len(there.brokers) == 1:
        # Servers of a cluster have a disk each; theirs is not filled.
        found["full"] = (("disk",), lambda dice: dice.uniform(1, 4))
    else:
        # Gone for longer than a lease and than a recorder may be silent: another has to do its work.
        found["away"] = (there.services, lambda dice: dice.choice([2.0, 6.0, 10.0]))
        # One server and the other two see nothing of each other; clients see all of them.
        found["partition"] = (there.brokers, lambda dice: dice.choice([2.0, 6.0, 12.0]))
    return found


def make_plan(
    seed: int,
    executions: int,
    faults: int,
    seconds: float,
    kinds: tuple[str, ...] = (),
    there: Topology = ONE_NODE,
) -> Plan:
    """The plan of a seed. `kinds` leaves only such work in it."""
    dice = random.Random(f"{seed}/{executions}/{faults}/{seconds}/{kinds}")
    shares = {kind: share for kind, share in SHARES.items() if not kinds or kind in kinds}
    chosen = dice.choices(list(shares), list(shares.values()), k=executions)
    moments = sorted(dice.uniform(0, seconds) for _ in chosen)
    operations = [_operation(dice, op, at, kind) for op, (at, kind) in enumerate(zip(moments, chosen, strict=True))]
    return Plan(seed, seconds, operations, _faults(dice, faults, seconds, there), there)


def probes(count: int = 25) -> list[Operation]:
    """What is asked for when all is over, once and all together."""
    return [Operation(PROBES + n, 0.0, "sync", keyed=False, watched=False, pause=0.0, number=n) for n in range(count)]


def _operation(dice: random.Random, op: int, at: float, kind: str) -> Operation:
    return Operation(
        op=op,
        at=round(at, 3),
        kind=kind,
        keyed=kind in ("approval", "event", "retry") or dice.random() < 0.85,
        watched=kind in ("sync", "retry") or dice.random() < 0.25,
        pause=round(dice.choice([0.0, 0.02, 0.2, dice.uniform(0, 2.5)]), 3),
        number=dice.randrange(1_000_000),
    )


def _faults(dice: random.Random, count: int, seconds: float, there: Topology) -> list[Fault]:
    """As many as asked for: every kind on every target first, in any order, then any of them."""
    known = kinds_of_faults(there)
    every = [(kind, target) for kind, (targets, _) in known.items() for target in targets]
    deck: list[tuple[str, str]] = []
    while len(deck) < count:
        dice.shuffle(every)
        deck += every
    moments = sorted(dice.uniform(0.04, 0.93) * seconds for _ in range(count))
    return [_fault(at, kind, target, known[kind][1](dice)) for at, (kind, target) in zip(moments, deck, strict=False)]


def _fault(at: float, kind: str, target: str, lasting: float) -> Fault:
    if kind == "stop":
        lasting = min(lasting, _STOPPED_AT_MOST.get(target, lasting))
    return Fault(round(at, 3), kind, target, round(lasting, 3))
