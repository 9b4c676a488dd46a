"""One connection of the HTTP server: uvicorn's, with bounds that it lacks and our envelope for its own refusals.

Used by `server`. Everything here happens before a request reaches the gate, so nobody has shown a key yet.
"""

from asyncio import TimerHandle, Transport
from typing import Any, cast

from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from runlane.errors import BadRequest, HeadersTooLarge, InfrastructureError, RequestError, RequestTimeout

from .answers import refusal

_CLOSE = (b"connection", b"close")

MOST_CONNECTIONS = 10_000
#: Request line and headers together.
MOST_HEAD_BYTES = 64 * 1024
#: Between the connection, or a request's first byte, and the end of its headers.
HEAD_SECONDS = 15.0
#: What still comes of a body after its request was answered is read, or the caller would not see the answer: for so
#: long and so much of it.
SURPLUS_SECONDS = 5.0
MOST_SURPLUS_BYTES = 8 * 1024 * 1024


class Connection(HttpToolsProtocol):
    """Refuses heads that are too long or too slow, and requests beyond the number of connections there may be."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._head_bytes = 0
        self._in_head = True
        self._deadline: TimerHandle | None = None
        self._whole = True
        self._surplus = 0
        self._lingering: TimerHandle | None = None
        self._admitted = self.app

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        super().connection_made(transport)
        self._arm()

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        self._settle()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._in_head:
            self._head_bytes += len(data)
        elif self._lingering is not None:
            self._surplus += len(data)
            if self._surplus > MOST_SURPLUS_BYTES:
                self.transport.abort()
                return
        super().data_received(data)
        # The piece that a head begins in is not counted: what came before it belongs to another request.
        if self._in_head and self._head_bytes > MOST_HEAD_BYTES:
            self._refuse(HeadersTooLarge())

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head, self._head_bytes, self._whole = True, 0, False
        self._arm()

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._disarm()
        size = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
        if size > MOST_HEAD_BYTES:
            self.app = _too_large
        elif max(len(self.connections), len(self.tasks)) > MOST_CONNECTIONS:
            self.app = _overloaded
        else:
            self.app = self._admitted
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._whole = True
        self._settle()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if not self._whole and not self.transport.is_closing():
            self._surplus = 0
            self._lingering = self.loop.call_later(SURPLUS_SECONDS, self.transport.abort)

    def _settle(self) -> None:
        if self._lingering is not None:
            self._lingering.cancel()
            self._lingering = None

    def send_400_response(self, msg: str) -> None:
        self._refuse(BadRequest("This is not valid HTTP."))

    def _arm(self) -> None:
        self._disarm()
        self._deadline = self.loop.call_later(HEAD_SECONDS, self._too_slow)

    def _disarm(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_slow(self) -> None:
        if self.cycle is not None and not self.cycle.response_complete:
            self._arm()  # it came while the one before it is still being answered
        else:
            self._refuse(RequestTimeout())

    def _refuse(self, problem: RequestError) -> None:
        if self.transport.is_closing():
            return
        answer = refusal(problem, [_CLOSE])
        head = [b"HTTP/1.1 %d \r\n" % answer.status_code]
        head += [b"%s: %s\r\n" % header for header in answer.raw_headers]
        self.transport.write(b"".join([*head, b"\r\n", cast(bytes, answer.body)]))
        self.transport.close()


def _refused(problem: RequestError | InfrastructureError) -> ASGIApp:
    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        await refusal(problem, [_CLOSE])(scope, receive, send)

    return answer


_too_large = _refused(HeadersTooLarge())
_overloaded = _refused(InfrastructureError("Too many requests at once; try again."))
