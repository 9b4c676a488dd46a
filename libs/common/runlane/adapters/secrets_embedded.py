"""`ports.SecretStore` over the directory: sealed values that every service has in memory. Doors write them there."""

from runlane.contracts.directory import secret_context
from runlane.directory import Directory
from runlane.sealing import Sealer


class EmbeddedSecrets:
    """See `ports.SecretStore`."""

    def __init__(self, directory: Directory, sealer: Sealer) -> None:
        self._directory, self._sealer = directory, sealer

    async def get(self, org: str, name: str) -> str | None:
        entry = self._directory.secret(org, name)
        if entry is None or (entry.org, entry.name) != (org, name):
            return None
        return self._sealer.open(entry.sealed, secret_context(org, name, entry.version)).decode()

    async def names(self, org: str) -> list[str]:
        return sorted(entry.name for entry in self._directory.secrets(org))
