"""Reads a request's body: counted as it arrives, JSON only, bounded in depth. Every door that takes a body uses it."""

import asyncio
from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec
from starlette.types import Receive

from runlane.errors import BadRequest, PayloadTooLarge, UnsupportedMediaType, ValidationError

_T = TypeVar("_T")

#: Deeper than any parameters of a person's making, and well below where parsers and validators give up.
MAX_DEPTH = 64

#: A body that takes longer is not coming.
BODY_SECONDS = 10.0

_decode = msgspec.json.Decoder().decode


async def read_body(
    headers: Mapping[bytes, bytes], receive: Receive, limit: int, *, seconds: float = BODY_SECONDS
) -> bytes:
    """The whole body. Raises `PayloadTooLarge` once `limit` bytes are passed, `BadRequest` when it does not come."""
    declared = headers.get(b"content-length")
    if declared is not None and declared.isdigit() and int(declared) > limit:
        raise _too_large(limit)
    try:
        async with asyncio.timeout(seconds):
            message = await receive()
            body: bytes = message.get("body", b"")
            if message.get("more_body", False) or len(body) > limit:
                body = await _rest(body, receive, limit)
    except TimeoutError:
        raise BadRequest("The body did not arrive in time.") from None
    return body


async def _rest(first: bytes, receive: Receive, limit: int) -> bytes:
    chunks, size, more = [first], len(first), True
    while more:
        if size > limit:
            raise _too_large(limit)
        message = await receive()
        if message["type"] == "http.disconnect":
            raise BadRequest("The caller hung up in the middle of the body.")
        chunks.append(message.get("body", b""))
        size += len(chunks[-1])
        more = message.get("more_body", False)
    if size > limit:
        raise _too_large(limit)
    return b"".join(chunks)


def _too_large(limit: int) -> PayloadTooLarge:
    return PayloadTooLarge(f"The body exceeds {limit} bytes.", details={"limit_bytes": limit})


def decode_object(headers: Mapping[bytes, bytes], body: bytes) -> dict[str, Any]:
    """The JSON object that the body is; an empty body is an empty object.

    Raises `UnsupportedMediaType`, or `ValidationError` for anything but one JSON object of bearable depth.
    """
    value = decode_any(headers, body)
    if not isinstance(value, dict):
        raise ValidationError("The body must be a JSON object.")
    return value


def decode_any(headers: Mapping[bytes, bytes], body: bytes) -> Any:
    """The JSON value that the body is; an empty body is an empty object. Raises what `decode_object` raises."""
    if not body:
        return {}
    _check_type(headers)
    try:
        value = _decode(body)
    except RecursionError:
        raise _too_deep() from None
    except ValueError as problem:  # msgspec.DecodeError, and UnicodeDecodeError inside a string
        raise ValidationError(f"The body is not valid JSON: {problem}") from None
    return check_depth(body, value)


def check_depth(body: bytes, value: Any) -> Any:
    """The value that `body` was read as, if it is of bearable depth; else `ValidationError`."""
    # A value cannot be nested deeper than it has brackets, and few have so many: most are never walked.
    if body.count(b"{") + body.count(b"[") > MAX_DEPTH and _depth(value) > MAX_DEPTH:
        raise _too_deep()
    return value


def convert(value: dict[str, Any], type_: type[_T]) -> _T:
    """The object as a struct; raises `ValidationError` naming the field."""
    try:
        return msgspec.convert(value, type_)
    except msgspec.ValidationError as problem:
        message, _, path = str(problem).partition(" - at `")
        field = path.rstrip("`").removeprefix("$").removeprefix(".") or _named(message)
        raise ValidationError(message, field) from None


def _named(message: str) -> str | None:
    """The field in "Object missing required field `x`" and "Object contains unknown field `x`"."""
    return message.split("`")[1] if message.startswith("Object") and message.count("`") == 2 else None


def _check_type(headers: Mapping[bytes, bytes]) -> None:
    content_type = headers.get(b"content-type", b"")
    if headers.get(b"content-encoding", b"identity") != b"identity":
        raise UnsupportedMediaType("Send the body without a content encoding.")
    if content_type == b"application/json":
        return
    media, _, parameters = content_type.lower().partition(b";")
    media, parameters = media.strip(), parameters.strip().replace(b'"', b"")
    is_json = media == b"application/json" or (media.startswith(b"application/") and media.endswith(b"+json"))
    if not is_json or (parameters.startswith(b"charset=") and parameters != b"charset=utf-8"):
        raise UnsupportedMediaType()


def _too_deep() -> ValidationError:
    return ValidationError(f"The body is nested more than {MAX_DEPTH} levels deep.")


def _depth(value: object) -> int:
    depth, level = 0, [value]
    while level:
        depth += 1
        level = [
            child
            for parent in level
            if isinstance(parent, dict | list)
            for child in (parent.values() if isinstance(parent, dict) else parent)
            if isinstance(child, dict | list)
        ]
    return depth
