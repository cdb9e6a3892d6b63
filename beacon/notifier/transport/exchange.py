"""One request and its response on a connection: the bytes sent, and the order of sending and receiving.

urllib3 renders one request as a template, and all others differ from it in three places: rendering each request with
requests took as long as all other work together. `response_parser` parses the response. Used by `http_sender`; knows
nothing about events.
"""

import contextlib
import select
import socket
import ssl
from collections.abc import Mapping
from typing import Any

from urllib3 import connection

from beacon.notifier.transport import response_parser

_AT_ONCE = 16 * 1024
_SENT_AT_ONCE = 64 * 1024  # before checking for an early response
_WOULD_BLOCK = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
_MARKS = {
    "X-Request-ID": "mark-of-a-request",
    "X-Beacon-Event-ID": "mark-of-an-event",
    "Content-Length": "mark-of-a-length",
}


class RequestTemplate:
    """The bytes that all requests share."""

    def __init__(self, method: str, target: str, headers: Mapping[str, str | bytes]) -> None:
        """Render a request with urllib3 and split it where requests differ.

        Raises:
            ValueError: a header contains characters that can't be sent.
        """
        scribe = _Scribe("a-host-is-among-the-headers")
        scribe.request(method, target, headers={**headers, **_MARKS})  # type: ignore[dict-item]  # bytes are written unchanged
        rest = b"".join(scribe.written)
        self._parts: list[bytes] = []
        for mark in _MARKS.values():
            before, _, rest = rest.partition(mark.encode())
            self._parts.append(before)
        self._end = rest

    def fill(self, request_id: str, event_id: str, body: bytes) -> bytes:
        """Return the bytes of a request."""
        first, second, third = self._parts
        return b"%b%b%b%b%b%d%b%b" % (
            first, request_id.encode(), second, event_id.encode(), third, len(body), self._end, body
        )  # fmt: skip


class _Scribe(connection.HTTPConnection):
    """Collects the bytes of a request instead of sending them."""

    def __init__(self, host: str) -> None:
        super().__init__(host)
        self.written: list[bytes] = []

    def send(self, data: Any) -> None:
        self.written.append(bytes(data))


class HttpExchange:
    """One request and its response on a connected, idle socket.

    `sent` is True once the request was sent completely.
    """

    def __init__(self, stream: socket.socket) -> None:
        """Create an exchange without sending anything."""
        self._stream = stream
        self._parser = response_parser.ResponseParser()
        self._response: response_parser.EndpointResponse | None = None
        self._early = False
        self.sent = False

    def send(self, data: bytes) -> None:
        """Send a request; stop early if it is refused before its end.

        Raises:
            OSError: the connection broke. Bytes that the endpoint sent before can still be received.
            response_parser.InvalidResponse: the bytes that arrived during sending are not a response.
        """
        # Through an https proxy it is urllib3's SSLTransport, which only looks like a socket.
        if len(data) <= _AT_ONCE or not isinstance(self._stream, socket.socket):
            self._stream.sendall(data)
            self.sent = True
            return
        self._stream.settimeout(0)
        try:
            self._send_and_listen(memoryview(data))
        finally:
            self._stream.settimeout(None)

    def receive(self) -> response_parser.EndpointResponse:
        """Wait for the response.

        If it began before the end of the request, the connection is not reusable. If the request was not sent
        completely, the response can't accept the event.

        Raises:
            OSError: the connection broke.
            response_parser.InvalidResponse: there is no complete response.
        """
        while self._response is None:
            self._take(self._stream.recv(_AT_ONCE))
        if self._early or not self.sent:
            self._response.reusable = False
        if self._response.status < 300 and not self.sent:
            raise response_parser.InvalidResponse("the event was accepted, but could not be sent whole")
        return self._response

    def _send_and_listen(self, rest: memoryview) -> None:
        """Send until a final response refuses the request."""
        poll = select.poll()
        while rest:
            try:
                rest = rest[self._stream.send(rest[:_SENT_AT_ONCE]) :]
            except _WOULD_BLOCK as blocked:
                poll.register(self._stream, self._awaited(blocked))
                poll.poll()
            if rest:
                self._listen()
                if self._parser.status >= 300:
                    return
        self.sent = True
        self._early = self._parser.begun

    def _awaited(self, blocked: OSError) -> int:
        if isinstance(blocked, ssl.SSLWantReadError):
            return select.POLLIN
        return select.POLLOUT if self._response is not None else select.POLLIN | select.POLLOUT

    def _listen(self) -> None:
        """Parse the bytes that can be read without waiting."""
        with contextlib.suppress(*_WOULD_BLOCK):
            while self._response is None:
                self._take(self._stream.recv(_AT_ONCE))

    def _take(self, piece: bytes) -> None:
        self._response = self._parser.feed(piece) if piece else self._parser.end_of_stream()


def open_tunnel(stream: socket.socket, host: str, port: int, headers: Mapping[str, str]) -> None:
    """Open a tunnel to a host through an HTTP proxy (RFC 9110, section 9.3.6).

    Raises:
        OSError: the proxy refuses, or its answer is invalid.
    """
    address = f"[{host}]:{port}" if ":" in host and not host.startswith("[") else f"{host}:{port}"
    lines = [f"CONNECT {address} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    if "host" not in {name.lower() for name in headers}:
        lines.append(f"Host: {address}")
    stream.sendall("\r\n".join([*lines, "", ""]).encode("latin-1"))
    response = _receive_head(stream)
    if not 200 <= response.status < 300:
        raise OSError(f"Tunnel connection failed: {response.status} {response.reason}")
    if not response.reusable:
        raise OSError("Tunnel connection failed: the proxy sent more than its answer to CONNECT")


def _receive_head(stream: socket.socket) -> response_parser.EndpointResponse:
    parser = response_parser.ResponseParser(head_only=True)
    try:
        while True:
            piece = stream.recv(_AT_ONCE)
            response = parser.feed(piece) if piece else parser.end_of_stream()
            if response is not None:
                return response
    except response_parser.InvalidResponse as error:
        raise OSError(f"Tunnel connection failed: {error}") from None
