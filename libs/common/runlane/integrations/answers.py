"""What vendors answer, made safe to use: JSON that is JSON, and error messages short enough to show. Used by `base`."""

import re
from collections.abc import Mapping
from typing import Any

import httpx
import msgspec

from runlane.errors import IntegrationError

_LONGEST_MESSAGE = 300
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


def document(integration: str, what: str, response: httpx.Response) -> Any:
    """The JSON of an answer, None where it has no body; `IntegrationError` where it is something else or cut off."""
    if not response.content:
        return None
    try:
        return msgspec.json.decode(response.content)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        kind = response.headers.get("Content-Type", "").partition(";")[0].strip()
        said = "broken JSON" if "json" in kind else f"{_plain(kind) or 'something'} instead of JSON"
        raise IntegrationError(
            integration, f"{what} answered {response.status_code} with {said}", response.status_code
        ) from None


def rows(integration: str, what: str, page: Any, name: str | None) -> list[dict[str, Any]]:
    """The list of a page: the page itself, or what stands under `name`; `IntegrationError` where there is none."""
    found = page if name is None else page.get(name) if isinstance(page, dict) else None
    if not isinstance(found, list) or not all(isinstance(row, dict) for row in found):
        raise IntegrationError(integration, f"{what} answered without a list" + (f" {name!r}" if name else ""))
    return found


def vendor_message(response: httpx.Response) -> str | None:
    """What a vendor says went wrong, None where it does not say it in JSON. It may quote anything: redact it."""
    try:
        body = msgspec.json.decode(response.content)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return None
    said = "; ".join(dict.fromkeys(part for part in _parts(body) if part))
    return said[:_LONGEST_MESSAGE] or None


def _parts(body: Any) -> list[str]:
    if isinstance(body, str):
        return [_plain(body)]
    if not isinstance(body, Mapping):
        return []
    # Graph nests it in `error`; OAuth says `error_description`; ConnectWise lists what is wrong with each field.
    inner = body.get("error")
    found = _parts(inner) if isinstance(inner, Mapping) else []
    code = _plain(body.get("code") or ("" if isinstance(inner, Mapping) else inner))
    told = next((_plain(body[name]) for name in _TOLD if isinstance(body.get(name), str)), "")
    found.append(": ".join(part for part in (code, told) if part))
    errors = body.get("errors")
    for one in errors if isinstance(errors, list) else []:
        found += _parts(one)
    return found


_TOLD = ("error_description", "message", "Message", "ErrorMessage", "ExceptionMessage")


def _plain(text: object) -> str:
    return _CONTROL.sub(" ", text).strip() if isinstance(text, str) else ""
