"""`open_secrets`: the store of secrets that the settings choose. Called by composition roots."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from runlane.clock import Clock
from runlane.directory import Directory
from runlane.errors import ConfigurationError
from runlane.ports import SecretStore
from runlane.sealing import Sealer
from runlane.settings import Settings

from .secrets_cached import CachedWritableSecrets
from .secrets_embedded import EmbeddedSecrets
from .secrets_local import EnvironmentSecrets, FileSecrets


@contextmanager
def open_secrets(settings: Settings, directory: Directory, sealer: Sealer, clock: Clock) -> Iterator[SecretStore]:
    """The store of `RUNLANE_SECRETS_PROVIDER`; raises `ConfigurationError` naming what is missing for it."""
    match settings.secrets_provider:
        case "embedded":
            yield EmbeddedSecrets(directory, sealer)
        case "environment":
            yield EnvironmentSecrets(os.environ)
        case "files":
            path = settings.secrets_directory
            if path is None or not path.is_dir():
                raise _missing("RUNLANE_SECRETS_DIRECTORY", "a directory of files {org}--{name}")
            yield FileSecrets(path)
        case "azure":
            if settings.azure_vault_url is None:
                raise _missing("RUNLANE_AZURE_VAULT_URL", "the URL of a vault")
            try:
                from .secrets_azure import open_vault
            except ModuleNotFoundError:
                raise ConfigurationError(
                    "RUNLANE_SECRETS_PROVIDER=azure needs the packages of pip install 'runlane[azure]'.",
                    "RUNLANE_SECRETS_PROVIDER",
                ) from None
            vault = open_vault(settings.azure_vault_url)
            try:
                yield CachedWritableSecrets(vault, clock, settings.secrets_cache_seconds)
            finally:
                vault.close()


def _missing(variable: str, what: str) -> ConfigurationError:
    return ConfigurationError(f"{variable} must name {what}.", variable)
