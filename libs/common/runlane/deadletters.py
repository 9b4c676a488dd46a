"""Dead letters: what the engine gave up on, kept on stream DEAD until an operator re-drives or discards it.

Executors and the recorder write them, the gateway shows them. A letter is a line of JSON that says what happened, and
after it the message itself, byte for byte: base64 would make the largest of them too large for the broker.
"""

from datetime import datetime
from typing import Literal, TypeAlias

import msgspec
from msgspec import Struct

from runlane.contracts import subjects
from runlane.ids import is_token
from runlane.ports import Message, Stored

DeadKind: TypeAlias = Literal[
    "unreadable",
    "newer_version",
    "unknown_workflow",
    "crash_loop",
    "executor_lost",
    "undeliverable",
    "event",
]

#: Of a longer message the beginning is kept. Ours are shorter.
_LONGEST = 895 * 1024
_NOBODY = "unknown"


class DeadLetter(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Why a message was given up. `source` is the message (`{stream}:{sequence}`), `subject` where it was.

    `execution_id` where it is known; `ended` says whether that execution was ended as Failed by this.
    """

    kind: DeadKind
    reason: str
    at: datetime
    source: str
    subject: str
    org: str | None = None
    workflow: str | None = None
    execution_id: str | None = None
    deliveries: int = 1
    ended: bool = False
    truncated: bool = False


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(DeadLetter).decode


def letter_message(letter: DeadLetter, payload: bytes) -> Message:
    """The letter as it is stored; writing the same one twice stores it once."""
    if len(payload) > _LONGEST:
        letter, payload = msgspec.structs.replace(letter, truncated=True), payload[:_LONGEST]
    name = letter.execution_id or f"seq{letter.source.rpartition(':')[2]}"
    subject = subjects.dead(_token(letter.org), _token(letter.workflow), _token(name))
    return Message(subject=subject, payload=_encode(letter) + b"\n" + payload, id=f"dead:{letter.source}:{letter.kind}")


def read_letter(stored: Stored) -> tuple[DeadLetter, bytes]:
    """The letter, and the message that it is about. What is no letter is shown as one all the same."""
    head, _, payload = stored.payload.partition(b"\n")
    try:
        return _decode(head), payload
    except msgspec.DecodeError:
        source = f"{subjects.DEAD}:{stored.sequence}"
        reason = "This letter itself cannot be read."
        unknown = DeadLetter(kind="unreadable", reason=reason, at=stored.time, source=source, subject=stored.subject)
        return unknown, stored.payload


def _token(name: str | None) -> str:
    return name if name is not None and is_token(name) else _NOBODY
