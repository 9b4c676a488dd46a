"""Who asks for executions in `model_world`, cancels them, decides on them and sends them events: real gateways' parts.

Each call is an actor of its own, so that it can crash between any two of its effects.
"""

import asyncio
import itertools
from collections.abc import Callable, Coroutine
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, cast

from runlane.contracts.approvals import ApprovalTerms
from runlane.contracts.records import Record
from runlane.contracts.requests import Caller, Trigger
from runlane.directory import Directory
from runlane.errors import RunlaneError
from runlane_gateway.accept import Acceptor
from runlane_gateway.cancelling import Canceller
from runlane_gateway.deciding import Decider, Verdict
from runlane_gateway.principals import Principal
from runlane_gateway.signals import Signal, Signaller
from runlane_gateway.submissions import Submission
from tests.support.model_actors import MANIFEST, SEALER
from tests.support.model_broker import ActorBus, Broker

ORG = "acme"
_AT_MOST = 3


class Callers:
    """`byte` is the next choice of the plan, `records` what a caller can read."""

    def __init__(self, broker: Broker, byte: Callable[[], int], records: Callable[[], dict[str, Record]]) -> None:
        self._broker, self._clock, self._byte, self._records = broker, broker.clock, byte, records
        self._submissions: dict[str, Submission] = {}
        self._numbers = itertools.count(1)
        self._asked = 0
        self._tasks: list[asyncio.Task[None]] = []
        self.accepted: list[str] = []
        self.refused: list[str] = []
        self.unexpected: list[BaseException] = []

    def submit(self) -> None:
        if self._asked >= _AT_MOST:
            return
        self._asked += 1
        execution_id, kind = f"e{self._asked}", self._byte() % 4
        terms = ApprovalTerms(expires_at=self._clock.now() + timedelta(seconds=90), rule="r")
        submission = Submission(
            execution_id=execution_id,
            org=ORG,
            manifest=MANIFEST,
            parameters={},
            caller=Caller("caller"),
            trigger=Trigger(),
            run_at=self._clock.now() + timedelta(seconds=20) if kind == 2 else None,
            approval=terms if kind == 3 else None,
        )
        self._submissions[execution_id] = submission
        acceptor = Acceptor(cast(Any, ActorBus(self._broker, f"accept-{execution_id}")), SEALER, self._clock, "g")

        async def accept() -> None:
            try:
                await (acceptor.submit_once if kind == 1 else acceptor.submit)(submission)
            except RunlaneError:
                self.refused.append(execution_id)
                raise
            self.accepted.append(execution_id)

        self._spawn(accept())

    def cancel(self) -> None:
        record = self._some_record()
        if record is not None:
            bus = cast(Any, ActorBus(self._broker, f"cancel-{next(self._numbers)}"))
            waiters = cast(Any, SimpleNamespace(ended=lambda *_: None))
            self._spawn(Canceller(bus, self._clock, waiters, "g").cancel(ORG, record, Caller("c"), "enough"))

    def approve(self) -> None:
        record = self._some_record()
        if record is not None:
            bus = cast(Any, ActorBus(self._broker, f"decide-{next(self._numbers)}"))
            waiters = cast(Any, SimpleNamespace(ended=lambda *_: None))
            name = f"k{self._byte() % 2}"
            who = Principal(name, name, None, frozenset({ORG}), frozenset({"*"}))
            decider = Decider(bus, Directory(), SEALER, self._clock, waiters, "g")
            self._spawn(decider.decide(record, who, Verdict(approved=self._byte() % 3 > 0)))

    def signal(self) -> None:
        """An event from outside; the same one may be sent again."""
        record = self._some_record()
        if record is not None:
            bus = cast(Any, ActorBus(self._broker, f"signal-{next(self._numbers)}"))
            given = Signal(name="paid", id=f"s{self._byte() % 2}", data={}, by=Caller("c"))
            self._spawn(Signaller(bus, SEALER, self._clock, "g").send(record, given))

    def again(self) -> None:
        """A caller who heard no answer asks again, while nobody has claimed what he asked for (`calls` checks that)."""
        record = self._some_record()
        submission = None if record is None else self._submissions[record.execution_id]
        if record is None or submission is None or record.state_sequence:
            return
        acceptor = Acceptor(cast(Any, ActorBus(self._broker, f"again-{next(self._numbers)}")), SEALER, self._clock, "g")

        async def accept() -> None:
            await acceptor.submit_again(submission, record)
            self.accepted.append(record.execution_id)

        self._spawn(accept())

    def _some_record(self) -> Record | None:
        records = self._records()
        options = [records[key] for key in sorted(records)]
        return options[self._byte() % len(options)] if options else None

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> None:
        async def caller() -> None:
            try:
                await work
            except RunlaneError:
                pass  # the caller was told that it did not work
            except Exception as problem:
                self.unexpected.append(problem)

        self._tasks.append(asyncio.get_running_loop().create_task(caller()))
