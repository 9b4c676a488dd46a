"""Which limits of what runs at once an execution comes under. Used by `intake`, kept by `permits`."""

from collections.abc import Mapping
from typing import Any

import msgspec

from runlane.contracts.directory import Manifest, Org
from runlane.contracts.permits import Limit
from runlane.contracts.requests import Request
from runlane.sealing import Sealer

_canonical = msgspec.json.Encoder(order="sorted").encode


def is_limited(manifest: Manifest, org: Org | None) -> bool:
    """Whether there is any limit at all."""
    return bool(
        (org is not None and org.max_concurrent)
        or manifest.max_concurrent
        or manifest.max_concurrent_per_org
        or manifest.concurrency_key
    )


def limits_of(
    request: Request, manifest: Manifest, org: Org | None, parameters: Mapping[str, Any], sealer: Sealer
) -> list[Limit]:
    """The limits, always in the same order. Their names tell nobody what a parameter holds."""
    found: list[tuple[int | None, list[str], Any]] = [
        (org.max_concurrent if org is not None else None, ["org", request.org], None),
        (manifest.max_concurrent, ["workflow", request.workflow], None),
        (manifest.max_concurrent_per_org, ["workflow_in_org", request.org, request.workflow], None),
    ]
    if manifest.concurrency_key is not None:
        value = parameters.get(manifest.concurrency_key)
        found.append((manifest.max_concurrent_per_key, ["key", request.org, request.workflow], value))
    return [
        Limit(sealer.digest(_canonical(value), "|".join(["permits", *of]))[:32], most)
        for most, of, value in found
        if most
    ]
