"""The child process by itself, over a socket pair."""

import multiprocessing
import socket
import struct
from pathlib import Path

import msgspec

from runlane.context import Identity
from runlane.contracts.requests import Caller, Trigger
from runlane_executor.child import child_main
from runlane_executor.frames import Returned, Run, ToIntake

WORKFLOWS = Path(__file__).parents[1] / "e2e" / "workflows"


def test_work_that_waits_in_the_socket_before_the_child_listens_is_done() -> None:
    """It ended the child, as if the work had crashed it."""
    ours, theirs = socket.socketpair()
    identity = Identity(
        execution_id="e1",
        workflow="echo",
        org_id="acme",
        org_name="Acme",
        tenant_id=None,
        caller=Caller(id="tester"),
        trigger=Trigger(),
    )
    frame = msgspec.msgpack.encode(Run(identity, b'{"value":7}'))
    ours.sendall(struct.pack("!I", len(frame)) + frame)
    process = multiprocessing.get_context("spawn").Process(
        target=child_main, args=(theirs, str(WORKFLOWS), "test", frozenset())
    )
    process.start()
    theirs.close()
    try:
        ours.settimeout(30)
        with ours.makefile("rb") as stream:
            heard: list[object] = []
            while not any(isinstance(frame, Returned) for frame in heard):
                length = struct.unpack("!I", stream.read(4))[0]
                heard.append(msgspec.msgpack.decode(stream.read(length), type=ToIntake))
    finally:
        ours.close()
        process.join(10)

    assert [frame.result for frame in heard if isinstance(frame, Returned)] == [b"7"]
    assert process.exitcode == 0
