"""Decodes the bytes of an HTTP/1.1 body as they arrive: the chunked transfer coding, then lines.

Pure: it uses no socket. This is own code because a watch must be read without waiting inside a partial line, and
http.client loses the part that it has read if the read may not block. Source: RFC 9112, section 7.1.
"""

from beacon.cluster import failures

_LONGEST_LINE = 4 * 1024 * 1024  # no object is larger: a request has at most 3 MB, etcd takes 1.5
_ENDLESS_LINE = 64 * 1024 * 1024
_KEPT_OF_LONG = 64 * 1024  # of a line that is too long: an object's identity and position are at its beginning
_LONGEST_HEADER = 4096  # a partial header is scanned again with each piece


class Chunks:
    """Decodes the chunked transfer coding."""

    def __init__(self) -> None:
        """Start before the first chunk."""
        self._rest = b""
        self._left = 0  # of the current chunk's data
        self._closing = False  # the CRLF after a chunk's data comes next
        self._trailing = False  # the last chunk was received, its trailers come next
        self.complete = False

    def feed(self, data: bytes) -> bytes:
        """Decode received bytes and return the part of the body that they hold.

        Raises:
            failures.Garbled: the bytes are not in the chunked coding.
        """
        data = self._rest + data if self._rest else data
        body: list[bytes] = []
        at = 0
        while at < len(data) and not self.complete:
            if self._left:
                taken = data[at : at + self._left]
                body.append(taken)
                self._left -= len(taken)
                self._closing = not self._left
                at += len(taken)
            elif (end := data.find(b"\r\n", at)) >= 0:
                self._head(data[at:end])
                at = end + 2
            else:
                break
        self._rest = data[at:]
        if len(self._rest) > _LONGEST_HEADER:
            raise failures.Garbled("the API server sent a chunk header without an end")
        return body[0] if len(body) == 1 else b"".join(body)

    def _head(self, text: bytes) -> None:
        """Handle a line between the data of two chunks."""
        if self._closing:
            if text:
                raise failures.Garbled("the API server sent a chunk longer than its declared length")
            self._closing = False
        elif self._trailing:
            self.complete = not text
        else:
            self._left = _size(text)
            self._trailing = not self._left


class Cut(bytes):
    """The beginning of a line that is longer than the limit; the rest was dropped."""


class Lines:
    """Splits a body into lines, and shortens lines that are too long."""

    def __init__(self) -> None:
        """Start before the first line."""
        self._parts: list[bytes] = []
        self._length = 0
        self._cut = False

    @property
    def partial(self) -> bool:
        """Return True if a line was received in part."""
        return bool(self._length)

    def feed(self, data: bytes) -> list[bytes]:
        """Add a part of the body and return the lines that are complete now.

        Raises:
            failures.Garbled: a line does not end.
        """
        if b"\n" not in data:
            self._keep(data)
            return []
        lines = data.split(b"\n")
        if self._parts:
            self._keep(lines[0])
            lines[0] = self._whole()
        self._keep(lines.pop())
        return [_bounded(line) for line in lines if line]

    def _keep(self, data: bytes) -> None:
        if not data:
            return
        self._length += len(data)
        if self._length > _ENDLESS_LINE:
            raise failures.Garbled("the API server sent a line without an end")
        if not self._cut:
            self._parts.append(data)
            if self._length > _LONGEST_LINE:
                self._cut = True
                self._parts = [b"".join(self._parts)[:_KEPT_OF_LONG]]

    def _whole(self) -> bytes:
        """Return the completed line."""
        line = b"".join(self._parts)
        whole = Cut(line) if self._cut else line
        self._parts = []
        self._length, self._cut = 0, False
        return whole


def _bounded(line: bytes) -> bytes:
    return Cut(line[:_KEPT_OF_LONG]) if len(line) > _LONGEST_LINE else line


def _size(header: bytes) -> int:
    digits = header.partition(b";")[0].strip()
    if not digits or digits.strip(b"0123456789abcdefABCDEF"):
        raise failures.Garbled(f"the API server sent {header[:40]!r} where the length of a chunk belongs")
    return int(digits, 16)
