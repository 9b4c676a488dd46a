"""The ways in which careless code writes a secret down. Used by the workflow beside it, and by the test that looks."""

import base64
import json
import urllib.parse
from collections.abc import Callable


def _basic(secret: str) -> str:
    return "Basic " + base64.b64encode(f"user:{secret}".encode()).decode()


def _percent(secret: str) -> str:
    return "".join(f"%{byte:02x}" for byte in secret.encode())


def _unicode(secret: str) -> str:
    return "".join(f"\\u{ord(character):04x}" for character in secret)


#: The ways in which code writes a secret down without meaning to.
ENCODINGS: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "base64": lambda secret: base64.b64encode(secret.encode()).decode(),
    "base64 for URLs": lambda secret: base64.urlsafe_b64encode(secret.encode()).decode(),
    "base64 unpadded": lambda secret: base64.b64encode(secret.encode()).decode().rstrip("="),
    "Basic authorization": _basic,
    "hex": lambda secret: secret.encode().hex(),
    "upper-case hex": lambda secret: secret.encode().hex().upper(),
    "URL-escaped": lambda secret: urllib.parse.quote(secret, safe=""),
    "form-encoded": urllib.parse.quote_plus,
    "all percent-escaped": _percent,
    "JSON text": json.dumps,
    "JSON in JSON": lambda secret: json.dumps(json.dumps({"it": secret})),
    "unicode-escaped": _unicode,
    "URL-escaped twice": lambda secret: urllib.parse.quote(urllib.parse.quote(secret, safe=""), safe=""),
}
