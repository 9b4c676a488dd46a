"""`POST /webhooks/{org}/{workflow}` (SPEC §4): a hot door without a key, for senders who prove themselves otherwise.

Read, verified, only then parsed, mapped, checked, and stored on the queue before 202 is said. Whatever is wrong, and
whether there is such a webhook at all, the sender gets the same 400; log and list of deliveries have the reason.
"""

import hashlib
import html
import math
from collections.abc import Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qs

import msgspec
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from runlane.approving import rule_for, terms_of
from runlane.contracts.directory import Manifest
from runlane.contracts.requests import Caller, Trigger
from runlane.errors import (
    BadRequest,
    InfrastructureError,
    MessageTooLarge,
    NotFound,
    PayloadTooLarge,
    RunlaneError,
    SealBroken,
    StateConflict,
    StoreUnavailable,
    TooManyRequests,
    ValidationError,
)
from runlane.ids import new_execution_id, repeatable_execution_id
from runlane.parameters import Validators
from runlane.ports import Budget
from runlane.telemetry import logger

from .answers import Answer, Header, answer
from .bodies import decode_any, read_body
from .calls import traceparent_of
from .parts import Parts, headers_of
from .rates import Buckets
from .submissions import Submission
from .webhook_deliveries import Arrival, Deliveries
from .webhook_settings import Hook, Webhooks
from .webhook_signatures import Given, Headers, dedupe_of, delivery_id, verify, verify_notifications
from .webhook_views import WebhookAccepted, WebhookRefusal

_log = logger(__name__)

#: Of one address so many deliveries may be wrong; those beyond are told to slow down. Nobody else is.
WRONG_PER_MINUTE = 300
WRONG_AT_ONCE = 200

_LONGEST_TOKEN = 4096


class WebhookDoor:
    """Takes deliveries in."""

    def __init__(self, parts: Parts, webhooks: Webhooks) -> None:
        self._parts, self._webhooks = parts, webhooks
        self._deliveries = Deliveries(parts.bus, parts.clock, f"/runlane/gateway/{parts.name}")
        self._validators = Validators()
        self._buckets = Buckets(parts.clock)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await (await self._answer(scope, receive))(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive) -> Response:
        headers, path = headers_of(scope), scope["path_params"]
        client = scope.get("client")
        address = client[0] if client else None
        hook = self._webhooks.find(path["org"], path["workflow"], headers)
        arrival = Arrival(
            id=new_execution_id(),
            org=hook.webhook.org,
            workflow=hook.webhook.workflow,
            scheme=hook.webhook.scheme,
            size_bytes=0,
            address=address,
        )
        try:
            body = await read_body(headers, receive, self._parts.settings.max_body)
            arrival = msgspec.structs.replace(arrival, size_bytes=len(body))
            return await self._take(hook, arrival, scope, body)
        except Exception as problem:
            return self._refused(hook, arrival, path, problem)

    # --- the way in ---------------------------------------------------------------------------------------------------

    async def _take(self, hook: Hook, arrival: Arrival, scope: Scope, body: bytes) -> Response:
        headers, now = headers_of(scope), self._parts.clock.now()
        handshake = _validation(hook, scope["query_string"])
        if handshake is not None:
            return self._shaken(arrival, handshake)
        if hook.keys:
            verify(hook.webhook, hook.keys, Given(headers, body, now))
        if hook.closed is not None or hook.manifest is None:
            raise BadRequest(hook.closed)
        value = decode_any(headers, body)
        if hook.webhook.scheme == "msgraph":
            value = verify_notifications(hook.keys, value, now)
        await self._check_rate(hook)
        handshake = _challenge(hook, value)
        if handshake is not None:
            return self._shaken(arrival, handshake)
        parameters = mapped(hook, headers, value)
        self._validators.check(hook.manifest, parameters)
        sender_id = delivery_id(hook.webhook, headers)
        arrival = msgspec.structs.replace(arrival, sender_id=sender_id)
        rule = rule_for(self._parts.directory, arrival.org, arrival.workflow)
        submission = msgspec.structs.replace(
            _submission(hook, hook.manifest, arrival, parameters, Given(headers, body, now)),
            approval=terms_of(hook.manifest, rule, now),
        )
        return await self._accept(arrival, submission)

    async def _accept(self, arrival: Arrival, submission: Submission) -> Answer:
        """Queue it, or find it queued: 202 with the same id either way."""
        execution_id = submission.execution_id
        if await self._is_known(submission):
            return await self._again(arrival, submission)
        try:
            beside = self._deliveries.event(arrival, "accepted", execution_id=execution_id)
            await self._parts.acceptor.submit_once(submission, beside)
        except StateConflict:
            return await self._again(arrival, submission)
        self._deliveries.count("accepted")
        return answer(WebhookAccepted(execution_id), 202)

    async def _is_known(self, submission: Submission) -> bool:
        """Whether its record is older than what the stream remembers; what is younger the stream itself refuses."""
        if not submission.repeatable:
            return False
        try:
            return await self._parts.store.get(submission.org, submission.execution_id) is not None
        except StoreUnavailable:
            return False

    async def _again(self, arrival: Arrival, submission: Submission) -> Answer:
        """The same delivery came before. Its request may never have been stored: then it is now."""
        execution_id = submission.execution_id
        with suppress(NotFound):  # the stream knows it for longer than records are kept
            record = await self._parts.records.get(submission.org, execution_id)
            if record.state_sequence == 0:
                await self._parts.acceptor.submit_again(submission, record)
        self._deliveries.count("duplicate")
        self._deliveries.tell(arrival, "duplicate", execution_id=execution_id)
        return answer(WebhookAccepted(execution_id), 202)

    def _shaken(self, arrival: Arrival, response: Response) -> Response:
        self._deliveries.count("handshake")
        self._deliveries.tell(arrival, "handshake")
        return response

    async def _check_rate(self, hook: Hook) -> None:
        webhook = hook.webhook
        budget = Budget(webhook.rate_per_minute, webhook.burst)
        got = await self._parts.limiter.take(f"webhook|{webhook.org}|{webhook.workflow}", budget)
        if got.wait > 0:
            raise TooManyRequests("more deliveries than the webhook's rate allows", details={"seconds": got.wait})

    # --- the way out --------------------------------------------------------------------------------------------------

    def _refused(self, hook: Hook, arrival: Arrival, path: Mapping[str, str], problem: Exception) -> Answer:
        self._deliveries.count("refused")
        unexpected = not isinstance(problem, RunlaneError) or isinstance(problem, SealBroken)
        if unexpected:
            _log.error("unexpected error in a webhook", exc_info=problem)
        answered = _refusal(problem)
        if answered.status_code == 400:
            wait = self._buckets.take(arrival.address, WRONG_PER_MINUTE, WRONG_AT_ONCE)
            if wait > 0:
                return _too_many(wait)
        reason = "unexpected error" if unexpected else str(problem)
        org, workflow = path["org"][:64], path["workflow"][:64]
        _log.info("webhook refused", org=org, workflow=workflow, address=arrival.address, reason=reason)
        if hook.manifest is not None:
            self._deliveries.tell(arrival, "refused", reason=reason)
        return answered


def webhook_routes(parts: Parts, webhooks: Webhooks) -> list[Route]:
    """The route that `gate` tries before anything else, and lets in without a key."""
    return [Route("/webhooks/{org}/{workflow}", WebhookDoor(parts, webhooks), methods=["POST"])]


def mapped(hook: Hook, headers: Headers, value: Any) -> dict[str, Any]:
    """The parameters that a body and its headers stand for. Raises `ValidationError`."""
    webhook = hook.webhook
    if webhook.body_as is not None:
        parameters = {webhook.body_as: value}
    elif isinstance(value, dict):
        parameters = value
    else:
        raise ValidationError("the body must be a JSON object")
    if webhook.headers_as is None:
        return parameters
    names = [name.lower() for name in webhook.headers]
    found = {name: headers[name.encode()].decode("latin-1") for name in names if name.encode() in headers}
    return {**parameters, webhook.headers_as: found}


def _submission(
    hook: Hook, manifest: Manifest, arrival: Arrival, parameters: dict[str, Any], given: Given
) -> Submission:
    dedupe, org, workflow = dedupe_of(hook.webhook), hook.webhook.org, hook.webhook.workflow
    if dedupe == "delivery" and arrival.sender_id is None:
        raise BadRequest("there is no delivery id")
    same = arrival.sender_id or "" if dedupe == "delivery" else hashlib.sha256(given.body).hexdigest()
    repeatable = repeatable_execution_id("webhook", org, workflow, dedupe, same)
    return Submission(
        execution_id=new_execution_id() if dedupe == "none" else repeatable,
        org=org,
        manifest=manifest,
        parameters=parameters,
        caller=Caller(id=f"webhook:{workflow}"),
        trigger=Trigger("webhook", arrival.id),
        traceparent=traceparent_of(given.headers),
        repeatable=dedupe != "none",
    )


def _validation(hook: Hook, query: bytes) -> Response | None:
    """Microsoft Graph asks whether somebody is here before it sends anything, signed or not."""
    if hook.webhook.scheme != "msgraph" or hook.closed is not None or b"validationToken=" not in query:
        return None
    token = parse_qs(query.decode("latin-1")).get("validationToken", [""])[0]
    if not 0 < len(token) <= _LONGEST_TOKEN or not token.isprintable():
        raise BadRequest("the validation token is not printable text")
    # As Microsoft asks: somebody may have made this link to show his own text under our name.
    text = html.escape(token, quote=False).encode()
    headers = [(b"content-type", b"text/plain; charset=utf-8"), *_plain_headers(text)]
    return _Plain(text, headers)


def _challenge(hook: Hook, value: Any) -> Answer | None:
    """Slack asks the same with a signed body."""
    if hook.webhook.scheme != "slack" or not isinstance(value, dict) or value.get("type") != "url_verification":
        return None
    return answer({"challenge": str(value.get("challenge", ""))[:_LONGEST_TOKEN]})


class _Plain(Response):
    """Text that no browser takes for anything else."""

    def __init__(self, body: bytes, headers: list[Header]) -> None:
        self.status_code, self.body, self.background = 200, body, None
        self.raw_headers = headers


def _plain_headers(body: bytes) -> list[Header]:
    return [
        (b"content-length", b"%d" % len(body)),
        (b"x-content-type-options", b"nosniff"),
        (b"content-security-policy", b"default-src 'none'"),
        (b"cache-control", b"no-store"),
    ]


def _refusal(problem: Exception) -> Answer:
    if isinstance(problem, PayloadTooLarge | MessageTooLarge):
        return answer(WebhookRefusal("PayloadTooLarge"), 413)
    if isinstance(problem, TooManyRequests):
        return _too_many(problem.details["seconds"])
    if isinstance(problem, InfrastructureError) and not isinstance(problem, SealBroken):
        # It was verified, so the sender may know, and should try again.
        return answer(WebhookRefusal("ServiceUnavailable"), 503, [(b"retry-after", b"5")])
    return answer(WebhookRefusal("BadRequest"), 400)


def _too_many(seconds: float) -> Answer:
    return answer(WebhookRefusal("TooManyRequests"), 429, [(b"retry-after", b"%d" % math.ceil(seconds))])
