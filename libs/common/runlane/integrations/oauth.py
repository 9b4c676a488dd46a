"""OAuth 2.0 client credentials (RFC 6749 §4.4), the token shared by an organisation's executions.

Below msgraph and halopsa; authors may derive from it as well.
"""

from typing import Any

from msgspec import Struct

from runlane.errors import IntegrationError
from runlane.integrations.base import BaseIntegration, Token

#: What a vendor that does not say how long its token lasts is taken to mean.
_UNSAID_SECONDS = 300.0
#: A token is given up so long before its end, or in the last tenth of a short life: requests and clocks take time.
_EARLY_SECONDS = 120.0


class Grant(Struct, frozen=True, kw_only=True):
    """What to ask a token for. `secret` is the name of the secret, not its value."""

    url: str
    client_id: str
    secret: str
    scope: str
    params: dict[str, str] = {}


class OAuthIntegration(BaseIntegration):
    """A vendor that wants a bearer token got by client credentials. Derive, and say what to ask for in `grant`."""

    def grant(self) -> Grant:
        """Where and with what to authenticate; raises `ConfigurationError` for what is not configured."""
        raise NotImplementedError

    async def authenticate(self) -> str:
        grant = self.grant()

        async def fetch() -> Token:
            return await self._fetch(grant)

        return await self.shared_token(f"{grant.url}|{grant.client_id}|{grant.scope}", fetch)

    async def _fetch(self, grant: Grant) -> Token:
        form = {
            "grant_type": "client_credentials",
            "client_id": grant.client_id,
            "client_secret": await self.get_secret(grant.secret),
            "scope": grant.scope,
        }
        body = await self.post_form(grant.url, form, grant.params, f"check the client id and the secret {grant.secret}")
        token = body.get("access_token") if isinstance(body, dict) else None
        if not isinstance(token, str) or not token or not token.isascii() or not token.isprintable():
            raise IntegrationError(self.integration_name, "The token endpoint answered without a usable access_token")
        return Token(token, _usable_seconds(body.get("expires_in")))


def _usable_seconds(expires_in: Any) -> float:
    try:
        seconds = float(expires_in)
    except (TypeError, ValueError):
        seconds = _UNSAID_SECONDS
    seconds = min(max(seconds, 0.0), 86_400.0)
    return seconds - min(_EARLY_SECONDS, seconds / 10)
