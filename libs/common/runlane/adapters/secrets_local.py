"""`ports.SecretStore` over the environment, and over a directory of files as Docker and Kubernetes mount secrets."""

import asyncio
import re
from collections.abc import Mapping
from pathlib import Path

from runlane.errors import ConfigurationError, SecretsUnavailable
from runlane.ids import check_token, is_token

_PREFIX = "RUNLANE_SECRET__"
_LARGEST = 64 * 1024

#: Ids that stay apart when case is lost and `-` and `_` become one.
_PLAIN_ORG = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


class EnvironmentSecrets:
    """`RUNLANE_SECRET__{ORG}__{NAME}`, upper case, `_` for `-`. Read once: a process's environment does not change.

    Children that run authors' code do not inherit these variables.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._values = {name: value for name, value in environ.items() if name.startswith(_PREFIX) and value}

    async def get(self, org: str, name: str) -> str | None:
        return self._values.get(f"{_variables_of(org)}{_upper(check_token(name, 'name'))}")

    async def names(self, org: str) -> list[str]:
        prefix = _variables_of(org)
        return sorted(name.removeprefix(prefix).lower() for name in self._values if name.startswith(prefix))


class FileSecrets:
    """Files `{org}--{name}` in one directory, read when they are asked for: what is mounted anew holds at once."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    async def get(self, org: str, name: str) -> str | None:
        path = self._directory / f"{_org(org)}--{check_token(name, 'name')}"
        try:
            content = await asyncio.to_thread(_read, path)
        except FileNotFoundError:
            return None
        except OSError as problem:
            raise SecretsUnavailable(f"A file of secrets cannot be read: {problem.strerror}.") from None
        # Editors end a file with a newline; it is no part of the secret.
        return content.removesuffix("\n").removesuffix("\r") or None

    async def names(self, org: str) -> list[str]:
        prefix = f"{_org(org)}--"
        try:
            found = await asyncio.to_thread(lambda: [path.name for path in self._directory.iterdir()])
        except OSError as problem:
            raise SecretsUnavailable(f"The directory of secrets cannot be read: {problem.strerror}.") from None
        named = (name.removeprefix(prefix) for name in found if name.startswith(prefix))
        return sorted(name for name in named if is_token(name))


def plain_org(org: str) -> str:
    """The id, if it cannot be taken for another one in capitals or with `_` for `-`; else `ConfigurationError`."""
    if _PLAIN_ORG.fullmatch(org) is None:
        raise ConfigurationError(
            f"This store of secrets cannot tell organisation {org[:64]!r} from others: only ids of lower-case letters, "
            "digits and single hyphens can have secrets in it.",
            "RUNLANE_SECRETS_PROVIDER",
        )
    return org


def _org(org: str) -> str:
    check_token(org, "org")
    if "--" in org:
        raise ConfigurationError(f"{org!r} cannot be the id of an organisation.", "org")
    return org


def _variables_of(org: str) -> str:
    return f"{_PREFIX}{_upper(plain_org(org))}__"


def _upper(name: str) -> str:
    return name.replace("-", "_").upper()


def _read(path: Path) -> str:
    with path.open("rb") as file:
        content = file.read(_LARGEST + 1)
    if len(content) > _LARGEST:
        raise SecretsUnavailable(f"A file of secrets has more than {_LARGEST} bytes.")
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise SecretsUnavailable("A file of secrets is not UTF-8 text.") from None
