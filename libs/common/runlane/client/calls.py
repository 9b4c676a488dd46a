"""What goes over the wire: one HTTP request, its answer, and when it may be sent again. No transport is known here."""

import random
from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from .errors import CallRefused

_T = TypeVar("_T")

#: Of a gateway that is away or full: tried again after so long, twice as long each time, up to so long, so often.
_FIRST_PAUSE, _LONGEST_PAUSE, _ATTEMPTS = 0.1, 5.0, 8
_AGAIN = frozenset({429, 502, 503, 504})


class Call(Struct, frozen=True, kw_only=True):
    """A request. `repeatable`: sending it twice does no more than sending it once. `patience`: seconds that its answer
    may take beyond what is usual."""

    method: str
    path: str
    query: Mapping[str, Any] = {}
    headers: Mapping[str, str] = {}
    content: bytes | None = None
    repeatable: bool = True
    patience: float = 0.0


class Answer(Struct, frozen=True):
    """What came back."""

    status: int
    headers: Mapping[str, str]
    content: bytes

    def read(self, type_: type[_T]) -> _T:
        """The JSON that it is."""
        return msgspec.json.decode(self.content, type=type_)


class _Envelope(Struct, rename="camel"):
    error: str = "Unknown"
    message: str = ""
    details: dict[str, Any] = {}


def json_call(method: str, path: str, body: object = None, **rest: Any) -> Call:
    """A request with a JSON body, where it has one."""
    headers = {**rest.pop("headers", {}), **({} if body is None else {"Content-Type": "application/json"})}
    content = None if body is None else msgspec.json.encode(body)
    return Call(method=method, path=path, content=content, headers=headers, **rest)


def checked(answer: Answer) -> Answer:
    """The answer; raises `CallRefused` when it is no success."""
    if answer.status < 400:
        return answer
    try:
        told = answer.read(_Envelope)
    except msgspec.DecodeError:
        told = _Envelope("HTTPError", f"HTTP {answer.status}")
    raise CallRefused(answer.status, told.error, told.message, told.details, retry_after(answer))


def retry_after(answer: Answer) -> float | None:
    """The seconds of `Retry-After`."""
    given = answer.headers.get("retry-after", "")
    return float(given) if given.isascii() and given.isdigit() else None


def pause_before(call: Call, attempt: int, answer: Answer | None) -> float | None:
    """How many seconds to wait before attempt `attempt` + 1; None when there is none.

    `answer` None: the connection failed, so it is not known whether the call was done.
    """
    if attempt >= _ATTEMPTS or (answer is not None and answer.status not in _AGAIN):
        return None
    # Whoever was refused with 429 or 503 was not served; of anything else that is not known.
    if not call.repeatable and (answer is None or answer.status not in (429, 503)):
        return None
    pause: float = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** (attempt - 1)) * random.uniform(0.5, 1.0)  # nosec B311
    asked = None if answer is None else retry_after(answer)
    return max(pause, asked or 0.0)
