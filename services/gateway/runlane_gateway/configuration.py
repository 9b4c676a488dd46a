"""`/orgs/{org}/config…`: configuration values, the platform's inherited by every organisation."""

import asyncio
from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Query
from msgspec import Struct
from starlette.requests import Request

from runlane.contracts.directory import PLATFORM, ConfigValue, config_context
from runlane.directory import config_key
from runlane.errors import NotFound, PayloadTooLarge, SealBroken, ValidationError
from runlane.ids import check_token
from runlane.redaction import Redactor
from runlane.telemetry import logger

from .answers import Answer, answer
from .conditions import etag
from .describe import Described
from .parts import Parts, body_of, changes_by, organisation_in_path, principal_of
from .permissions import MANAGE_CONFIG, MANAGE_ORGS
from .views import utc_or_none

_log = logger(__name__)

#: Every service keeps all configuration in memory.
_LARGEST_VALUE = 64 * 1024
_MOST_AT_ONCE = 1000
_AT_ONCE = 32


class ConfigView(Struct, frozen=True, rename="camel"):
    """`origin`: who set it; `inherited`: that is the platform, and not the organisation that was asked for.

    What stands in `value` under the name of a secret is masked.
    """

    key: str
    value: Any
    inherited: bool
    changed_at: str | None
    changed_by: str | None
    origin: Literal["platform", "organization"]


class ConfigsView(Struct, frozen=True):
    config: list[ConfigView]
    next: str | None


class ConfigBody(Struct, frozen=True, forbid_unknown_fields=True):
    value: Any


class ImportBody(Struct, frozen=True, forbid_unknown_fields=True):
    """Values by key. What is not named stays as it is."""

    values: dict[str, Any]


class ImportedView(Struct, frozen=True):
    """The keys whose value is another one now, and how many were so already."""

    changed: list[str]
    unchanged: int


class ConfigurationDoors:
    """`/orgs/{org}/config`, `/orgs/{org}/config/{key}`"""

    def __init__(self, parts: Parts) -> None:
        self._parts, self._directory = parts, parts.directory

    def routes(self, described: Described) -> APIRouter:
        router = APIRouter(tags=["organizations"])
        add, answers, body = router.add_api_route, described.answers, described.body
        every, key = "/orgs/{org}/config", "/orgs/{org}/config/{key}"
        add(every, self.all, methods=["GET"], responses=answers(ConfigsView))
        add(every, self.put_all, methods=["PUT"], responses=answers(ImportedView), openapi_extra=body(ImportBody))
        add(key, self.one, methods=["GET"], responses=answers(ConfigView))
        add(key, self.put, methods=["PUT"], responses=answers(ConfigView), openapi_extra=body(ConfigBody))
        add(key, self.delete, methods=["DELETE"], status_code=204)
        return router

    async def all(
        self, request: Request, org: str, limit: Annotated[int, Query(ge=1, le=1000)] = 500, after: str = ""
    ) -> Answer:
        """Its configuration in the order of the keys, inherited values included."""
        self._permit(request, org)
        values = {value.key: value for of in (PLATFORM, org) for value in self._directory.config_values(of)}
        keys = sorted(key for key in values if key > after)
        views = [_view(values[key], org) for key in keys[:limit]]
        return answer(ConfigsView(views, keys[limit - 1] if len(keys) > limit else None))

    async def one(self, request: Request, org: str, key: str) -> Answer:
        """One value, inherited where the organisation has none of its own. The `ETag` is that of its own value."""
        self._permit(request, org)
        check_token(key, "key")
        found = self._directory.config_value(org, key) or self._directory.config_value(PLATFORM, key)
        if found is None:
            raise NotFound(f"{key} is not set.")
        return answer(_view(found, org), headers=etag(self._directory, config_key(org, key)))

    async def put(self, request: Request, org: str, key: str) -> Answer:
        """Set one value; any JSON will do."""
        self._permit(request, org)
        value = (await body_of(request, self._parts, ConfigBody)).value
        entry = self._entry(request, org, key, value)
        await changes_by(request, self._parts).put(config_key(org, key), entry)
        _log.info("config changed", org=org, key=key, by=entry.changed_by)
        return answer(_view(entry, org), headers=etag(self._directory, config_key(org, key)))

    async def put_all(self, request: Request, org: str) -> Answer:
        """Set many values. All are checked before the first is set; each is a change of its own, so after a failure
        some are set, and sending the same again sets the rest."""
        self._permit(request, org)
        values = (await body_of(request, self._parts, ImportBody)).values
        if len(values) > _MOST_AT_ONCE:
            raise ValidationError(f"At most {_MOST_AT_ONCE} values at once.", "values")
        entries = [self._entry(request, org, key, value) for key, value in values.items()]
        changed = [entry for entry in entries if not self._same(entry)]
        changes, waiting = changes_by(request, self._parts).unconditional(), iter(changed)

        async def write() -> None:
            for entry in waiting:
                await changes.put(config_key(org, entry.key), entry)

        await asyncio.gather(*(write() for _ in range(_AT_ONCE)))
        _log.info("config imported", org=org, keys=len(changed), by=principal_of(request.scope).key_id)
        return answer(ImportedView(sorted(entry.key for entry in changed), len(entries) - len(changed)))

    async def delete(self, request: Request, org: str, key: str) -> Answer:
        """Take a value back; one that is not there is no error."""
        self._permit(request, org)
        await changes_by(request, self._parts).delete(config_key(org, check_token(key, "key")))
        _log.info("config deleted", org=org, key=key, by=principal_of(request.scope).key_id)
        return Answer(204, b"")

    def _permit(self, request: Request, org: str) -> None:
        """Whether the caller may see and set this configuration; the platform's is every organisation's."""
        principal = principal_of(request.scope).everywhere()
        if org == PLATFORM and principal.orgs is None:
            principal.require(MANAGE_ORGS)
            return
        organisation_in_path(request, self._directory, org)
        principal_of(request.scope).require(MANAGE_CONFIG)

    def _entry(self, request: Request, org: str, key: str, value: object) -> ConfigValue:
        size = len(msgspec.json.encode(value))
        if size > _LARGEST_VALUE:
            raise PayloadTooLarge(
                f"The value of {check_token(key, 'key')} has {size} bytes of JSON; {_LARGEST_VALUE} are the limit.",
                details={"limit_bytes": _LARGEST_VALUE},
            )
        now, by = self._parts.clock.now(), principal_of(request.scope).key_id
        shown, sealed = self._masked(org, check_token(key, "key"), value)
        return ConfigValue(org=org, key=key, value=shown, sealed=sealed, changed_at=now, changed_by=by)

    def _masked(self, org: str, key: str, value: object) -> tuple[Any, bytes | None]:
        """What of a value may be shown, and, where that is not all, the whole of it sealed."""
        shown = msgspec.json.decode(Redactor().redacted({key: value}).json)[key]
        if shown == value:
            return value, None
        return shown, self._parts.sealer.seal(msgspec.json.encode(value), config_context(org, key))

    def _same(self, entry: ConfigValue) -> bool:
        known = self._directory.config_value(entry.org, entry.key)
        return known is not None and self._true_json(known) == self._true_json(entry)

    def _true_json(self, value: ConfigValue) -> bytes:
        if value.sealed is None:
            return msgspec.json.encode(value.value)
        try:
            return self._parts.sealer.open(value.sealed, config_context(value.org, value.key))
        except SealBroken:
            return b""  # under a key that is gone: whatever is given is another value


def _view(value: ConfigValue, org: str) -> ConfigView:
    return ConfigView(
        value.key,
        value.value,
        value.org != org,
        utc_or_none(value.changed_at),
        value.changed_by,
        "platform" if value.org == PLATFORM else "organization",
    )
