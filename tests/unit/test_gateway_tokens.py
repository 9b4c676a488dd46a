"""Tokens of an identity provider that runs on loopback, signs with real keys, rotates them and misbehaves."""

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import msgspec
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from runlane.clock import ManualClock, SystemClock
from runlane.directory import Directory
from runlane.errors import Forbidden, Unauthorized
from runlane_gateway.auth import Authenticator
from runlane_gateway.identity import Provider
from runlane_gateway.jwks import ProviderUnavailable
from runlane_gateway.tokens import Tokens
from tests.support.eventually import eventually
from tests.support.issuer import DISCOVERY, JWKS, Issuer, private_key, public_jwk

NOW = datetime(2026, 11, 23, tzinfo=UTC)


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    started = Issuer()
    yield started
    started.close()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW)


@pytest.fixture
def tokens(issuer: Issuer, clock: ManualClock) -> Tokens:
    return trusting(issuer, clock)


def trusting(issuer: Issuer, clock: ManualClock, **changed: Any) -> Tokens:
    return Tokens([msgspec.convert(issuer.provider(**changed), Provider)], clock)


def b64(value: Any) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


async def test_a_token_stands_for_a_person_and_what_the_groups_are_granted(issuer: Issuer, tokens: Tokens) -> None:
    principal = await tokens.verify(issuer.token(name="Ada", email="ada@msp.com", groups=["staff", "other"]))
    assert (principal.key_id, principal.name, principal.email) == ("msp:ada", "Ada", "ada@msp.com")
    assert (principal.orgs, principal.roles, principal.kind) == ({"acme"}, {"technician"}, "token")
    assert principal.may("canExecuteWorkflows")
    assert not principal.may("canManageKeys")


@pytest.mark.parametrize("algorithm", ["RS256", "PS256", "ES256", "EdDSA"])
async def test_every_algorithm_of_the_list_is_understood(issuer: Issuer, tokens: Tokens, algorithm: str) -> None:
    issuer.add_key("other", algorithm)
    assert (await tokens.verify(issuer.token("other"))).key_id == "msp:ada"


async def test_a_key_set_of_one_key_needs_no_key_id(issuer: Issuer, tokens: Tokens) -> None:
    issuer.keys.clear()
    issuer.add_key(None, "ES256")
    assert (await tokens.verify(issuer.token(None))).key_id == "msp:ada"


# --- what is wrong with a token ---------------------------------------------------------------------------------------


def _unsigned(alg: str) -> Callable[[Issuer], str]:
    return lambda issuer: f"{b64({'alg': alg, 'typ': 'JWT', 'kid': 'k1'})}.{b64(issuer.claims())}."


def _hmac_with_the_public_key(issuer: Issuer) -> str:
    pem = issuer.keys["k1"][1].public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    signed = f"{b64({'alg': 'HS256', 'kid': 'k1'})}.{b64(issuer.claims())}"
    return f"{signed}.{b64(hmac.new(pem, signed.encode(), hashlib.sha256).digest())}"


def _signed_by_another(**headers: Any) -> Callable[[Issuer], str]:
    def made(issuer: Issuer) -> str:
        key = private_key("RS256")
        own = {"jwk": public_jwk(key, "RS256", "k1")} if headers.pop("embed", False) else {}
        return jwt.encode(issuer.claims(), key, "RS256", headers={"kid": "k1", **own, **headers})

    return made


def _changed_afterwards(issuer: Issuer) -> str:
    head, _, signature = issuer.token().split(".")
    return f"{head}.{b64(issuer.claims(groups=['staff', 'owners']))}.{signature}"


def _with_header(**headers: Any) -> Callable[[Issuer], str]:
    return lambda issuer: issuer.token(headers=headers)


def _with_claims(**claims: Any) -> Callable[[Issuer], str]:
    return lambda issuer: issuer.token(**claims)


def _in(seconds: float) -> int:
    return int(time.time() + seconds)


WRONG: dict[str, Callable[[Issuer], str]] = {
    "alg none": _unsigned("none"),
    "alg NoNe": _unsigned("NoNe"),
    "alg empty": _unsigned(""),
    "HS256 keyed with the public key": _hmac_with_the_public_key,
    "signed with another key of the same id": _signed_by_another(),
    "brings its own key": _signed_by_another(embed=True),
    "names its own key set": _signed_by_another(jku="http://127.0.0.1:1/keys", x5u="http://127.0.0.1:1/cert"),
    "changed after it was signed": _changed_afterwards,
    "signature cut off": lambda issuer: issuer.token().rpartition(".")[0] + ".",
    "signature of zeros": lambda issuer: f"{issuer.token().rpartition('.')[0]}.{b64(bytes(256))}",
    "critical header that nobody knows": _with_header(crit=["exp"], exp=1),
    "kid is a path": _signed_by_another(kid="../../../../dev/null"),
    "kid is SQL": _signed_by_another(kid="k1' OR '1'='1"),
    "kid is a number": lambda issuer: f"{b64({'alg': 'RS256', 'kid': 1})}.{b64(issuer.claims())}.AAAA",
    "alg is a list": lambda issuer: f"{b64({'alg': ['RS256'], 'kid': 'k1'})}.{b64(issuer.claims())}.AAAA",
    "expired": lambda issuer: issuer.token(exp=_in(-120), iat=_in(-900)),
    "not valid yet": lambda issuer: issuer.token(nbf=_in(300)),
    "issued in the future": lambda issuer: issuer.token(iat=_in(300)),
    "no exp": _with_claims(exp=None),
    "no iat": _with_claims(iat=None),
    "no sub": _with_claims(sub=None),
    "no aud": _with_claims(aud=None),
    "no iss": _with_claims(iss=None),
    "exp is a text": _with_claims(exp="soon"),
    "exp is beyond all time": _with_claims(exp=10**18),
    "sub is empty": _with_claims(sub=""),
    "sub is a line break": _with_claims(sub="ada\nadmin"),
    "sub is endless": _with_claims(sub="a" * 256),
    "another audience": _with_claims(aud="another-application"),
    "another issuer": _with_claims(iss="https://evil.example.com"),
    "the issuer with a slash": lambda issuer: issuer.token(iss=f"{issuer.url}/"),
    "issuer is a list": lambda issuer: f"{b64({'alg': 'RS256', 'kid': 'k1'})}.{b64({'iss': [issuer.url]})}.AAAA",
    "payload is a list": lambda issuer: f"{b64({'alg': 'RS256', 'kid': 'k1'})}.{b64([1])}.AAAA",
    "header is a list": lambda issuer: f"{b64([1])}.{b64(issuer.claims())}.AAAA",
    "header nested deep": lambda issuer: f"{b64(b'[' * 5000)}.{b64(issuer.claims())}.AAAA",
    "payload nested deep": lambda issuer: f"{b64({'alg': 'RS256', 'kid': 'k1'})}.{b64(b'[' * 5000)}.AAAA",
    "payload is not UTF-8": lambda issuer: f"{b64({'alg': 'RS256', 'kid': 'k1'})}.{b64(bytes([255, 254]))}.AAAA",
    "a number without end": lambda issuer: f"{b64(b'1' * 5000)}.{b64(issuer.claims())}.AAAA",
    "two parts": lambda issuer: ".".join(issuer.token().split(".")[:2]),
    "four parts": lambda issuer: f"{issuer.token()}.x",
    "five parts, as if encrypted": lambda issuer: "a.b.c.d.e",
    "not base64": lambda issuer: "$.$.$",
    "not ASCII": lambda issuer: "é.ü.ß",
    "empty parts": lambda issuer: "..",
    "two tokens": lambda issuer: f"{issuer.token()}, {issuer.token()}",
}


@pytest.mark.parametrize("what", WRONG)
async def test_a_token_that_is_not_right_is_refused_with_the_same_words(
    issuer: Issuer, tokens: Tokens, what: str
) -> None:
    with pytest.raises(Unauthorized) as refused:
        await tokens.verify(WRONG[what](issuer))
    assert (refused.value.message, refused.value.details) == ("These credentials are not valid.", {})
    assert set(issuer.asked) <= {DISCOVERY, JWKS}


async def test_clocks_may_differ_by_the_leeway(issuer: Issuer, clock: ManualClock) -> None:
    skewed = issuer.token(exp=_in(-20), iat=_in(20), nbf=_in(20))
    assert await trusting(issuer, clock, leeway_seconds=60).verify(skewed)
    with pytest.raises(Unauthorized):
        await trusting(issuer, clock, leeway_seconds=5).verify(skewed)


async def test_an_algorithm_outside_the_list_is_refused(issuer: Issuer, clock: ManualClock) -> None:
    with pytest.raises(Unauthorized):
        await trusting(issuer, clock, algorithms=["ES256"]).verify(issuer.token())
    assert issuer.asked == []


@pytest.mark.parametrize(
    "jwk",
    [
        {"kty": "oct", "k": b64(b"secret" * 8)},
        {"kty": "RSA"},
        {"kty": "RSA", "n": 1, "e": 2},
        {"kty": "RSA", "n": "!", "e": "!"},
        {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"},
        {"kty": "EC", "crv": ["P-256"]},
        {"kty": ["RSA"]},
        {},
        "text",
        None,
    ],
)
async def test_a_key_that_is_of_no_use_does_not_take_the_others_away(
    issuer: Issuer, tokens: Tokens, jwk: object
) -> None:
    issuer.extra = [{**jwk, "kid": "bad"} if isinstance(jwk, dict) else jwk]
    assert await tokens.verify(issuer.token())
    with pytest.raises(Unauthorized):
        await tokens.verify(issuer.token(headers={"kid": "bad"}))


@pytest.mark.parametrize("known", [{"use": "enc"}, {"alg": "RS512"}, {"alg": "HS256"}])
async def test_a_key_is_used_for_what_it_was_made_for(issuer: Issuer, tokens: Tokens, known: dict[str, str]) -> None:
    key = private_key("RS256")
    issuer.extra = [public_jwk(key, "RS256", "k2", **known)]
    with pytest.raises(Unauthorized):
        await tokens.verify(jwt.encode(issuer.claims(), key, "RS256", headers={"kid": "k2"}))


async def test_two_keys_of_one_id_are_none(issuer: Issuer, tokens: Tokens) -> None:
    issuer.extra = [public_jwk(private_key("RS256"), "RS256", "k1")]
    with pytest.raises(Unauthorized):
        await tokens.verify(issuer.token())


# --- groups, roles, organisations -------------------------------------------------------------------------------------

STAFF = {"group": "staff", "roles": ["viewer"], "orgs": "*"}
ACME = {"group": "acme-admins", "roles": ["owner"], "orgs": ["acme"]}
CLIENT = {"group": "client", "roles": ["technician"], "permissions": ["canRunGuarded"], "orgs": "claim"}


@pytest.mark.parametrize("groups", [[], None, ["others"], "other", 5, {"staff": True}, [["staff"]], [None]])
async def test_who_is_granted_nothing_stays_outside(issuer: Issuer, tokens: Tokens, groups: object) -> None:
    with pytest.raises(Forbidden):
        await tokens.verify(issuer.token(groups=groups))


async def test_more_in_one_organisation_is_not_more_in_the_others(issuer: Issuer, clock: ManualClock) -> None:
    tokens = trusting(issuer, clock, grants=[STAFF, ACME])
    principal = await tokens.verify(issuer.token(groups=["staff", "acme-admins"]))
    assert (principal.orgs, principal.permissions) == (None, {"canViewExecutions"})
    assert principal.within("acme").permissions == {"*", "canViewExecutions"}
    assert principal.within("acme").orgs == {"acme"}
    assert principal.within("globex").permissions == {"canViewExecutions"}
    assert principal.within("acme").within("globex").permissions == {"canViewExecutions"}
    assert principal.within("acme").everywhere() == principal


async def test_without_naming_one_holds_what_holds_in_each(issuer: Issuer, clock: ManualClock) -> None:
    globex = {"group": "globex-staff", "roles": ["viewer"], "orgs": ["globex"]}
    tokens = trusting(issuer, clock, grants=[ACME, globex])
    principal = await tokens.verify(issuer.token(groups=["acme-admins", "globex-staff"]))
    assert (principal.orgs, principal.permissions) == ({"acme", "globex"}, {"canViewExecutions"})
    assert not principal.within("initech").sees("initech")
    assert not principal.within("globex").may("canManageKeys")


async def test_organisations_may_come_from_a_claim(issuer: Issuer, clock: ManualClock) -> None:
    tokens = trusting(issuer, clock, grants=[CLIENT], claims={"orgs": "tenant.orgs", "groups": ["https://x/groups"]})
    claims = {"https://x/groups": "client", "tenant": {"orgs": ["acme", "platform", "a.b", 7, "*"]}}
    principal = await tokens.verify(issuer.token(**claims))
    assert (principal.orgs, principal.may("canRunGuarded")) == ({"acme"}, True)
    for orgs in (None, [], "platform", {"acme": 1}):
        with pytest.raises(Forbidden):
            await tokens.verify(issuer.token(**{**claims, "tenant": {"orgs": orgs}}))


# --- keys of the provider ---------------------------------------------------------------------------------------------


async def test_keys_are_fetched_once_for_many(issuer: Issuer, tokens: Tokens) -> None:
    made = [issuer.token(sub=f"user{n}") for n in range(50)]
    await asyncio.gather(*(tokens.verify(token) for token in made))
    assert issuer.asked == [DISCOVERY, JWKS]


async def test_a_rotated_key_is_found_and_invented_ones_cost_one_request_in_ten_seconds(
    issuer: Issuer, tokens: Tokens, clock: ManualClock
) -> None:
    await tokens.verify(issuer.token())
    clock.set(clock.now() + timedelta(seconds=11))
    issuer.add_key("k2", "ES256")
    assert await tokens.verify(issuer.token("k2"))
    assert issuer.asked == [DISCOVERY, JWKS] * 2
    for n in range(50):
        with pytest.raises(Unauthorized):
            await tokens.verify(issuer.token(headers={"kid": f"invented{n}"}))
    assert issuer.asked == [DISCOVERY, JWKS] * 2
    clock.set(clock.now() + timedelta(seconds=11))
    invented = [issuer.token(headers={"kid": f"invented{n}"}) for n in range(50)]
    refused = await asyncio.gather(*(tokens.verify(token) for token in invented), return_exceptions=True)
    assert {type(problem) for problem in refused} == {Unauthorized}
    assert issuer.asked == [DISCOVERY, JWKS] * 3


async def test_a_key_that_the_provider_withdrew_is_forgotten(
    issuer: Issuer, tokens: Tokens, clock: ManualClock
) -> None:
    token = issuer.token()
    await tokens.verify(token)
    issuer.add_key("k2", "ES256")
    del issuer.keys["k1"]
    clock.set(clock.now() + timedelta(minutes=11))
    await tokens.verify(token)  # the keys are old: it asks for new ones, and does not wait for them

    async def refused() -> bool:
        try:
            await tokens.verify(token)
        except Unauthorized:
            return True
        return False

    await eventually(refused, within=20)


BAD_ANSWERS: dict[str, tuple[str, tuple[int, bytes]]] = {
    "discovery fails": (DISCOVERY, (500, b"{}")),
    "discovery redirects": (DISCOVERY, (302, b"")),
    "discovery is HTML": (DISCOVERY, (200, b"<html>")),
    "discovery is a list": (DISCOVERY, (200, b"[]")),
    "discovery is another's": (DISCOVERY, (200, b'{"issuer":"https://evil.example.com","jwks_uri":"https://x/k"}')),
    "discovery is nested deep": (DISCOVERY, (200, b"[" * 100_000)),
    "discovery is endless": (DISCOVERY, (200, b" " * 600_000 + b"{}")),
    "keys are not found": (JWKS, (404, b"")),
    "keys are empty": (JWKS, (200, b'{"keys":[]}')),
    "keys are no list": (JWKS, (200, b'{"keys":{"k1":1}}')),
    "keys are missing": (JWKS, (200, b"{}")),
    "keys are garbage": (JWKS, (200, b"\xff\xfe")),
}


@pytest.mark.parametrize("what", BAD_ANSWERS)
async def test_a_provider_that_answers_nonsense_is_unavailable_and_known_keys_go_on(
    issuer: Issuer, tokens: Tokens, clock: ManualClock, what: str
) -> None:
    path, answer = BAD_ANSWERS[what]
    issuer.answers[path] = answer
    with pytest.raises(ProviderUnavailable):
        await tokens.verify(issuer.token())
    issuer.answers.clear()
    with pytest.raises(ProviderUnavailable):
        await tokens.verify(issuer.token())  # it was asked only just now
    clock.set(clock.now() + timedelta(seconds=11))
    assert await tokens.verify(issuer.token())
    issuer.answers[path] = answer
    asked = len(issuer.asked)
    clock.set(clock.now() + timedelta(minutes=11))
    assert await tokens.verify(issuer.token())
    await eventually(lambda: len(issuer.asked) > asked, within=20)
    issuer.add_key("k2", "RS256")
    with pytest.raises(ProviderUnavailable):
        await tokens.verify(issuer.token("k2"))
    assert await tokens.verify(issuer.token())


@pytest.mark.parametrize("uri", ["file:///etc/passwd", "http://10.0.0.1/keys", "https://", "gopher://x", 5, None])
async def test_keys_are_fetched_from_safe_places_only(issuer: Issuer, tokens: Tokens, uri: object) -> None:
    issuer.answers[DISCOVERY] = (200, json.dumps({"issuer": issuer.url, "jwks_uri": uri}).encode())
    with pytest.raises(ProviderUnavailable):
        await tokens.verify(issuer.token())
    assert issuer.asked == [DISCOVERY]


async def test_a_provider_that_hangs_holds_up_nobody_whose_key_is_known(
    issuer: Issuer, tokens: Tokens, clock: ManualClock
) -> None:
    await tokens.verify(issuer.token())
    clock.set(clock.now() + timedelta(minutes=11))
    issuer.add_key("k2", "ES256")
    issuer.gate.clear()
    waiting = asyncio.create_task(tokens.verify(issuer.token("k2")))
    await eventually(lambda: len(issuer.asked) == 3, within=20)
    assert await tokens.verify(issuer.token())
    assert not waiting.done()
    issuer.gate.set()
    assert await waiting


# --- remembered -------------------------------------------------------------------------------------------------------


async def test_a_verified_token_is_remembered_until_it_expires(issuer: Issuer) -> None:
    clock = ManualClock(SystemClock().now())
    authenticator = Authenticator(Directory(), clock, trusting(issuer, clock))
    header = f"Bearer {issuer.token()}".encode()
    principal = await authenticator.authenticate(header)
    issuer.close()
    assert await authenticator.authenticate(header) is principal
    assert principal.expires_at is not None
    clock.set(principal.expires_at)
    with pytest.raises(Unauthorized):
        await authenticator.authenticate(header)


async def test_without_providers_no_token_is_accepted(issuer: Issuer, clock: ManualClock) -> None:
    with pytest.raises(Unauthorized):
        await Authenticator(Directory(), clock).authenticate(f"Bearer {issuer.token()}".encode())


async def test_a_small_rsa_key_is_not_used(issuer: Issuer, tokens: Tokens) -> None:
    issuer.add_key("weak", "RS256", bits=1024)
    with pytest.warns(jwt.InsecureKeyLengthWarning):
        token = issuer.token("weak")
    with pytest.raises(Unauthorized):
        await tokens.verify(token)
