"""What goes over a connection: the bytes of a request, and the answer that is made of those that come back.

Both are the library's own, but what it would do again and again: urllib3 renders one request, and the others differ
from it in three places; http.client reads every answer that is not of the plainest kind. Done by them for every event,
both together took twice the time of all the rest of a request. It belongs to the channel, the door of requests, and
knows nothing of events.
"""

import http.client
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from urllib3 import connection

LONGEST_BODY = 64 * 1024  # bytes of an answer that anybody needs
_LONGEST_HEAD = 16 * 1024
_AT_ONCE = 16 * 1024
_MARKS = {
    "X-Request-ID": "mark-of-a-request",
    "X-Beacon-Event-ID": "mark-of-an-event",
    "Content-Length": "mark-of-a-length",
}
_KEPT = {b"retry-after": "Retry-After", b"location": "Location", b"content-encoding": "Content-Encoding"}
_BODILESS = (204, 304)
_START = b"HTTP/"
_HEAD_END = re.compile(rb"\r?\n\r?\n")
_STATUS_LINE = re.compile(rb"HTTP/1\.1 ([2-9]\d\d)(?: ([^\r\n]*))?")
_HEADER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\r\n]*?)[ \t]*")


class Form:
    """The bytes that all requests of one kind have in common."""

    def __init__(self, method: str, target: str, headers: Mapping[str, str | bytes]) -> None:
        """Render a request with urllib3 and cut it where the requests differ.

        Raises:
            ValueError: a header holds characters that can't be sent.
        """
        scribe = _Scribe("a-host-is-among-the-headers")
        scribe.request(method, target, headers={**headers, **_MARKS})  # type: ignore[dict-item]  # it writes bytes as they are
        rest = b"".join(scribe.written)
        self._parts: list[bytes] = []
        for mark in _MARKS.values():
            before, _, rest = rest.partition(mark.encode())
            self._parts.append(before)
        self._end = rest

    def fill(self, request_id: str, event_id: str, body: bytes) -> bytes:
        """Give the bytes of a request."""
        first, second, third = self._parts
        return b"%b%b%b%b%b%d%b%b" % (
            first, request_id.encode(), second, event_id.encode(), third, len(body), self._end, body
        )  # fmt: skip


class _Scribe(connection.HTTPConnection):
    """Writes down what it would send."""

    def __init__(self, host: str) -> None:
        super().__init__(host)
        self.written: list[bytes] = []

    def send(self, data: Any) -> None:
        self.written.append(bytes(data))


@dataclass(kw_only=True)
class Reply:
    """An answer, whole. `kept` says that its connection may carry another request.

    `headers` are the few that anybody asks for. What urllib3's pool wants of an answer beyond that has its names.
    """

    status: int
    reason: str
    headers: Mapping[str, str]
    body: bytes
    kept: bool
    version_string: str = "HTTP/1.1"
    length_remaining: int = 0


def receive(stream: Any, method: str) -> Reply:
    """Read the answer to a request from a socket; one that is longer than `LONGEST_BODY` costs its connection.

    Raises:
        OSError, http.client.HTTPException: there is none, or not a whole one.
    """
    data = b""
    while (end := _HEAD_END.search(data)) is None and _START.startswith(data[:5]) and len(data) < _LONGEST_HEAD:
        piece = stream.recv(_AT_ONCE)
        data += piece
        if not piece:
            break
    plain = _plain(data[: end.start()]) if end is not None and method != "HEAD" else None
    if end is None or plain is None:
        return _read_by_library(stream, data, method)
    reply, length = plain
    _fill(reply, stream, data[end.end() :], length)
    return reply


def _plain(head: bytes) -> tuple[Reply, int] | None:
    """Parse the head of an answer that says how long it is; gives that, too. None: it is not so plain."""
    first, *lines = head.split(b"\r\n")
    found = _STATUS_LINE.fullmatch(first)
    headers = _headers(lines)
    if found is None or headers is None or b"transfer-encoding" in headers:
        return None
    status, said = int(found[1]), headers.get(b"content-length", b"")
    length = 0 if status in _BODILESS else int(said) if said.isdigit() else -1
    if length < 0:
        return None
    reply = Reply(
        status=status,
        reason=(found[2] or b"").decode("latin-1").strip(),
        headers={_KEPT[name]: headers[name].decode("latin-1") for name in _KEPT.keys() & headers.keys()},
        body=b"",
        kept=b"close" not in headers.get(b"connection", b"").lower(),
    )
    return reply, length


def _headers(lines: list[bytes]) -> dict[bytes, bytes] | None:
    """Parse headers, each on a line of its own and each there once; None: they are not so plain."""
    headers: dict[bytes, bytes] = {}
    for line in lines:
        header = _HEADER.fullmatch(line)
        if header is None:
            return None
        headers[header[1].lower()] = header[2]
    return headers if len(headers) == len(lines) else None


def _fill(reply: Reply, stream: Any, body: bytes, length: int) -> None:
    """Read the body of a plain answer."""
    if len(body) > length:  # whatever else the other side says was not asked for
        body, reply.kept = body[:length], False
    parts, missing = [body], min(length, LONGEST_BODY + 1) - len(body)
    while missing > 0:
        piece = stream.recv(min(missing, _AT_ONCE))
        if not piece:
            raise http.client.IncompleteRead(b"".join(parts), missing)
        parts.append(piece)
        missing -= len(piece)
    reply.body = b"".join(parts)
    reply.kept = reply.kept and length <= LONGEST_BODY


def _read_by_library(stream: Any, data: bytes, method: str) -> Reply:
    """Have http.client read an answer of which `data` has come already."""
    lines = _Lines(_Resumed(stream, data))
    answer = http.client.HTTPResponse(lines, method=method)  # type: ignore[arg-type]  # it needs no more of a socket
    answer.begin()
    if lines.last not in (b"\r\n", b"\n"):  # http.client takes a lost connection for the end of the headers
        raise http.client.HTTPException("the answer broke off in its headers")
    body = answer.read(LONGEST_BODY + 1)
    if len(body) <= LONGEST_BODY and answer.length:
        raise http.client.IncompleteRead(body, answer.length)
    return Reply(
        status=answer.status,
        reason=answer.reason,
        headers={name: value for name in _KEPT.values() if (value := answer.getheader(name)) is not None},
        body=body,
        kept=not answer.will_close and len(body) <= LONGEST_BODY,
    )


class _Lines(io.BufferedReader):
    """What http.client reads from; remembers the last line."""

    last = b""

    def makefile(self, _mode: str) -> "_Lines":
        return self

    def readline(self, size: int | None = -1, /) -> bytes:
        self.last = super().readline(size)
        return self.last


class _Resumed(io.RawIOBase):
    """A socket of which something has been read already."""

    def __init__(self, stream: Any, data: bytes) -> None:
        self._stream = stream
        self._data = data

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        piece = self._data[: len(buffer)] or self._stream.recv(len(buffer))
        self._data = self._data[len(piece) :]
        buffer[: len(piece)] = piece
        return len(piece)
