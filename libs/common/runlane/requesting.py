"""The message that puts a request on the queue, now or later: of gateway, scheduler, executor and recorder alike."""

from datetime import datetime

from runlane.contracts import subjects
from runlane.contracts.encoding import encode
from runlane.contracts.requests import Request
from runlane.ports import Message


def request_message(request: Request, lane: str, identity: str, at: datetime | None = None) -> Message:
    """Has an executor take the request from that lane, at once or `at` a time.

    A second one of the same `identity` is the same message. One for later replaces what waits for its time of the same
    execution.
    """
    payload = encode(request)
    if at is None:
        subject = subjects.request(lane, request.org, request.workflow)
        return Message(subject=subject, payload=payload, id=identity)
    return Message(
        subject=subjects.delayed(request.execution_id),
        payload=payload,
        id=identity,
        deliver_at=at,
        deliver_to=subjects.due(lane, request.org, request.workflow),
    )
