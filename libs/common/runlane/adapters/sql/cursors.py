"""Page cursors: the place of the last row shown, written so that nobody is tempted to build one."""

import base64
import binascii

import msgspec

from runlane.errors import ValidationError

_LARGEST = 2**63 - 1


def write_cursor(micros: int, *names: str) -> str:
    """The cursor after a row that stands at `micros` and, among its equals, at `names`."""
    return base64.urlsafe_b64encode(msgspec.json.encode((micros, *names))).decode().rstrip("=")


def read_cursor(cursor: str, names: int) -> tuple[int, list[str]]:
    """The place in a cursor with that many names; raises `ValidationError` (field `after`) for anything else."""
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        micros, *found = msgspec.json.decode(text, type=list[int | str])
    except (binascii.Error, msgspec.DecodeError, ValueError):
        raise _not_a_cursor() from None
    texts = [name for name in found if isinstance(name, str)]
    if not isinstance(micros, int) or abs(micros) > _LARGEST or not names == len(texts) == len(found):
        raise _not_a_cursor()
    return micros, texts


def _not_a_cursor() -> ValidationError:
    return ValidationError("after must be the `next` of an earlier page", "after")
