"""What authors test workflows with: a real `Context` over memory. A misspelt name fails here as it would in the engine.

context = FakeContext(config={"region": "emea"}, integrations={"msgraph": graph})
result = await onboard_user(context, email="a@b.c")
assert context.checkpoints["user_created"] == {"user_id": "1"}
"""

from collections.abc import Awaitable, Generator, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from runlane.clock import ManualClock
from runlane.context import Context, Identity, Journal
from runlane.contracts.messages import (
    CallEntry,
    Caller,
    CheckpointEntry,
    LogEntry,
    ProgressEntry,
    TraceEntry,
    Trigger,
    VariableEntry,
)
from runlane.ids import new_execution_id
from runlane.ports import Budget

__all__ = ["FakeContext"]

_START = datetime(2026, 1, 1, tzinfo=UTC)


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

    def trace(self, entry: TraceEntry, true_value: bytes | None = None) -> Awaitable[None]:
        self.entries.append(entry)
        return _Stored()

    async def secret(self, name: str) -> str | None:
        return self._secrets.get(name)

    def config(self) -> Mapping[str, Any]:
        return self._config

    async def sleep(self, until: datetime) -> None:
        if until > self._clock.now():
            self._clock.set(until)

    def vendors(self) -> _MemoryVendors:
        return self._vendors


class FakeContext(Context):
    """A Context for tests. What the workflow wrote is in `logs`, `checkpoints`, `variables`, `calls` and `progresses`.

    `integrations` maps names to whatever should be returned by `get_integration`; other names are the real clients, and
    `allowed_hosts` (`"127.0.0.1:8080"`) are where those may go without TLS. Time stands still except for
    `context.sleep` and what vendors ask to wait, which move `clock`.
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
    ) -> None:
        self.clock = ManualClock(_START)
        vendors = _MemoryVendors(allowed_hosts, self.clock)
        self._memory = _MemoryRuntime(config or {}, secrets or {}, self.clock, vendors)
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
        super().__init__(identity, self._memory, Journal(steps=stored), self.clock)
        self._integrations.update(integrations or {})

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
