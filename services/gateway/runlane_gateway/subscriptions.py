"""`/subscriptions…`: where an organisation's events are sent, and what became of it. Schedulers do the sending."""

from typing import Any

import msgspec
from fastapi import APIRouter
from starlette.requests import Request

from runlane import standard_webhooks
from runlane.audit import Target
from runlane.contracts import subjects
from runlane.contracts.subscriptions import (
    ATTEMPTS_KEPT,
    Attempt,
    Ping,
    Sealed,
    Subscription,
    is_active,
    live_secrets,
    overlap,
    state_key,
    subscription_context,
    subscription_key,
)
from runlane.contracts.webhooks import SecretVersion
from runlane.errors import Conflict, NotFound, SealBroken, ValidationError
from runlane.ids import is_token, new_execution_id
from runlane.ports import Message

from .answers import Answer, answer
from .conditions import etag
from .describe import Described
from .parts import Parts, audit_of, body_of, changes_by, organisation_in_path, principal_of
from .permissions import MANAGE_WEBHOOKS, VIEW_EXECUTIONS
from .subscription_settings import MOST_SUBSCRIPTIONS, check_subscription, shown_address
from .subscription_views import (
    AttemptsView,
    PingView,
    RotateSubscriptionBody,
    SubscriptionBody,
    SubscriptionsView,
    SubscriptionView,
    attempt_view,
    subscription_view,
)

_LONGEST_OVERLAP = 30 * 86_400
#: Old secrets beside the newest: deliveries carry a signature of each.
_MOST_SECRETS = 3


class SubscriptionDoors:
    """`/subscriptions/{org}…`"""

    def __init__(self, parts: Parts) -> None:
        self._parts, self._directory = parts, parts.directory
        self._allowed = parts.settings.integration_hosts()

    def routes(self, described: Described) -> APIRouter:
        router = APIRouter(tags=["subscriptions"])
        add, one = router.add_api_route, "/subscriptions/{org}/{id}"
        view, body = described.answers(SubscriptionView), described.body(SubscriptionBody)
        made = described.answers(SubscriptionView, 201)
        add("/subscriptions/{org}", self.all, methods=["GET"], responses=described.answers(SubscriptionsView))
        add("/subscriptions/{org}", self.create, methods=["POST"], status_code=201, responses=made, openapi_extra=body)
        add(one, self.one, methods=["GET"], responses=view)
        add(one, self.put, methods=["PUT"], responses=view, openapi_extra=body)
        add(one, self.delete, methods=["DELETE"], status_code=204)
        rotate = described.body(RotateSubscriptionBody)
        add(f"{one}/rotate", self.rotate, methods=["POST"], responses=view, openapi_extra=rotate)
        pinged = described.answers(PingView, 202)
        add(f"{one}/test", self.test, methods=["POST"], status_code=202, responses=pinged)
        add(f"{one}/attempts", self.attempts, methods=["GET"], responses=described.answers(AttemptsView))
        return router

    async def all(self, request: Request, org: str) -> Answer:
        """An organisation's subscriptions, the oldest first; there are never many."""
        self._permit(request, org)
        found = sorted(self._directory.subscriptions(org), key=lambda it: it.id)
        return answer(SubscriptionsView([self._view(it) for it in found]))

    async def create(self, request: Request, org: str) -> Answer:
        """Subscribe. The secret is shown in this answer only; what happens from now on is sent."""
        self._permit_to_send(request, org)
        body = await self._body(request)
        if body.url is None:
            raise ValidationError("url: give the URL that events are posted to", "url")
        if len(self._directory.subscriptions(org)) >= MOST_SUBSCRIPTIONS:
            raise Conflict(f"An organisation has at most {MOST_SUBSCRIPTIONS} subscriptions: remove one.")
        secret, id_ = standard_webhooks.new_secret(), new_execution_id()
        sealed = self._seal(org, id_, Sealed(body.url, [secret]))
        subscription = Subscription(
            org=org,
            id=id_,
            address=shown_address(body.url),
            sealed=sealed,
            since=self._parts.clock.now(),
            versions=[self._new_version()],
            **self._settings(body),
        )
        await changes_by(request, self._parts).put(
            subscription_key(org, id_), self._stamped(request, subscription), expect=0
        )
        location = (b"location", f"/subscriptions/{org}/{id_}".encode())
        return answer(self._view(self._known(org, id_), secret), 201, [location])

    async def one(self, request: Request, org: str, id: str) -> Answer:
        """A subscription, without its secrets."""
        self._permit(request, org)
        return self._answered(self._known(org, id))

    async def put(self, request: Request, org: str, id: str) -> Answer:
        """Settle it anew. One that was disabled or stopped begins with what happens from now on."""
        self._permit_to_send(request, org)
        self._known(org, id)
        body = await self._body(request)

        def changed(known: Subscription | None) -> Subscription:
            before = self._still(known)
            settled = msgspec.structs.replace(before, **self._settings(body))
            if not is_active(before, self._directory.subscription_state(org, id)) and body.enabled:
                settled = msgspec.structs.replace(settled, since=self._parts.clock.now())
            if body.url is not None:
                sealed = self._seal(org, id, msgspec.structs.replace(self._open(before), url=body.url))
                settled = msgspec.structs.replace(settled, address=shown_address(body.url), sealed=sealed)
            return self._stamped(request, settled)

        return await self._save(request, org, id, changed)

    async def delete(self, request: Request, org: str, id: str) -> Answer:
        """Send nothing more. No error without any."""
        self._permit(request, org)
        changes = changes_by(request, self._parts)
        if is_token(id) and self._directory.subscription(org, id) is not None:
            await changes.delete(subscription_key(org, id))
            if self._directory.subscription_state(org, id) is not None:
                await changes.unconditional().delete(state_key(org, id))
        return Answer(204, b"")

    async def rotate(self, request: Request, org: str, id: str) -> Answer:
        """Begin with a new secret, shown in this answer only; the old one signs beside it for a while."""
        self._permit(request, org)
        self._known(org, id)
        body = await body_of(request, self._parts, RotateSubscriptionBody)
        if not 0 <= body.overlap_seconds <= _LONGEST_OVERLAP:
            raise ValidationError(f"overlapSeconds: give seconds from 0 to {_LONGEST_OVERLAP}", "overlapSeconds")
        secret = standard_webhooks.new_secret()

        def changed(known: Subscription | None) -> Subscription:
            before, now = self._still(known), self._parts.clock.now()
            opened = self._open(before)
            secrets = live_secrets(before, opened, now)
            live = [it for it in before.versions if it.expires_at is None or it.expires_at > now]
            versions = [self._new_version(), *overlap(live, now, body.overlap_seconds)][:_MOST_SECRETS]
            sealed = self._seal(org, id, Sealed(opened.url, [secret, *secrets][:_MOST_SECRETS]))
            return self._stamped(request, msgspec.structs.replace(before, versions=versions, sealed=sealed))

        return await self._save(request, org, id, changed, secret)

    async def test(self, request: Request, org: str, id: str) -> Answer:
        """Send an event that tells of nothing, once; `attempts` shows what became of it."""
        self._permit(request, org)
        self._known(org, id)
        ping = Ping(new_execution_id(), org, id, self._parts.clock.now())
        async with audit_of(request, self._parts).record("test", Target(org, "subscriptions", id)):
            message = Message(subject=subjects.ping(org, id), payload=msgspec.json.encode(ping), id=ping.id)
            await self._parts.bus.publish(message)
        return answer(PingView(f"{ping.id}:ping"), 202)

    async def attempts(self, request: Request, org: str, id: str) -> Answer:
        """What became of the newest attempts to deliver, the newest first; a few dozen are kept."""
        self._permit(request, org)
        self._known(org, id)
        stored = await self._parts.bus.read(subjects.OUTBOUND, subjects.sent(org, id), limit=2 * ATTEMPTS_KEPT)
        found = [msgspec.json.decode(it.payload, type=Attempt) for it in reversed(stored)]
        return answer(AttemptsView([attempt_view(it) for it in found]))

    # --- what they share ----------------------------------------------------------------------------------------------

    def _permit(self, request: Request, org: str) -> None:
        organisation_in_path(request, self._directory, org)
        principal_of(request.scope).require(MANAGE_WEBHOOKS)

    def _permit_to_send(self, request: Request, org: str) -> None:
        """Whoever says where events go must be allowed to see what is in them."""
        self._permit(request, org)
        principal_of(request.scope).require(VIEW_EXECUTIONS)

    def _known(self, org: str, id_: str) -> Subscription:
        return self._still(self._directory.subscription(org, id_) if is_token(id_) else None)

    def _still(self, known: Subscription | None) -> Subscription:
        if known is None:
            raise NotFound("There is no such subscription.")
        return known

    async def _body(self, request: Request) -> SubscriptionBody:
        body = await body_of(request, self._parts, SubscriptionBody)
        check_subscription(body, self._allowed)
        return body

    def _settings(self, body: SubscriptionBody) -> dict[str, Any]:
        return {
            "events": sorted(set(body.events)),
            "workflows": sorted(set(body.workflows)),
            "description": body.description,
            "enabled": body.enabled,
        }

    async def _save(self, request: Request, org: str, id_: str, changed: Any, secret: str | None = None) -> Answer:
        await changes_by(request, self._parts).change(
            subscription_key(org, id_), lambda: self._directory.subscription(org, id_), changed
        )
        return self._answered(self._known(org, id_), secret)

    def _answered(self, subscription: Subscription, secret: str | None = None) -> Answer:
        key = subscription_key(subscription.org, subscription.id)
        return answer(self._view(subscription, secret), headers=etag(self._directory, key))

    def _view(self, subscription: Subscription, secret: str | None = None) -> SubscriptionView:
        state = self._directory.subscription_state(subscription.org, subscription.id)
        return subscription_view(subscription, state, secret)

    def _seal(self, org: str, id_: str, sealed: Sealed) -> bytes:
        return self._parts.sealer.seal(msgspec.json.encode(sealed), subscription_context(org, id_))

    def _open(self, subscription: Subscription) -> Sealed:
        context = subscription_context(subscription.org, subscription.id)
        try:
            return msgspec.json.decode(self._parts.sealer.open(subscription.sealed, context), type=Sealed)
        except SealBroken:
            raise Conflict("It was sealed with a master key that is gone: remove it and subscribe anew.") from None

    def _new_version(self) -> SecretVersion:
        return SecretVersion(id=new_execution_id()[-12:], made_at=self._parts.clock.now())

    def _stamped(self, request: Request, subscription: Subscription) -> Subscription:
        by = principal_of(request.scope).key_id
        return msgspec.structs.replace(subscription, changed_at=self._parts.clock.now(), changed_by=by)
