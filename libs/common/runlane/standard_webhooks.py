"""Standard Webhooks (https://www.standardwebhooks.com): secrets and signatures, of what comes in and what goes out."""

import base64
import binascii
import hmac
import os

_PREFIX = "whsec_"


def new_secret() -> str:
    """`whsec_` and 256 random bits."""
    return _PREFIX + base64.b64encode(os.urandom(32)).decode()


def key_of(secret: str) -> bytes:
    """The key that a secret stands for. Raises `ValueError` saying what is wrong with it."""
    text = secret.removeprefix(_PREFIX)
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("a Standard Webhooks secret is whsec_ and base64") from None


def signature(key: bytes, id_: bytes, stamp: bytes, body: bytes) -> bytes:
    """`v1,` and the HMAC-SHA256 over `id.timestamp.body` in base64."""
    return b"v1," + base64.b64encode(hmac.digest(key, id_ + b"." + stamp + b"." + body, "sha256"))
