"""Publishes what the children found in the workflow files, so that no other service has to import them."""

from datetime import UTC, datetime

import msgspec

from runlane.contracts.directory import ImportFailure
from runlane.directory import Directory, failure_key, workflow_key
from runlane.ports import DirectoryStore
from runlane_executor.children import Children


async def publish_manifests(directory: Directory, store: DirectoryStore, children: Children, origin: str) -> None:
    """Write manifests and import failures that changed, and remove those of this origin that are gone."""
    for manifest in children.manifests.values():
        if directory.workflow(manifest.name) != manifest:
            await store.put(workflow_key(manifest.name), msgspec.json.encode(manifest))
    for known in directory.workflows():
        if known.origin == origin and known.name not in children.manifests:
            await store.delete(workflow_key(known.name))
    failures = {failure_key(origin, failure.file): failure for failure in children.failures}
    standing = {failure_key(failure.origin, failure.file): failure for failure in directory.import_failures()}
    for key, failure in failures.items():
        if key not in standing or not _same(standing[key], failure):
            stamped = msgspec.structs.replace(failure, at=datetime.now(UTC))
            await store.put(key, msgspec.json.encode(stamped))
    for key, failure in standing.items():
        if failure.origin == origin and key not in failures:
            await store.delete(key)


def _same(one: ImportFailure, other: ImportFailure) -> bool:
    return (one.message, one.traceback) == (other.message, other.traceback)
