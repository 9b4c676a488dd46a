"""The two hot doors, plain ASGI with msgspec: `POST /workflows/{name}` and `GET /executions/{id}`."""

from urllib.parse import parse_qsl

from msgspec import UNSET, UnsetType
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from runlane.contracts.directory import PLATFORM
from runlane.contracts.records import Record
from runlane.errors import NotFound, ValidationError
from runlane.ids import is_token, new_execution_id, repeatable_execution_id

from .answers import Answer, answer
from .auth import VIEW_EXECUTIONS, VIEW_INTERNALS
from .bodies import decode_object, read_body
from .calls import Call, idle_seconds, traceparent_of
from .deciding import approval_shown, pending_approval
from .parts import Parts, headers_of, organisation, principal_of
from .preferences import read_idempotency_key, read_preference, read_priority, read_run_at
from .principals import Principal
from .views import ApprovalView, execution_view


class ExecuteDoor:
    """`POST /workflows/{name}`: the body is the parameters."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await (await self._answer(scope, receive))(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive) -> Answer:
        parts, principal, headers = self._parts, principal_of(scope), headers_of(scope)
        settings, name = parts.settings, scope["path_params"]["name"]
        known = parts.directory.workflow(name)
        org = organisation(scope, parts.directory, None if known is None or known.requires_org else PLATFORM)
        manifest = parts.calls.workflow(name, org, principal)
        preference = read_preference(headers, settings.sync_wait)
        key = read_idempotency_key(headers)
        run_at = read_run_at(scope["query_string"], parts.clock.now())
        parameters = decode_object(headers, await read_body(headers, receive, settings.max_body))
        return await parts.calls.start(
            Call(
                execution_id=new_execution_id()
                if key is None
                else repeatable_execution_id("idempotency", org, name, key),
                org=org,
                manifest=manifest,
                parameters=parameters,
                principal=principal,
                run_at=run_at,
                preference=preference,
                wait=idle_seconds(manifest, preference, run_at, settings.sync_wait),
                traceparent=traceparent_of(headers),
                repeatable=key is not None,
                priority=read_priority(headers),
            )
        )


class ExecutionDoor:
    """`GET /executions/{id}`, with `?wait=N` once it has finished or N seconds are over."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await (await self._answer(scope))(scope, receive, send)

    async def _answer(self, scope: Scope) -> Answer:
        principal, records = principal_of(scope), self._parts.records
        principal.require(VIEW_EXECUTIONS)
        org = organisation(scope, self._parts.directory)
        record = await records.get(org, known_form(scope["path_params"]["id"]))
        wait = _wait(scope["query_string"], self._parts.settings.sync_wait)
        if wait > 0 and not record.finished:
            record = await records.wait_finished(org, record, wait)
        approval = await self._approval(record, principal)
        return answer(execution_view(record, internals=principal.may(VIEW_INTERNALS), approval=approval))

    async def _approval(self, record: Record, principal: Principal) -> ApprovalView | UnsetType:
        """What it waits for, where that is an approval."""
        if record.status != "PendingApproval":
            return UNSET
        pending = await pending_approval(self._parts.bus, record)
        return UNSET if pending is None else approval_shown(self._parts.directory, record, pending, principal)


def known_form(execution_id: str) -> str:
    """The id, if it could be one; else the `NotFound` of an id that is not there."""
    if not is_token(execution_id):
        raise NotFound(f"There is no execution {execution_id[:64]}.")
    return execution_id


def _wait(query: bytes, longest: float) -> float:
    text = dict(parse_qsl(query.decode("latin-1"), keep_blank_values=True)).get("wait") if query else None
    if text is None:
        return 0.0
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise ValidationError("wait must be a whole number of seconds.", "wait")
    return min(float(text), longest)


def hot_routes(parts: Parts) -> list[Route]:
    """The routes that `gate` tries before anything else."""
    return [
        Route("/workflows/{name}", ExecuteDoor(parts), methods=["POST"]),
        Route("/executions/{id}", ExecutionDoor(parts), methods=["GET"]),
    ]
