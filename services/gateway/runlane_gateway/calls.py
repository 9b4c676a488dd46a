"""Starts an execution and answers at once or with the outcome, as the caller asked. Behind every door that runs one."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Raw, Struct

from runlane.approving import rule_for, terms_of
from runlane.contracts import subjects
from runlane.contracts.approvals import ApprovalTerms
from runlane.contracts.directory import PLATFORM, Manifest, Priority
from runlane.contracts.records import Record
from runlane.contracts.requests import Trigger
from runlane.directory import Directory
from runlane.errors import (
    NotFound,
    StateConflict,
    StoreUnavailable,
    UnprocessableRequest,
    ValidationError,
)
from runlane.parameters import Validators

from .accept import Acceptor
from .answers import Answer, Header, answer, failure_answer
from .known_workflow import known_workflow
from .preferences import NO_PREFERENCE, Preference
from .principals import Principal
from .reading import Records
from .submissions import Submission
from .views import AcceptedView, ResultView, poll_url
from .waiting import Waiters

_NULL = Raw(b"null")


class Call(Struct, frozen=True, kw_only=True):
    """One wish to run a workflow, permitted and checked. `repeatable`: the id was made from an idempotency key.

    `approval` is what it needs before it starts; `Calls.start` finds out.
    """

    execution_id: str
    org: str
    manifest: Manifest
    parameters: dict[str, Any]
    principal: Principal
    trigger: Trigger = Trigger()
    run_at: datetime | None = None
    preference: Preference = NO_PREFERENCE
    wait: float = 0.0
    traceparent: str | None = None
    repeatable: bool = False
    sensitive: frozenset[str] = frozenset()
    approval: ApprovalTerms | None = None
    priority: Priority | None = None


class Calls:
    """Runs workflows on behalf of principals."""

    def __init__(self, directory: Directory, acceptor: Acceptor, waiters: Waiters, records: Records) -> None:
        self._directory, self._acceptor = directory, acceptor
        self._waiters, self._records = waiters, records
        self._validators = Validators()

    def workflow(self, name: str, org: str, principal: Principal) -> Manifest:
        """The workflow, if this principal may run it in this organisation.

        Raises `NotFound`, with the same words where it is disabled for the organisation as where it does not exist;
        `Forbidden`; `ValidationError` where it needs an organisation and there is none.
        """
        manifest = known_workflow(self._directory, name, org)
        principal.within(org).require(manifest.required_permission)
        if org == PLATFORM and manifest.requires_org:
            raise ValidationError(f"Workflow {name!r} runs for an organisation: name one.", "X-Organization-Id")
        return manifest

    async def start(self, call: Call) -> Answer:
        """Check the parameters, accept the execution, wait if that was asked for. Raises what `Acceptor` raises."""
        self._validators.check(call.manifest, call.parameters)
        rule = rule_for(self._directory, call.org, call.manifest.name)
        terms = terms_of(call.manifest, rule, self._acceptor.clock.now())
        if terms is not None:
            # People take longer than any caller waits.
            call = msgspec.structs.replace(call, approval=terms, wait=0.0, preference=NO_PREFERENCE)
        if call.repeatable:
            return await self._start_once(call)
        if call.wait <= 0:
            await self._acceptor.submit(_submission(call, None))
            return _accepted(call, _first_status(call))
        return await self._awaited(call)

    async def _awaited(self, call: Call) -> Answer:
        """Accept and wait for the reply; the waiter is there before anything is published."""
        future = self._waiters.expect(call.execution_id)
        submission = _submission(call, self._waiters.reply_subject(call.execution_id))
        try:
            if call.repeatable:
                await self._acceptor.submit_once(submission)
            else:
                await self._acceptor.submit(submission)
            line = subjects.state_line(call.org, call.manifest.name, call.execution_id)
            outcome, status = await self._waiters.outcome(future, line, call.wait)
        finally:
            self._waiters.forget(call.execution_id, future)
        if outcome is None:
            return _accepted(call, status)
        if outcome.failure is not None:
            return failure_answer(call.execution_id, outcome.failure)
        return answer(ResultView(call.execution_id, "Success", outcome.result), headers=_applied(call))

    async def _start_once(self, call: Call) -> Answer:
        """The first of its key starts it; each later one finds it as it is. Raises `UnprocessableRequest`."""
        submission = _submission(call, None)
        record = await self._known(call)
        if record is None:
            try:
                if call.wait > 0:
                    return await self._awaited(call)
                await self._acceptor.submit_once(submission)
                return _accepted(call, _first_status(call))
            except StateConflict:
                record = await self._records.get(call.org, call.execution_id)
        if not self._acceptor.same(submission, record):
            raise UnprocessableRequest("This Idempotency-Key was used with other parameters.")
        if record.state_sequence == 0:
            await self._acceptor.submit_again(submission, record)
        if call.wait > 0:
            record = await self._records.wait_finished(call.org, record, call.wait)
        return _present(call, record)

    async def _known(self, call: Call) -> Record | None:
        try:
            return await self._records.get(call.org, call.execution_id)
        except (NotFound, StoreUnavailable):
            return None  # without the store, the stream remains the referee


def idle_seconds(manifest: Manifest, preference: Preference, run_at: datetime | None, longest: float) -> float:
    """How long the caller waits: not at all for a delayed start, as he prefers, or as the workflow declares."""
    if run_at is not None:
        return 0.0
    if preference.wait is not None:
        return preference.wait
    return longest if manifest.execution_mode == "sync" else 0.0


def traceparent_of(headers: Mapping[bytes, bytes]) -> str | None:
    """The caller's trace, where it looks like one (W3C Trace Context §3.2)."""
    header = headers.get(b"traceparent")
    return header.decode() if header is not None and len(header) == 55 and header.isascii() else None


def _submission(call: Call, reply_to: str | None) -> Submission:
    return Submission(
        execution_id=call.execution_id,
        org=call.org,
        manifest=call.manifest,
        parameters=call.parameters,
        caller=call.principal.caller,
        trigger=call.trigger,
        run_at=call.run_at,
        reply_to=reply_to,
        traceparent=call.traceparent,
        repeatable=call.repeatable,
        sensitive=call.sensitive,
        approval=call.approval,
        priority=_priority(call, waits=reply_to is not None),
    )


def _priority(call: Call, *, waits: bool) -> Priority:
    """As the caller wishes, else as the workflow declares; else what somebody waits for goes before the rest."""
    return call.priority or call.manifest.priority or ("high" if waits else "normal")


def _first_status(call: Call) -> str:
    if call.approval is not None:
        return "PendingApproval"
    return "Queued" if call.run_at is None else "Scheduled"


def _accepted(call: Call, status: str) -> Answer:
    url = poll_url(call.execution_id)
    headers = [(b"location", url.encode()), *_applied(call)]
    return answer(AcceptedView(call.execution_id, status, url), 202, headers)


def _present(call: Call, record: Record) -> Answer:
    if not record.finished:
        return _accepted(call, record.status)
    if record.failure is not None:
        return failure_answer(record.execution_id, record.failure)
    return answer(ResultView(record.execution_id, "Success", record.result or _NULL), headers=_applied(call))


def _applied(call: Call) -> list[Header]:
    applied = call.preference.applied
    return [] if applied is None or call.run_at is not None else [(b"preference-applied", applied)]
