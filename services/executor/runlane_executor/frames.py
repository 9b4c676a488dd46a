"""What intake and child say to each other over their pipe, and the pipe itself: length-prefixed MessagePack."""

import asyncio
import struct
from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeAlias, cast

import msgspec
from msgspec import Struct

from runlane.context import Identity, Journal
from runlane.contracts.approvals import ApprovalAsk
from runlane.contracts.events import Failure
from runlane.ports import Budget

_LENGTH = struct.Struct("!I")


class _Frame(Struct, frozen=True, array_like=True):
    pass


# --- intake → child ---------------------------------------------------------------------------------------------------


class Run(_Frame, frozen=True, array_like=True, tag="run"):
    """Run a workflow. `parameters` is a JSON object; `config` the organisation's, if it changed since the last Run.

    `sensitive` names parameters whose values are masked in everything the execution writes.
    """

    identity: Identity
    parameters: bytes
    journal: Journal | None = None
    config: dict[str, Any] | None = None
    sensitive: list[str] = []


class Stop(_Frame, frozen=True, array_like=True, tag="stop"):
    """End an execution: its task is cancelled and may clean up."""

    execution_id: str


class SecretAnswer(_Frame, frozen=True, array_like=True, tag="secret"):
    """`again`: the problem may pass by itself."""

    call: int
    value: str | None
    problem: str | None = None
    again: bool = False


class Kept(_Frame, frozen=True, array_like=True, tag="kept"):
    """Everything this execution traced up to the entry with this number is stored."""

    execution_id: str
    number: int


class TokenAnswer(_Frame, frozen=True, array_like=True, tag="token"):
    """A vendor's access token; None: fetch it, then say so with `TokenFetched`."""

    call: int
    value: str | None


class BudgetAnswer(_Frame, frozen=True, array_like=True, tag="budget"):
    """After how many seconds the call may be made; None when that is too long."""

    call: int
    wait: float | None


class Ping(_Frame, frozen=True, array_like=True, tag="ping"):
    """Are you there? A child whose loop authors' code blocks does not answer."""


ToChild: TypeAlias = Run | Stop | SecretAnswer | Kept | TokenAnswer | BudgetAnswer | Ping


# --- child → intake ---------------------------------------------------------------------------------------------------


class Ready(_Frame, frozen=True, array_like=True, tag="ready"):
    """Imports are done. Manifests and import failures as JSON."""

    manifests: list[bytes]
    failures: list[bytes]


class Trace(_Frame, frozen=True, array_like=True, tag="trace"):
    """A trace entry as JSON. `number` counts per run; with `awaited`, somebody waits until it is stored."""

    execution_id: str
    number: int
    entry: bytes
    true_value: bytes | None = None


class Awaited(_Frame, frozen=True, array_like=True, tag="awaited"):
    """Somebody waits until everything up to this entry is stored."""

    execution_id: str
    number: int


class SecretAsked(_Frame, frozen=True, array_like=True, tag="ask"):
    call: int
    execution_id: str
    name: str


class TokenAsked(_Frame, frozen=True, array_like=True, tag="token?"):
    """The organisation's token for `client`, other than the `refused` one."""

    call: int
    execution_id: str
    client: str
    refused: str | None


class TokenFetched(_Frame, frozen=True, array_like=True, tag="token!"):
    """The token that this execution was to fetch, good for so many seconds; None when it could not."""

    execution_id: str
    client: str
    token: str | None
    seconds: float


class BudgetAsked(_Frame, frozen=True, array_like=True, tag="budget?"):
    """May the organisation call this vendor `count` times, in at most `within` seconds?"""

    call: int
    execution_id: str
    vendor: str
    budget: Budget
    within: float
    count: int


class Returned(_Frame, frozen=True, array_like=True, tag="returned"):
    """The function returned; `result` is redacted JSON."""

    execution_id: str
    result: bytes


class Raised(_Frame, frozen=True, array_like=True, tag="raised"):
    """The function raised. `names` are the error's class names, most specific first, for the retry policy."""

    execution_id: str
    failure: Failure
    retryable: bool
    names: list[str]


class Paused(_Frame, frozen=True, array_like=True, tag="paused"):
    """The function waits without a slot."""

    execution_id: str
    reason: str
    until: datetime | None
    approval: ApprovalAsk | None = None


class Stopped(_Frame, frozen=True, array_like=True, tag="stopped"):
    """The function ended after a Stop, however it ended."""

    execution_id: str


VendorFrame: TypeAlias = TokenAsked | TokenFetched | BudgetAsked
Outcome: TypeAlias = Returned | Raised | Paused | Stopped


class Pong(_Frame, frozen=True, array_like=True, tag="pong"):
    """The answer to a Ping."""


ToIntake: TypeAlias = Ready | Trace | Awaited | SecretAsked | VendorFrame | Outcome | Pong

_encoder = msgspec.msgpack.Encoder()


def framed(frame: Struct) -> bytes:
    """A frame as it travels, for who writes before there is a loop."""
    body = _encoder.encode(frame)
    return _LENGTH.pack(len(body)) + body


class Pipe(asyncio.Protocol):
    """One end of the pipe. Frames written in one turn of the loop go out in one write."""

    def __init__(self, frame_type: Any, heard: Callable[[Any], None], closed: Callable[[], None]) -> None:
        self._decode = msgspec.msgpack.Decoder(frame_type).decode
        self._heard, self._closed = heard, closed
        self._buffer = bytearray()
        self._out: list[bytes] = []
        self._transport: asyncio.Transport | None = None

    def send(self, frame: Struct) -> None:
        """Write a frame; lost if the other end is gone."""
        body = _encoder.encode(frame)
        if not self._out:
            asyncio.get_running_loop().call_soon(self._flush)
        self._out.append(_LENGTH.pack(len(body)))
        self._out.append(body)

    def close(self) -> None:
        if self._transport is not None:
            self._flush()
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's own does not derive from it

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        start, end = 0, len(self._buffer)
        while end - start >= _LENGTH.size:
            length = _LENGTH.unpack_from(self._buffer, start)[0]
            if end - start - _LENGTH.size < length:
                break
            body = bytes(self._buffer[start + _LENGTH.size : start + _LENGTH.size + length])
            start += _LENGTH.size + length
            self._heard(self._decode(body))
        del self._buffer[:start]

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._closed()

    def _flush(self) -> None:
        out, self._out = self._out, []
        if out and self._transport is not None:
            self._transport.write(b"".join(out))
