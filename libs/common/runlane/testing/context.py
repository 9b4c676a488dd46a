"""A real `Context` over memory: a misspelt name fails here as it would in the engine. `running` has it run whole."""

import copy
from collections.abc import Awaitable, Generator, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from runlane.clock import ManualClock
from runlane.context import Context, Identity, Journal, Received
from runlane.contracts import subjects
from runlane.contracts.approvals import ApprovalAsk
from runlane.contracts.events import ApprovalDecision
from runlane.contracts.requests import Caller, Trigger
from runlane.contracts.trace import (
    CallEntry,
    CheckpointEntry,
    LogEntry,
    ProgressEntry,
    SecretEntry,
    StepEntry,
    TraceEntry,
    VariableEntry,
)
from runlane.errors import ConfigurationError
from runlane.ids import new_execution_id
from runlane.ports import Budget, Suspend

__all__ = ["TIMES_OUT", "FakeContext"]

_START = datetime(2026, 1, 1, tzinfo=UTC)

#: The engine gives the slot up for longer ones, and calls the function again when the time has come.
_SHORT_SLEEP_SECONDS = 2.0

#: Among the `events` or `approvals` of a `FakeContext`: this wait ends with a `TimeoutError`.
TIMES_OUT: Any = object()


class _Stored:
    """In memory everything is stored at once."""

    def __await__(self) -> Generator[Any, None, None]:
        yield from ()


class _MemoryVendors:
    """`ports.Vendors` of one context: no call has to wait for a budget, and waiting moves the clock."""

    def __init__(self, allowed_hosts: Iterable[str], clock: ManualClock) -> None:
        self.allowed_hosts, self._clock = frozenset(allowed_hosts), clock
        self._tokens: dict[str, str] = {}

    async def cached_token(self, client: str, refused: str | None = None) -> str | None:
        kept = self._tokens.get(client)
        return None if kept == refused else kept

    def remember_token(self, client: str, token: str | None, seconds: float = 0) -> None:
        if token is not None:
            self._tokens[client] = token

    async def reserve_call(self, vendor: str, budget: Budget, within: float, count: int = 1) -> float | None:
        return 0.0

    async def pause(self, seconds: float) -> None:
        self._clock.set(self._clock.now() + timedelta(seconds=seconds))


class _MemoryRuntime:
    """`ports.Runtime` that keeps what it is told; sleeping moves the clock."""

    def __init__(
        self, config: Mapping[str, Any], secrets: Mapping[str, str], clock: ManualClock, vendors: _MemoryVendors
    ) -> None:
        self._config, self._secrets, self._clock, self._vendors = config, secrets, clock, vendors
        self.entries: list[TraceEntry] = []
        self.true_values: list[bytes | None] = []
        self.sleeps: list[float] = []
        self.suspends = False
        self.suspended: Suspend | None = None

    def trace(self, entry: TraceEntry, true_value: bytes | None = None) -> Awaitable[None]:
        self.entries.append(entry)
        self.true_values.append(true_value)
        return _Stored()

    def remember_in(self, journal: Journal) -> None:
        """Put what was traced where a later run finds it, in its true form."""
        for entry, true_value in zip(self.entries, self.true_values, strict=True):
            match entry:
                case StepEntry(key=key, result=shown):
                    journal.steps[key] = true_value or bytes(shown)
                case VariableEntry(name=name, value=shown):
                    journal.variables[name] = true_value or bytes(shown)
                case CheckpointEntry(name=name, data=shown):
                    journal.checkpoints[name] = true_value or bytes(shown)
                case SecretEntry() if true_value is not None and true_value.decode() not in journal.secrets:
                    journal.secrets.append(true_value.decode())

    async def secret(self, name: str) -> str | None:
        return self._secrets.get(name)

    def config(self) -> Mapping[str, Any]:
        return self._config

    async def sleep(self, until: datetime) -> None:
        seconds = (until - self._clock.now()).total_seconds()
        if seconds > 0:
            self.sleeps.append(seconds)
            if self.suspends and seconds > _SHORT_SLEEP_SECONDS:
                self.suspended = Suspend("sleep", until)
                raise self.suspended
            self._clock.set(until)

    async def wait(self, reason: str, until: datetime, approval: ApprovalAsk | None = None) -> None:
        name = subjects.awaited_event(reason)
        given = "approvals=[True]" if name is None else f"events={{{name!r}: [...]}}"
        what = "an approval" if name is None else f"the event {name!r}"
        raise LookupError(f"The workflow waits for {what} and the test has given none (any more): {given}")

    def vendors(self) -> _MemoryVendors:
        return self._vendors


class FakeContext(Context):
    """A Context for tests. What the workflow wrote is in `logs`, `checkpoints`, `variables`, `calls` and `progresses`.

    `integrations` maps names to what `get_integration` returns, a class standing for an instance of it. Other names are
    refused, so no test calls a vendor by mistake; with `allowed_hosts` (`"127.0.0.1:8080"`), where clients may go
    without TLS, they are the real clients. Time stands still except for `context.sleep`, which is noted in `sleeps`,
    and what vendors ask to wait; both move `clock`. Names that a Context does not have can neither be read nor set.
    `events` (a list of data for each name) and `approvals` are what its waits come to, in their order; `TIMES_OUT`
    among them is a wait that ends in a `TimeoutError`.
    """

    def __init__(  # noqa: PLR0913
        self,
        *,
        org_id: str = "org-test",
        org_name: str = "Test Org",
        tenant_id: str | None = "tenant-test",
        config: Mapping[str, Any] | None = None,
        secrets: Mapping[str, str] | None = None,
        integrations: Mapping[str, Any] | None = None,
        caller: Caller | None = None,
        attempt: int = 1,
        steps: Mapping[str, Any] | None = None,
        allowed_hosts: Iterable[str] = (),
        events: Mapping[str, Sequence[Any]] | None = None,
        approvals: Sequence[bool | ApprovalDecision] = (),
    ) -> None:
        self._manual = ManualClock(_START)
        vendors = _MemoryVendors(allowed_hosts, self._manual)
        self._memory = _MemoryRuntime(config or {}, secrets or {}, self._manual, vendors)
        self._given = dict(integrations or {})
        identity = Identity(
            execution_id=new_execution_id(),
            workflow="test",
            org_id=org_id,
            org_name=org_name,
            tenant_id=tenant_id,
            caller=caller or Caller(id="tester", email="tester@example.com", name="Tester"),
            trigger=Trigger(),
            attempt=attempt,
            resumed=steps is not None,
        )
        stored = {name: msgspec.json.encode(result) for name, result in (steps or {}).items()}
        stored |= _waits(events or {}, approvals, self._manual.now())
        super().__init__(identity, self._memory, Journal(steps=stored), self._manual)

    def __setattr__(self, name: str, value: Any) -> None:
        if not name.startswith("_") and not hasattr(type(self), name):
            raise AttributeError(f"a Context has no {name!r}")
        super().__setattr__(name, value)

    def get_integration(self, name: str) -> Any:
        """What the test gave; a real client where it said where clients may go; else `ConfigurationError`."""
        if name not in self._given and self._memory.vendors().allowed_hosts:
            return super().get_integration(name)
        if name not in self._given:
            known = ", ".join(sorted(self._given)) or "none"
            raise ConfigurationError(f"The test gave no integration {name!r}; given: {known}", name)
        if name not in self._integrations:
            given = self._given[name]
            self._integrations[name] = given(self) if isinstance(given, type) else given
        return self._integrations[name]

    def run_again(self, *, workflow: str, attempt: int, resumed: bool) -> "FakeContext":
        """The context of another run of the same execution, which finds what the runs before it stored."""
        self._memory.remember_in(self._journal)
        fresh = copy.copy(self)
        identity = msgspec.structs.replace(self._identity, workflow=workflow, attempt=attempt, resumed=resumed)
        Context.__init__(fresh, identity, self._memory, self._journal, self._manual)
        return fresh

    @property
    def clock(self) -> ManualClock:
        """The time as the workflow sees it."""
        return self._manual

    @property
    def caller(self) -> Caller:
        """On whose behalf it runs."""
        return self._identity.caller

    @property
    def entries(self) -> list[TraceEntry]:
        """Everything that was traced, in order."""
        return self._memory.entries

    @property
    def suspending(self) -> bool:
        """Whether a long sleep unwinds the workflow, as in the engine; for `run_workflow`."""
        return self._memory.suspends

    @suspending.setter
    def suspending(self, suspends: bool) -> None:
        self._memory.suspends, self._memory.suspended = suspends, None

    @property
    def suspended(self) -> Suspend | None:
        """What was to unwind the run that goes on."""
        return self._memory.suspended

    @property
    def sleeps(self) -> list[float]:
        """The seconds of every sleep."""
        return self._memory.sleeps

    @property
    def logs(self) -> list[tuple[str, str]]:
        """(level, message) of every log line, as the record would show it."""
        return [(entry.level, entry.message) for entry in self._memory.entries if isinstance(entry, LogEntry)]

    @property
    def checkpoints(self) -> dict[str, Any]:
        """The data of each checkpoint, as the record would show it."""
        found = [entry for entry in self._memory.entries if isinstance(entry, CheckpointEntry)]
        return {entry.name: msgspec.json.decode(entry.data) for entry in found}

    @property
    def variables(self) -> dict[str, Any]:
        """The variables, as the record would show them."""
        found = [entry for entry in self._memory.entries if isinstance(entry, VariableEntry)]
        return {entry.name: msgspec.json.decode(entry.value) for entry in found}

    @property
    def calls(self) -> list[CallEntry]:
        """The integration calls that were tracked."""
        return [entry for entry in self._memory.entries if isinstance(entry, CallEntry)]

    @property
    def progresses(self) -> list[float]:
        """The percentages that were reported."""
        return [entry.percent for entry in self._memory.entries if isinstance(entry, ProgressEntry)]


def _waits(
    events: Mapping[str, Sequence[Any]], approvals: Sequence[bool | ApprovalDecision], at: datetime
) -> dict[str, bytes]:
    """What the journal would hold if all these had come already."""
    kept: dict[str, bytes] = {}
    for name, given in events.items():
        for number, data in enumerate(given, 1):
            received = Received() if data is TIMES_OUT else Received(f"event-{number}", data)
            kept[_nth(subjects.waits_for(name), number)] = msgspec.json.encode(received)
    for number, decision in enumerate(approvals, 1):
        kept[_nth("approval", number)] = msgspec.json.encode(_decision(decision, at))
    return kept


def _decision(decision: bool | ApprovalDecision, at: datetime) -> Received | ApprovalDecision:
    if decision is TIMES_OUT:
        return Received()
    if isinstance(decision, ApprovalDecision):
        return decision
    return ApprovalDecision(approved=decision, by=Caller(id="approver", name="Approver"), at=at)


def _nth(name: str, number: int) -> str:
    return name if number == 1 else f"{name}#{number}"
