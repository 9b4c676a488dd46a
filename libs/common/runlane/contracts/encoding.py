"""Messages as bytes. Each kind is decoded where it is declared."""

import msgspec
from msgspec import Struct

_encoder = msgspec.json.Encoder()


def encode(message: Struct) -> bytes:
    """A request, an event or whatever else is sent, as JSON."""
    return _encoder.encode(message)
