"""`ports.WritableSecretStore` over Azure Key Vault. Needs the extra `runlane[azure]`; imported only where it is chosen.

A secret is `{org}--{name}` in the vault, with `-` for `_`: Key Vault knows letters, digits and `-`, and no case. So
`api_key`, `api-key` and `API_KEY` of an organisation are one secret; ids of organisations must be unmistakable.
"""

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from azure.core.exceptions import AzureError, ClientAuthenticationError, HttpResponseError, ResourceNotFoundError
from azure.keyvault.secrets import SecretClient

from runlane.errors import ConfigurationError, SecretsUnavailable
from runlane.ids import check_token
from runlane.telemetry import logger

from .secrets_local import plain_org

_log = logger(__name__)
_T = TypeVar("_T")

_LONGEST_NAME = 127
_CALL_SECONDS = 10.0


class AzureSecrets:
    """See `ports.WritableSecretStore`. The client works in threads; it speaks over one pool of connections."""

    def __init__(self, client: SecretClient) -> None:
        self._client = client

    async def get(self, org: str, name: str) -> str | None:
        vault_name = _vault_name(org, name)
        try:
            return (await self._call(lambda: self._client.get_secret(vault_name, **_TIMEOUTS))).value or None
        except ResourceNotFoundError:
            return None

    async def names(self, org: str) -> list[str]:
        prefix = f"{plain_org(org)}--"

        def listed() -> list[str]:
            found = (known.name or "" for known in self._client.list_properties_of_secrets(**_TIMEOUTS))
            return sorted(name.removeprefix(prefix) for name in found if name.startswith(prefix))

        return await self._call(listed)

    async def put(self, org: str, name: str, value: str) -> None:
        vault_name = _vault_name(org, name)
        await self._call(lambda: self._client.set_secret(vault_name, value, **_TIMEOUTS))

    async def remove(self, org: str, name: str) -> None:
        vault_name = _vault_name(org, name)
        try:
            await self._call(lambda: self._client.begin_delete_secret(vault_name, **_TIMEOUTS))
        except ResourceNotFoundError:
            return

    def close(self) -> None:
        self._client.close()

    async def _call(self, work: Callable[[], _T]) -> _T:
        try:
            return await asyncio.to_thread(work)
        except ResourceNotFoundError:
            raise
        except ClientAuthenticationError as problem:
            raise self._unavailable(problem, "it does not let this process in") from None
        except HttpResponseError as problem:
            raise self._unavailable(problem, f"it answered {problem.status_code}") from None
        except AzureError as problem:
            raise self._unavailable(problem, "it cannot be reached") from None

    def _unavailable(self, problem: Exception, reason: str) -> SecretsUnavailable:
        # The message of the SDK may quote the request; its type says enough.
        _log.warning("key vault", vault=self._client.vault_url, reason=reason, error=type(problem).__name__)
        return SecretsUnavailable(f"Azure Key Vault cannot answer: {reason}.")


_TIMEOUTS: dict[str, Any] = {"connection_timeout": _CALL_SECONDS, "read_timeout": _CALL_SECONDS, "retry_total": 2}


def open_vault(url: str) -> AzureSecrets:
    """The vault at this URL, with the identity that the environment gives this process (`DefaultAzureCredential`)."""
    from azure.identity import DefaultAzureCredential

    if not url.startswith("https://"):
        raise ConfigurationError(
            f"RUNLANE_AZURE_VAULT_URL={url!r} must begin with https://.", "RUNLANE_AZURE_VAULT_URL"
        )
    return AzureSecrets(SecretClient(vault_url=url, credential=DefaultAzureCredential()))


def _vault_name(org: str, name: str) -> str:
    """The name in the vault; raises `ConfigurationError` for what Key Vault cannot hold."""
    vault_name = f"{plain_org(org)}--{check_token(name, 'name').replace('_', '-')}"
    if len(vault_name) > _LONGEST_NAME:
        raise ConfigurationError(f"Key Vault takes names of at most {_LONGEST_NAME} characters.", name)
    return vault_name
