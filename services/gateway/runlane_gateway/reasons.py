"""Why somebody cancelled, approved or rejected, as records and events show it."""

import msgspec

from runlane.redaction import Redactor


def shown_reason(reason: str | None) -> str | None:
    """What stays of it: 1,000 characters, and nothing of one that says nothing."""
    if reason is None or not reason.strip():
        return None
    shown: str = msgspec.json.decode(Redactor().sanitized(reason).json)
    return shown
