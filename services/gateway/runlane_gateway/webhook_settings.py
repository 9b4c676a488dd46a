"""The webhooks that there are: settings of the directory joined with workflows, their secrets opened and remembered.

Called by the webhook doors. A secret leaves this module only as a key to compare with.
"""

import os
from collections.abc import Iterator

import msgspec
from msgspec import Struct

from runlane.contracts.directory import Manifest
from runlane.contracts.webhooks import Scheme, Webhook, webhook_context
from runlane.directory import Directory
from runlane.errors import SealBroken, ValidationError
from runlane.ids import is_token
from runlane.sealing import Sealer
from runlane.telemetry import logger

from .form_schemas import ParameterSchemas
from .webhook_signatures import Headers, Key, has_delivery_id, key_of

_log = logger(__name__)

_MOST_REMEMBERED = 10_000
_MOST_HEADERS = 20
_LONGEST_TOLERANCE = 86_400
#: Headers whose values no workflow gets.
_CREDENTIALS = frozenset({"authorization", "proxy-authorization", "cookie"})
_HEADER_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789!#$%&'*+-.^_`|~")

#: What a scheme is recognised by, where there is no webhook to know it from.
_MARKS: dict[bytes, Scheme] = {
    b"webhook-signature": "standard",
    b"x-hub-signature-256": "github",
    b"x-slack-signature": "slack",
    b"x-shopify-hmac-sha256": "shopify",
}


class Hook(Struct, frozen=True):
    """What a delivery meets. `closed` says why none can be accepted; the sender never learns it, nor the difference.

    Without `keys` it is open to everybody, and was declared so. `manifest` None: there is no such webhook at all.
    """

    webhook: Webhook
    keys: tuple[Key, ...]
    manifest: Manifest | None = None
    closed: str | None = None


class Webhooks:
    """Every webhook, by organisation and workflow."""

    def __init__(self, directory: Directory, sealer: Sealer) -> None:
        self._directory, self._sealer = directory, sealer
        self._opened: dict[tuple[str, str], tuple[Webhook, tuple[Key, ...]]] = {}
        # What is sent to a webhook that is not there is compared with a key, too: it takes as long.
        self._nobody = (Key(os.urandom(32)),)

    def find(self, org: str, workflow: str, headers: Headers) -> Hook:
        """The webhook; a closed one where there is none."""
        manifest = self._manifest(org, workflow)
        if manifest is None:
            return Hook(_looks_like(headers), self._nobody, None, "there is no such webhook")
        webhook = self._directory.webhook(org, workflow) or Webhook(org=org, workflow=workflow)
        reason = "the webhook is disabled" if not webhook.enabled else unfit(manifest)
        try:
            keys = self._keys(webhook)
        except SealBroken as problem:
            _log.error("the secrets of a webhook cannot be opened", org=org, workflow=workflow, reason=problem.message)
            keys, reason = self._nobody, "its secrets cannot be opened"
        if not keys and (manifest.webhook_secret_required or webhook.scheme != "secret"):
            keys, reason = self._nobody, reason or "it has no secret yet"
        return Hook(webhook, keys, manifest, reason)

    def secrets(self, webhook: Webhook) -> list[str]:
        """The values of its live secrets, the newest first. Raises `SealBroken`."""
        if webhook.sealed is None:
            return []
        opened = self._sealer.open(webhook.sealed, webhook_context(webhook.org, webhook.workflow))
        return msgspec.json.decode(opened, type=list[str])

    def seal(self, webhook: Webhook, secrets: list[str]) -> bytes | None:
        """What `secrets` gives back."""
        if not secrets:
            return None
        return self._sealer.seal(msgspec.json.encode(secrets), webhook_context(webhook.org, webhook.workflow))

    def _manifest(self, org: str, workflow: str) -> Manifest | None:
        if not is_token(org) or not is_token(workflow) or self._directory.org(org) is None:
            return None
        manifest = self._directory.workflow(workflow) if self._directory.enabled(org, workflow) else None
        known = manifest is not None and (manifest.webhook_enabled or self._directory.webhook(org, workflow))
        return manifest if known else None

    def _keys(self, webhook: Webhook) -> tuple[Key, ...]:
        place = webhook.org, webhook.workflow
        known = self._opened.get(place)
        if known is not None and known[0] is webhook:
            return known[1]
        pairs = zip(webhook.versions, self.secrets(webhook), strict=True)
        keys = tuple(Key(key_of(webhook.scheme, secret), version.expires_at) for version, secret in pairs)
        if webhook.sealed is not None:
            if len(self._opened) >= _MOST_REMEMBERED:
                self._opened.clear()
            self._opened[place] = (webhook, keys)
        return keys


def _looks_like(headers: Headers) -> Webhook:
    for mark, scheme in _MARKS.items():
        if mark in headers:
            return Webhook(org="", workflow="", scheme=scheme)
    return Webhook(org="", workflow="")


def unfit(manifest: Manifest) -> str | None:
    """Why a workflow cannot be run by webhooks, None where it can."""
    name = manifest.name
    if not manifest.webhook_enabled:
        return f"workflow {name!r} is not declared with webhook_enabled=True"
    if manifest.execution_mode != "async":
        return f"workflow {name!r} is {manifest.execution_mode}, and a webhook is answered at once: make it async"
    return None


def problems_of(webhook: Webhook, manifest: Manifest) -> Iterator[ValidationError]:
    """Everything that keeps a webhook from working. Checked when it is saved, and shown later: workflows change."""
    reason = unfit(manifest)
    if reason is not None:
        yield ValidationError(reason, "workflow")
    for field, problem in (*_of_numbers(webhook), *_of_names(webhook), *_of_mapping(webhook, manifest)):
        yield ValidationError(f"{field}: {problem}", field)


_Reasons = Iterator[tuple[str, str]]


def _of_numbers(webhook: Webhook) -> _Reasons:
    if not 1 <= webhook.tolerance_seconds <= _LONGEST_TOLERANCE:
        yield "toleranceSeconds", f"give seconds from 1 to {_LONGEST_TOLERANCE}"
    if not 0 < webhook.rate_per_minute <= 1_000_000:
        yield "ratePerMinute", "give a number above 0 and up to 1000000"
    if not 1 <= webhook.burst <= 100_000:
        yield "burst", "give a number from 1 to 100000"


def _of_names(webhook: Webhook) -> _Reasons:
    named = [("header", webhook.header), ("deliveryHeader", webhook.delivery_header or "x")]
    named += [(f"headers[{index}]", name) for index, name in enumerate(webhook.headers)]
    for field, name in named:
        if not 0 < len(name) <= 100 or not set(name.lower()) <= _HEADER_CHARACTERS:
            yield field, "it is no name of a header"
    if webhook.delivery_header is not None and webhook.scheme != "secret":
        yield "deliveryHeader", f"the scheme {webhook.scheme} has its own ways"
    if webhook.dedupe == "delivery" and not has_delivery_id(webhook):
        yield (
            "dedupe",
            "there is no delivery id: name its header in deliveryHeader (scheme secret), or use body",
        )
    if len(webhook.headers) > _MOST_HEADERS:
        yield "headers", f"at most {_MOST_HEADERS}"
    secret = {webhook.header.lower()} if webhook.scheme == "secret" else set[str]()
    for index, name in enumerate(webhook.headers):
        if name.lower() in _CREDENTIALS | secret:
            yield f"headers[{index}]", "what proves who the sender is does not go to the workflow"
    if (webhook.headers_as is None) != (not webhook.headers):
        yield "headersAs", "headers and headersAs go together"


def _of_mapping(webhook: Webhook, manifest: Manifest) -> _Reasons:
    schemas = ParameterSchemas(manifest)
    given = {name for name in (webhook.body_as, webhook.headers_as) if name is not None}
    if webhook.body_as is not None and webhook.body_as == webhook.headers_as:
        yield "headersAs", "it is the parameter of the body already"
    for field, name in (("bodyAs", webhook.body_as), ("headersAs", webhook.headers_as)):
        if name is not None and name not in schemas.properties and not schemas.open:
            yield field, f"{manifest.name} has no parameter {name[:64]!r}"
    if webhook.headers_as is not None and not schemas.takes(webhook.headers_as, dict.fromkeys(webhook.headers, "x")):
        yield "headersAs", "the parameter does not take an object of texts"
    if webhook.body_as is None and webhook.scheme != "msgraph":
        return
    # Everything that comes is one parameter then; Graph's notifications are always called `value`.
    missing = sorted(schemas.required - given - ({"value"} if webhook.body_as is None else set()))
    for name in missing:
        yield "bodyAs", f"{manifest.name} needs its parameter {name!r}, and nothing fills it"
    if webhook.body_as is None and "value" not in schemas.properties and not schemas.open:
        yield "bodyAs", f"Graph sends `value`, which {manifest.name} does not take: name a parameter for the body"
