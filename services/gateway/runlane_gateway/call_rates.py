"""How often callers may call: `gate` asks here before any door, and every answer says what is left.

The header fields are those of draft-ietf-httpapi-ratelimit-headers-10: a policy's `q` is its burst and `w` the seconds
in which an empty bucket fills up, `r` what is left now and `t` the seconds until it is full.
"""

import math
from collections.abc import Iterator

from msgspec import Struct
from starlette.types import Scope

from runlane.directory import Directory
from runlane.errors import TooManyRequests
from runlane.ports import Allowance, Budget, Limiter
from runlane.settings import Settings

from .answers import Header
from .parts import RATES, Parts, headers_of, named_organisation
from .principals import Principal


class Policy(Struct, frozen=True):
    """One kind of bucket, as the answer names it."""

    name: str
    budget: Budget

    @property
    def field(self) -> str:
        window = math.ceil(self.budget.burst * 60 / self.budget.per_minute)
        return f'"{self.name}";q={int(self.budget.burst)};w={window}'

    def left(self, allowance: Allowance) -> str:
        return f'"{self.name}";r={allowance.left};t={math.ceil(allowance.full_in)}'


class CallRates:
    """The limits of each caller, and of all callers of an organisation together."""

    def __init__(self, caller: Policy | None, org: Policy | None, limiter: Limiter, directory: Directory) -> None:
        self._caller, self._org, self._limiter, self._directory = caller, org, limiter, directory

    async def admit(self, scope: Scope, principal: Principal) -> None:
        """Let a call in, and leave in the scope what its answer says of it. Raises `TooManyRequests`."""
        await self._charge(scope, principal, 1)

    async def admit_more(self, scope: Scope, principal: Principal, count: int) -> None:
        """The same for a call that was let in and stands for so many more. More than a bucket holds are let in when it
        was full before that call."""
        await self._charge(scope, principal, count, already=1)

    async def _charge(self, scope: Scope, principal: Principal, count: int, already: int = 0) -> None:
        asked: list[tuple[Policy, Allowance]] = []
        for policy, key in self._buckets(scope, principal):
            burst = policy.budget.burst if count < policy.budget.burst else count + already
            allowance = await self._limiter.take(key, Budget(policy.budget.per_minute, burst), count)
            asked.append((policy, allowance))
            if allowance.wait > 0:
                break
        scope[RATES] = _fields(asked)
        if asked and asked[-1][1].wait > 0:
            raise _too_many(*asked[-1])

    def _buckets(self, scope: Scope, principal: Principal) -> Iterator[tuple[Policy, str]]:
        if self._caller is not None:
            yield self._caller, f"caller|{principal.kind}|{principal.key_id}"
        org = self._charged(scope, principal) if self._org is not None else None
        if self._org is not None and org is not None:
            yield self._org, f"org|{org}"

    def _charged(self, scope: Scope, principal: Principal) -> str | None:
        """The organisation that a call is on account of; never one that the caller may not know of."""
        named = named_organisation(headers_of(scope))
        if named is None and principal.orgs is not None and len(principal.orgs) == 1:
            named = next(iter(principal.orgs))
        known = named is not None and principal.sees(named) and self._directory.org(named) is not None
        return named if known else None


def call_rates(parts: Parts) -> CallRates | None:
    """The limits that the settings name, None where there are none."""
    settings: Settings = parts.settings
    caller = _policy("caller", settings.caller_rate_per_minute, settings.caller_burst)
    org = _policy("organization", settings.org_rate_per_minute, settings.org_burst)
    return CallRates(caller, org, parts.limiter, parts.directory) if caller or org else None


def _policy(name: str, per_minute: float, burst: int | None) -> Policy | None:
    if per_minute <= 0:
        return None
    return Policy(name, Budget(per_minute, max(1, int(per_minute)) if burst is None else burst))


def _fields(asked: list[tuple[Policy, Allowance]]) -> list[Header]:
    if not asked:
        return []
    policies = ", ".join(policy.field for policy, _ in asked)
    left = ", ".join(policy.left(allowance) for policy, allowance in asked)
    return [(b"ratelimit-policy", policies.encode()), (b"ratelimit", left.encode())]


def _too_many(policy: Policy, allowance: Allowance) -> TooManyRequests:
    whose = "you may" if policy.name == "caller" else "the callers of this organisation together may"
    return TooManyRequests(
        f"Too many requests: {whose} send {policy.budget.per_minute:g} a minute.",
        details={"limit": policy.name, "per_minute": policy.budget.per_minute, "seconds": math.ceil(allowance.wait)},
    )
