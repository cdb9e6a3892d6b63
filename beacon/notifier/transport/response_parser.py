"""Parses the bytes received on a connection into one response, with httptools.

A response decides whether an event is delivered, so ambiguous bytes raise `InvalidResponse`; the caller then closes the
connection and sends the event again. httptools splits messages. This module adds the rest: it skips interim responses,
bounds sizes, validates the end of the stream, and marks a connection with surplus bytes as not reusable.

Pure: no sockets, no clocks. The response does not depend on how the bytes are split.
"""

import re
from dataclasses import dataclass, field
from functools import lru_cache

import httptools

LONGEST_HEADS = 64 * 1024  # bytes of all heads of a response, including interim ones; also of its trailers
LONGEST_BODY = 64 * 1024  # bytes of a body that are stored
LONGEST_READ = 1024 * 1024  # bytes of a body, including chunk framing, that are read to keep its connection
LONGEST_KNOWN = 1024  # bytes of a response that is kept, to be parsed once

_KEPT = {
    b"retry-after": "Retry-After",
    b"location": "Location",
    b"content-encoding": "Content-Encoding",
    b"date": "Date",
}
_FRAMING = frozenset({b"content-length", b"transfer-encoding", b"connection"})
_HEAD_END = re.compile(rb"\n\r?\n")
_SWITCHING_PROTOCOLS = 101


class InvalidResponse(ConnectionError):
    """The bytes are not a complete response. The text may quote the endpoint: mask it before storing it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointResponse:
    """A complete response; `body` is the start of the body, `headers` contains only the headers that callers need.

    `reusable` is True if the connection may carry another request.
    """

    status: int
    reason: str
    headers: dict[str, str]
    body: bytes
    reusable: bool


@lru_cache(maxsize=8)
def known(data: bytes) -> EndpointResponse | None:
    """Return the response that these bytes are, None if more must follow; an endpoint gives many equal responses.

    Raises:
        InvalidResponse: the bytes are not a response.
    """
    return ResponseParser().feed(data)


@dataclass(slots=True)
class _Message:
    """The current message, interim or final."""

    status: int = 0
    reason: bytes = b""
    headers: dict[bytes, bytes] = field(default_factory=dict)
    options: bytes = b""  # all values of Connection
    codings: bytes = b""  # all values of Transfer-Encoding
    length: int | None = None  # of a body that httptools would read until the connection closes
    size: int = 0
    body: list[bytes] = field(default_factory=list)


class ResponseParser:
    """Parses the response to one request; call `feed` until it returns a response or raises.

    With `head_only` the response ends with its head, as the answer to CONNECT does.
    """

    def __init__(self, *, head_only: bool = False) -> None:
        self._head_only = head_only
        self._parser = make_parser(self)
        self._message = _Message()
        self._head = bytearray()  # of the current message
        self._head_bytes = 0  # of all messages
        self._body_bytes = 0  # of the body, as sent
        self._silent_bytes = 0  # of these, since the last content byte
        self._in_head = True
        self._interim = False
        self._done = False
        self._refusal = ""
        self._keep_alive = False

    @property
    def begun(self) -> bool:
        """Return True if more than complete interim responses has arrived."""
        return bool(self._head)

    @property
    def status(self) -> int:
        """Return the status of the final response, 0 before its head has arrived."""
        return 0 if self._in_head else self._message.status

    def feed(self, data: bytes) -> EndpointResponse | None:
        """Parse more bytes. Return the response when it is complete.

        Raises:
            InvalidResponse: the bytes are not a response.
        """
        position = 0
        while self._in_head and position < len(data):
            position = self._feed_head(data, position)
        if self._in_head:
            return None
        surplus = self._feed_body(memoryview(data)[position:])
        if self._done:
            return self._response(reusable=self._keep_alive and not surplus)
        if self._body_bytes > LONGEST_READ:
            return self._response(reusable=False)
        return None

    def end_of_stream(self) -> EndpointResponse:
        """Return the response that ends with the connection.

        Raises:
            InvalidResponse: there is no response, or its body is incomplete.
        """
        message = self._message
        if self._in_head:
            what = "in the middle of the headers" if self._head else "before an answer"
            raise InvalidResponse(f"the connection was closed {what}")
        if message.codings:
            whole = not _is_chunked(message.codings) and message.length is None
        else:
            whole = b"content-length" not in message.headers
        if whole:
            return self._response(reusable=False)
        raise InvalidResponse(f"the connection was closed in the middle of the body, after {message.size} bytes of it")

    # --- callbacks of httptools

    def on_status(self, reason: bytes) -> None:
        """Append a part of the reason."""
        if self._in_head:
            self._message.reason += reason

    def on_header(self, name: bytes, value: bytes) -> None:
        """Store a header that is needed; ignore trailers."""
        if not self._in_head:
            return
        if name.endswith(b" "):  # httptools accepts it for a few names
            self._refuse("blank before the colon", name)
        name, message = name.lower(), self._message
        if name in _KEPT or name in _FRAMING:
            message.headers.setdefault(name, value.strip())
        if name == b"connection":
            message.options += b"," + value.lower()
        elif name == b"transfer-encoding":
            message.codings += b"," + value.lower()

    def on_headers_complete(self) -> None:
        """Validate a complete head."""
        if not self._in_head:
            return
        status = self._message.status = self._parser.get_status_code()
        first = bytes(self._head).lstrip(b"\r\n").partition(b"\n")[0]
        if status < 100 or not first.startswith(b"HTTP/"):
            self._refuse("no status line of HTTP", first)
        elif status == _SWITCHING_PROTOCOLS:
            self._refuse("the protocol was switched", first)
        elif status < 200:
            self._interim = True
        else:
            self._in_head = False
            self._expect_body()

    def on_body(self, data: bytes) -> None:
        """Store the start of the body."""
        message = self._message
        if self._done:
            return
        room = LONGEST_BODY - message.size
        if room > 0:
            message.body.append(data[:room])
        message.size += len(data)
        self._silent_bytes = 0
        if message.length is not None and message.size >= message.length:
            self._done = True

    def on_message_complete(self) -> None:
        """End the response. Ignored for interim responses: httptools expects a body after some of them."""
        if not self._in_head and not self._done:
            self._done = True
            self._keep_alive = self._may_be_kept()

    # --- internals

    def _feed_head(self, data: bytes, position: int) -> int:
        """Parse up to the end of a head, an empty line, or the data. Return the new position."""
        seen = len(self._head)
        room = LONGEST_HEADS - self._head_bytes
        self._head += data[position : position + room]
        found = _HEAD_END.search(self._head, max(0, seen - 2))
        if found is not None and found.end() <= seen:  # an empty line before the status line
            found = _HEAD_END.search(self._head, seen - 1)
        if found is not None:
            del self._head[found.end() :]
        piece = bytes(self._head[seen:])
        self._head_bytes += len(piece)
        self._parse(piece)
        if self._interim:  # a new parser, because the old one would add the Content-Length of both messages
            self._parser, self._message, self._interim = make_parser(self), _Message(), False
            self._head.clear()
        if self._in_head and self._head_bytes >= LONGEST_HEADS:
            raise InvalidResponse(f"the headers have more than {LONGEST_HEADS} bytes")
        return position + len(piece)

    def _feed_body(self, data: memoryview) -> bool:
        """Parse a part of the body. Return True if it contained surplus bytes."""
        self._body_bytes += len(data)
        # The last byte is parsed separately, which shows whether the message ended before it.
        for piece in (data[:-1], data[-1:]) if len(data) > 1 else (data,):
            if self._done:
                return len(piece) > 0
            self._silent_bytes += len(piece)
            self._parse(piece)
        if self._silent_bytes > LONGEST_HEADS and not self._done:
            raise InvalidResponse(f"chunk extensions or trailers have more than {LONGEST_HEADS} bytes")
        return False

    def _parse(self, piece: bytes | memoryview) -> None:
        try:
            self._parser.feed_data(piece)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if isinstance(error, httptools.HttpParserCallbackError) and not _is_foreign(error.__context__):
                raise
            if not self._done and not self._refusal:
                raise InvalidResponse(self._describe(error)) from None  # the text of httptools lacks the line
        if self._refusal:
            raise InvalidResponse(self._refusal)

    def _refuse(self, why: str, line: bytes) -> None:
        if not self._refusal:
            self._refusal = _malformed(why, line)

    def _describe(self, error: Exception) -> str:
        if self._in_head:
            return _malformed(str(error), _refused_line(bytes(self._head)))
        return f"malformed body: {error}"

    def _expect_body(self) -> None:
        """Handle two cases that httptools does not: the answer to CONNECT, and the coding `identity`."""
        message = self._message
        length = message.headers.get(b"content-length")
        if message.codings.strip(b", ") == b"identity" and length is not None:
            message.length = int(length.lstrip(b"0") or b"0")  # at most 20 digits, which httptools ensures
        if self._head_only or message.length == 0:
            self._done = True
            self._keep_alive = self._head_only or self._may_be_kept()

    def _may_be_kept(self) -> bool:
        message = self._message
        options = [option.strip() for option in message.options.split(b",")]
        doubtful = bool(message.codings) and b"content-length" in message.headers
        usual = self._parser.get_http_version().startswith("1.")
        return usual and not doubtful and b"close" not in options and self._parser.should_keep_alive()

    def _response(self, *, reusable: bool) -> EndpointResponse:
        del self._parser  # it refers back to this object
        message = self._message
        return EndpointResponse(
            status=message.status,
            reason=message.reason.decode("latin-1").strip(),
            headers={_KEPT[name]: value.decode("latin-1") for name, value in message.headers.items() if name in _KEPT},
            body=b"".join(message.body),
            reusable=reusable,
        )


def make_parser(protocol: object) -> httptools.HttpResponseParser:
    """Return a parser of httptools that is as tolerant as http.client where that is harmless."""
    parser = httptools.HttpResponseParser(protocol)
    parser.set_dangerous_leniencies(
        lenient_headers=True,  # any bytes in values, folded lines
        lenient_keep_alive=True,  # an interim response may say `Connection: close`
        lenient_version=True,
        lenient_optional_cr_before_lf=True,
        lenient_transfer_encoding=True,
        lenient_chunked_length=True,  # Transfer-Encoding overrides Content-Length; the connection is then not reused
        lenient_spaces_after_chunk_size=True,
    )
    return parser


def _is_foreign(cause: BaseException | None) -> bool:
    """Return True if an exception in a callback comes from httptools, not from a bug in this module."""
    return isinstance(cause, httptools.HttpParserError)


def _is_chunked(codings: bytes) -> bool:
    return codings.rpartition(b",")[2].strip() == b"chunked"


def _malformed(why: str, line: bytes) -> str:
    return f"malformed answer: {why}: {line.decode('utf-8', 'replace').strip()}"


def _refused_line(head: bytes) -> bytes:
    """Return the line that httptools rejects; its error does not name it."""
    parser, before = make_parser(object()), b""
    for line in head.splitlines(keepends=True):
        folded = before + line if line[:1] in b" \t" else line
        try:
            parser.feed_data(line[:1])
        except httptools.HttpParserError:
            # A value is validated when the next line does not continue it.
            return before if before and (line[:1].isalnum() or line[:1] in b"\r\n") else folded
        try:
            parser.feed_data(line[1:])
        except httptools.HttpParserError:
            return folded
        before = line
    return before
