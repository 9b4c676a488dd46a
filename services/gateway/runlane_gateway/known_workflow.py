"""Finds the workflow that a door was asked for, or says where to look: mostly a name is mistyped, or a file does not
import."""

from runlane.contracts.directory import Manifest
from runlane.directory import Directory
from runlane.errors import NotFound
from runlane.ids import is_token


def known_workflow(directory: Directory, name: str, org: str | None = None) -> Manifest:
    """The workflow; with `org`, if it is enabled there. Raises `NotFound`, with the same words in both cases."""
    manifest = directory.workflow(name) if is_token(name) else None
    if manifest is None or (org is not None and not directory.enabled(org, name)):
        broken = sum(1 for _ in directory.import_failures())
        files = "workflow file" if broken == 1 else "workflow files"
        hint = f" {broken} {files} could not be imported: see /workflows (`runlane workflows`)." if broken else ""
        raise NotFound(f"There is no workflow {name[:64]!r} here.{hint}")
    return manifest
