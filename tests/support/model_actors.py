"""An executor of the real code in `model_world`, and the children under it, which do what the plan says."""

from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, cast

import msgspec

from runlane.contracts import subjects
from runlane.contracts.directory import Manifest, RetrySettings
from runlane.directory import Directory
from runlane.sealing import Sealer
from runlane_executor.claim import Claims
from runlane_executor.endings import Endings
from runlane_executor.frames import Stop, Stopped
from runlane_executor.intake import Intake, Limits
from runlane_executor.runs import Runs, Tools
from runlane_executor.stateline import StateLine
from tests.support.model_broker import ActorBus, Broker, Work, WorkDelivery

WORKFLOW = "hello"
MANIFEST = Manifest(
    name=WORKFLOW, description="", parameters=msgspec.Raw(b"{}"), version="1", retry=RetrySettings(max_attempts=3)
)
SEALER = Sealer(b"k" * 32)


class Code:
    """A child process and the authors' code in it: it does what the plan says."""

    def __init__(self, executor: "ExecutorActor") -> None:
        self._executor = executor
        self.alive, self.ending = True, False
        self.running: dict[str, None] = {}
        self.pipe = self

    def run(self, run: Any, config: object) -> None:
        self.running[run.identity.execution_id] = None
        self._executor.called(run.identity.execution_id)

    def send(self, frame: object) -> None:
        if isinstance(frame, Stop) and frame.execution_id in self.running:
            self.say(Stopped(frame.execution_id))

    def say(self, frame: Any) -> None:
        self._executor.runs.heard(cast(Any, self), frame)


class Codes:
    """`Children` as `Runs` uses them."""

    def __init__(self, executor: "ExecutorActor") -> None:
        self._executor = executor
        self.manifests = {WORKFLOW: MANIFEST}
        self.all: list[Code] = [Code(executor)]

    def pick(self) -> Code:
        return self.all[0]

    async def alone(self) -> Code:
        self.all.append(Code(self._executor))
        return self.all[-1]

    def done(self, child: Code, execution_id: str) -> None:
        child.running.pop(execution_id, None)

    def end(self, child: Code) -> None:
        self.die(child)

    def die(self, child: Code) -> None:
        child.alive = False
        self.all.remove(child)
        if not self.all:
            self.all.append(Code(self._executor))
        self._executor.runs.died(cast(Any, child), -9)


class ExecutorActor:
    """One executor process: the real intake, claims, runs and endings. `called` hears of each call of code."""

    def __init__(self, broker: Broker, name: str, called: Callable[[str], None]) -> None:
        self.broker, self.name, self.called = broker, name, called
        bus = cast(Any, ActorBus(broker, name))
        line = StateLine(bus, name)
        claims = Claims(line, broker.clock, SEALER)
        endings = Endings(line, claims, broker.clock, SEALER, lambda: 0.5, timedelta(days=7))
        vendors = cast(Any, SimpleNamespace(over=lambda execution_id: None))
        self.runs = Runs(Tools(line, claims, endings, Directory(), SEALER, cast(Any, None), broker.clock, 1.0, vendors))
        self.codes = Codes(self)
        self.runs.children = cast(Any, self.codes)
        self.intake = Intake(bus, claims, endings, self.runs, broker.clock, Limits())
        self._deliver = {
            stream: self.intake._deliver_from(stream, self.intake._shares.add(0))
            for stream in (subjects.REQUESTS, subjects.DELAYED)
        }

    def deliver(self, work: Work) -> None:
        work.holder, work.delivered = self.name, work.delivered + 1
        self._deliver[work.stream](WorkDelivery(self.broker, work, self.name))

    def holds(self, work: Work) -> bool:
        return (work.stream, work.sequence) in self.intake._leases
