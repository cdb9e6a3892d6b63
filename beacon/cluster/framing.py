"""Bytes of an HTTP/1.1 body to lines, as they come: chunks undone, lines cut, nothing guessed.

Pure: it knows no socket. Own code because a watch must be read without ever waiting inside a half-received line, and
http.client loses what it has read of one when it may not wait. Source: RFC 9112, section 7.1.
"""

from beacon.cluster import failures

_LONGEST_LINE = 4 * 1024 * 1024  # no object is larger: a request has at most 3 MB, etcd takes 1.5
_ENDLESS_LINE = 64 * 1024 * 1024
_KEPT_OF_LONG = 64 * 1024  # of a line that is too long: identity and position stand at the beginning of an object
_LONGEST_HEADER = 4096  # it is looked through again with each piece that comes


class Chunks:
    """Undoes the chunked transfer coding."""

    def __init__(self) -> None:
        """Begin before the first chunk."""
        self._rest = b""
        self._left = 0  # of the current chunk's data
        self._closing = False  # the CRLF after a chunk's data comes next
        self._trailing = False  # the last chunk has come, its trailers come next
        self.complete = False

    def feed(self, data: bytes) -> bytes:
        """Take what came from the connection and give what of the body is in it.

        Raises:
            failures.Garbled: this is not the chunked coding.
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
        """Take one line between the chunks' data."""
        if self._closing:
            if text:
                raise failures.Garbled("the API server sent a chunk longer than it said")
            self._closing = False
        elif self._trailing:
            self.complete = not text
        else:
            self._left = _size(text)
            self._trailing = not self._left


class Cut(bytes):
    """The beginning of a line that is longer than an object may be; the rest was dropped."""


class Lines:
    """Cuts a body into lines, and lines that are too long short."""

    def __init__(self) -> None:
        """Begin before the first line."""
        self._parts: list[bytes] = []
        self._length = 0
        self._cut = False

    @property
    def partial(self) -> bool:
        """Say whether a line has begun that has not ended."""
        return bool(self._length)

    def feed(self, data: bytes) -> list[bytes]:
        """Take more of the body and give the lines that are whole now.

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
        """Return the line that has ended."""
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
