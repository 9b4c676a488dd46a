"""What must be so in `model_world`: at every moment, and when everything has come to rest."""

import random
from collections import Counter
from collections.abc import Collection, Iterator
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any, cast

import msgspec

from runlane.contracts import subjects
from runlane.contracts.events import (
    Approved,
    Declined,
    Event,
    PendingApproval,
    Retrying,
    Signalled,
    Started,
    Suspended,
    TerminalEvent,
    decode_event,
)
from runlane.contracts.records import Record, fold
from runlane.deadletters import DeadLetter
from runlane.ports import Message
from runlane_executor.runs import MAX_KILLS
from runlane_gateway.deciding import WAKE_SECONDS
from tests.support.model_actors import MANIFEST
from tests.support.model_broker import Broker

#: Whoever moves an execution may die before he tells the queue; then somebody looks so much later.
_LATE = timedelta(seconds=WAKE_SECONDS + 1)


class Oracle:
    """`check` looks at what is new since it was asked last; `check_ended` at everything, after the drain."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._checked = 0
        self._ended: set[str] = set()
        self._attempts: dict[str, int] = {}
        self._owners: dict[str, tuple[int, str]] = {}
        self._claims: Counter[str] = Counter()
        self._calls: Counter[str] = Counter()
        self._deaths: Counter[str] = Counter()

    def died(self, executions: Collection[str]) -> None:
        """The process that ran their code died."""
        self._deaths.update(executions)

    def called(self, execution: str) -> None:
        """Its code is called."""
        self._calls[execution] += 1

    def records(self) -> dict[str, Record]:
        return folded([(stored.sequence, stored.payload) for stored in self._broker.events])

    def check(self) -> None:
        """One line of states, one end and nothing after it, attempts that only grow, no call without a claim."""
        new, self._checked = self._broker.events[self._checked :], len(self._broker.events)
        for stored in new:
            if ".state." in stored.subject or stored.subject.endswith(".trace"):
                self._look(stored.subject, cast(Any, decode_event(stored.payload)))
        for key, calls in self._calls.items():
            assert calls <= self._claims[key], f"{key} was called {calls} times under {self._claims[key]} claims"

    def _look(self, subject: str, event: Any) -> None:
        key, attempt = event.subject, event.attempt
        assert key not in self._ended, f"{subject} came after the end of {key}"
        if type(event).__name__ not in ("Cancelled", "ApprovalExpired", "Rejected"):
            assert attempt >= self._attempts.get(key, 0), f"{subject} goes back to attempt {attempt}"
            self._attempts[key] = attempt
        assert attempt <= MANIFEST.retry.max_attempts
        if isinstance(event, Started):
            self._claims[key] += 1
            before, request = self._owners.get(key, (0, "")), event.data.request
            assert event.data.losses == 0 or before[1] == request, f"{request} takes over what {before[1]} holds"
            self._owners[key] = (attempt, request)
        if isinstance(event, TerminalEvent):
            self._ended.add(key)

    def check_ended(self, accepted: Collection[str], refused: Collection[str], calm_since: datetime) -> None:
        """What was `accepted` has ended, and what was `refused` in good order, too; nobody waited for longer than was
        said, once all was well; no message is left; and the record is the same in whatever order it is told."""
        records = self.records()
        stuck = {key: records[key].status for key in accepted if not records[key].finished}
        assert not stuck, f"accepted, and never ended: {stuck}"
        kept = [key for key in refused if key in records and not records[key].finished]
        assert not kept, f"refused, and never withdrawn: {kept}"
        late = list(self._late(calm_since))
        assert not late, f"waited for too long: {late}"
        broker = self._broker
        left = [it.subject for it in broker.work.values()] + list(broker.delayed)
        left += [it.subject for it in broker.dead if not self._was_a_crash_loop(it)]
        assert not left, f"left over: {left}"
        events = [(stored.sequence, stored.payload) for stored in broker.events]
        shuffled = events + events[::2]
        random.Random(len(events)).shuffle(shuffled)
        assert folded(shuffled) == records

    def _was_a_crash_loop(self, letter: Message) -> bool:
        head = msgspec.json.decode(letter.payload.partition(b"\n")[0], type=DeadLetter)
        return head.kind == "crash_loop" and self._deaths[head.execution_id or ""] >= MAX_KILLS

    def _late(self, calm_since: datetime) -> Iterator[str]:
        lines: dict[str, list[Any]] = {}
        sent: dict[str, list[Event]] = {}
        slow: set[str] = set()
        for stored in self._broker.events:
            event = cast(Any, decode_event(stored.payload))
            if isinstance(event, Signalled):
                sent.setdefault(event.subject, []).append(event)
            elif ".state." in stored.subject:
                lines.setdefault(event.subject, []).append(event)
                if isinstance(event, Approved | Declined) and stored.time >= _wake_up_of(event):
                    slow.add(event.id)
        for key, states in lines.items():
            for state, following in pairwise(states):
                due = _due(state, [it.time for it in sent.get(key, []) if it.time <= following.time])
                if due is not None and state.id not in slow and following.time > max(due, calm_since) + _LATE:
                    yield f"{key}: {type(state).__name__} until {due}, went on at {following.time}"


def _wake_up_of(decided: Approved | Declined) -> datetime:
    """When an executor looks whether it was followed up. Where it is stored only later, and its gateway dies as well,
    the recorder's sweeper finds it, who has no part in this world."""
    return decided.data.decisions[-1].at + timedelta(seconds=WAKE_SECONDS)


def _due(state: Event, sent: list[datetime]) -> datetime | None:
    """When it was to go on at the latest; None where nobody knows."""
    match state:
        case Retrying(data=retrying):
            return retrying.next_attempt_at
        case Suspended(data=suspended) if sent and subjects.awaited_event(suspended.reason):
            return max(state.time, min(sent))
        case Suspended(data=suspended):
            return suspended.until
        case PendingApproval(data=pending):
            return pending.terms.expires_at
        case Approved(data=decided) | Declined(data=decided):
            return max(state.time, decided.run_at or state.time)
        case _:
            return None


def folded(events: list[tuple[int, bytes]]) -> dict[str, Record]:
    """What the recorder makes of events that come in this order."""
    records: dict[str, Record] = {}
    for sequence, payload in events:
        event = decode_event(payload)
        key = cast(Any, event).subject
        folded_ = fold(records.get(key), sequence, event)
        assert folded_ is not None
        records[key] = folded_
    return records
