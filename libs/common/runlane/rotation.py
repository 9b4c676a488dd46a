"""Changes the master key while everything runs: what is sealed in the directory is sealed anew, and the old key kept
until nothing needs it. Called by `runlane secrets rotate-key`.

Every step can be repeated: what is under the current key already is left alone, so a rotation that was interrupted goes
on where it was.
"""

import asyncio
from collections.abc import Callable
from typing import Any, get_args

import msgspec
from msgspec import Struct

from runlane.contracts import subjects
from runlane.contracts.directory import ConfigValue, Entry, SecretValue, config_context, secret_context
from runlane.contracts.events import Queued, Retrying, Suspended, Traced, decode_event
from runlane.contracts.records import FINISHED, ExecutionQuery, Status
from runlane.contracts.requests import Request, decode_request
from runlane.contracts.subscriptions import Subscription, subscription_context
from runlane.contracts.webhooks import Webhook, webhook_context
from runlane.directory import Directory
from runlane.errors import SealBroken, StateConflict
from runlane.ports import Bus, DirectoryStore, RecordStore
from runlane.sealing import Sealer

_ROUNDS = 50
_PAUSE_SECONDS = 0.1
_PAGE = 500
_AT_ONCE = 64
_UNFINISHED = sorted(set(get_args(Status)) - FINISHED)

#: What the `sealed` bytes of an entry are sealed for, for every kind of entry that has them.
CONTEXTS: dict[type[Any], Callable[[Any], str]] = {
    SecretValue: lambda entry: secret_context(entry.org, entry.name, entry.version),
    ConfigValue: lambda entry: config_context(entry.org, entry.key),
    Webhook: lambda entry: webhook_context(entry.org, entry.workflow),
    Subscription: lambda entry: subscription_context(entry.org, entry.id),
}


class Resealed(Struct, frozen=True):
    """How many entries were sealed anew; `broken`: the keys of those that no key at hand opens."""

    count: int
    broken: list[str]


async def reseal(store: DirectoryStore, directory: Directory, sealer: Sealer) -> Resealed:
    """Seal everything in the directory under the current key. Each entry is a compare-and-set: what others change
    meanwhile is looked at again. Raises `StateConflict` when they never stop, `BusUnavailable`."""
    count, broken = 0, set[str]()
    for _ in range(_ROUNDS):
        keys = [key for key in outdated(directory, sealer) if key not in broken]
        if not keys:
            return Resealed(count, sorted(broken))
        for first in range(0, len(keys), _AT_ONCE):
            batch = keys[first : first + _AT_ONCE]
            done = await asyncio.gather(*(_reseal_one(store, directory, sealer, key) for key in batch))
            count += done.count(True)
            broken |= {key for key, resealed in zip(batch, done, strict=True) if resealed is None}
        await asyncio.sleep(_PAUSE_SECONDS)  # what was lost to others is on its way to this copy
    raise StateConflict("Secrets change faster than they can be sealed anew; run it again.")


def outdated(directory: Directory, sealer: Sealer) -> list[str]:
    """The keys of entries that are sealed under another key than the current one."""
    entries = ((key, directory.entry(key)) for key in directory.revisions)
    return [key for key, entry in entries if type(entry) in CONTEXTS and _is_old(_sealed(entry), sealer)]


async def needs_of_old_key(bus: Bus, store: RecordStore, directory: Directory, sealer: Sealer) -> list[str]:
    """Why an old key cannot be retired yet; nothing where it can. Raises `BusUnavailable`, `StoreUnavailable`.

    Executions that have ended are no reason: they only cannot be retried any more.
    """
    reasons = [f"{key} is sealed under an old key." for key in outdated(directory, sealer)]
    for stream in (subjects.REQUESTS, subjects.DELAYED, subjects.WAITING):
        waiting = await _waiting(bus, stream, sealer)
        if waiting:
            reasons.append(f"{waiting} execution(s) on the queue {stream} have parameters under an old key.")
    reasons += [f"Execution {name} has not ended." for name in await _running(bus, store, sealer)]
    return reasons


async def _reseal_one(store: DirectoryStore, directory: Directory, sealer: Sealer, key: str) -> bool | None:
    """Whether it was sealed anew; None when it cannot be opened."""
    entry, revision = directory.entry(key), directory.revisions.get(key)
    sealed = _sealed(entry)
    if entry is None or revision is None or sealed is None or sealer.is_current(sealed):
        return False
    context = CONTEXTS[type(entry)](entry)
    try:
        opened = sealer.open(sealed, context)
    except SealBroken:
        return None
    value = msgspec.json.encode(msgspec.structs.replace(entry, sealed=sealer.seal(opened, context)))
    try:
        revision = await store.put(key, value, expect=revision)
    except StateConflict:
        return False
    if directory.revisions.get(key, 0) < revision:
        directory.apply(key, value, revision)
    return True


async def _waiting(bus: Bus, stream: str, sealer: Sealer) -> int:
    count, after = 0, 0
    while page := await bus.read(stream, ">", after=after, limit=_PAGE):
        after = page[-1].sequence
        count += sum(1 for stored in page if _is_old(_parameters(stored.payload), sealer))
    return count


async def _running(bus: Bus, store: RecordStore, sealer: Sealer) -> list[str]:
    """Executions without an end, anything of which is under an old key."""
    found: list[str] = []
    query = ExecutionQuery(orgs=None, statuses=_UNFINISHED, limit=_PAGE)
    while True:
        page = await store.find(query)
        for summary in page.items:
            filter_ = subjects.all_events(summary.org, summary.execution_id, summary.workflow)
            if any(_is_old(sealed, sealer) for sealed in await _sealed_values(bus, filter_)):
                found.append(f"{summary.execution_id} of {summary.org}")
        if page.next is None:
            return found
        query = msgspec.structs.replace(query, after=page.next)


async def _sealed_values(bus: Bus, filter_: str) -> list[bytes | None]:
    values: list[bytes | None] = []
    after = 0
    while page := await bus.read(subjects.EVENTS, filter_, after=after, limit=_PAGE):
        after = page[-1].sequence
        for stored in page:
            event = decode_event(stored.payload)
            if isinstance(event, Queued):
                values.append(event.data.sealed_input)
            elif isinstance(event, Traced):
                values += [getattr(entry, "sealed", None) for entry in event.data.entries]
            elif isinstance(event, Retrying | Suspended):
                values += [getattr(entry, "sealed", None) for entry in event.data.trace]
    return values


def _parameters(payload: bytes) -> bytes | None:
    try:
        request: Request = decode_request(payload)
    except msgspec.DecodeError:
        return None  # an executor sets it aside
    return request.sealed_parameters


def _is_old(sealed: bytes | None, sealer: Sealer) -> bool:
    return sealed is not None and not sealer.is_current(sealed)


def _sealed(entry: Entry | None) -> bytes | None:
    sealed: bytes | None = getattr(entry, "sealed", None)
    return sealed
