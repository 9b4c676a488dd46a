"""Puts an execution up for approval instead of on the queue. Used by whoever starts one: gateway and scheduler."""

import hashlib
import uuid
from datetime import datetime, timedelta

import msgspec

from runlane.contracts import subjects
from runlane.contracts.approvals import DEFAULT_EXPIRY_SECONDS, ApprovalTerms
from runlane.contracts.directory import EVERY_WORKFLOW, ApprovalRule, Manifest
from runlane.contracts.encoding import encode
from runlane.contracts.events import STATE_TAILS, PendingApproval, PendingApprovalData
from runlane.contracts.requests import Request
from runlane.directory import Directory
from runlane.ports import Message

#: Stands for the keyed digest where there are no parameters: then there is nothing to guess, and no key is needed.
NO_PARAMETERS = hashlib.sha256(b"{}").hexdigest()


def rule_for(directory: Directory, org: str, workflow: str) -> ApprovalRule | None:
    """The organisation's rule for a workflow: its own, else the one for every workflow."""
    return directory.approval_rule(org, workflow) or directory.approval_rule(org, EVERY_WORKFLOW)


def needs_approval(manifest: Manifest, rule: ApprovalRule | None) -> bool:
    """Whether an execution has to be approved before it starts."""
    return manifest.requires_approval if rule is None or rule.required is None else rule.required


def terms_of(manifest: Manifest, rule: ApprovalRule | None, now: datetime) -> ApprovalTerms | None:
    """What an execution accepted now needs before it starts; None where it needs no approval."""
    if not needs_approval(manifest, rule):
        return None
    if rule is None:
        return ApprovalTerms(expires_at=now + timedelta(seconds=DEFAULT_EXPIRY_SECONDS), rule="as declared")
    return ApprovalTerms(
        expires_at=now + timedelta(seconds=rule.expires_seconds or DEFAULT_EXPIRY_SECONDS),
        rule=f"{rule.org}/{rule.workflow}",
        approvers=rule.approvers,
        count=rule.count,
        allow_own=rule.allow_own,
        office_hours=rule.office_hours,
    )


def wake_message(request: Request, at: datetime, lane: str = subjects.FIRST_LANE) -> Message:
    """Has an executor look at the execution at that time: whoever moved it may have died before he told the queue.

    To be stored before what it is there for; it replaces an earlier one.
    """
    return _look_message(subjects.wake(request.execution_id), request, at, lane)


def expiry_message(request: Request, at: datetime, lane: str = subjects.FIRST_LANE) -> Message:
    """Has an executor look at the execution when its approval expires. To be stored before it is put up for it."""
    return _look_message(subjects.expiry(request.execution_id), request, at, lane)


def _look_message(subject: str, request: Request, at: datetime, lane: str) -> Message:
    return Message(
        subject=subject,
        payload=encode(msgspec.structs.replace(request, wake=True, reply_to=None)),
        # Each is one of its own: it replaces an earlier one even if it asks for the same time.
        id=f"{request.execution_id}:wake:{uuid.uuid4().hex}",
        deliver_at=at,
        deliver_to=subjects.due(lane, request.org, request.workflow),
    )


def pending_message(
    source: str, request: Request, terms: ApprovalTerms, digest: str, now: datetime, run_at: datetime | None
) -> Message:
    """The first state of an execution that waits for an approval."""
    org, workflow, execution_id = request.org, request.workflow, request.execution_id
    event = PendingApproval(
        id=f"{execution_id}:pending_approval",
        source=source,
        subject=execution_id,
        time=now,
        organization=org,
        workflow=workflow,
        data=PendingApprovalData(terms=terms, digest=digest, asked_at=now, run_at=run_at),
    )
    return Message(
        subject=subjects.event(org, workflow, execution_id, STATE_TAILS[PendingApproval]),
        payload=encode(event),
        id=event.id,
        expect_last=0,
        expect_on=subjects.state_line(org, workflow, execution_id),
    )
