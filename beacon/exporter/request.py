"""Parses the head of one request incrementally: the path, the Accept header, or the status that rejects it.

llhttp (httptools) parses it in linear time and without a copy of the head. Bytes after the head are ignored: routes
accept no body, and a connection carries one request.
"""

import re
from http import HTTPStatus

import httptools

LONGEST_HEAD = 16_384
_LONGEST_TARGET = 2048
_LONGEST_ACCEPT = 2048  # Prometheus sends some 400 bytes
_MOST_HEADERS = 100
_VERSIONS = frozenset({"1.0", "1.1"})
_BARE_LF = re.compile(rb"(?<!\r)\n")
_METHOD = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,32} ")


class HeadReader:
    """Parses one head. `refusal` is None if a route may answer the request; `accept` is its Accept header."""

    def __init__(self) -> None:
        """Create a reader for one request."""
        self.refusal: HTTPStatus | None = None
        self.path = b""
        self.accept = ""
        self.bodiless = False  # HEAD: the answer has no body
        self._parser = httptools.HttpRequestParser(self)
        self._parser.set_dangerous_leniencies(lenient_version=True)
        self._begun = b""
        self._last = b""
        self._received = 0
        self._held = 0  # bytes of target and headers
        self._headers = 0
        self._complete = False
        self._target = b""
        self._accepts: list[bytes] = []

    def feed(self, data: bytes) -> bool:
        """Parse more bytes. Return True if the head is complete or refused; do not call it after that."""
        self._begun = (self._begun + data)[:48] if len(self._begun) < 48 else self._begun
        self._received += len(data)
        try:
            self._parser.feed_data(self._with_crlf(data))
        except httptools.HttpParserUpgrade:
            pass  # the request is answered without an upgrade
        except httptools.HttpParserInvalidMethodError:
            return self._refuse(HTTPStatus.METHOD_NOT_ALLOWED if _METHOD.match(self._begun) else HTTPStatus.BAD_REQUEST)
        except httptools.HttpParserError:
            if not self._complete:  # otherwise the error is behind the head
                return self._refuse(self._too_large() or HTTPStatus.BAD_REQUEST)
        refusal = self._too_large() or (self._judge() if self._complete else None)
        if refusal:
            return self._refuse(refusal)
        return self._complete

    def on_url(self, part: bytes) -> None:
        """Append a part of the request target."""
        if not self._complete and len(self._target) <= _LONGEST_TARGET:
            self._target += part

    def on_header(self, name: bytes, value: bytes) -> None:
        """Count a header, and store Accept."""
        if self._complete:
            return
        self._headers += 1
        self._held += len(name) + len(value)
        if name.lower() == b"accept":
            self._accepts.append(value)

    def on_headers_complete(self) -> None:
        """Complete the head; callbacks of a pipelined request are ignored."""
        if self._complete:
            return
        self._complete = True
        self._version, self._method = self._parser.get_http_version(), self._parser.get_method()

    def _with_crlf(self, data: bytes) -> bytes:
        """Convert bare line feeds, as in a hand-typed request, to the CRLF that llhttp requires."""
        before, self._last = self._last, data[-1:] if data.endswith(b"\r") else b""
        return _BARE_LF.sub(b"\r\n", before + data)[len(before) :]

    def _refuse(self, status: HTTPStatus) -> bool:
        self.refusal = status
        return True

    def _too_large(self) -> HTTPStatus | None:
        if len(self._target) > _LONGEST_TARGET:
            return HTTPStatus.REQUEST_URI_TOO_LONG
        size = self._held if self._complete else self._received
        too_large = size > LONGEST_HEAD or self._headers > _MOST_HEADERS
        return HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE if too_large else None

    def _judge(self) -> HTTPStatus | None:
        """Extract method, path and Accept from a complete head, or return the status that refuses it."""
        if self._version not in _VERSIONS:
            return HTTPStatus.HTTP_VERSION_NOT_SUPPORTED
        self.bodiless = self._method == b"HEAD"
        if self._method not in (b"GET", b"HEAD"):
            return HTTPStatus.METHOD_NOT_ALLOWED
        self.path = _path(self._target)
        accept = b", ".join(self._accepts)
        self.accept = accept.decode("latin-1") if len(accept) <= _LONGEST_ACCEPT else ""
        return None


def _path(target: bytes) -> bytes:
    """Return the path of a target in origin or absolute form, else an empty path, which has no route."""
    try:
        return httptools.parse_url(target).path or b"/"
    except httptools.HttpParserInvalidURLError:
        return b""
