"""All doors put together: the gate, the hot routes behind it, FastAPI behind those. Called by `app`, and by tests."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, Route

from runlane.errors import BadRequest, MethodNotAllowed, NotFound, RunlaneError, ValidationError

from .answers import refusal
from .approval_rules import ApprovalRuleDoors
from .approvals import ApprovalDoors
from .auditing import AuditDoors
from .auth import Authenticator
from .batches import BatchDoor
from .bulk import BulkDoor
from .call_rates import call_rates
from .cancelling import Canceller
from .configuration import ConfigurationDoors
from .console_door import ConsoleDoor
from .dead_letters import DeadLetterDoors
from .describe import Described, new_application
from .enablement import EnablementDoors
from .execute import hot_routes
from .executions import ExecutionDoors
from .executors import ExecutorDoors
from .forms import FormDoors
from .gate import Gate
from .keys import KeyDoors
from .lifetimes import Lifetimes
from .live import LiveTail
from .me import MeDoor
from .operations import OperatorDoors
from .organisations import OrganisationDoors
from .overview import OverviewDoor
from .parts import Parts
from .schedules import ScheduleDoors
from .secrets import SecretDoors
from .sign_in import SignInDoors
from .subscriptions import SubscriptionDoors
from .tokens import trusted_tokens
from .webhook_door import webhook_routes
from .webhook_settings import Webhooks
from .webhooks import WebhookDoors
from .workflows import WorkflowDoors

Reasons = Callable[[], Mapping[str, str]]


def build(parts: Parts, problems: Reasons, degraded: Reasons) -> Gate:
    """The whole ASGI application."""
    described = Described()
    webhooks = Webhooks(parts.directory, parts.sealer)
    app, hot = new_application(described), [*hot_routes(parts), *webhook_routes(parts, webhooks)]
    tokens = trusted_tokens(parts.settings, parts.clock)
    gate = Gate(Authenticator(parts.directory, parts.clock, tokens), hot, app)
    gate.rates = call_rates(parts)
    canceller = Canceller(parts.bus, parts.clock, parts.waiters, parts.name)
    live = LiveTail(parts.bus, parts.records, Lifetimes(parts.directory, parts.clock), gate.closing)
    routers = [
        OperatorDoors(problems, degraded).routes(),
        ConsoleDoor().routes(),
        ExecutionDoors(parts, canceller, live).routes(described),
        BulkDoor(parts, canceller).routes(described),
        WorkflowDoors(parts).routes(described),
        BatchDoor(parts, gate.rates).routes(described),
        OrganisationDoors(parts).routes(described),
        ConfigurationDoors(parts).routes(described),
        EnablementDoors(parts).routes(described),
        AuditDoors(parts).routes(described),
        SecretDoors(parts).routes(described),
        ScheduleDoors(parts).routes(described),
        KeyDoors(parts).routes(described),
        MeDoor().routes(described),
        SignInDoors(parts, tokens).routes(described),
        FormDoors(parts).routes(described),
        ApprovalDoors(parts).routes(described),
        ApprovalRuleDoors(parts).routes(described),
        DeadLetterDoors(parts).routes(described),
        ExecutorDoors(parts).routes(described),
        OverviewDoor(parts).routes(described),
        WebhookDoors(parts, webhooks).routes(described),
        SubscriptionDoors(parts).routes(described),
    ]
    for router in routers:
        app.include_router(router)
    gate.routes = [*hot, *app.routes, *(route for router in routers for route in router.routes)]
    _answer_refusals(app, gate.routes)
    return gate


def _answer_refusals(app: FastAPI, routes: Sequence[BaseRoute]) -> None:
    async def refused(request: Request, problem: Exception) -> Response:
        return refusal(problem)

    async def malformed(request: Request, problem: Exception) -> Response:
        return refusal(_validation_error(problem))

    async def unmatched(request: Request, problem: Exception) -> Response:
        if not isinstance(problem, HTTPException) or problem.status_code not in (404, 405):
            return refusal(BadRequest())
        allowed = _allowed(routes, request)
        if not allowed:
            return refusal(NotFound("There is nothing here."))
        return refusal(
            MethodNotAllowed(f"{request.method[:16]} is not allowed here."), [(b"allow", ", ".join(allowed).encode())]
        )

    app.add_exception_handler(RunlaneError, refused)
    app.add_exception_handler(RequestValidationError, malformed)
    app.add_exception_handler(HTTPException, unmatched)
    app.add_exception_handler(Exception, refused)


def _validation_error(problem: Exception) -> ValidationError:
    errors: list[Any] = list(problem.errors()) if isinstance(problem, RequestValidationError) else []
    if not errors:
        return ValidationError()
    field = [part for part in errors[0]["loc"] if isinstance(part, str)][-1]
    return ValidationError(f"{field}: {errors[0]['msg']}", field)


def _allowed(routes: Sequence[BaseRoute], request: Request) -> list[str]:
    """The methods that this path has, over all routes: Starlette would name those of the first one only."""
    methods: set[str] = set()
    for route in routes:
        if isinstance(route, Route) and route.matches(request.scope)[0] is not Match.NONE:
            methods |= route.methods or set()
    return sorted(methods | {"HEAD"} if "GET" in methods else methods)
