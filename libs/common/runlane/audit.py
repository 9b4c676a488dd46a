"""Writes the audit trail: first what somebody is about to do, then what became of it. Used by whoever changes things.

Nothing is changed unless the intention is stored, so no change is missing from the trail. Who dies in between leaves
`intended` behind: the trail then says honestly that the outcome is not known.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from msgspec import Struct

from runlane.clock import Clock
from runlane.contracts import subjects
from runlane.contracts.directory import PLATFORM, ConfigValue, Entry, Org
from runlane.contracts.encoding import encode
from runlane.contracts.events import AuditData, Audited, AuditOutcome
from runlane.contracts.requests import Caller
from runlane.directory import owner_of
from runlane.errors import InfrastructureError, RunlaneError
from runlane.ids import new_execution_id
from runlane.ports import Bus, Message
from runlane.redaction import MASK, Redactor, is_secret_name
from runlane.telemetry import logger

_log = logger(__name__)

#: Who changes something waits so long for the trail: together with the change itself no more than two seconds.
_INTENTION_SECONDS = 1.0
#: An outcome is worth more patience, but nobody waits for it.
_OUTCOME_SECONDS = 30.0
_telling: set[asyncio.Task[None]] = set()

#: What every entry names already beside its `before` and `after`.
_NAMED = ("org", "key")


class Origin(Struct, frozen=True):
    """Where a request came from."""

    address: str | None = None
    agent: str | None = None
    request_id: str | None = None


class Target(Struct, frozen=True):
    """What is changed: the `key` among its `kind` in `org`, such as `region` of `config`."""

    org: str
    kind: str
    key: str


class Audit:
    """Records what one caller does."""

    def __init__(self, bus: Bus, clock: Clock, source: str, actor: Caller, origin: Origin | None = None) -> None:
        self._bus, self._clock = bus, clock
        self._source, self._actor, self._origin = source, actor, origin or Origin()

    @asynccontextmanager
    async def record(
        self, action: str, target: Target, before: object = None, after: object = None, entry_id: str | None = None
    ) -> AsyncIterator[None]:
        """Around the change itself: what is raised inside is recorded as its failure and passed on.

        With the `entry_id` of an earlier call, that entry is written anew. Raises `BusUnavailable`, and then nothing
        inside was run.
        """
        shown = {"before": shown_in_audit(before), "after": shown_in_audit(after)}
        event = self._event(entry_id or new_execution_id(), target, AuditData(**self._data(action, target), **shown))
        await self._publish(event, _INTENTION_SECONDS)
        try:
            yield
        except BaseException as problem:
            reason = problem.code if isinstance(problem, RunlaneError) else type(problem).__name__
            await self._tell(event, "failed", reason)
            raise
        await self._tell(event, "done", None)

    def _data(self, action: str, target: Target) -> dict[str, Any]:
        origin = msgspec.structs.asdict(self._origin)
        return {
            "actor": self._actor,
            "action": action,
            "kind": target.kind,
            "key": target.key,
            "outcome": "intended",
            **origin,
        }

    def _event(self, entry_id: str, target: Target, data: AuditData) -> Audited:
        return Audited(
            id=f"{entry_id}:{new_execution_id()}",
            source=self._source,
            subject=entry_id,
            time=self._clock.now(),
            organization=target.org,
            data=data,
        )

    async def _tell(self, intended: Audited, outcome: AuditOutcome, reason: str | None) -> None:
        """Tell what came of it. Who made the change waits for a moment; telling goes on without him."""
        data = msgspec.structs.replace(intended.data, outcome=outcome, reason=reason)
        event = msgspec.structs.replace(intended, id=f"{intended.id}:{outcome}", data=data)
        telling = asyncio.create_task(self._publish_outcome(event))
        _telling.add(telling)
        telling.add_done_callback(_telling.discard)
        await asyncio.wait({telling}, timeout=_INTENTION_SECONDS)

    async def _publish_outcome(self, event: Audited) -> None:
        try:
            await self._publish(event, _OUTCOME_SECONDS)
        except InfrastructureError as problem:
            # It is done or not, whatever can be told of it; the intention is in the trail.
            _log.warning("an outcome is missing from the audit trail", entry=event.subject, reason=problem.message)

    async def _publish(self, event: Audited, within: float) -> None:
        message = Message(subject=subjects.audit(event.organization), payload=encode(event), id=event.id)
        await self._bus.publish(message, timeout=within)


def target_of(key: str, entry: Entry | None) -> Target:
    """What a key of the directory names. `entry` is what stands there, or stood there."""
    kind, _, rest = key.partition(".")
    org = entry.id if isinstance(entry, Org) else owner_of(entry)
    named = rest if org is None else rest.removeprefix(f"{org}.").removeprefix(f"{org}--")
    return Target(org or PLATFORM, kind, named)


def shown_in_audit(value: object) -> Any:
    """A thing as the audit trail may show it: sealed bytes and whatever has the name of a secret are masked."""
    if value is None:
        return None
    fields = value
    if isinstance(value, Struct):
        fields = {name: MASK if isinstance(item, bytes) else item for name, item in _fields(value).items()}
        if isinstance(value, ConfigValue) and is_secret_name(value.key) and not isinstance(value.value, bool | None):
            fields["value"] = MASK
    return msgspec.Raw(Redactor().sanitized(fields).json)


def _fields(value: Struct) -> dict[str, Any]:
    known = msgspec.structs.asdict(value)
    return {name: item for name, item in known.items() if name not in _NAMED and item is not None}
