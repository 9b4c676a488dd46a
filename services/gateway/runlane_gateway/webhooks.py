"""`/webhooks…` with a key: settings of webhooks, their secrets, what was delivered, delivering it again."""

from collections.abc import Callable
from datetime import timedelta
from typing import Annotated

import msgspec
from fastapi import APIRouter, Query
from starlette.requests import Request

from runlane.approving import rule_for, terms_of
from runlane.audit import Target
from runlane.contracts.directory import Manifest
from runlane.contracts.events import DeliveryOutcome
from runlane.contracts.requests import Trigger
from runlane.contracts.webhooks import DeliveryQuery, Scheme, SecretVersion, Webhook
from runlane.directory import webhook_key
from runlane.errors import Conflict, NotFound, SealBroken, ValidationError
from runlane.ids import is_token, new_execution_id
from runlane.parameters import Validators
from runlane.redaction import masked_names
from runlane.telemetry import logger

from .again import true_parameters
from .answers import Answer, answer
from .calls import traceparent_of
from .conditions import etag
from .describe import Described
from .known_workflow import known_workflow
from .parts import Parts, audit_of, body_of, changes_by, headers_of, organisation_in_path, principal_of
from .permissions import MANAGE_WEBHOOKS
from .submissions import Submission
from .views import AcceptedView, poll_url
from .webhook_settings import Webhooks, problems_of, unfit
from .webhook_signatures import key_of, new_secret
from .webhook_views import (
    DeliveriesView,
    RotateBody,
    WebhookBody,
    WebhooksView,
    WebhookView,
    delivery_view,
    webhook_view,
)

_log = logger(__name__)

#: RELIABILITY §6. What a person makes up is shorter.
_SHORTEST_SECRET = 24
_LONGEST_SECRET = 512
_LONGEST_STATE = 128  # of Graph's clientState
_LONGEST_OVERLAP = 30 * 86_400
#: Their senders make the secret; one that we make would be of no use.
_GIVEN: frozenset[Scheme] = frozenset({"slack", "shopify"})


class WebhookDoors:
    """`/webhooks/{org}…`"""

    def __init__(self, parts: Parts, webhooks: Webhooks) -> None:
        self._parts, self._directory, self._webhooks = parts, parts.directory, webhooks
        self._validators = Validators()

    def routes(self, described: Described) -> APIRouter:
        router = APIRouter(tags=["webhooks"])
        add, one = router.add_api_route, "/webhooks/{org}/{workflow}"
        view, rotate = described.answers(WebhookView), described.body(RotateBody)
        add("/webhooks/{org}", self.all, methods=["GET"], responses=described.answers(WebhooksView))
        add(one, self.one, methods=["GET"], responses=view)
        add(one, self.put, methods=["PUT"], responses=view, openapi_extra=described.body(WebhookBody))
        add(one, self.delete, methods=["DELETE"], status_code=204)
        add(f"{one}/rotate", self.rotate, methods=["POST"], responses=view, openapi_extra=rotate)
        add(f"{one}/rotate/finish", self.finish, methods=["POST"], responses=view)
        add(f"{one}/deliveries", self.deliveries, methods=["GET"], responses=described.answers(DeliveriesView))
        add(
            f"{one}/deliveries/{{id}}/replay",
            self.replay,
            methods=["POST"],
            status_code=202,
            responses=described.answers(AcceptedView, 202),
        )
        return router

    # --- settings -----------------------------------------------------------------------------------------------------

    async def all(
        self, request: Request, org: str, limit: Annotated[int, Query(ge=1, le=500)] = 200, after: str = ""
    ) -> Answer:
        """The workflows that have a webhook in this organisation, in the order of their names."""
        self._permit(request, org)
        declared = {it.name for it in self._directory.workflows() if it.webhook_enabled}
        names = {name for name in declared if self._directory.enabled(org, name)}
        names |= {webhook.workflow for webhook in self._directory.webhooks(org)}
        found = sorted(name for name in names if name > after)
        page = [self._view(org, name) for name in found[:limit]]
        return answer(WebhooksView(page, found[limit - 1] if len(found) > limit else None))

    async def one(self, request: Request, org: str, workflow: str) -> Answer:
        """The webhook of a workflow, without its secrets."""
        self._permit(request, org)
        self._check_known(org, workflow)
        return answer(self._view(org, workflow), headers=etag(self._directory, webhook_key(org, workflow)))

    async def put(self, request: Request, org: str, workflow: str) -> Answer:
        """Settle how a webhook is called. A secret that is made here is shown in this answer only."""
        self._permit(request, org)
        manifest = self._workflow(org, workflow)
        body = await body_of(request, self._parts, WebhookBody)
        made: list[str] = []

        def changed(known: Webhook | None) -> Webhook:
            made.clear()
            settings = {name: value for name, value in msgspec.structs.asdict(body).items() if name != "secret"}
            webhook = Webhook(org=org, workflow=workflow, **settings)
            for problem in problems_of(webhook, manifest):
                raise problem
            return self._stamped(request, self._with_secret(webhook, manifest, known, body.secret, made))

        return await self._save(request, org, workflow, changed, made)

    async def delete(self, request: Request, org: str, workflow: str) -> Answer:
        """Forget the settings and the secrets; what needs a secret is closed from now on. No error without any."""
        self._permit(request, org)
        self._check_known(org, workflow)
        await changes_by(request, self._parts).delete(webhook_key(org, workflow))
        _log.info("webhook deleted", org=org, workflow=workflow, by=principal_of(request.scope).key_id)
        return Answer(204, b"")

    async def rotate(self, request: Request, org: str, workflow: str) -> Answer:
        """Begin with a new secret, shown in this answer only; the old one counts for a while beside it."""
        self._permit(request, org)
        manifest = self._workflow(org, workflow)
        body = await body_of(request, self._parts, RotateBody)
        if not 0 <= body.overlap_seconds <= _LONGEST_OVERLAP:
            raise ValidationError(f"overlapSeconds: give seconds from 0 to {_LONGEST_OVERLAP}", "overlapSeconds")
        made: list[str] = []

        def changed(known: Webhook | None) -> Webhook:
            made.clear()
            webhook, now = known or Webhook(org=org, workflow=workflow), self._parts.clock.now()
            for reason in filter(None, [unfit(manifest)]):
                raise ValidationError(reason, "workflow")
            versions, secrets = self._live(webhook)
            if len(versions) > 1:
                raise Conflict("It is being rotated already: finish that first.")
            ending = [
                msgspec.structs.replace(it, expires_at=now + timedelta(seconds=body.overlap_seconds)) for it in versions
            ]
            secret = _usable(webhook.scheme, body.secret, made)
            return self._stamped(request, self._sealed(webhook, [self._new_version(), *ending], [secret, *secrets]))

        return await self._save(request, org, workflow, changed, made)

    async def finish(self, request: Request, org: str, workflow: str) -> Answer:
        """End the old secret now. No error where there is only one."""
        self._permit(request, org)
        self._check_known(org, workflow)

        def changed(known: Webhook | None) -> Webhook:
            if known is None:
                raise Conflict("It has no secret to rotate.")
            versions, secrets = self._live(known)
            return self._stamped(request, self._sealed(known, versions[:1], secrets[:1]))

        return await self._save(request, org, workflow, changed, [])

    # --- deliveries ---------------------------------------------------------------------------------------------------

    async def deliveries(
        self,
        request: Request,
        org: str,
        workflow: str,
        outcome: DeliveryOutcome | None = None,
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
        after: str | None = None,
    ) -> Answer:
        """What was delivered, newest first, refused deliveries too. Of those that started nothing, not all are kept."""
        self._permit(request, org)
        self._check_known(org, workflow)
        await self._parts.records.caught_up(self._parts.acceptor.last_sequence)
        query = DeliveryQuery(org=org, workflow=workflow, outcome=outcome, after=after, limit=limit)
        page = await self._parts.store.deliveries(query)
        return answer(DeliveriesView([delivery_view(it) for it in page.items], page.next))

    async def replay(self, request: Request, org: str, workflow: str, id: str) -> Answer:
        """Run once more what a delivery started, as a new execution with the same parameters."""
        parts = self._parts
        self._permit(request, org)
        manifest = self._workflow(org, workflow)
        await parts.records.caught_up(parts.acceptor.last_sequence)
        delivery = await parts.store.delivery(org, workflow, id) if is_token(id) else None
        if delivery is None:
            raise NotFound("There is no such delivery.")
        if delivery.execution_id is None:
            raise Conflict("It started nothing, and nothing of it was kept.", details={"outcome": delivery.outcome})
        for reason in filter(None, [unfit(manifest)]):
            raise Conflict(reason)
        record = await parts.records.get(org, delivery.execution_id)
        parameters = true_parameters(parts, record)
        self._validators.check(manifest, parameters)
        submission = Submission(
            execution_id=new_execution_id(),
            org=org,
            manifest=manifest,
            parameters=parameters,
            caller=principal_of(request.scope).caller,
            trigger=Trigger("webhook", delivery.id),
            traceparent=traceparent_of(headers_of(request.scope)),
            approval=terms_of(manifest, rule_for(self._directory, org, workflow), parts.clock.now()),
            sensitive=frozenset(masked_names(record.input) if record.input is not None else ()),
        )
        target = Target(org, "webhooks", f"{workflow}/{delivery.id}")
        async with audit_of(request, parts).record("replay", target, after={"execution": submission.execution_id}):
            await parts.acceptor.submit(submission)
        url, status = poll_url(submission.execution_id), "Queued" if submission.approval is None else "PendingApproval"
        return answer(AcceptedView(submission.execution_id, status, url), 202, [(b"location", url.encode())])

    # --- what they share ----------------------------------------------------------------------------------------------

    def _permit(self, request: Request, org: str) -> None:
        organisation_in_path(request, self._directory, org)
        principal_of(request.scope).require(MANAGE_WEBHOOKS)

    def _workflow(self, org: str, name: str) -> Manifest:
        return known_workflow(self._directory, name, org)

    def _check_known(self, org: str, workflow: str) -> None:
        """A webhook outlives its workflow: it can still be seen and deleted."""
        if self._directory.webhook(org, workflow) is None:
            self._workflow(org, workflow)

    def _view(self, org: str, workflow: str, secret: str | None = None) -> WebhookView:
        known = self._directory.webhook(org, workflow)
        manifest = self._directory.workflow(workflow) if self._directory.enabled(org, workflow) else None
        webhook = known or Webhook(org=org, workflow=workflow)
        return webhook_view(webhook, manifest, configured=known is not None, secret=secret)

    async def _save(
        self, request: Request, org: str, workflow: str, changed: Callable[[Webhook | None], Webhook], made: list[str]
    ) -> Answer:
        key = webhook_key(org, workflow)
        await changes_by(request, self._parts).change(key, lambda: self._directory.webhook(org, workflow), changed)
        _log.info("webhook changed", org=org, workflow=workflow, by=principal_of(request.scope).key_id)
        secret = made[0] if made else None
        return answer(self._view(org, workflow, secret), headers=etag(self._directory, key))

    def _with_secret(
        self, webhook: Webhook, manifest: Manifest, known: Webhook | None, given: str | None, made: list[str]
    ) -> Webhook:
        if given is not None:
            return self._sealed(webhook, [self._new_version()], [_usable(webhook.scheme, given, made)])
        if known is not None and known.scheme == webhook.scheme and known.versions:
            return self._sealed(webhook, *self._live(known))
        if webhook.scheme == "secret" and not manifest.webhook_secret_required:
            return webhook
        return self._sealed(webhook, [self._new_version()], [_usable(webhook.scheme, None, made)])

    def _live(self, webhook: Webhook) -> tuple[list[SecretVersion], list[str]]:
        """The secrets that have not expired. Raises `Conflict` when they cannot be opened."""
        now = self._parts.clock.now()
        try:
            pairs = list(zip(webhook.versions, self._webhooks.secrets(webhook), strict=True))
        except SealBroken:
            raise Conflict("Its secrets were sealed with a master key that is gone: give a new secret.") from None
        live = [
            (version, secret) for version, secret in pairs if version.expires_at is None or version.expires_at > now
        ]
        return [version for version, _ in live], [secret for _, secret in live]

    def _new_version(self) -> SecretVersion:
        return SecretVersion(id=new_execution_id()[-12:], made_at=self._parts.clock.now())

    def _sealed(self, webhook: Webhook, versions: list[SecretVersion], secrets: list[str]) -> Webhook:
        return msgspec.structs.replace(webhook, versions=versions, sealed=self._webhooks.seal(webhook, secrets))

    def _stamped(self, request: Request, webhook: Webhook) -> Webhook:
        by = principal_of(request.scope).key_id
        return msgspec.structs.replace(webhook, changed_at=self._parts.clock.now(), changed_by=by)


def _usable(scheme: Scheme, given: str | None, made: list[str]) -> str:
    """The secret that was given, or a new one, which is noted in `made`. Raises `ValidationError`."""
    if given is None:
        if scheme in _GIVEN:
            raise ValidationError(f"secret: the sender makes it; {scheme} shows it where its app is set up", "secret")
        made.append(new_secret(scheme))
        return made[0]
    longest = _LONGEST_STATE if scheme == "msgraph" else _LONGEST_SECRET
    try:
        key = key_of(scheme, given)
    except ValueError as problem:
        raise ValidationError(f"secret: {problem}", "secret") from None
    if not _SHORTEST_SECRET <= len(key) <= longest:
        raise ValidationError(f"secret: it must have {_SHORTEST_SECRET} to {longest} bytes", "secret")
    return given
