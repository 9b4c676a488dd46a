"""Permits: how limits of what runs at once are kept. Written by executors on PERMITS, one message for each limit.

Requests that got no permit wait on WAITING, as they were queued.
"""

from datetime import datetime
from typing import Literal

import msgspec
from msgspec import Struct


class Limit(Struct, frozen=True):
    """At most `most` executions at once of what `scope` names. `scope` is a subject token."""

    scope: str
    most: int


class Permit(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Who runs under a limit. `message` is the work-queue message it was claimed by, as in `StartedData.request`.

    Without an `executor` it is kept for an execution that was called from where it waited and is on its way.
    """

    execution: str
    since: datetime
    executor: str = ""
    message: str = ""


class Permits(Struct, frozen=True):
    """All permits of one limit. Who waited was called up to the sequence `called` of WAITING."""

    most: int
    given: list[Permit]
    called: int = 0


#: A limit's name is a digest of these.
LimitKind = Literal["org", "workflow", "workflow_in_org", "key"]

encode_permits = msgspec.json.Encoder().encode
decode_permits = msgspec.json.Decoder(Permits).decode
