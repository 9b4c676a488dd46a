"""What we write ourselves is what nats-py would write, and what it would refuse is left to it."""

import pytest
from nats.protocol import command

from runlane.adapters.nats.wire import publication

HEADERS = {"Nats-Msg-Id": "0123:queued", "Nats-Expected-Last-Subject-Sequence": "0"}


@pytest.mark.parametrize("reply", ["", "_INBOX.abc.1"])
@pytest.mark.parametrize("payload", [b"", b"{}", "Zoë\r\n".encode(), b"\x00" * 5000])
def test_it_is_what_nats_py_writes(reply: str, payload: bytes) -> None:
    head = "".join(f"{name}: {value}\r\n" for name, value in HEADERS.items())
    told = bytearray(f"NATS/1.0\r\n{head}\r\n".encode())
    with_headers, without = command.hpub_cmd("a.b", reply, told, payload), command.pub_cmd("a.b", reply, payload)
    # It leaves two spaces where nobody is to answer; to the server they are one.
    assert publication("a.b", payload, reply, HEADERS) == with_headers.replace(b"a.b  ", b"a.b ")
    assert publication("a.b", payload, reply, None) == without.replace(b"a.b  ", b"a.b ")


@pytest.mark.parametrize("text", ["", "a b", "a\r\nPUB x 0", "a\tb", "a\x00", "ä"])
def test_a_subject_that_could_be_read_as_something_else_is_not_written(text: str) -> None:
    assert publication(text, b"", "", None) is None
    assert text == "" or publication("a", b"", text, None) is None


@pytest.mark.parametrize("value", ["a\r\nNats-Rollup: all", "a\nb", "a\r"])
def test_a_header_of_two_lines_is_not_written(value: str) -> None:
    assert publication("a", b"", "", {"Nats-Msg-Id": value}) is None
    assert publication("a", b"", "", {value: "1"}) is None
