"""What authors test workflows with: a real `Context` over memory. A misspelt name fails here as it would in the engine.

context = FakeContext(config={"region": "emea"}, integrations={"msgraph": graph})
result = await onboard_user(context, email="a@b.c")
assert context.checkpoints["user_created"] == {"user_id": "1"}
"""

from collections.abc import Awaitable, Generator, Mapping
from datetime import UTC, datetime
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

__all__ = ["FakeContext"]

_START = datetime(2026, 1, 1, tzinfo=UTC)


class _Stored:
    """In memory everything is stored at once."""

    def __await__(self) -> Generator[Any, None, None]:
        yield from ()


class _MemoryRuntime:
    """`ports.Runtime` that keeps what it is told; sleeping moves the clock."""

    def __init__(self, config: Mapping[str, Any], secrets: Mapping[str, str], clock: ManualClock) -> None:
        self._config, self._secrets, self._clock = config, secrets, clock
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


class FakeContext(Context):
    """A Context for tests. What the workflow wrote is in `logs`, `checkpoints`, `variables`, `calls` and `progresses`.

    `integrations` maps names to whatever should be returned by `get_integration`. Time stands still except for
    `context.sleep`, which moves `clock`.
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
    ) -> None:
        self.clock = ManualClock(_START)
        self._memory = _MemoryRuntime(config or {}, secrets or {}, self.clock)
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
