"""What the doors share, built once by `app`, and how a request names its organisation."""

import re
import uuid
from collections.abc import Mapping
from typing import TypeVar

from msgspec import Struct
from starlette.requests import Request
from starlette.types import Scope

from runlane.audit import Audit, Origin
from runlane.clock import Clock
from runlane.contracts.directory import PLATFORM
from runlane.directory import Directory
from runlane.errors import NotFound, ValidationError
from runlane.ports import Bus, DirectoryStore, Limiter, RecordStore, SecretStore
from runlane.sealing import Sealer
from runlane.settings import Settings

from .accept import Acceptor
from .bodies import convert, decode_object, read_body
from .calls import Calls
from .changes import Changes, ChangesBy
from .conditions import read_condition
from .principals import Principal
from .reading import Records
from .waiting import Waiters

_T = TypeVar("_T", bound=Struct)
_CAPITAL = re.compile(r"(?<=[a-z0-9])[A-Z]")

#: Of a `User-Agent`, so much is kept; an `X-Request-Id` of another form is replaced by one of ours.
_LONGEST_AGENT = 200
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")

ORG_HEADER = "X-Organization-Id"
_ORG_HEADER = ORG_HEADER.lower().encode()

#: Keys under which `gate` leaves what it found in the scope.
PRINCIPAL = "runlane.principal"
HEADERS = "runlane.headers"
RATES = "runlane.rates"


class Parts(Struct, frozen=True, kw_only=True):
    """One gateway's parts."""

    settings: Settings
    clock: Clock
    bus: Bus
    directory: Directory
    changes: Changes
    store: RecordStore
    sealer: Sealer
    #: Where secrets are kept when that is not the directory.
    secrets: SecretStore | None
    limiter: Limiter
    records: Records
    acceptor: Acceptor
    waiters: Waiters
    calls: Calls
    name: str


class Outside(Struct, frozen=True, kw_only=True):
    """What a gateway stands on: the adapters of its ports."""

    bus: Bus
    directory: DirectoryStore
    store: RecordStore
    limiter: Limiter
    secrets: SecretStore | None = None


def assemble(settings: Settings, clock: Clock, directory: Directory, outside: Outside) -> Parts:
    """One gateway's parts over its adapters; raises `ConfigurationError` when there is no master key."""
    name, sealer = uuid.uuid4().hex, settings.sealer()
    bus, store = outside.bus, outside.store
    records, waiters = Records(bus, store, clock), Waiters(bus, name)
    acceptor = Acceptor(bus, sealer, clock, name)
    return Parts(
        settings=settings,
        clock=clock,
        bus=bus,
        directory=directory,
        changes=Changes(outside.directory, directory),
        store=store,
        sealer=sealer,
        secrets=None if settings.secrets_provider == "embedded" else outside.secrets,
        limiter=outside.limiter,
        records=records,
        acceptor=acceptor,
        waiters=waiters,
        calls=Calls(directory, acceptor, waiters, records),
        name=name,
    )


def principal_of(scope: Scope) -> Principal:
    """Who calls; `gate` has put it there for every door that needs a key."""
    principal: Principal = scope[PRINCIPAL]
    return principal


def headers_of(scope: Scope) -> Mapping[bytes, bytes]:
    """The request's headers by lower-case name; of a repeated one the last."""
    headers: dict[bytes, bytes] = scope[HEADERS]
    return headers


def organisation(scope: Scope, directory: Directory, default: str | None = None) -> str:
    """The organisation that the request is about: the one that `X-Organization-Id` names, else the caller's only one.

    Raises `NotFound` for one that is unknown or not the caller's, `ValidationError` when it is not named and the caller
    has several, or all and there is no `default`.
    """
    orgs, named = principal_of(scope).orgs, named_organisation(headers_of(scope))
    if named is not None:
        return named if named == PLATFORM and orgs is None else _visible(named, principal_of(scope), directory)
    if orgs is not None and len(orgs) == 1:
        return _existing(next(iter(orgs)), directory)
    if orgs is None and default is not None:
        return default
    raise ValidationError(f"You are not bound to one organisation: name one in {ORG_HEADER}.", ORG_HEADER)


def organisations(scope: Scope, directory: Directory) -> list[str]:
    """The organisations that a list is about: all of a caller who has several and names none, else the one."""
    orgs = principal_of(scope).orgs
    if orgs is not None and len(orgs) > 1 and named_organisation(headers_of(scope)) is None:
        return sorted(org for org in orgs if directory.org(org) is not None)
    return [organisation(scope, directory)]


def organisation_in_path(request: Request, directory: Directory, org: str) -> str:
    """The organisation that a path names, if the caller may know of it; else `NotFound`.

    From here on the request's principal is what it is within that organisation.
    """
    principal = request.scope[PRINCIPAL] = principal_of(request.scope).within(org)
    return _visible(org, principal, directory)


def named_organisation(headers: Mapping[bytes, bytes]) -> str | None:
    """What `X-Organization-Id` says, if anything."""
    header = headers.get(_ORG_HEADER)
    return (header.decode("latin-1").strip() or None) if header is not None else None


def changes_by(request: Request, parts: Parts) -> ChangesBy:
    """What a door changes the directory through, on behalf of whoever calls: each change is made under the request's
    `If-Match` and `If-None-Match`, and recorded in the audit trail. Raises `ValidationError` for unreadable ones."""
    return parts.changes.by(audit_of(request, parts), read_condition(headers_of(request.scope)))


def audit_of(request: Request, parts: Parts) -> Audit:
    """Records in the audit trail what the caller does: `async with audit_of(…).record(action, target):` around it."""
    headers, client = headers_of(request.scope), request.client
    agent = headers.get(b"user-agent", b"").decode("latin-1")[:_LONGEST_AGENT]
    given = headers.get(b"x-request-id", b"").decode("latin-1")
    origin = Origin(
        address=None if client is None else client.host,
        agent=agent or None,
        request_id=given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex,
    )
    return Audit(parts.bus, parts.clock, f"/runlane/gateway/{parts.name}", principal_of(request.scope).caller, origin)


async def body_of(request: Request, parts: Parts, type_: type[_T]) -> _T:
    """The request's JSON object as a struct, its names in camelCase or snake_case. Raises what `bodies` raises."""
    headers = headers_of(request.scope)
    given = decode_object(headers, await read_body(headers, request.receive, parts.settings.max_body))
    return convert({_snake_case(key): value for key, value in given.items()}, type_)


def _snake_case(name: str) -> str:
    return _CAPITAL.sub(lambda found: f"_{found[0].lower()}", name)


def unknown_organisation() -> NotFound:
    """The same words for one that is not there and one that is not the caller's."""
    return NotFound("There is no such organisation.")


def _visible(org: str, principal: Principal, directory: Directory) -> str:
    if not principal.sees(org):
        raise unknown_organisation()
    return _existing(org, directory)


def _existing(org: str, directory: Directory) -> str:
    if directory.org(org) is None:
        raise unknown_organisation()
    return org
