"""`/sign-in`: people come to the console through an identity provider, with a code of its and PKCE (RFC 7636).

The browser makes up a verifier and keeps it; the provider sees its hash, and whoever has no verifier can do nothing
with a code. The gateway keeps nothing: it exchanges the code, and checks the token as it checks every other.
"""

import asyncio
import base64
import hashlib
import hmac
from typing import Annotated
from urllib.parse import urlencode

import httpx
import jwt
from fastapi import APIRouter, Query
from msgspec import Struct
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import Response

from runlane.errors import NotFound, Unauthorized
from runlane.telemetry import logger

from .answers import Answer, answer
from .describe import Described
from .identity import Provider, SignIn, is_safe_url
from .jwks import ProviderUnavailable, Unusable, discover, json_at
from .parts import Parts, body_of
from .tokens import Tokens
from .views import utc_or_none

_log = logger(__name__)

_SECONDS = 10.0
_AT_ONCE = 8
_CHALLENGE = r"^[A-Za-z0-9_-]{43}$"
_STATE = r"^[A-Za-z0-9_-]{16,128}$"
_LONGEST = 4096


class Asked(BaseModel, extra="forbid"):
    """`challenge`: SHA-256 of the verifier, in base64url; `state`: what the provider is to give back."""

    challenge: str = Field(pattern=_CHALLENGE)
    state: str = Field(pattern=_STATE)


class CodeBody(Struct, frozen=True, forbid_unknown_fields=True):
    """What the provider gave, and the verifier that was made up before."""

    code: str
    verifier: str


class ProviderView(Struct, frozen=True):
    name: str
    title: str


class ProvidersView(Struct, frozen=True):
    providers: list[ProviderView]


class TokenView(Struct, frozen=True, rename="camel"):
    """A token for `Authorization: Bearer`."""

    token: str
    expires_at: str | None


class SignInDoors:
    """Open: who comes here has nothing to show yet."""

    def __init__(self, parts: Parts, tokens: Tokens | None) -> None:
        self._parts, self._tokens = parts, tokens
        self._turns = asyncio.Semaphore(_AT_ONCE)
        providers = [] if tokens is None else tokens.providers
        self._ways = {it.name: (it, it.sign_in) for it in providers if it.sign_in is not None}

    def routes(self, described: Described) -> APIRouter:
        router = APIRouter(tags=["access"])
        add = router.add_api_route
        add("/sign-in", self.find, methods=["GET"], responses=described.answers(ProvidersView))
        add("/sign-in/{provider}", self.lead, methods=["GET"], status_code=302, response_class=Response)
        add(
            "/sign-in/{provider}",
            self.exchange,
            methods=["POST"],
            responses=described.answers(TokenView),
            openapi_extra=described.body(CodeBody),
        )
        return router

    async def find(self) -> Answer:
        """The identity providers that people can sign in with."""
        found = [ProviderView(name, way.title or name) for name, (_, way) in self._ways.items()]
        return answer(ProvidersView(found))

    async def lead(self, provider: str, asked: Annotated[Asked, Query()]) -> Response:
        """To the provider's own page, which leads back to the console with a code."""
        trusted, way = self._way(provider)
        async with self._asking() as client:
            address = _endpoint(await discover(client, trusted.issuer), "authorization_endpoint")
        query = {
            "response_type": "code",
            "client_id": way.client_id,
            "redirect_uri": way.redirect_uri,
            "scope": " ".join(way.scopes),
            "state": asked.state,
            "nonce": asked.challenge,
            "code_challenge": asked.challenge,
            "code_challenge_method": "S256",
        }
        joined = f"{address}{'&' if '?' in address else '?'}{urlencode(query)}"
        return Response(status_code=302, headers={"location": joined, "cache-control": "no-store"})

    async def exchange(self, request: Request, provider: str) -> Answer:
        """A code for a token. 401 when the provider does not take it, or what it gives is not to be trusted."""
        trusted, way = self._way(provider)
        body = await body_of(request, self._parts, CodeBody)
        if not 0 < len(body.code) <= _LONGEST or not 43 <= len(body.verifier) <= 128 or not body.verifier.isascii():
            raise Unauthorized("These credentials are not valid.")
        async with self._asking() as client:
            discovered = await discover(client, trusted.issuer)
            try:
                told = await json_at(client, _endpoint(discovered, "token_endpoint"), _form(way, body))
            except Unusable as problem:
                _log.info("sign-in refused by the provider", provider=provider, reason=str(problem)[:300])
                raise Unauthorized("The identity provider did not take this sign-in. Try again.") from None
        return answer(await self._checked(told, way, body.verifier))

    async def _checked(self, told: dict[str, object], way: SignIn, verifier: str) -> TokenView:
        assert self._tokens is not None  # there is a way to sign in
        token, identity = told.get(way.token), told.get("id_token")
        if not isinstance(token, str) or not isinstance(identity, str):
            raise Unauthorized("The identity provider did not answer with the token that is wanted.")
        principal = await self._tokens.verify(token)
        if way.token != "id_token":  # the identity's own token says whether this answer is to this question
            await self._tokens.verify(identity)
        nonce = jwt.decode(identity, options={"verify_signature": False}).get("nonce")
        if not isinstance(nonce, str) or not hmac.compare_digest(nonce.encode(), challenge_of(verifier).encode()):
            raise Unauthorized("This sign-in was begun elsewhere.")
        return TokenView(token, utc_or_none(principal.expires_at))

    def _way(self, name: str) -> tuple[Provider, SignIn]:
        found = self._ways.get(name)
        if found is None:
            raise NotFound("There is no such identity provider.")
        return found

    def _asking(self) -> "_Asking":
        assert self._tokens is not None  # there is a way to sign in
        return _Asking(self._turns, httpx.AsyncClient(verify=self._tokens.tls, timeout=_SECONDS))


class _Asking:
    """A client for a few requests to a provider; that it is away is `ProviderUnavailable`."""

    def __init__(self, turns: asyncio.Semaphore, client: httpx.AsyncClient) -> None:
        self._turns, self._client = turns, client

    async def __aenter__(self) -> httpx.AsyncClient:
        await self._turns.acquire()
        return self._client

    async def __aexit__(self, kind: object, problem: BaseException | None, at: object) -> None:
        self._turns.release()
        await self._client.aclose()
        if isinstance(problem, httpx.HTTPError | httpx.InvalidURL | Unusable):
            _log.warning("identity provider cannot be asked", reason=(str(problem) or type(problem).__name__)[:300])
            raise ProviderUnavailable() from None


def challenge_of(verifier: str) -> str:
    """What the provider is told of a verifier (RFC 7636 §4.2, S256)."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()


def _form(way: SignIn, body: CodeBody) -> dict[str, str]:
    secret = {} if way.client_secret_file is None else {"client_secret": way.client_secret_file.read_text().strip()}
    return {
        "grant_type": "authorization_code",
        "code": body.code,
        "redirect_uri": way.redirect_uri,
        "client_id": way.client_id,
        "code_verifier": body.verifier,
        **secret,
    }


def _endpoint(discovered: dict[str, object], name: str) -> str:
    url = discovered.get(name)
    if not isinstance(url, str) or not is_safe_url(url):
        raise Unusable(f"{name} is not an https URL")
    return url
