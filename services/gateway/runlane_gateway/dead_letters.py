"""`/dead-letters`: what the engine gave up on. An operator looks at it, runs it again, or throws it away."""

from datetime import datetime
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Query
from msgspec import Struct
from pydantic import BaseModel
from starlette.requests import Request

from runlane.audit import Target
from runlane.contracts import subjects
from runlane.contracts.directory import PLATFORM
from runlane.contracts.records import Record
from runlane.deadletters import DeadKind, DeadLetter, read_letter
from runlane.errors import Conflict, NotFound, ValidationError
from runlane.ids import repeatable_execution_id
from runlane.ports import Message, Stored
from runlane.redaction import MASK, Redactor

from .again import call_again
from .answers import Answer, answer
from .auth import MANAGE_EXECUTIONS, VIEW_EXECUTIONS, VIEW_INTERNALS
from .describe import Described
from .executions import aware
from .parts import PRINCIPAL, Parts, audit_of, headers_of, named_organisation, organisation, principal_of
from .preferences import NO_PREFERENCE
from .views import utc

_PREFIX = "dl-"
_PAGE = 256
#: A filter that matches little does not make one request read the whole stream.
_MOST_READ = 20 * _PAGE
_SHOWN = 4096
_REQUEUED = ("runlane.request.", "runlane.due.")


class DeadLetterView(Struct, frozen=True, rename="camel"):
    """A message that was given up, and why. `ended`: its execution ended as Failed by that.

    `payload`, the beginning of the message itself, only of a single one and for who may see internals.
    """

    id: str
    at: str
    kind: str
    reason: str
    org: str | None
    workflow: str | None
    execution_id: str | None
    ended: bool
    deliveries: int
    subject: str
    payload: str | None = None


class DeadLettersView(Struct, frozen=True, rename="camel"):
    """`next`: what to give as `after` for the page that follows; null at the end."""

    dead_letters: list[DeadLetterView]
    next: str | None


class RedrivenView(Struct, frozen=True, rename="camel"):
    """`started`: a new execution with the same parameters; `requeued`: the message itself is on the queue again."""

    id: str
    outcome: str
    execution_id: str | None


class DiscardedView(Struct, frozen=True):
    id: str
    outcome: str = "discarded"


class Filters(BaseModel, extra="forbid"):
    """Which letters."""

    workflow: str | None = None
    kind: DeadKind | None = None
    since: Annotated[datetime | None, Query(alias="from")] = None
    limit: Annotated[int, Query(ge=1, le=200)] = 50
    after: str | None = None


class DeadLetterDoors:
    """`/dead-letters…`"""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def routes(self, described: Described) -> APIRouter:
        router = APIRouter(tags=["dead letters"])
        add = router.add_api_route
        add("/dead-letters", self.find, methods=["GET"], responses=described.answers(DeadLettersView))
        add("/dead-letters/{id}", self.one, methods=["GET"], responses=described.answers(DeadLetterView))
        add(
            "/dead-letters/{id}/redrive",
            self.redrive,
            methods=["POST"],
            responses=described.answers(RedrivenView, 202),
        )
        add("/dead-letters/{id}/discard", self.discard, methods=["POST"], responses=described.answers(DiscardedView))
        return router

    async def find(self, request: Request, filters: Annotated[Filters, Query()]) -> Answer:
        """What was given up, oldest first, in all organisations that the caller may see or in the one that it names."""
        orgs = self._orgs(request)
        principal_of(request.scope).require(VIEW_EXECUTIONS)
        after = 0 if filters.after is None else _sequence(filters.after)
        if after is None:
            raise ValidationError("`after` is not the `next` of a page.", "after")
        found: list[DeadLetterView] = []
        read = 0
        filter_ = subjects.dead_letters_of(orgs[0]) if orgs is not None and len(orgs) == 1 else subjects.ALL_DEAD
        while page := await self._parts.bus.read(subjects.DEAD, filter_, after=after, limit=_PAGE):
            for stored in page:
                after = stored.sequence
                letter, _ = read_letter(stored)
                if _seen(stored, orgs) and _wanted(letter, filters):
                    found.append(_view(stored, letter))
                    if len(found) == filters.limit:
                        return answer(DeadLettersView(found, _id(after)))
            read += len(page)
            if read >= _MOST_READ:
                return answer(DeadLettersView(found, _id(after)))
        return answer(DeadLettersView(found, None))

    async def one(self, request: Request, id: str) -> Answer:
        """One letter, with the beginning of its message for who may see internals."""
        stored = await self._known(request, id, VIEW_EXECUTIONS)
        letter, payload = read_letter(stored)
        shown = _shown(payload) if principal_of(request.scope).may(VIEW_INTERNALS) else None
        return answer(_view(stored, letter, shown))

    async def redrive(self, request: Request, id: str) -> Answer:
        """Run it again: a new execution where the first has ended, else the message itself goes back to the queue."""
        stored = await self._known(request, id, MANAGE_EXECUTIONS)
        letter, payload = read_letter(stored)
        async with audit_of(request, self._parts).record("redrive", _target(stored), after=letter):
            redriven = await self._redriven(request, stored, letter, payload)
            await self._parts.bus.remove(subjects.DEAD, stored.sequence)
        return answer(redriven, 202)

    async def discard(self, request: Request, id: str) -> Answer:
        """Throw it away."""
        stored = await self._known(request, id, MANAGE_EXECUTIONS)
        letter, _ = read_letter(stored)
        async with audit_of(request, self._parts).record("discard", _target(stored), before=letter):
            await self._parts.bus.remove(subjects.DEAD, stored.sequence)
        return answer(DiscardedView(_id(stored.sequence)))

    async def _redriven(self, request: Request, stored: Stored, letter: DeadLetter, payload: bytes) -> RedrivenView:
        record = await self._record(stored, letter)
        if record is None or not record.finished:
            return await self._requeued(stored, letter, payload)
        if record.status != "Failed":
            raise Conflict(f"Its execution has ended otherwise: {record.status}.", details={"status": record.status})
        # The same letter re-driven twice is one execution.
        new = repeatable_execution_id("redrive", record.org, record.execution_id, _id(stored.sequence))
        call = call_again(request, self._parts, record, new, preference=NO_PREFERENCE, repeatable=True)
        await self._parts.calls.start(call)
        return RedrivenView(_id(stored.sequence), "started", new)

    async def _requeued(self, stored: Stored, letter: DeadLetter, payload: bytes) -> RedrivenView:
        if not letter.subject.startswith(_REQUEUED) or letter.truncated:
            raise Conflict("There is no queue that it could go back to; it can only be discarded.")
        message = Message(subject=letter.subject, payload=payload, id=f"redrive:{stored.sequence}")
        await self._parts.bus.publish(message)
        return RedrivenView(_id(stored.sequence), "requeued", letter.execution_id)

    async def _record(self, stored: Stored, letter: DeadLetter) -> Record | None:
        if letter.execution_id is None or letter.kind == "event":
            return None
        try:
            return await self._parts.records.get(_org(stored), letter.execution_id)
        except NotFound:
            return None

    async def _known(self, request: Request, id: str, permission: str) -> Stored:
        """The letter, if the caller may know of it, and what it may do where it is from. Raises `NotFound`."""
        orgs, sequence = self._orgs(request), _sequence(id)
        found = (
            []
            if sequence is None
            else await self._parts.bus.read(subjects.DEAD, subjects.ALL_DEAD, after=sequence - 1, limit=1)
        )
        if not found or found[0].sequence != sequence or not _seen(found[0], orgs):
            raise NotFound("There is no such dead letter.")
        request.scope[PRINCIPAL] = principal_of(request.scope).within(_org(found[0]))
        principal_of(request.scope).require(permission)
        return found[0]

    def _orgs(self, request: Request) -> list[str] | None:
        """None for all, those without an organisation too."""
        if named_organisation(headers_of(request.scope)) is not None:
            return [organisation(request.scope, self._parts.directory)]
        everywhere = request.scope[PRINCIPAL] = principal_of(request.scope).everywhere()
        return None if everywhere.orgs is None else sorted(everywhere.orgs)


def _id(sequence: int) -> str:
    return f"{_PREFIX}{sequence}"


def _sequence(id: str) -> int | None:
    digits = id.removeprefix(_PREFIX)
    return (
        int(digits) if id.startswith(_PREFIX) and digits.isascii() and digits.isdigit() and len(digits) < 19 else None
    )


def _org(stored: Stored) -> str:
    """Where it is kept, whatever it says itself."""
    return stored.subject.split(".")[2]


def _seen(stored: Stored, orgs: list[str] | None) -> bool:
    return orgs is None or _org(stored) in orgs


def _wanted(letter: DeadLetter, filters: Filters) -> bool:
    return (
        filters.workflow in (None, letter.workflow)
        and filters.kind in (None, letter.kind)
        and (filters.since is None or letter.at >= aware(filters.since))
    )


def _target(stored: Stored) -> Target:
    return Target(_org(stored) if _org(stored) != "unknown" else PLATFORM, "dead-letters", _id(stored.sequence))


def _view(stored: Stored, letter: DeadLetter, payload: str | None = None) -> DeadLetterView:
    return DeadLetterView(
        id=_id(stored.sequence),
        at=utc(letter.at),
        kind=letter.kind,
        reason=letter.reason,
        org=letter.org,
        workflow=letter.workflow,
        execution_id=letter.execution_id,
        ended=letter.ended,
        deliveries=letter.deliveries,
        subject=letter.subject,
        payload=payload,
    )


def _shown(payload: bytes) -> str:
    """The message as an operator may see it: what is sealed stays so, what has the name of a secret is masked."""
    try:
        fields: Any = msgspec.json.decode(payload)
    except (ValueError, RecursionError):
        return payload[:_SHOWN].decode("utf-8", "replace")
    if isinstance(fields, dict) and "sealed_parameters" in fields:
        fields["sealed_parameters"] = MASK
    return Redactor().sanitized(fields).json.decode()[:_SHOWN]
