"""What an executor says of itself every moment, on core NATS: sent by its intake, heard by gateways."""

import msgspec
from msgspec import Struct


class Presence(Struct, frozen=True, kw_only=True):
    """An executor that is there. `running`: executions in it now; `slots`: how many there may be."""

    executor: str
    host: str
    pid: int
    running: int
    slots: int
    draining: bool = False


encode_presence = msgspec.json.Encoder().encode
decode_presence = msgspec.json.Decoder(Presence).decode
