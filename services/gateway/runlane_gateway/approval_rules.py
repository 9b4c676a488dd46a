"""`/orgs/{org}/approval-rules…`: what an organisation wants of approvals, whatever the workflow declares."""

from typing import Annotated

import msgspec
from fastapi import APIRouter
from msgspec import Meta, Struct
from starlette.requests import Request

from runlane.contracts.approvals import (
    DAYS,
    DEFAULT_EXPIRY_SECONDS,
    LONGEST_WAIT_SECONDS,
    MOST_APPROVALS,
    MOST_APPROVERS,
    OfficeHours,
    clock_time,
)
from runlane.contracts.directory import EVERY_WORKFLOW, ApprovalRule
from runlane.directory import approval_key
from runlane.errors import NotFound, ValidationError
from runlane.ids import is_token

from .answers import Answer, answer
from .auth import MANAGE_CONFIG, VIEW_EXECUTIONS
from .conditions import etag
from .describe import Described
from .parts import Parts, body_of, changes_by, organisation_in_path, principal_of
from .views import utc_or_none

_SHORTEST_EXPIRY_SECONDS = 1.0


class RuleBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`required` null: as the workflow declares. `officeHours` are in the organisation's time zone."""

    required: bool | None = None
    approvers: list[Annotated[str, Meta(min_length=1, max_length=254)]] = []
    count: int = 1
    allow_own: bool = False
    office_hours: OfficeHours | None = None
    expires_seconds: float | None = None


class RuleView(Struct, frozen=True, kw_only=True, rename="camel"):
    """A rule; `workflow` is `*` for the one that holds where a workflow has none of its own."""

    org_id: str
    workflow: str
    required: bool | None
    approvers: list[str]
    count: int
    allow_own: bool
    office_hours: OfficeHours | None
    expires_seconds: float
    changed_at: str | None
    changed_by: str | None


class RulesView(Struct, frozen=True):
    rules: list[RuleView]


class ApprovalRuleDoors:
    """`/orgs/{org}/approval-rules…`"""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def routes(self, described: Described) -> APIRouter:
        router, path = APIRouter(tags=["approvals"]), "/orgs/{org}/approval-rules/{workflow}"
        add, answers = router.add_api_route, described.answers
        add("/orgs/{org}/approval-rules", self.all, methods=["GET"], responses=answers(RulesView))
        add(path, self.one, methods=["GET"], responses=answers(RuleView))
        add(path, self.put, methods=["PUT"], responses=answers(RuleView), openapi_extra=described.body(RuleBody))
        add(path, self.delete, methods=["DELETE"], status_code=204)
        return router

    async def all(self, request: Request, org: str) -> Answer:
        """The rules of an organisation."""
        self._permit(request, org, VIEW_EXECUTIONS)
        rules = sorted(self._parts.directory.approval_rules(org), key=lambda rule: rule.workflow)
        return answer(RulesView([_view(rule) for rule in rules]))

    async def one(self, request: Request, org: str, workflow: str) -> Answer:
        """One rule."""
        self._permit(request, org, VIEW_EXECUTIONS)
        rule = self._parts.directory.approval_rule(org, _known_form(workflow))
        if rule is None:
            raise NotFound(f"There is no approval rule for {workflow!r}.")
        return answer(_view(rule), headers=etag(self._parts.directory, approval_key(org, workflow)))

    async def put(self, request: Request, org: str, workflow: str) -> Answer:
        """Set a rule: all of it. It holds for executions that are accepted from now on."""
        self._permit(request, org, MANAGE_CONFIG)
        key, parts = approval_key(org, _known_form(workflow)), self._parts
        body = await body_of(request, parts, RuleBody)
        _check(body)
        rule = ApprovalRule(
            org=org,
            workflow=workflow,
            **msgspec.structs.asdict(body),
            changed_at=parts.clock.now(),
            changed_by=principal_of(request.scope).key_id,
        )
        await changes_by(request, parts).put(key, rule)
        return answer(_view(rule), headers=etag(parts.directory, key))

    async def delete(self, request: Request, org: str, workflow: str) -> Answer:
        """Remove a rule: the one for `*`, else what the workflow declares, holds from now on. One that is not there is
        no error."""
        self._permit(request, org, MANAGE_CONFIG)
        await changes_by(request, self._parts).delete(approval_key(org, _known_form(workflow)))
        return Answer(204, b"")

    def _permit(self, request: Request, org: str, permission: str) -> None:
        organisation_in_path(request, self._parts.directory, org)
        principal_of(request.scope).require(permission)


def _known_form(workflow: str) -> str:
    """The name, if a workflow could have it, or `*`; else the `NotFound` of one that is not there."""
    if workflow != EVERY_WORKFLOW and not is_token(workflow):
        raise NotFound(f"There is no workflow {workflow[:64]!r}.")
    return workflow


def _check(body: RuleBody) -> None:
    """Raises `ValidationError` for a rule under which nothing could ever be approved, or that cannot be read."""
    if not 1 <= body.count <= MOST_APPROVALS:
        raise ValidationError(f"count must be 1 to {MOST_APPROVALS}.", "count")
    if len(body.approvers) > MOST_APPROVERS:
        raise ValidationError(f"approvers must be at most {MOST_APPROVERS}.", "approvers")
    expires = body.expires_seconds
    if expires is not None and not _SHORTEST_EXPIRY_SECONDS <= expires <= LONGEST_WAIT_SECONDS:
        text = f"expiresSeconds must be {_SHORTEST_EXPIRY_SECONDS:g} to {LONGEST_WAIT_SECONDS:g}."
        raise ValidationError(text, "expiresSeconds")
    if body.office_hours is not None:
        _check_hours(body.office_hours)


def _check_hours(hours: OfficeHours) -> None:
    try:
        start, end = clock_time(hours.start), clock_time(hours.end)
    except ValueError as problem:
        raise ValidationError(str(problem), "officeHours") from None
    if start >= end or not hours.days or len(set(hours.days)) != len(hours.days):
        raise ValidationError(f"officeHours must begin before they end, on days of {', '.join(DAYS)}.", "officeHours")


def _view(rule: ApprovalRule) -> RuleView:
    return RuleView(
        org_id=rule.org,
        workflow=rule.workflow,
        required=rule.required,
        approvers=rule.approvers,
        count=rule.count,
        allow_own=rule.allow_own,
        office_hours=rule.office_hours,
        expires_seconds=rule.expires_seconds or DEFAULT_EXPIRY_SECONDS,
        changed_at=utc_or_none(rule.changed_at),
        changed_by=rule.changed_by,
    )
