"""One watch: lines as they come, without ever waiting longer than the caller allows.

The connection is taken over from the HTTP client once the answer's head has been read, and read without blocking: a
stream must store its position, collect replies and notice the stop flag while the cluster is silent, and a timeout in
the middle of a line would lose what http.client has read of it. Nothing is read ahead of the caller, so a caller that
stops reading stops the server.
"""

import select
import socket
import ssl
import time
from types import TracebackType

import urllib3

from beacon.cluster import connection, discovery, failures, framing

_AT_ONCE = 64 * 1024
_WOULD_BLOCK = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class OpenWatch:
    """An open watch; a context manager. `ended` is true once the server has ended it properly, or its time is over."""

    def __init__(self, response: urllib3.BaseHTTPResponse, *, inactive_s: float, longest_s: float) -> None:
        """Take over the connection of an answer, for `longest_s`; `inactive_s` without a line are reported.

        Raises:
            failures.Broken: the answer has no body to be read.
        """
        self._response = response
        self._inactive_s = inactive_s
        self._socket, self._leftover = _take_over(response)
        self._chunks = framing.Chunks() if _is_chunked(response) else None
        self._lines = framing.Lines()
        self._poll = select.poll()
        self._poll.register(self._socket.fileno(), select.POLLIN)
        self._silent_s = 0.0
        self._noise = False  # what came last made no line
        self._until = time.monotonic() + longest_s
        self.ended = False

    def __enter__(self) -> "OpenWatch":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._response.close()

    def read(self, timeout_s: float) -> list[bytes]:
        """Return the lines that are there, waiting up to `timeout_s` for more bytes; none when there were none.

        Raises:
            failures.Broken: the connection ended in the middle.
            failures.Silent: nothing has come for too long. The watch is still open and may be read again.
            failures.Stuck: bytes have come, but no whole line.
        """
        began = time.monotonic()
        if began >= self._until:
            self.ended = True
            return []
        lines = self._read(timeout_s)
        # Only the time within counts: while the caller was busy elsewhere it did not listen.
        self._silent_s = 0.0 if lines else self._silent_s + time.monotonic() - began
        if self._silent_s >= self._inactive_s and not self.ended:
            self._silent_s = 0.0
            self._report_silence()
        return lines

    def _report_silence(self) -> None:
        if self._noise or self._lines.partial:
            raise failures.Stuck(f"bytes came for {self._inactive_s:g} s, but no whole line")
        raise failures.Silent(f"nothing came for {self._inactive_s:g} s, not even a bookmark")

    def _read(self, timeout_s: float) -> list[bytes]:
        data = self._receive(timeout_s)
        if data is None:
            return []
        if not data:
            self._finish(whole=self._chunks is None)
            return []
        lines = self._lines.feed(self._chunks.feed(data) if self._chunks else data)
        self._noise = not lines
        if self._chunks and self._chunks.complete:
            self._finish(whole=True)
        return lines

    def _receive(self, timeout_s: float) -> bytes | None:
        """Return what has arrived, b"" at the end of the connection, None when nothing came in time."""
        if (data := self._take()) is None:
            self._poll.poll(timeout_s * 1000)
            data = self._take()
        return data

    def _take(self) -> bytes | None:
        taken, self._leftover = self._leftover, b""
        parts = [taken] if taken else []
        size = len(taken)
        try:
            while size < _AT_ONCE and (data := self._socket.recv(_AT_ONCE)):
                parts.append(data)
                size += len(data)
        except _WOULD_BLOCK:
            return b"".join(parts) if parts else None
        except OSError as error:
            if not parts:
                raise failures.Broken(f"the connection broke: {error.strerror or error}") from error
        return b"".join(parts)

    def _finish(self, *, whole: bool) -> None:
        if not whole:
            raise failures.Broken("the connection ended without the end of the answer")
        if self._lines.partial:
            raise failures.Broken("the answer ended in the middle of a line")
        self.ended = True


def start(
    api: connection.Connection,
    resource: discovery.ServedResource,
    namespace: str,
    *,
    position: int,
    timeout_s: int,
    inactive_s: float,
    grace_s: float = 10.0,
) -> OpenWatch:
    """Watch a collection from a position on; the server ends the watch after `timeout_s`, or we `grace_s` later.

    Raises:
        failures.Refused: another status than 200.
        failures.Unreachable: no answer.
        failures.Broken: the answer has no body to be read.
    """
    query = [
        ("watch", "true"),
        ("resourceVersion", str(position)),
        ("allowWatchBookmarks", "true"),
        ("timeoutSeconds", str(timeout_s)),
    ]
    response = api.open(resource.path(namespace), query=query, accept=connection.METADATA)
    try:
        return OpenWatch(response, inactive_s=inactive_s, longest_s=timeout_s + grace_s)
    except failures.Broken:
        response.close()
        raise


def _is_chunked(response: urllib3.BaseHTTPResponse) -> bool:
    return response.headers.get("Transfer-Encoding", "").lower() == "chunked"


def _take_over(response: urllib3.BaseHTTPResponse) -> tuple[socket.socket, bytes]:
    """Give the answer's socket, no longer blocking, and what of the body came together with the head."""
    if response.headers.get("Content-Encoding", "identity") != "identity":
        raise failures.Broken("the API server compressed the watch, which was not asked for")
    if "Content-Length" in response.headers:
        raise failures.Broken("the API server answered the watch with a document")
    # urllib3 has no public way to its reader; tests/contract/test_list_watch.py holds these names.
    reader = getattr(getattr(response, "_fp", None), "fp", None)
    if reader is None:
        raise failures.Broken("the API server answered the watch with nothing")
    taken: socket.socket = reader.raw.release()
    taken.settimeout(0)
    try:
        leftover: bytes = reader.peek()
    except _WOULD_BLOCK:
        leftover = b""
    except OSError as error:
        raise failures.Broken(f"the connection broke: {error.strerror or error}") from error
    return taken, leftover
